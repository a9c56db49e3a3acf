package store

import (
	"context"
	"fmt"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/fence"
	"evenkeel/pkg/engine/search"
)

// Events takes what fences have to say, and hears of hooks. But for Commit its
// methods are called under the lock of the store, in the order of the changes:
// they must not block, and must not call the store.
type Events interface {
	// Fence gets one message of a hook, a channel or a live fence, and may keep
	// it.
	Fence(f *fence.Fence, msg []byte)
	// Publish gets a message for a channel, may keep it, and returns how many
	// connections it goes to.
	Publish(channel string, msg []byte) int
	// Hook hears that a hook or channel is defined, also when it takes the place
	// of another, or with gone that it is not any more.
	Hook(hk *collection.Hook, gone bool)
	// Rebuilt hears that all hooks and channels may have changed.
	Rebuilt(st *collection.State)
	// Commit returns when all messages so far are as safe as appendfsync asks.
	Commit(ctx context.Context) error
	// Blocked says why Commit would fail now; writes are refused meanwhile.
	Blocked() error
}

// Attach sets who takes the events from now on. It is called once, before the
// first client comes.
func (s *Store) Attach(e Events) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = e
	// Messages are made safe before the writes that they tell of: one too many can
	// be told from its write, one too few would be lost for ever. The log asks for
	// it, because a write may be committed by whoever comes next.
	s.log.BeforeWrite(func() error {
		if err := e.Commit(context.Background()); err != nil {
			return fmt.Errorf("commit messages of hooks: %w", err)
		}
		return nil
	})
	e.Rebuilt(s.eng.State())
}

// tell matches a change that has been applied against the fences.
func (s *Store) tell(name string, now int64, ch *collection.Change) {
	if s.events == nil {
		return
	}
	s.hooksChanged(ch)
	s.eng.Match(name, now, ch, s.emit)
}

// tellReplica is tell for a change of the leader. What its channels have to say
// is in its log, as PUBLISH.
func (s *Store) tellReplica(name string, now int64, ch *collection.Change) {
	if s.events == nil {
		return
	}
	s.hooksChanged(ch)
	s.eng.Match(name, now, ch, func(f *fence.Fence, msg []byte) {
		if !f.IsChannel() {
			s.events.Fence(f, msg)
		}
	})
}

// emit hands over a message. One of a channel is logged, as in Tile38, so that
// those who listen on followers get the same.
func (s *Store) emit(f *fence.Fence, msg []byte) {
	if f.IsChannel() {
		s.log.Add([]string{publish, f.Name(), string(msg)})
	}
	s.events.Fence(f, msg)
}

// publish is the command by which messages are in the log.
const publish = "PUBLISH"

// Publish hands a message to those who listen to a channel, here and on
// followers, and returns how many do here. The offset is as Write's; it is 0
// when nothing is logged: what is published on a follower, or while clients may
// not write, stays here.
func (s *Store) Publish(channel string, msg []byte) (receivers int, offset int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse == nil {
		if _, err := s.begin(); err != nil {
			return 0, 0, err
		}
		s.log.Add([]string{publish, channel, string(msg)})
		offset = s.log.End(aof.Digest(s.eng.State().Digest()))
	}
	return s.events.Publish(channel, msg), offset, nil
}

func (s *Store) hooksChanged(ch *collection.Change) {
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
	if search.Heavy(args) {
		q, err := s.compileFence(args)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.eng.AddLive(q, live), nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.eng.Watch(args, live)
}

// compileFence reads a fence that may have a large area on a snapshot.
func (s *Store) compileFence(args []string) (*search.Fence, error) {
	defer s.admitHeavy()()
	return s.eng.CompileFence(args, s.Snapshot())
}

// Unwatch removes what Watch returned.
func (s *Store) Unwatch(f *fence.Fence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eng.Unwatch(f)
}
