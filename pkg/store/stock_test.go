package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/redcon"
)

// wire is what a leader sends: lines of words.
func wire(lines ...string) (b []byte) {
	for _, line := range lines {
		words := strings.Fields(line)
		b = redcon.AppendArray(b, len(words))
		for _, w := range words {
			b = redcon.AppendBulkString(b, w)
		}
	}
	return b
}

// TestApplyCommands: the commands of a stock leader take effect while clients may
// not write, are logged as the own, and what cannot be carried out is counted and
// passed over.
func TestApplyCommands(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	f.Refuse(errors.New("not the leader"))
	a, err := f.ApplyCommands(context.Background(), wire(
		"SET k a POINT 1 2", "JSET j d a.b 5", "SET k b NX EX 100 STRING x", "JDEL j d a.b", "DEL k none", "PUBLISH ch hello",
		"NOSUCH command", "SET k bad POINT x y", "SETCHAN ch NEARBY k FENCE POINT 1 2 10", "SET k a POINT 1 3"))
	if err != nil || !a.Whole || a.Commands != 9 || a.Refused != 2 || !strings.Contains(a.First, "NOSUCH") {
		t.Errorf("%+v, %v", a, err)
	}
	if got := f.read("GET k a POINT"); got != "*2\r\n$1\r\n1\r\n$1\r\n3\r\n" {
		t.Errorf("%q", got)
	}
	if a, err := f.ApplyCommands(context.Background(), []byte("*1\r\nbroken")); err == nil || a.Whole {
		t.Errorf("what is no command: %+v, %v", a, err)
	}
	end, want := f.log.Last().Offset, f.digest()
	if a, err := f.ApplyCommands(context.Background(), wire("DEL k none")); err != nil || !a.Whole || f.log.Last().Offset != end {
		t.Errorf("what changes nothing: %+v, %v, the log grew by %d", a, err, f.log.Last().Offset-end)
	}
	f.close()
	if f = open(t, dir); f.digest() != want || f.Stats().DigestMismatch != 0 {
		t.Errorf("digest %s after a restart, want %s", f.digest(), want)
	}
}

// TestApplyLarge: a command about very many items does not hold the lock for all of
// them, and stands in the log as what it did.
func TestApplyLarge(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	var lines []string
	for i := range 3 * largeParts {
		lines = append(lines, fmt.Sprintf("SET k a%d POINT 1 1", i))
	}
	lines = append(lines, "SET k b POINT 1 1", "PDEL k a*", "SET k c POINT 1 1")
	batches := f.log.Stats().Batches
	a, err := f.ApplyCommands(context.Background(), wire(lines...))
	if err != nil || !a.Whole || a.Refused != 0 || a.Commands != len(lines) {
		t.Errorf("%+v, %v", a, err)
	}
	if got := f.Stats().Objects; got != 2 {
		t.Errorf("%d objects, want 2", got)
	}
	if got := f.log.Stats().Batches; got == batches {
		t.Error("one batch for all of it")
	}
	want := f.digest()
	f.close()
	if f = open(t, dir); f.digest() != want || f.Stats().DigestMismatch != 0 {
		t.Errorf("digest %s after a restart, want %s", f.digest(), want)
	}
	for _, b := range batchesOf(t, f) {
		if strings.Contains(b, "PDEL") {
			t.Error("PDEL is in the log")
		}
	}
}

func batchesOf(t *testing.T, f *fixture) (payloads []string) {
	t.Helper()
	for _, b := range batches(t, f) {
		payloads = append(payloads, string(b.Payload))
	}
	return payloads
}

// TestApplyClosed: on a log that is closed nothing is carried out; a wait ends with
// its context.
func TestApplyClosed(t *testing.T) {
	f := open(t, t.TempDir())
	if err := f.log.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	a, err := f.ApplyCommands(context.Background(), wire("SET k a POINT 1 2"))
	if err == nil || a.Whole || f.Item("k", "a") != nil {
		t.Errorf("on a closed log: %+v, %v", a, err)
	}
	f.log = nil
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if pause(ctx, time.Hour) {
		t.Error("a pause outlives its context")
	}
}

