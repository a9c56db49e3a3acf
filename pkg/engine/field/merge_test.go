package field

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMergeAgainstSet: many settings at once lead to the list that one after the
// other leads to, and FSET counts the same, whatever is set how often.
func TestMergeAgainstSet(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	names := []string{"", "a", "b", "c", "speed", "Ü", "a b", strings.Repeat("long", 100), "zz"}
	texts := []string{
		"0", "0", "1", "1.0", "1.50", "-0", "0.0", "1e400", "nan", "-inf", "true", "false", "null", "text", "TEXT",
		`"1"`, `{"a": 1}`, `{"a":1}`, "[1]", "", strings.Repeat("x", 300),
	}
	for round := range 20_000 {
		var start List
		for range r.IntN(5) {
			start = start.Set(names[r.IntN(len(names))], ValueOf(texts[r.IntN(len(texts))]))
		}
		var list []Setting
		for range r.IntN(14) {
			list = append(list, Setting{names[r.IntN(len(names))], ValueOf(texts[r.IntN(len(texts))])})
		}
		set, update, updated := start, start, 0
		for _, s := range list {
			set = set.Set(s.Name, s.Value)
			if !update.Get(s.Name).Equals(s.Value) {
				update = update.Set(s.Name, s.Value)
				updated++
			}
		}
		before := strings.Clone(start.Packed())
		sorted := Sorted(append([]Setting(nil), list...))
		if got := start.SetAll(sorted); got.Packed() != set.Packed() {
			t.Fatalf("round %d: SetAll(%v) of %q is\n%q, want\n%q", round, list, before, got.Packed(), set.Packed())
		}
		got, n := start.UpdateAll(sorted)
		if got.Packed() != update.Packed() || n != updated {
			t.Fatalf("round %d: UpdateAll(%v) of %q is\n%q (%d), want\n%q (%d)",
				round, list, before, got.Packed(), n, update.Packed(), updated)
		}
		if start.Packed() != before {
			t.Fatal("the old list has changed")
		}
	}
}

// TestMergeMany: a list of a hundred thousand fields is made in one pass; one
// after the other it takes minutes.
func TestMergeMany(t *testing.T) {
	const n = 100_000
	list := make([]Setting, n)
	for i := range list {
		list[i] = Setting{strconv.Itoa(i * 7919 % n), ValueOf(strconv.Itoa(i + 1))}
	}
	started := time.Now()
	l := List{}.SetAll(Sorted(list))
	l, updated := l.UpdateAll(Sorted([]Setting{{"77", ValueOf("0")}, {"new", ValueOf("1")}, {"78", l.Get("78")}}))
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if l.Len() != n || updated != 2 || l.Has("77") || !l.Has("new") || l.Get("7919").Data() != "2" {
		t.Errorf("%d fields, %d updated", l.Len(), updated)
	}
}
