package upstream

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"evenkeel/pkg/proxy"
)

// side says which engine.
type side uint8

const (
	sideEngine side = iota
	sideLeader
	numSides
)

// link is a session's connection to an engine. Its goroutine reads the engine
// and writes to the client.
type link struct {
	s  *session
	t  *target
	nc net.Conn
	in source
	// busy is set while what ends replies is being written to the client.
	busy atomic.Bool
	rev  int                       // of the state that was said on it
	web  atomic.Pointer[webAnswer] // to the HTTP request that was sent on it

	// With the session's mu held.
	rep     replies
	pending pending
	cut     bool // what has been sent ends within a command
	lost    bool // nothing may be sent any more
	done    bool // the goroutine is about to end, and writes nothing more
}

// dial returns the link to a side, a new one when there is none or it cannot be
// used any more.
func (s *session) dial(to side) (*link, error) {
	t := s.b.engine
	if to == sideLeader && !s.opaque.Load() {
		t = s.b.leaderAt(s.route.Leader)
	}
	s.mu.Lock()
	l := s.links[to]
	if l != nil {
		// Where it stands within a command, or talks, it is not for us to choose.
		if !l.lost && (s.opaque.Load() || l.cut || l.t == t && l.rev == s.rev) {
			s.mu.Unlock()
			return l, nil
		}
		cut := l.cut
		s.retire(l)
		s.mu.Unlock()
		if s.isOver() {
			return nil, errOver
		}
		if cut {
			return nil, errCut
		}
	} else {
		s.mu.Unlock()
	}
	nc, err := t.dialAside(s.ctx)
	if err != nil {
		return nil, err
	}
	l = &link{s: s, t: t, nc: nc}
	if err := l.introduce(); err != nil {
		return nil, errors.Join(t.wrap(err), nc.Close())
	}
	return l, s.start(l, to)
}

// retire closes a link when it has nothing under way, and waits for its end. mu
// is held.
func (s *session) retire(l *link) {
	s.waitFor(l.quiet)
	if !l.lost {
		l.lost, l.rep.begun = true, false
		_ = l.nc.Close()
	}
	s.waitFor(func() bool { return l.done })
}

// quiet says whether all is answered and has been written. mu is held.
func (l *link) quiet() bool { return l.done || l.pending.n == 0 && !l.busy.Load() }

// start lets the link's goroutine run, unless the session ends.
func (s *session) start(l *link, to side) error {
	l.in.init(s.b.pools, l.nc)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil || s.over {
		return errors.Join(errOver, l.nc.Close())
	}
	s.links[to] = l
	s.b.count.links.Add(1)
	s.b.count.dials.Add(1)
	s.wg.Go(l.run)
	return nil
}

// run passes on what the engine sends until it sends no more.
func (l *link) run() {
	s := l.s
	defer func() {
		_ = l.nc.Close()
		if a := l.web.Load(); a != nil {
			a.done(s.b.opts.Observe)
		}
		s.b.count.links.Add(-1)
		s.mu.Lock()
		l.lost, l.done = true, true
		s.cond.Broadcast()
		s.mu.Unlock()
	}()
	for {
		b, err := l.in.read(nil)
		if err != nil {
			l.ended(err)
			return
		}
		err = l.deliver(b)
		l.in.release()
		if err != nil {
			s.finish(proxy.ClosedByReset, fmt.Errorf("sending to the client: %w", err))
			return
		}
	}
}

// deliver writes b to the client.
func (l *link) deliver(b []byte) error {
	s := l.s
	if !s.opaque.Load() {
		l.look(b)
	} else if a := l.web.Load(); a != nil {
		a.look(b, time.Since(s.began))
	}
	_, err := s.r.Write(b)
	l.busy.Store(false)
	if s.waiting.Load() {
		s.mu.Lock()
		s.cond.Broadcast()
		s.mu.Unlock()
	}
	return err
}

// look finds the replies that end in b.
func (l *link) look(b []byte) {
	s := l.s
	now := time.Since(s.began)
	s.mu.Lock()
	defer s.mu.Unlock()
	l.busy.Store(true)
	for len(b) > 0 {
		if l.pending.n == 0 {
			s.live = true // it talks without being asked
			s.makeOpaque()
			return
		}
		n, whole, ok := l.rep.next(b)
		if !ok {
			s.makeOpaque()
			return
		}
		b = b[n:]
		if whole && !l.answered(now) {
			return
		}
	}
}

// answered is about the oldest command, whose reply is whole. It returns false
// when more will come than is asked for. mu is held.
func (l *link) answered(now time.Duration) bool {
	s := l.s
	e := l.pending.next()
	failed := l.rep.failed()
	s.b.opts.Observe(e.cmd.name, now-e.at, failed)
	if e.keep != nil && !failed {
		s.remember(l, e.keep)
	}
	if !failed && (e.cmd.turns || e.live && l.rep.live()) {
		s.live = true
		if e.cmd.full {
			s.r.Endless()
		}
		s.makeOpaque()
		return false
	}
	l.pending.drop()
	return true
}
