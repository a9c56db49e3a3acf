package node

import (
	"context"
	"errors"
	"sync"

	"evenkeel/pkg/upstream"
)

// This file lets a leader stand still for the moment in which another node becomes the
// leader in its place: what is under way is answered first, and what comes meanwhile waits
// and is then carried out wherever it belongs. So a planned change of the leader fails nothing.

var errHeld = errors.New("a change of the leader is under way")

// hold counts the pipelines that do something as a leader, and holds up new ones.
type hold struct {
	mu   sync.Mutex
	busy int
	held chan struct{} // closed when they may go on; nil: nothing is held up
	idle chan struct{} // closed when none is busy any more; nil: nobody waits for that
}

// enter is called before a pipeline does the first thing as a leader. It may wait.
func (h *hold) enter(ctx context.Context) error {
	for {
		h.mu.Lock()
		held := h.held
		if held == nil {
			h.busy++
			h.mu.Unlock()
			return nil
		}
		h.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// leave is called when its replies are final.
func (h *hold) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.busy--; h.busy == 0 && h.idle != nil {
		close(h.idle)
		h.idle = nil
	}
}

// Hold lets pipelines of clients wait until release is called, and returns when those
// under way are answered. It fails when that takes longer than ctx, and holds nothing up then.
func (n *Node) Hold(ctx context.Context) (release func(), err error) {
	h := &n.hold
	h.mu.Lock()
	if h.held != nil {
		h.mu.Unlock()
		return nil, errHeld
	}
	held, idle := make(chan struct{}), make(chan struct{})
	h.held = held
	if h.busy == 0 {
		close(idle)
	} else {
		h.idle = idle
	}
	h.mu.Unlock()
	release = sync.OnceFunc(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.held, h.idle = nil, nil
		close(held)
	})
	select {
	case <-idle:
		return release, nil
	case <-ctx.Done():
		release()
		return nil, context.Cause(ctx)
	}
}

// enter waits, before the first command of a pipeline that is the leader's, while this
// node hands its role over.
func (s *session) enter(e *entry) {
	b := s.batch
	if s.node.opt.Fence == nil || b.inside || e == nil || e.class == upstream.ClassLocal || !s.node.role.leads() {
		return
	}
	b.inside = s.node.hold.enter(b.ctx) == nil // else the client has gone
}

// leave ends what enter has begun.
func (s *session) leave() {
	if s.batch.inside {
		s.batch.inside = false
		s.node.hold.leave()
	}
}
