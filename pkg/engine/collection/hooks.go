package collection

import (
	"github.com/tidwall/btree"
)

// Hook is the definition of a webhook or of a channel: what SETHOOK or SETCHAN
// said. It is immutable. Hooks and channels share one space of names.
type Hook struct {
	Name      string
	Key       string // the collection it watches
	Channel   bool
	Endpoints []string // of a webhook
	Meta      []Meta   // sorted by name
	Command   []string // the search: NEARBY key FENCE …
	Deadline  int64    // Unix milliseconds, 0 for none
}

// Meta is one META name value of a hook.
type Meta struct{ Name, Value string }

// hookSet holds the hooks by name, those that end by deadline, and their share
// in the state's digest.
type hookSet struct {
	tree    *btree.BTreeG[*Hook]
	expires *btree.BTreeG[*Hook]
	sum     Digest
}

func newHookSet() hookSet {
	byName := func(a, b *Hook) bool { return a.Name < b.Name }
	byDeadline := func(a, b *Hook) bool {
		if a.Deadline != b.Deadline {
			return a.Deadline < b.Deadline
		}
		return a.Name < b.Name
	}
	opt := btree.Options{NoLocks: true}
	return hookSet{tree: btree.NewBTreeGOptions(byName, opt), expires: btree.NewBTreeGOptions(byDeadline, opt)}
}

func (hs *hookSet) clone() hookSet {
	return hookSet{tree: hs.tree.Copy(), expires: hs.expires.Copy(), sum: hs.sum}
}

func (hs *hookSet) set(hk *Hook, h *hasher) {
	if old, ok := hs.tree.Set(hk); ok {
		hs.discount(old, h)
	}
	hs.sum = hs.sum.Add(h.hook(hk))
	if hk.Deadline != 0 {
		hs.expires.Set(hk)
	}
}

func (hs *hookSet) remove(name string, h *hasher) {
	if old, ok := hs.tree.Delete(&Hook{Name: name}); ok {
		hs.discount(old, h)
	}
}

func (hs *hookSet) discount(old *Hook, h *hasher) {
	hs.sum = hs.sum.Sub(h.hook(old))
	if old.Deadline != 0 {
		hs.expires.Delete(old)
	}
}

// hook is the digest of a definition. No item's digest is made of bytes that
// begin like it.
func (h *hasher) hook(hk *Hook) Digest {
	kind := byte('h')
	if hk.Channel {
		kind = 'c'
	}
	h.buf = append(append(h.buf[:0], "hook\x00"...), kind)
	b := h.buf
	b = appendString(appendString(b, hk.Name), hk.Key)
	b = appendStrings(appendStrings(b, hk.Endpoints), hk.Command)
	for _, m := range hk.Meta {
		b = appendString(appendString(b, m.Name), m.Value)
	}
	b = appendFloats(b, float64(hk.Deadline))
	h.buf = b
	return sum(b)
}

func appendStrings(b []byte, list []string) []byte {
	b = appendFloats(b, float64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

// Hook returns the hook or channel with this name, or nil.
func (s *State) Hook(name string) *Hook {
	hk, _ := s.hooks.tree.Get(&Hook{Name: name})
	return hk
}

// ScanHooks visits the hooks and channels in the order of their names.
func (s *State) ScanHooks(visit func(*Hook) bool) { s.hooks.tree.Scan(visit) }

// ExpiredHooks visits the hooks and channels whose deadline is at or before now,
// earliest first.
func (s *State) ExpiredHooks(now int64, visit func(*Hook) bool) {
	s.hooks.expires.Scan(func(hk *Hook) bool { return hk.Deadline <= now && visit(hk) })
}

// nextDeadline returns the earliest deadline of a hook, 0 when none has one.
func (hs *hookSet) nextDeadline() int64 {
	hk, ok := hs.expires.Min()
	if !ok {
		return 0
	}
	return hk.Deadline
}

// SetHook records that hk takes the place of the hook with its name.
func (ch *Change) SetHook(hk *Hook) { ch.ops = append(ch.ops, Op{Kind: OpSetHook, Hook: hk}) }

// RemoveHook records that hk, which exists, goes.
func (ch *Change) RemoveHook(hk *Hook) { ch.ops = append(ch.ops, Op{Kind: OpRemoveHook, Hook: hk}) }
