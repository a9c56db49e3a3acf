package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"sync/atomic"
	"time"

	"evenkeel/pkg/proxy"
	"evenkeel/pkg/resp"
)

const (
	// settled is how many small commands in a row let a client go to a shared
	// connection, and settledHeavy after it
	// had big replies, or many commands under way, there.
	settled      = 64
	settledHeavy = 4096
	// keepLink is how long a client on a shared connection keeps its own one.
	keepLink = 10 * time.Second
)

// sharing is the shared connections.
type sharing struct {
	all  []*shared
	turn atomic.Uint32
}

func newSharing(b *Backend, n int) (*sharing, error) {
	h := &sharing{}
	for range n {
		l, err := newShared(b)
		if err != nil {
			return nil, errors.Join(err, h.close())
		}
		h.all = append(h.all, l)
	}
	return h, nil
}

func (h *sharing) close() error {
	var errs []error
	for _, l := range h.all {
		errs = append(errs, l.close())
	}
	return errors.Join(errs...)
}

// mayShare says whether the client could go to a shared connection now: it sends
// small commands, nothing is owed to it, and its own connection is like any other:
// it has not chosen JSON by its first command either.
func (s *session) mayShare() bool {
	if len(s.b.sharing.all) == 0 || s.streak < s.wants || s.side != sideEngine || s.req.inside || s.drop != nil ||
		s.own.some || s.firstJSON || s.web != nil || s.route.Following || s.opaque.Load() || s.here.Load() || s.r.Draining() || s.b.opts.Route().Following {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.links {
		if l != nil && (l.cut || l.web.Load() != nil || !l.quiet()) {
			return false
		}
	}
	for _, said := range s.state {
		if said != nil {
			return false
		}
	}
	return !s.live && !s.quit && !s.over
}

// share lets the client be served over a shared connection, beginning with first,
// until something comes that is not for one. It returns false when that cannot be.
func (s *session) share(first []byte) bool {
	h := s.b.sharing
	l := h.all[int(h.turn.Add(1))%len(h.all)]
	if first := l.lanes[laneSmall]; !first.up.Load() {
		first.call()
		return false
	}
	sock, err := s.r.Detach()
	if err != nil {
		s.wants = math.MaxInt // TLS
		return false
	}
	g := &guest{sock: sock, r: s.r, back: make(chan struct{}, 1)}
	first = bytes.Clone(first)
	s.in.release()
	s.guest.Store(g)
	if l.ask(func() { l.join(g, first) }) {
		s.waitAsGuest(l, g)
	} else {
		g.held = first
	}
	s.guest.Store(nil)
	if err := s.r.Attach(sock); err != nil {
		s.finish(proxy.ClosedByReset, err)
		return true
	}
	s.in.init(s.b.pools, s.r.NetConn())
	s.resume(g)
	return true
}

// waitAsGuest waits until g is handed back.
func (s *session) waitAsGuest(l *shared, g *guest) {
	cut := s.ctx.Done()
	var idle <-chan time.Time
	if s.links != [numSides]*link{} {
		timer := time.NewTimer(keepLink)
		defer timer.Stop()
		idle = timer.C
	}
	for {
		select {
		case <-g.back:
			return
		case <-cut:
			cut = nil
			l.ask(g.hand)
		case <-s.r.Woken():
			if s.isOver() {
				l.ask(g.hand)
			} else {
				l.ask(func() { g.leave(nil) })
			}
		case <-idle:
			s.mu.Lock()
			for _, own := range s.links {
				if own != nil {
					s.retire(own)
				}
			}
			s.mu.Unlock()
		}
	}
}

// resume goes on with a client that was on a shared connection.
func (s *session) resume(g *guest) {
	if s.isOver() || s.ctx.Err() != nil {
		return
	}
	switch {
	case g.slow:
		s.b.count.slow.Add(1)
		s.b.opts.Logger.Warn("a client does not take its replies and is disconnected", "client", s.r.NetConn().RemoteAddr(), "waiting", len(g.out))
		s.finish(proxy.ClosedStalled, errSlow)
		return
	case g.lost != nil:
		s.lostAsGuest(g)
		return
	case g.err != nil && !g.moved:
		s.held = append(s.held, g.held...)
		s.readFailed(g.err)
		return
	}
	if g.sent { // the form of the first command counts, wherever that went
		s.form(resp.RESP)
		s.spoke = true
	}
	if g.heavy {
		s.wants = settledHeavy
	}
	if g.moved {
		s.again, s.waited = 1, g.waited
	}
	if len(g.held) > 0 {
		s.take(g.held, len(g.held))
	}
	if g.heavy || g.other || g.moved {
		s.streak = 0
	}
	switch {
	case s.isOver():
	case g.err != nil:
		s.readFailed(g.err)
	case s.r.Draining():
		s.drain()
	}
}

// lostAsGuest tells the client that its commands were lost with the engine.
func (s *session) lostAsGuest(g *guest) {
	s.b.count.lostCommands.Add(int64(g.owed.Load()))
	if _, err := s.r.Write(g.out); err != nil {
		s.finish(proxy.ClosedByReset, err)
		return
	}
	if g.mid {
		s.finish(proxy.ClosedByEngine, nil)
		return
	}
	err := g.lost
	if errors.Is(err, io.EOF) {
		err = errors.New("connection closed")
	}
	if err := s.say(fmt.Sprintf("%v: the command may or may not have run", s.b.engine.wrap(err)), []entry{{n: g.owed.Load()}}); err != nil {
		s.finish(proxy.ClosedByReset, err)
		return
	}
	s.finish(proxy.ClosedEngineLost, nil)
}
