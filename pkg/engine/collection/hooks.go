package collection

import (
	"cmp"
	"slices"

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

// hookSet holds the hooks by name, by the collection that they watch, those that
// end by deadline, and their share in the state's digest.
type hookSet struct {
	tree     *btree.BTreeG[*Hook]
	byKey    *btree.BTreeG[*Hook]
	expires  *btree.BTreeG[*Hook]
	channels int
	sum      Digest
}

func hooksByName(a, b *Hook) bool { return a.Name < b.Name }

// hooksByKey puts the hooks of a collection before its channels: see HookOf.
func hooksByKey(a, b *Hook) bool {
	if a.Key != b.Key {
		return a.Key < b.Key
	}
	if a.Channel != b.Channel {
		return b.Channel
	}
	return a.Name < b.Name
}

func hooksByDeadline(a, b *Hook) bool {
	if a.Deadline != b.Deadline {
		return a.Deadline < b.Deadline
	}
	return a.Name < b.Name
}

func newHookTree(less func(a, b *Hook) bool) *btree.BTreeG[*Hook] {
	return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
}

func newHookSet() hookSet {
	return hookSet{tree: newHookTree(hooksByName), byKey: newHookTree(hooksByKey), expires: newHookTree(hooksByDeadline)}
}

func (hs *hookSet) clone() hookSet {
	c := *hs
	c.tree, c.byKey, c.expires = hs.tree.Copy(), hs.byKey.Copy(), hs.expires.Copy()
	return c
}

func (hs *hookSet) set(hk *Hook, h *hasher) {
	if old, ok := hs.tree.Set(hk); ok {
		hs.discount(old, h)
		hs.unlist(old)
	}
	hs.sum = hs.sum.Add(h.hook(hk))
	if hk.Channel {
		hs.channels++
	}
	hs.byKey.Set(hk)
	if hk.Deadline != 0 {
		hs.expires.Set(hk)
	}
}

func (hs *hookSet) remove(name string, h *hasher) {
	if old, ok := hs.tree.Delete(&Hook{Name: name}); ok {
		hs.discount(old, h)
		hs.unlist(old)
	}
}

// discount takes old out of the sums.
func (hs *hookSet) discount(old *Hook, h *hasher) {
	hs.sum = hs.sum.Sub(h.hook(old))
	if old.Channel {
		hs.channels--
	}
}

// unlist takes old out of the trees beside that of the names.
func (hs *hookSet) unlist(old *Hook) {
	hs.byKey.Delete(old)
	if old.Deadline != 0 {
		hs.expires.Delete(old)
	}
}

// bulkHooks is how many hooks are removed one by one at most.
const bulkHooks = 256

// removeRun carries out the OpRemoveHooks that ops begins with and returns their
// number. Many of them, in the order of their names as PDELHOOK records them,
// leave new trees of the few that stay behind: that is several times cheaper.
func (hs *hookSet) removeRun(ops []Op, h *hasher) int {
	n, sorted := 1, true
	for n < len(ops) && ops[n].Kind == OpRemoveHook {
		sorted = sorted && ops[n-1].Hook.Name < ops[n].Hook.Name
		n++
	}
	if n <= bulkHooks || n < hs.tree.Len()/2 || !sorted {
		for i := range n {
			hs.remove(ops[i].Hook.Name, h)
		}
		return n
	}
	var stay []*Hook
	gone := ops[:n]
	hs.tree.Scan(func(hk *Hook) bool {
		for len(gone) > 0 && gone[0].Hook.Name < hk.Name {
			gone = gone[1:]
		}
		if len(gone) == 0 || gone[0].Hook.Name != hk.Name {
			stay = append(stay, hk)
		}
		return true
	})
	hs.rebuild(stay, h)
	return n
}

// rebuild makes everything anew, of hooks in the order of their names, which it
// puts into other orders.
func (hs *hookSet) rebuild(hooks []*Hook, h *hasher) {
	*hs = newHookSet()
	for _, hk := range hooks {
		hs.tree.Load(hk)
		hs.sum = hs.sum.Add(h.hook(hk))
		if hk.Channel {
			hs.channels++
		}
	}
	slices.SortStableFunc(hooks, func(a, b *Hook) int { return cmp.Compare(a.Key, b.Key) })
	for _, hk := range hooks {
		hs.byKey.Load(hk)
		if hk.Deadline != 0 {
			hs.expires.Set(hk)
		}
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

// HookOf returns one of those that watch a collection, a channel only if there is
// no hook, or nil.
func (s *State) HookOf(key string) (first *Hook) {
	s.hooks.byKey.Ascend(&Hook{Key: key}, func(hk *Hook) bool {
		if hk.Key == key {
			first = hk
		}
		return false
	})
	return first
}

// CountHooks returns how many hooks and how many channels there are.
func (s *State) CountHooks() (hooks, channels int) {
	return s.hooks.tree.Len() - s.hooks.channels, s.hooks.channels
}

// ScanHooks visits the hooks and channels in the order of their names.
func (s *State) ScanHooks(visit func(*Hook) bool) { s.hooks.tree.Scan(visit) }

// ScanHooksFrom is ScanHooks from the first name at or after pivot.
func (s *State) ScanHooksFrom(pivot string, visit func(*Hook) bool) {
	s.hooks.tree.Ascend(&Hook{Name: pivot}, visit)
}

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
func (ch *Change) SetHook(hk *Hook) { ch.SetCompiledHook(hk, nil) }

// SetCompiledHook is SetHook with the search of the definition as it has been
// compiled, for those who follow the change; the state does not keep it.
func (ch *Change) SetCompiledHook(hk *Hook, compiled any) {
	ch.ops = append(ch.ops, Op{Kind: OpSetHook, Hook: hk, Compiled: compiled})
}

// RemoveHook records that hk, which exists, goes.
func (ch *Change) RemoveHook(hk *Hook) { ch.ops = append(ch.ops, Op{Kind: OpRemoveHook, Hook: hk}) }