// randomLine is a write on few names, so that they meet.
func randomLine(r *rand.Rand) string {
	key, id := fmt.Sprintf("k%d", r.IntN(4)), fmt.Sprintf("id%d", r.IntN(60))
	switch r.IntN(16) {
	case 0:
		return "DEL " + key + " " + id
	case 1:
		return "JSET " + key + " " + id + " a.b " + fmt.Sprint(r.IntN(3))
	case 2:
		return fmt.Sprintf("FSET %s %s f%d %d", key, id, r.IntN(3), r.IntN(3))
	case 3:
		return fmt.Sprintf("RENAME %s k%d", key, r.IntN(4))
	case 4:
		return fmt.Sprintf("SETCHAN c%d NEARBY %s FENCE POINT 1 2 %d", r.IntN(3), key, r.IntN(3))
	case 5:
		return fmt.Sprintf("SETHOOK c%d http://127.0.0.1:1/x NEARBY %s FENCE POINT 1 2 10", r.IntN(5), key)
	case 6:
		return fmt.Sprintf("SET %s %s BOUNDS 1 1 %d 2", key, id, 2+r.IntN(3))
	case 7:
		return fmt.Sprintf("SET %s %s STRING %s", key, id, strings.Repeat("x", r.IntN(3)*20_000))
	case 8:
		return "DELCHAN c1"
	case 9:
		return fmt.Sprintf(`SET %s %s OBJECT {"type":"Feature","geometry":{"type":"Point","coordinates":[1,2]},"properties":{"type":"Circle","radius":%d}}`, key, id, 1+r.IntN(3))
	}
	return fmt.Sprintf("SET %s %s FIELD f1 %d POINT %d %d", key, id, r.IntN(3), r.IntN(3), r.IntN(3))
}

// TestAdopt: whatever the own data were, they are what the leader's log leads to
// afterwards, also after a restart; a second time there is nothing to do; equal
// items are shared meanwhile.
func TestAdopt(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 25 {
		dir := t.TempDir()
		f := open(t, dir)
		shared := make([]string, 200)
		for i := range shared {
			shared[i] = randomLine(r)
		}
		for _, line := range shared {
			f.write(line)
		}
		own := make([]string, r.IntN(60))
		for i := range own {
			own[i] = randomLine(r)
			f.write(own[i])
		}
		f.Refuse(errors.New("not the leader"))
		leader := shared
		for range r.IntN(60) {
			leader = append(leader, randomLine(r))
		}
		shadow := func() *Shadow {
			sh := f.NewShadow()
			if err := sh.Add(wire(leader...)); err != nil {
				t.Fatal(err)
			}
			return sh
		}
		sh := shadow()
		want := sh.sh.State().Digest().String()
		d, err := f.Adopt(context.Background(), sh, false)
		if err != nil || f.digest() != want {
			t.Fatalf("round %d: %v, digest %s, want %s", round, err, f.digest(), want)
		}
		if len(own) == 0 && d.Shared == 0 {
			t.Errorf("round %d: nothing is shared", round)
		}
		if d, err = f.Adopt(context.Background(), shadow(), false); err != nil || d.Commands != 0 {
			t.Errorf("round %d: the second time %+v, %v", round, d, err)
		}
		f.close()
		if f = open(t, dir); f.digest() != want {
			t.Errorf("round %d: after a restart digest %s, want %s", round, f.digest(), want)
		}
		f.close()
	}
}

// TestAdoptCut: a difference that is cut off is done again, from anywhere.
func TestAdoptCut(t *testing.T) {
	f := open(t, t.TempDir())
	for i := range 3000 {
		f.mustWrite(fmt.Sprintf("SET k own%d POINT 1 %d", i, i%80))
	}
	var leader []string
	for i := range 6000 {
		leader = append(leader, fmt.Sprintf("SET k id%d POINT 1 %d", i, i%80))
	}
	for _, after := range []time.Duration{0, time.Millisecond, 3 * time.Millisecond, time.Hour} {
		ctx, cancel := context.WithTimeout(context.Background(), after)
		sh := f.NewShadow()
		if err := sh.Add(wire(leader...)); err != nil {
			t.Fatal(err)
		}
		want := sh.sh.State().Digest().String()
		_, err := f.Adopt(ctx, sh, false)
		cancel()
		if (err == nil) != (f.digest() == want) {
			t.Errorf("after %s: %v, digest %s, want %s", after, err, f.digest(), want)
		}
		if after == time.Hour && err != nil {
			t.Error(err)
		}
	}
}
