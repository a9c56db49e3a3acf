package collection

import (
	"fmt"
	"testing"
)

// TestHooks: whatever comes and goes, one by one or many at once, all indexes,
// counts and the digest agree, and snapshots keep what they have.
func TestHooks(t *testing.T) {
	const n = 3 * bulkHooks
	s := NewState()
	var ch Change
	apply := func() {
		t.Helper()
		s.Apply(&ch)
		ch.Reset()
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
	}
	hook := func(i int) *Hook {
		return &Hook{Name: fmt.Sprintf("h%04d", i), Key: fmt.Sprint("k", i%3), Channel: i%2 == 0, Deadline: int64(i % 5), Command: []string{"NEARBY"}}
	}
	for i := range n {
		ch.SetHook(hook(i))
	}
	apply()
	first, all := s.Snapshot(), s.Digest()
	remove := func(keep func(i int) bool, backwards bool) {
		for i := range n {
			if backwards {
				i = n - 1 - i
			}
			if hk := s.Hook(fmt.Sprintf("h%04d", i)); hk != nil && !keep(i) {
				ch.RemoveHook(hk)
			}
		}
		apply()
	}
	remove(func(i int) bool { return i%10 == 4 }, false)
	if hooks, channels := s.CountHooks(); hooks != 0 || channels != (n+5)/10 {
		t.Errorf("%d hooks, %d channels", hooks, channels)
	}
	if hk := s.HookOf("k2"); hk == nil || hk.Name != "h0014" {
		t.Errorf("first of k2: %+v", hk)
	}
	if s.HookOf("k") != nil || s.HookOf("k3") != nil {
		t.Error("hooks of collections that nobody watches")
	}
	for i := range n {
		ch.SetHook(hook(i))
	}
	apply()
	if s.Digest() != all {
		t.Error("the same hooks have another digest")
	}
	remove(func(i int) bool { return i == 0 }, true) // not in order
	remove(func(int) bool { return false }, false)
	if hooks, channels := s.CountHooks(); hooks+channels != 0 || s.HookOf("k0") != nil {
		t.Errorf("%d hooks, %d channels are left", hooks, channels)
	}
	if err := first.Check(); err != nil || first.Digest() != all {
		t.Errorf("the snapshot has changed: %v", err)
	}
}

// TestScanHooksFrom: from the first name at or after the pivot.
func TestScanHooksFrom(t *testing.T) {
	s := NewState()
	var ch Change
	for _, name := range []string{"b", "a", "c"} {
		ch.SetHook(&Hook{Name: name})
	}
	s.Apply(&ch)
	for pivot, want := range map[string]string{"": "abc", "a": "abc", "aa": "bc", "c": "c", "d": ""} {
		got := ""
		s.ScanHooksFrom(pivot, func(hk *Hook) bool {
			got += hk.Name
			return true
		})
		if got != want {
			t.Errorf("from %q: %q, want %q", pivot, got, want)
		}
	}
}
