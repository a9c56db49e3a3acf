package collection

import (
	"strings"

	"github.com/tidwall/btree"
)

// State is all data of an engine. One goroutine at a time may call Apply,
// Snapshot or Digest; the other methods may run beside each other, and beside
// anything on another snapshot of the same state.
type State struct {
	cols  *btree.Map[string, *Collection]
	hooks hookSet
	total Totals // over cols
	gen   uint64
	sum   Digest
	dirty []string // names of collections whose share in sum is out of date
	h     hasher

	deferred bool // the collections do without ordered indexes, see Defer
}

// NewState returns a state without collections.
func NewState() *State {
	return &State{cols: new(btree.Map[string, *Collection]), hooks: newHookSet()}
}

// Collection returns the collection with this name, or nil.
func (s *State) Collection(name string) *Collection {
	c, _ := s.cols.Get(name)
	return c
}

// Get returns an item, or nil; ok says whether the collection exists.
func (s *State) Get(name, id string) (it *Item, ok bool) {
	c := s.Collection(name)
	if c == nil {
		return nil, false
	}
	return c.Get(id), true
}

// Len returns the number of collections.
func (s *State) Len() int { return s.cols.Len() }

// Totals are sums over all collections: of Collection.Len and its like.
type Totals struct{ Items, Texts, Points, Weight int }

// Totals returns the sums as they are now, in constant time.
func (s *State) Totals() Totals { return s.total }

// count adds a collection to the sums, or with -1 takes it out of them.
func (t *Totals) count(c *Collection, sign int) {
	n := c.Len()
	t.Items += sign * n
	t.Texts += sign * (n - c.objects)
	t.Points += sign * c.points
	t.Weight += sign * c.weight
}

// Scan visits the collections in the order of their names, from pivot; "" is
// from the first.
func (s *State) Scan(pivot string, visit func(*Collection) bool) {
	s.cols.Ascend(pivot, func(_ string, c *Collection) bool { return visit(c) })
}

// Snapshot returns the state as it is now; later changes of s do not show in
// it. O(1). The snapshot must not be changed.
func (s *State) Snapshot() *State {
	s.Digest()
	s.gen++
	return &State{cols: s.cols.Copy(), hooks: s.hooks.clone(), total: s.total, gen: s.gen, sum: s.sum}
}

// Digest returns the digest of the whole state.
func (s *State) Digest() Digest {
	for _, name := range s.dirty {
		// A collection that was dropped since gave its share back then.
		if c := s.Collection(name); c != nil {
			s.sum = s.sum.Sub(c.counted)
			c.counted = s.h.collection(c.name, c.digest)
			s.sum = s.sum.Add(c.counted)
		}
	}
	s.dirty = s.dirty[:0]
	return s.sum.Add(s.hooks.sum)
}

// NextDeadline returns the earliest deadline of all items, 0 when there is
// none.
func (s *State) NextDeadline() int64 {
	next := s.hooks.nextDeadline()
	s.cols.Scan(func(_ string, c *Collection) bool {
		if d := c.NextDeadline(); d != 0 && (next == 0 || d < next) {
			next = d
		}
		return true
	})
	return next
}

// Apply carries out a change that a command recorded against this state. It
// cannot fail.
func (s *State) Apply(ch *Change) {
	for i := 0; i < len(ch.ops); i++ {
		op := &ch.ops[i]
		switch op.Kind {
		case OpPut:
			s.put(op)
		case OpRemove:
			s.remove(op)
		case OpDrop:
			s.drop(op.Key)
		case OpRename:
			s.rename(op.Key, op.NewKey)
		case OpFlush:
			s.flush()
		case OpSetHook:
			s.hooks.set(op.Hook, &s.h)
		case OpRemoveHook:
			i += s.hooks.removeRun(ch.ops[i:], &s.h) - 1
		}
	}
	s.h.trim()
}

// own returns the collection for changing: the one of this generation.
func (s *State) own(name string) *Collection {
	c := s.Collection(name)
	if c == nil {
		return nil
	}
	if c.gen != s.gen {
		c = c.clone(s.gen)
		s.cols.Set(c.name, c)
	}
	if len(s.dirty) == 0 || s.dirty[len(s.dirty)-1] != c.name {
		s.dirty = append(s.dirty, c.name)
	}
	return c
}

func (s *State) put(op *Op) {
	c := s.own(op.Key)
	if c == nil {
		c = newCollection(op.Key, s.gen)
		if s.deferred {
			c.deferIndexes()
		}
		s.cols.Set(c.name, c)
		s.dirty = append(s.dirty, c.name)
	}
	s.total.count(c, -1)
	c.put(op.New, op.Old, &s.h)
	s.total.count(c, 1)
}

// remove takes an item out; a collection without items is none.
func (s *State) remove(op *Op) {
	c := s.own(op.Key)
	s.total.count(c, -1)
	c.remove(op.Old, &s.h)
	s.total.count(c, 1)
	if c.Len() == 0 {
		s.drop(op.Key)
	}
}

func (s *State) drop(name string) {
	if c, ok := s.cols.Delete(name); ok {
		s.total.count(c, -1)
		s.sum = s.sum.Sub(c.counted)
	}
}

func (s *State) rename(from, to string) {
	c := s.own(from)
	s.drop(from)
	s.drop(to)
	c.name = strings.Clone(to)
	c.counted = Digest{}
	s.total.count(c, 1)
	s.cols.Set(c.name, c)
	s.dirty = append(s.dirty, c.name)
}

func (s *State) flush() {
	s.cols = new(btree.Map[string, *Collection])
	s.hooks = newHookSet()
	s.total = Totals{}
	s.sum = Digest{}
	s.dirty = s.dirty[:0]
}
