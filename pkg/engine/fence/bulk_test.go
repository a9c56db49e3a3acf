package fence

import (
	"fmt"
	"testing"

	"evenkeel/pkg/engine/collection"
)

// crowd defines n channels around one place, beside a hook, a connection, and a
// channel of another collection.
func crowd(t *testing.T, n int) *world {
	t.Helper()
	w := newWorld(t, Options{})
	w.live("l", "NEARBY k FENCE DETECT inside POINT 1 1 1000")
	w.line("SETHOOK hk http://h NEARBY k FENCE DETECT inside,outside POINT 1 1 1000")
	w.line("SETCHAN z NEARBY other FENCE DETECT inside POINT 1 1 1000")
	for i := range n {
		w.line(fmt.Sprintf("SETCHAN c%04d NEARBY k FENCE DETECT inside POINT 1 1 1000", i))
	}
	return w
}

// TestBulkRemoval: those that stay when many go at once are found as before, and
// the visits of objects go on.
func TestBulkRemoval(t *testing.T) {
	const n = 2 * bulkRemoval
	w := crowd(t, n)
	before := w.line("SET k a POINT 1 1")
	if len(before) != n+2 {
		t.Fatalf("%d messages before", len(before))
	}
	w.line("PDELCHAN c0[01234]*") // 500 of 514
	after := w.line("SET k a POINT 1 1")
	if want := n - 500 + 2; len(after) != want {
		t.Fatalf("%d messages after, want %d", len(after), want)
	}
	for i := range after {
		if after[i] != before[500+i] {
			t.Errorf("message %d was %v, is %v", i, before[500+i], after[i])
		}
	}
	if got := told(w.line("SET other a POINT 1 1")); got != "z set inside\n" {
		t.Errorf("the other collection:\n%s", got)
	}
	if hooks, lives := w.set.Len(); hooks != n-500+2 || lives != 1 {
		t.Errorf("%d hooks, %d connections", hooks, lives)
	}
	if marks := len(w.set.watches["k"].memory["a"].marks); marks > n-500+2 {
		t.Errorf("%d marks of fences that are gone", marks)
	}
}

// TestBulkRemovalOfAll: a collection without fences is not watched.
func TestBulkRemovalOfAll(t *testing.T) {
	w := crowd(t, 2*bulkRemoval)
	w.line("PDELCHAN *")
	if got := told(w.line("SET k a POINT 1 1")); got != "hk set inside\nl set inside\n" {
		t.Errorf("got\n%s", got)
	}
	if w.set.watches["other"] != nil || len(w.set.watches) != 1 {
		t.Errorf("%d collections are watched", len(w.set.watches))
	}
}

// TestTake: the hooks of the other Set, the connections of this one, no group of
// before, and another try at what was inert.
func TestTake(t *testing.T) {
	w := newWorld(t, Options{})
	w.live("l", "NEARBY k FENCE DETECT inside POINT 1 1 1000")
	w.line("SETCHAN old NEARBY k FENCE DETECT inside POINT 1 1 1000")
	before := w.line("SET k a POINT 1 1")
	next := newWorld(t, Options{})
	next.line("SETCHAN new NEARBY k FENCE DETECT inside POINT 1 1 1000")
	next.line("SET area home BOUNDS 0 0 9 9")
	next.line("SETCHAN get WITHIN k FENCE DETECT inside GET area home")
	next.line("SETCHAN late WITHIN k FENCE DETECT inside GET area home")
	from := New(Options{})
	from.Rebuild(next.st)
	// One that could not be compiled there, but can here.
	from.removeHook("late")
	from.inert["late"] = fmt.Errorf("why")
	w.set.Take(from, next.st)
	w.st = next.st
	after := w.line("SET k a POINT 1 1")
	if got := told(after); got != "get set inside\nlate set inside\nnew set inside\nl set inside\n" {
		t.Errorf("got\n%s", got)
	}
	if len(after) == 4 && after[3] == before[1] {
		t.Error("the group outlived the state")
	}
	if hooks, lives := w.set.Len(); hooks != 3 || lives != 1 || len(w.set.Inert()) != 0 {
		t.Errorf("%d hooks, %d connections, inert %v", hooks, lives, w.set.Inert())
	}
	var live *Fence
	w.set.watches["k"].lives.Scan(func(f *Fence) bool { live = f; return true })
	w.set.RemoveLive(live)
	if got := told(w.line("SET k a POINT 1 1")); got != "get set inside\nlate set inside\nnew set inside\n" {
		t.Errorf("after the connection is gone:\n%s", got)
	}
}

// TestCompiled: a definition that comes with its search is not compiled again.
func TestCompiled(t *testing.T) {
	w := newWorld(t, Options{})
	w.line("SETCHAN a NEARBY k FENCE DETECT inside POINT 1 1 1000")
	compiled := w.set.hooks["a"].search
	var ch collection.Change
	ch.SetCompiledHook(w.st.Hook("a"), compiled)
	w.st.Apply(&ch)
	w.set.Match(w.st, "setchan", w.set.m.writer.at, &ch, w.take)
	if w.set.hooks["a"].search != compiled {
		t.Error("it was compiled again")
	}
}
