package hooks

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestFlippedAnywhere: whichever byte of whichever file of the queue is not what
// it was, no message is delivered that was not queued, none in another order, and
// none is missing without a word.
func TestFlippedAnywhere(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir)
	q.SetHook("a", nil)
	want := []string{"first", "second", "third", "fourth"}
	add(t, q, "a", want...)
	stop(t, q)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	flips, found := 0, 0
	for _, e := range entries {
		whole, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for at := range whole {
			for _, bit := range []byte{0x01, 0x80} {
				damaged := clone(t, dir)
				b := slices.Clone(whole)
				b[at] ^= bit
				if err := os.WriteFile(filepath.Join(damaged, e.Name()), b, 0o600); err != nil {
					t.Fatal(err)
				}
				flips++
				if flipped(t, damaged, want) {
					found++
				} else {
					t.Errorf("%s: byte %d with %#02x: a message is missing without a word", e.Name(), at, bit)
				}
			}
		}
	}
	t.Logf("%d flips", flips)
	if flips < 200 || found != flips {
		t.Errorf("%d of %d flips were found or did no harm", found, flips)
	}
}

// flipped opens a damaged queue, and says whether it delivers all, or tells that
// it does not.
func flipped(t *testing.T, dir string, want []string) bool {
	t.Helper()
	box := newInbox()
	q, err := tryOpen(dir, withLocal(box))
	if err != nil {
		return true // it says so, and does not start
	}
	st := q.Stats()
	q.SetHook("a", []string{"local://a"})
	start(t, q)
	drained(t, q)
	stop(t, q)
	got := box.list("a")
	at := 0
	for _, m := range got {
		i := slices.Index(want[at:], m)
		if i < 0 {
			t.Errorf("%s: delivered %q of %q", dir, got, want)
			return false
		}
		at += i + 1
	}
	return len(got) == len(want) || st.Damaged+st.Torn > 0
}
