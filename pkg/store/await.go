package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"evenkeel/pkg/aof"
)

// ErrParted says that a position will never be reached: the history went on without
// it.
var ErrParted = errors.New("the history has left that position out")

// moved wakes those who wait for a follower's state to get somewhere.
type moved struct {
	waiting atomic.Int32
	mu      sync.Mutex
	next    chan struct{} // closed when the state has moved
}

// watch returns what is closed when the state moves next.
func (m *moved) watch() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.next == nil {
		m.next = make(chan struct{})
	}
	return m.next
}

// tell says that the state has moved. It costs nothing when nobody waits.
func (m *moved) tell() {
	if m.waiting.Load() == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.next != nil {
		close(m.next)
		m.next = nil
	}
}

// Await waits until a follower's state has what its leader's log had at p.
// ErrParted: it never will.
func (s *Store) Await(ctx context.Context, p aof.Position) error {
	if has, err := s.has(p); has || err != nil {
		return err
	}
	s.moved.waiting.Add(1)
	defer s.moved.waiting.Add(-1)
	for {
		next := s.moved.watch() // before looking: what comes behind it is told
		if has, err := s.has(p); has || err != nil {
			return err
		}
		select {
		case <-next:
		case <-ctx.Done():
			return fmt.Errorf("waiting for offset %d of epoch %s: %w", p.Offset, p.Epoch, context.Cause(ctx))
		}
	}
}

// has says whether the state includes all up to p.
func (s *Store) has(p aof.Position) (bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.halfway {
		return false, nil
	}
	here := s.log.Position()
	if here.Epoch == p.Epoch {
		return here.Offset >= p.Offset, nil
	}
	// Another epoch: the one before a promotion that is known here, or one that this
	// follower has not got to.
	fork, known := s.log.ForkOf(p.Epoch)
	switch {
	case !known:
		return false, nil
	case fork < p.Offset:
		return false, fmt.Errorf("offset %d of epoch %s, which ended at %d: %w", p.Offset, p.Epoch, fork, ErrParted)
	}
	return here.Offset >= p.Offset, nil
}
