package dump

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

// prepare says what a command does to an empty state, and counts how often it
// is asked.
func (e *engine) prepare(now int64, asked *int) func([][]byte) (*collection.Change, error) {
	return func(words [][]byte) (*collection.Change, error) {
		*asked++
		args := make([]string, len(words))
		for i, w := range words {
			args[i] = string(w)
		}
		var ch collection.Change
		var out reply.Reply
		req := command.Request{Args: args, Name: strings.ToLower(args[0]), Now: now}
		err := e.cmds[req.Name].Write(&req, e.st, &ch, &out)
		return &ch, err
	}
}

// tallyOf adds up what Items writes of st.
func tallyOf(t testing.TB, st *collection.State, now int64) (sum collection.Digest, prepared int) {
	t.Helper()
	tally := NewTally(now, newEngine().prepare(now, &prepared))
	err := Items(st, now, func(args []string) error {
		words := make([][]byte, len(args))
		for i, a := range args {
			words[i] = []byte(a)
		}
		return tally.Add(words)
	})
	if err != nil {
		t.Fatal(err)
	}
	return tally.Sum(), prepared
}

// The tally of what Items writes is the digest of the state, whatever is in it.
func TestTally(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 2))
		now := int64(1_700_000_000_123)
		from := random(t, r, now)
		got, prepared := tallyOf(t, from.st, now+int64(r.IntN(1_000_000)))
		if got != from.st.Digest() {
			t.Fatalf("seed %d: digest %s, want %s", seed, got, from.st.Digest())
		}
		if prepared == 0 {
			t.Errorf("seed %d: not one command was prepared", seed)
		}
	}
}

// Points with numbers for fields are understood without preparing them, and
// every part of them counts.
func TestTallyOfPoints(t *testing.T) {
	words := func(line string) [][]byte { return bytes.Fields([]byte(line)) }
	const point = `object {"type":"Point","coordinates":[-112.5,33.25]}`
	base := "set fleet truck field a 1 field b -2.5 ex 10.5 " + point
	sum := func(line string) collection.Digest {
		t.Helper()
		prepared := 0
		tally := NewTally(1000, newEngine().prepare(1000, &prepared))
		if err := tally.Add(words(line)); err != nil || prepared != 0 {
			t.Fatalf("%s: %v, prepared %d times", line, err, prepared)
		}
		return tally.Sum()
	}
	e := newEngine()
	if err := e.do(1000, "SET", "fleet", "truck", "FIELD", "b", "-2.5", "FIELD", "a", "1", "EX", "10.5", "POINT", "33.25", "-112.5"); err != nil {
		t.Fatal(err)
	}
	if got := sum(base); got != e.st.Digest() {
		t.Errorf("digest %s, want %s", got, e.st.Digest())
	}
	for _, other := range []string{
		strings.Replace(base, "fleet", "fleeT", 1), strings.Replace(base, "truck", "truck2", 1),
		strings.Replace(base, "a 1", "a 2", 1), strings.Replace(base, "field a 1 ", "", 1),
		strings.Replace(base, "10.5", "10.6", 1), strings.Replace(base, "ex 10.5 ", "", 1),
		strings.Replace(base, "33.25", "33.26", 1), strings.Replace(base, "-112.5", "112.5", 1),
	} {
		if sum(other) == sum(base) {
			t.Errorf("%s has the digest of %s", other, base)
		}
	}
}

// A verification makes no work for the garbage collector to speak of.
func TestTallyGarbage(t *testing.T) {
	prepared := 0
	tally := NewTally(1000, newEngine().prepare(1000, &prepared))
	var words [][]byte
	for _, w := range []string{"set", "fleet", "truck:1", "field", "speed", "57", "ex", "100.25",
		"object", `{"type":"Point","coordinates":[-112.269312,33.512345]}`} {
		words = append(words, []byte(w))
	}
	if n := testing.AllocsPerRun(1000, func() { _ = tally.Add(words) }); n > 1 {
		t.Errorf("%v allocations for a point, want at most 1", n)
	}
}

func BenchmarkTally(b *testing.B) {
	e := newEngine()
	for i := range 10_000 {
		if err := e.do(0, "SET", "fleet", fmt.Sprint("truck:", i), "FIELD", "speed", "57",
			"POINT", fmt.Sprint(i%90), fmt.Sprint(float64(i)/1000)); err != nil {
			b.Fatal(err)
		}
	}
	var all [][][]byte
	_ = Items(e.st, 0, func(args []string) error {
		var words [][]byte
		for _, a := range args {
			words = append(words, []byte(a))
		}
		all = append(all, words)
		return nil
	})
	prepared := 0
	tally := NewTally(0, newEngine().prepare(0, &prepared))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := tally.Add(all[i%len(all)]); err != nil {
			b.Fatal(err)
		}
	}
}
