package upstream

import (
	"context"
	"errors"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"evenkeel/internal/epoll"
)

const (
	// sharedBuffer is what is read at once, in bytes, and held bytes before it.
	sharedBuffer = 64<<10 + maxSmall
	// maxBacklog is how much an engine may leave unread until clients are not read.
	maxBacklog = 1 << 20
	// keepBacklog is the largest buffer for commands that is kept.
	keepBacklog = 256 << 10
	// engineID is the engine's in the poller; clients have others.
	engineID = 0
)

// Ends of a shared connection that are not the network's.
var (
	errUnasked = errors.New("it said something that was not asked for")
	errGarbled = errors.New("it sent what is no reply")
	errPanic   = errors.New("the sidecar failed; see its log")
)

// query is a command under way.
type query struct {
	g   *guest
	cmd *known
	at  time.Duration
}

// queries are in the order in which they were sent.
type queries struct {
	all   []query
	first int
}

func (q *queries) empty() bool   { return q.first == len(q.all) }
func (q *queries) add(e query)   { q.all = append(q.all, e) }
func (q *queries) oldest() query { return q.all[q.first] }

// drop takes the oldest one away.
func (q *queries) drop() {
	const few = 1024
	q.all[q.first] = query{}
	q.first++
	switch {
	case q.empty():
		q.first, q.all = 0, q.all[:0]
	case q.first >= few && q.first > len(q.all)/2:
		n := copy(q.all, q.all[q.first:])
		clear(q.all[n:])
		q.first, q.all = 0, q.all[:n]
	}
}

// shared is one connection to the engine, and the clients on it. What is not said
// otherwise belongs to its goroutine.
type shared struct {
	b      *Backend
	poll   *epoll.Poller
	ctx    context.Context //nolint:containedctx // ends with the Backend
	cancel context.CancelFunc
	wg     sync.WaitGroup
	up     atomic.Bool // there is a connection
	called atomic.Bool // somebody has asked for one

	engine  *epoll.Socket // nil: none
	dialing bool
	wants   epoll.Events // of the engine
	guests  map[int32]*guest
	last    int32 // id that was given
	queue   queries
	out     []byte   // commands that the engine has not taken
	paused  []*guest // are not read, as there is so much of that
	rep     replies
	size    int // of the reply that is coming, so far
	in      []byte
	now     time.Duration // since the Backend was made
	routed  bool          // follows is of this round
	follows bool

	mu   sync.Mutex
	asks []func() // what others want done
	over bool     // nobody does it any more
}

