package upstream

import (
	"context"
	"runtime/debug"
	"sync"
	"time"

	"evenkeel/internal/epoll"
)

const (
	// sharedBuffer is what is read at once, in bytes, and held bytes before it.
	sharedBuffer = 64<<10 + maxSmall

	laneSmall    = 0
	laneSearches = 1
)

// shared is connections to the engine, and the clients on them. What is not said
// otherwise belongs to its goroutine.
type shared struct {
	b      *Backend
	poll   *epoll.Poller
	ctx    context.Context //nolint:containedctx // ends with the Backend
	cancel context.CancelFunc
	wg     sync.WaitGroup

	lanes   [laneSearches + 1]*lane
	guests  map[int32]*guest
	last    int32    // id that was given
	paused  []*guest // are not read, as the engine has so much to take
	in      []byte
	now     time.Duration // since the Backend was made
	routed  bool          // follows is of this round
	follows bool

	long, usual, rest time.Duration // longSearch and its like, but in tests

	mu   sync.Mutex
	asks []func() // what others want done
	over bool     // nobody does it any more
}

func newShared(b *Backend) (*shared, error) {
	p, err := epoll.NewPoller()
	if err != nil {
		return nil, err
	}
	l := &shared{b: b, poll: p, guests: map[int32]*guest{}, in: make([]byte, sharedBuffer), long: longSearch, usual: usualSearch, rest: searchRest}
	for i := range l.lanes {
		l.lanes[i] = &lane{l: l, id: int32(i), searches: i == laneSearches} //nolint:gosec // few
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.wg.Go(l.run)
	return l, nil
}

// close hands all clients back and ends the goroutines.
func (l *shared) close() error {
	l.cancel()
	l.poll.Wake()
	l.wg.Wait()
	return l.poll.Close()
}

// ask has f done by the goroutine. It returns false when that has ended.
func (l *shared) ask(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return false
	}
	l.asks = append(l.asks, f)
	l.poll.Wake()
	return true
}

// run serves until close, or until it cannot go on.
func (l *shared) run() {
	err := context.Canceled
	defer func() {
		if p := recover(); p != nil {
			l.b.opts.Logger.Error("a shared connection panicked; its clients get their own", "panic", p, "stack", string(debug.Stack()))
			err = errPanic
		}
		l.end(err)
	}()
	for l.ctx.Err() == nil {
		ready, waitErr := l.poll.Wait(l.patience())
		if waitErr != nil {
			l.b.opts.Logger.Error("a shared connection cannot go on; its clients get their own", "err", waitErr)
			err = waitErr
			return
		}
		l.now, l.routed = time.Since(l.b.began), false
		l.serve(ready)
		l.flush()
	}
}

// patience is how long to wait: until somebody has waited for too long, or for ever.
func (l *shared) patience() time.Duration {
	n := l.lanes[laneSearches]
	if n.queue.len() < 2 || n.eased {
		return epoll.Forever
	}
	return max(0, n.since+l.long-l.now)
}

// serve is one round: the engine comes first, so that clients meet it as it is.
func (l *shared) serve(ready []epoll.Ready) {
	for _, e := range ready {
		if e.Events&^epoll.Out != 0 && int(e.ID) < len(l.lanes) && l.lanes[e.ID].engine != nil {
			l.lanes[e.ID].read()
		}
	}
	l.lanes[laneSearches].ease()
	for _, e := range ready {
		// No id is given twice within a round: asks come behind it.
		if g := l.guests[e.ID]; g != nil {
			g.ready(e.Events)
		}
	}
	l.mu.Lock()
	asks := l.asks
	l.asks = nil
	l.mu.Unlock()
	for _, f := range asks {
		f()
	}
}

// end hands all clients back.
func (l *shared) end(err error) {
	l.mu.Lock()
	asks := l.asks
	l.over, l.asks = true, nil
	l.mu.Unlock()
	for _, f := range asks { // somebody waits for what they do
		f()
	}
	for _, n := range l.lanes {
		n.lose(err)
	}
	for _, g := range l.guests {
		g.leaving = true
		g.hand()
	}
}

// join lets g be served here, beginning with first.
func (l *shared) join(g *guest, first []byte) {
	for l.last++; int(l.last) < len(l.lanes) || l.guests[l.last] != nil; l.last++ {
		l.last = max(l.last, int32(len(l.lanes))-1) //nolint:gosec // few
	}
	g.l, g.id, g.wants = l, l.last, epoll.In
	if err := l.poll.Add(g.sock, g.id, g.wants); err != nil {
		g.err, g.gone, g.held = err, true, first
		g.back <- struct{}{}
		return
	}
	l.guests[g.id] = g
	l.b.count.guests.Add(1)
	if len(first) > 0 {
		g.take(first, len(first))
	}
}

// remove forgets a client.
func (l *shared) remove(g *guest) {
	_ = l.poll.Remove(g.sock) // it has been added, and is open
	delete(l.guests, g.id)
	l.b.count.guests.Add(-1)
}

// alone says whether there is nothing to choose between the engine and a leader.
func (l *shared) alone() bool {
	if !l.routed {
		l.routed, l.follows = true, l.b.opts.Route().Following
	}
	return !l.follows && l.ctx.Err() == nil
}

// flush sends commands to the engine, and reads the clients again when it has taken
// enough.
func (l *shared) flush() {
	for _, n := range l.lanes {
		n.flush()
	}
	if l.full() {
		return
	}
	for i, g := range l.paused {
		l.paused[i], g.paused = nil, false
		if !g.gone {
			g.wait()
		}
	}
	l.paused = l.paused[:0]
}

// full says whether the engine has so much to take that no client is read.
func (l *shared) full() bool {
	for _, n := range l.lanes {
		if n.full() {
			return true
		}
	}
	return false
}
