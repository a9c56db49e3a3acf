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
		s.setHook(st, hk)
		return true
	})
	return s.Inert()
}

// clear removes all but the connections, which forget everything.
func (s *Set) clear() {
	clear(s.inert)
	for _, f := range s.hooks {
		s.remove(f)
	}
	clear(s.hooks)
	for _, w := range s.watches {
		w.memory = nil
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

// setHook follows SETHOOK and SETCHAN.
func (s *Set) setHook(st *collection.State, hk *collection.Hook) {
	s.removeHook(hk.Name)
	q, err := s.opt.Search.ParseFence(hk.Command[0], hk.Command[1:], st, true)
	if err != nil {
		s.inert[hk.Name] = err
		return
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

func (s *Set) add(f *Fence) {
	s.serial++
	f.serial = s.serial
	f.init()
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
	for i := range ops {
		op := &ops[i]
		switch op.Kind {
		case collection.OpSetHook:
			s.setHook(st, op.Hook)
		case collection.OpRemoveHook:
			s.removeHook(op.Hook.Name)
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
