package store

import (
	"context"
	"fmt"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/fence"
)

// Events takes what fences have to say, and hears of hooks. But for Commit its
// methods are called under the lock of the store, in the order of the changes:
// they must not block, and must not call the store.
type Events interface {
	// Fence gets one message of a hook, a channel or a live fence, and may keep
	// it.
	Fence(f *fence.Fence, msg []byte)
	// Hook hears that a hook or channel is defined, also when it takes the place
	// of another, or with gone that it is not any more.
	Hook(hk *collection.Hook, gone bool)
	// Rebuilt hears that all hooks and channels may have changed.
	Rebuilt(st *collection.State)
	// Commit returns when all messages so far are as safe as appendfsync asks.
	Commit(ctx context.Context) error
}

// Attach sets who takes the events from now on. It is called once, before the
// first client comes.
func (s *Store) Attach(e Events) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = e
	e.Rebuilt(s.eng.State())
}

// tell matches a change that has been applied against the fences.
func (s *Store) tell(name string, now int64, ch *collection.Change) {
	if s.events == nil {
		return
	}
	for i := range ch.Ops() {
		switch op := &ch.Ops()[i]; op.Kind {
		case collection.OpSetHook:
			s.events.Hook(op.Hook, false)
		case collection.OpRemoveHook:
			s.events.Hook(op.Hook, true)
		case collection.OpFlush:
			s.events.Rebuilt(s.eng.State())
		}
	}
	s.eng.Match(name, now, ch, s.events.Fence)
}

// rebuilt reports what a new state has in hooks.
func (s *Store) rebuilt() {
	for _, err := range s.eng.Inert() {
		s.opt.Logger.Warn("a hook or channel is kept, but does not fire", "why", err)
	}
	if s.events != nil {
		s.events.Rebuilt(s.eng.State())
	}
}

// Watch adds a live fence: args are the words of a NEARBY, WITHIN or INTERSECTS
// with FENCE. live comes back with its messages, from the moment that Watch
// returns at the latest. The errors are those of the command;
// search.ErrNoFence says that it is none with FENCE.
func (s *Store) Watch(args []string, live any) (*fence.Fence, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.eng.Watch(args, live)
}

// Unwatch removes what Watch returned.
func (s *Store) Unwatch(f *fence.Fence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eng.Unwatch(f)
}

// commitEvents waits for the messages of the writes that are being committed.
// They are made safe before the writes are: a message too many can be told from
// its write, one too few would be lost for ever.
func (s *Store) commitEvents(ctx context.Context) error {
	if s.events == nil {
		return nil
	}
	if err := s.events.Commit(ctx); err != nil {
		return fmt.Errorf("commit messages of hooks: %w", err)
	}
	return nil
}