func newShared(b *Backend) (*shared, error) {
	p, err := epoll.NewPoller()
	if err != nil {
		return nil, err
	}
	l := &shared{b: b, poll: p, guests: map[int32]*guest{}, in: make([]byte, sharedBuffer)}
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
		ready, waitErr := l.poll.Wait()
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

// serve is one round: the engine comes first, so that clients meet it as it is.
func (l *shared) serve(ready []epoll.Ready) {
	for _, e := range ready {
		if e.ID == engineID && e.Events&^epoll.Out != 0 {
			l.readEngine()
		}
	}
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
	l.lose(err)
	for _, g := range l.guests {
		g.leaving = true
		g.hand()
	}
}

// join lets g be served here, beginning with first.
func (l *shared) join(g *guest, first []byte) {
	for l.last++; l.last <= engineID || l.guests[l.last] != nil; l.last++ {
		l.last = max(l.last, engineID)
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

// open says whether commands may be sent: there is an engine, and nothing to
// choose between it and a leader.
func (l *shared) open() bool {
	if !l.routed {
		l.routed, l.follows = true, l.b.opts.Route().Following
	}
	if l.engine == nil {
		l.dial()
	}
	return l.engine != nil && !l.follows && l.ctx.Err() == nil
}

// call asks for a connection, from anywhere.
func (l *shared) call() {
	if l.called.CompareAndSwap(false, true) {
		l.ask(l.dial)
	}
}

// dial begins to connect. Those who cannot wait get their own connections.
func (l *shared) dial() {
	if l.dialing || l.engine != nil || l.ctx.Err() != nil {
		return
	}
	l.dialing = true
	l.wg.Go(func() {
		nc, err := l.b.engine.dial(l.ctx)
		if !l.ask(func() { l.connected(nc, err) }) && nc != nil {
			_ = nc.Close() // it has said nothing
		}
	})
}

func (l *shared) connected(nc net.Conn, err error) {
	l.dialing = false
	if err != nil {
		l.called.Store(false) // the next one who needs it tries again
		return
	}
	sock, err := epoll.Detach(nc)
	if err != nil {
		_ = nc.Close()
		l.b.opts.Logger.Warn("the connection to the engine cannot be shared", "err", err)
		l.dialing = true // nor could another one
		return
	}
	if err := l.poll.Add(sock, engineID, epoll.In); err != nil {
		l.b.opts.Logger.Error("the connection to the engine cannot be shared", "err", errors.Join(err, sock.Close()))
		return
	}
	l.engine, l.wants = sock, epoll.In
	l.up.Store(true)
	l.b.count.links.Add(1)
	l.b.count.dials.Add(1)
}

// readEngine takes what the engine has sent.
func (l *shared) readEngine() {
	n, err := l.engine.Read(l.in)
	if errors.Is(err, epoll.ErrAgain) {
		return
	}
	if err == nil {
		err = l.deliver(l.in[:n])
	}
	if err != nil {
		l.lose(err)
	}
}

// deliver gives each client its replies, those that follow each other at once.
func (l *shared) deliver(b []byte) error {
	start, off := 0, 0
	for off < len(b) {
		if l.queue.empty() {
			return errUnasked
		}
		n, whole, ok := l.rep.next(b[off:])
		q := l.queue.oldest()
		if !ok {
			q.g.give(b[start:off])
			return errGarbled
		}
		off += n
		l.size += n
		if whole {
			l.answered(q)
		}
		if off == len(b) || whole && (l.queue.empty() || l.queue.oldest().g != q.g) {
			q.g.give(b[start:off])
			start = off
			q.g.settle()
		}
	}
	return nil
}

// answered is about the oldest command, whose reply is whole.
func (l *shared) answered(q query) {
	l.b.opts.Observe(q.cmd.name, l.now-q.at, l.rep.failed())
	l.queue.drop()
	q.g.owed.Add(-1)
	if l.size >= bigReply && !q.g.gone {
		q.g.heavy, q.g.leaving = true, true // when it has been given
	}
	l.size = 0
}

// flush sends commands to the engine.
func (l *shared) flush() {
	if l.engine == nil || len(l.out) == 0 && l.wants == epoll.In {
		return
	}
	n, err := l.engine.Write(l.out)
	if err != nil && !errors.Is(err, epoll.ErrAgain) {
		l.lose(err)
		return
	}
	l.out = l.out[:copy(l.out, l.out[n:])]
	l.unpause()
	wants := epoll.In
	if len(l.out) > 0 {
		wants |= epoll.Out
	} else if cap(l.out) > keepBacklog {
		l.out = nil
	}
	if wants != l.wants {
		l.wants = wants
		if err := l.poll.Set(l.engine, engineID, wants); err != nil {
			l.lose(err)
		}
	}
}

// full says whether the engine has so much to take that no more is read for it.
func (l *shared) full() bool { return len(l.out) > maxBacklog }

// unpause reads the clients again when the engine has taken enough.
func (l *shared) unpause() {
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

// lose ends the connection to the engine. Clients with commands under way are handed
// back: nobody knows whether those have run.
func (l *shared) lose(err error) {
	if l.engine == nil {
		return
	}
	l.up.Store(false)
	l.called.Store(false)
	_ = l.poll.Remove(l.engine)
	_ = l.engine.Close() // whatever it says, it is over
	l.engine = nil
	l.b.count.links.Add(-1)
	if l.ctx.Err() == nil {
		l.b.count.lost.Add(1)
		l.b.opts.Logger.Warn("a shared connection to the engine was lost", "address", l.b.engine.addr, "err", err)
	}
	for mid := l.rep.begun; !l.queue.empty(); mid = false {
		if g := l.queue.oldest().g; !g.gone {
			g.lost, g.mid = err, mid
			g.hand()
		}
		l.queue.drop()
	}
	l.b.count.kept.Add(int64(len(l.guests)))
	l.queue, l.rep, l.out, l.size = queries{}, replies{}, nil, 0
	l.unpause()
}
