package fence

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/search"
)

// Set is all fences of a state. The zero Set is not usable; see New.
type Set struct {
	opt     Options
	watches map[string]*watch // by collection
	hooks   map[string]*Fence // hooks and channels by name
	inert   map[string]error  // definitions that cannot be compiled, by name
	lives   int
	serial  uint64
	births  uint64 // counts objects that are remembered, and visits
	tick    uint64 // counts searches for fences
	m       matcher
}

// New returns a Set without fences.
func New(opt Options) *Set {
	opt.EnsureDefaults()
	return &Set{
		opt:     opt,
		watches: map[string]*watch{},
		hooks:   map[string]*Fence{},
		inert:   map[string]error{},
	}
}

// Len returns the number of hooks and channels, and of connections.
func (s *Set) Len() (hooks, lives int) { return len(s.hooks), s.lives }

// Inert returns why definitions of the state are not watched: they were accepted
// once, and can no longer be compiled.
func (s *Set) Inert() []error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(s.inert)) {
		errs = append(errs, fmt.Errorf("hook %q: %w", name, s.inert[name]))
	}
	return errs
}

// Rebuild takes the hooks and channels of st, after a load or another whole
// change of the state, and forgets what it remembers of objects. Connections
// stay. The errors are those of Inert.
func (s *Set) Rebuild(st *collection.State) []error {
	s.clear()
	st.ScanHooks(func(hk *collection.Hook) bool {
		s.setHook(st, hk, nil)
		return true
	})
	return s.Inert()
}

// clear removes all but the connections, which forget everything. It takes the
// time of the connections and collections, however many hooks there are.
func (s *Set) clear() {
	watches := s.watches
	s.watches, s.hooks, s.inert = map[string]*watch{}, map[string]*Fence{}, map[string]error{}
	for _, w := range watches {
		w.lives.Scan(func(f *Fence) bool {
			s.list(f)
			return true
		})
	}
}

// Take replaces the hooks and channels by those of from, a Set of the state st
// which is not to be used any more, and forgets what is remembered of objects.
// Connections stay. It is Rebuild for those who have built the other Set beside
// the traffic. What from could not compile is tried again.
func (s *Set) Take(from *Set, st *collection.State) {
	watches := s.watches
	s.watches, s.hooks, s.inert = from.watches, from.hooks, map[string]error{}
	s.births += from.births // no group of before may come again
	s.serial = max(s.serial, from.serial)
	for _, w := range watches {
		w.lives.Scan(func(f *Fence) bool {
			s.add(f)
			return true
		})
	}
	for name := range from.inert {
		if hk := st.Hook(name); hk != nil {
			s.setHook(st, hk, nil)
		}
	}
}

// AddLive adds a connection's fence and returns what stands for it.
func (s *Set) AddLive(q *search.Fence, live any) *Fence {
	f := &Fence{Live: live, search: q}
	s.add(f)
	s.lives++
	return f
}

// RemoveLive removes what AddLive returned. Once more is nothing.
func (s *Set) RemoveLive(f *Fence) {
	if f.watch != nil {
		s.remove(f)
		s.lives--
	}
}

// setHook follows SETHOOK and SETCHAN; compiled is their search, if it is known.
func (s *Set) setHook(st *collection.State, hk *collection.Hook, compiled any) {
	s.removeHook(hk.Name)
	q, ok := compiled.(*search.Fence)
	if !ok {
		var err error
		if q, err = s.opt.Search.ParseFence(hk.Command[0], hk.Command[1:], st, true); err != nil {
			s.inert[hk.Name] = err
			return
		}
	}
	f := &Fence{Hook: hk, search: q}
	s.add(f)
	s.hooks[hk.Name] = f
}

func (s *Set) removeHook(name string) {
	delete(s.inert, name)
	if f := s.hooks[name]; f != nil {
		delete(s.hooks, name)
		s.remove(f)
	}
}

// bulkRemoval is how many hooks are removed one by one at most.
const bulkRemoval = 256

// removeHooks follows the OpRemoveHooks that ops begins with and returns their
// number. When no more stay behind than go, what stays is listed anew, which is
// several times cheaper.
func (s *Set) removeHooks(ops []collection.Op) int {
	n := 1
	for n < len(ops) && ops[n].Kind == collection.OpRemoveHook {
		n++
	}
	ops = ops[:n]
	if n <= bulkRemoval || n < len(s.hooks)/2 {
		for i := range ops {
			s.removeHook(ops[i].Hook.Name)
		}
		return n
	}
	renewed := map[*watch]*watch{}
	for i := range ops {
		name := ops[i].Hook.Name
		delete(s.inert, name)
		if f := s.hooks[name]; f != nil && f.watch != nil {
			w := f.watch
			renewed[w] = nil
			w.removed++
			f.watch = nil
		}
	}
	for w := range renewed {
		renewed[w] = w.renewed()
		s.watches[w.key] = renewed[w]
	}
	before := s.hooks
	s.hooks = make(map[string]*Fence, max(len(before)-n, 0))
	for name, f := range before {
		if f.watch == nil {
			continue
		}
		s.hooks[name] = f
		if w := renewed[f.watch]; w != nil {
			w.add(f)
		}
	}
	for _, w := range renewed {
		if w.len() == 0 {
			delete(s.watches, w.key)
		}
	}
	return n
}

// add adds a new fence.
func (s *Set) add(f *Fence) {
	s.serial++
	f.serial = s.serial
	f.init()
	s.list(f)
}

// list puts a fence into the watch of its collection.
func (s *Set) list(f *Fence) {
	w := s.watches[f.Key()]
	if w == nil {
		w = newWatch(f.Key())
		s.watches[w.key] = w
	}
	w.add(f)
}

func (s *Set) remove(f *Fence) {
	w := f.watch
	w.remove(f)
	if w.len() == 0 {
		delete(s.watches, w.key)
	}
}

// Match follows a change that was applied to st: definitions first, then the
// fences that it concerns, each of which is emitted with every message that it
// gets, in order. name is the command in lower case; at is when it happened, in
// the time zone that messages show. A message is not used again: emit may keep
// it, but not change it. emit must not change the Set.
func (s *Set) Match(st *collection.State, name string, at time.Time, ch *collection.Change, emit func(*Fence, []byte)) {
	ops := ch.Ops()
	for i := 0; i < len(ops); i++ {
		op := &ops[i]
		switch op.Kind {
		case collection.OpSetHook:
			s.setHook(st, op.Hook, op.Compiled)
		case collection.OpRemoveHook:
			i += s.removeHooks(ops[i:]) - 1
		case collection.OpFlush:
			s.clear()
		case collection.OpPut, collection.OpRemove, collection.OpDrop:
			if w := s.watches[op.Key]; w != nil {
				s.match(w, st, name, at, op, emit)
			}
		}
	}
	s.m.release()
}
