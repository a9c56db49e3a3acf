package upstream

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	"evenkeel/internal/epoll"
)

const (
	// maxBacklog is how much an engine may leave unread until clients are not read.
	maxBacklog = 1 << 20
	// keepBacklog is the largest buffer for commands that is kept.
	keepBacklog = 256 << 10

	// searchWindow is how many searches an engine is given at once; the others wait
	// here. It answers what it has read at once only when all of that is done.
	searchWindow = 32
	// longSearch is how long the oldest search may take until those behind it go
	// elsewhere.
	longSearch = 20 * time.Millisecond
	// usualSearch is how long searches may take, as a moving average: what takes longer
	// gains next to nothing from a shared connection, which saves some 50 µs, and would
	// have one processor of the engine for all.
	usualSearch = time.Millisecond
	// averaged is how many searches that average is about.
	averaged = 64
	// searchRest is how long nobody searches here after one of these.
	searchRest = time.Second
)

// Ends of a lane that are not the network's.
var (
	errUnasked = errors.New("it said something that was not asked for")
	errGarbled = errors.New("it sent what is no reply")
	errPanic   = errors.New("the sidecar failed; see its log")
)

// lane is one connection to the engine: of small commands, or of searches. It belongs
// to the goroutine of its shared, except up and called.
type lane struct {
	l        *shared
	id       int32 // in the poller
	searches bool
	up       atomic.Bool // there is a connection
	called   atomic.Bool // somebody has asked for one

	engine  *epoll.Socket // nil: none
	dialing bool
	wants   epoll.Events
	queue   queries
	sent    int    // of queue, the first ones
	out     []byte // commands that the engine has not taken
	rep     replies
	size    int // of the reply that is coming, so far

	// Of searches.
	since time.Duration // when the oldest one became that
	usual time.Duration // how long one takes
	rests time.Duration // the end of a rest
	eased bool          // those behind the oldest one have gone elsewhere
}

// open says whether commands may be sent.
func (n *lane) open() bool {
	if n.engine == nil {
		n.dial()
		return false
	}
	return !n.searches || n.l.now >= n.rests && !n.long()
}

// long says whether the oldest search takes long.
func (n *lane) long() bool { return !n.queue.empty() && n.l.now-n.since >= n.l.long }

// add takes a command, which raw is.
func (n *lane) add(q query, raw []byte) {
	if n.searches {
		if n.queue.empty() {
			n.since = n.l.now
		}
		q.raw = append([]byte(nil), raw...)
	} else {
		n.out = append(n.out, raw...)
		n.sent++
	}
	n.queue.add(q)
}

// call asks for a connection, from anywhere.
func (n *lane) call() {
	if n.called.CompareAndSwap(false, true) {
		n.l.ask(n.dial)
	}
}

// dial begins to connect. Those who cannot wait get their own connections.
func (n *lane) dial() {
	l := n.l
	if n.dialing || n.engine != nil || l.ctx.Err() != nil {
		return
	}
	n.dialing = true
	l.wg.Go(func() {
		nc, err := l.b.engine.dial(l.ctx)
		if !l.ask(func() { n.connected(nc, err) }) && nc != nil {
			_ = nc.Close() // it has said nothing
		}
	})
}

func (n *lane) connected(nc net.Conn, err error) {
	l := n.l
	n.dialing = false
	if err != nil {
		n.called.Store(false) // the next one who needs it tries again
		return
	}
	sock, err := epoll.Detach(nc)
	if err != nil {
		_ = nc.Close()
		l.b.opts.Logger.Warn("the connection to the engine cannot be shared", "err", err)
		n.dialing = true // nor could another one
		return
	}
	if err := l.poll.Add(sock, n.id, epoll.In); err != nil {
		l.b.opts.Logger.Error("the connection to the engine cannot be shared", "err", errors.Join(err, sock.Close()))
		return
	}
	n.engine, n.wants = sock, epoll.In
	n.up.Store(true)
	l.b.count.links.Add(1)
	l.b.count.dials.Add(1)
}

// read takes what the engine has sent.
func (n *lane) read() {
	got, err := n.engine.Read(n.l.in)
	if errors.Is(err, epoll.ErrAgain) {
		return
	}
	if err == nil {
		err = n.deliver(n.l.in[:got])
	}
	if err != nil {
		n.lose(err)
	}
}

// deliver gives each client its replies, those that follow each other at once.
func (n *lane) deliver(b []byte) error {
	start, off := 0, 0
	for off < len(b) {
		if n.sent == 0 {
			return errUnasked
		}
		used, whole, ok := n.rep.next(b[off:])
		q := n.queue.oldest()
		if !ok {
			q.g.give(b[start:off])
			return errGarbled
		}
		off += used
		n.size += used
		if whole {
			n.answered(q)
		}
		if off == len(b) || whole && (n.queue.empty() || n.queue.oldest().g != q.g) {
			q.g.give(b[start:off])
			start = off
			q.g.settle()
		}
	}
	return nil
}

// answered is about the oldest command, whose reply is whole.
func (n *lane) answered(q query) {
	now := n.l.now
	n.queue.drop()
	n.sent--
	if n.searches {
		n.usual += (now - n.since - n.usual) / averaged
		n.since, n.eased = now, false
		if n.usual > n.l.usual {
			n.usual, n.rests = 0, now+n.l.rest
		}
	}
	if !q.g.moved {
		n.l.b.opts.Observe(q.cmd.name, now-q.at, n.rep.failed())
		q.g.owed.Add(-1)
	}
	if n.size >= bigReply && !q.g.gone {
		q.g.heavy, q.g.leaving = true, true // when it has been given
	}
	n.size = 0
}

// flush sends commands to the engine.
func (n *lane) flush() {
	if n.engine == nil {
		return
	}
	for n.searches && n.sent < searchWindow && n.sent < n.queue.len() {
		n.out = append(n.out, n.queue.at(n.sent).raw...)
		n.sent++
	}
	if len(n.out) == 0 && n.wants == epoll.In {
		return
	}
	took, err := n.engine.Write(n.out)
	if err != nil && !errors.Is(err, epoll.ErrAgain) {
		n.lose(err)
		return
	}
	n.out = n.out[:copy(n.out, n.out[took:])]
	wants := epoll.In
	if len(n.out) > 0 {
		wants |= epoll.Out
	} else if cap(n.out) > keepBacklog {
		n.out = nil
	}
	if wants != n.wants {
		n.wants = wants
		if err := n.l.poll.Set(n.engine, n.id, wants); err != nil {
			n.lose(err)
		}
	}
}

// full says whether the engine has so much to take that no more is read for it.
func (n *lane) full() bool { return len(n.out) > maxBacklog }

// ease sends those who wait behind a long search away, to their own connections. What
// the engine has been given of theirs is searched in vain.
func (n *lane) ease() {
	if n.eased || n.queue.len() < 2 || !n.long() {
		return
	}
	n.eased, n.rests = true, n.l.now+n.l.rest
	if g := n.queue.oldest().g; !g.gone {
		g.heavy = true
		g.leave(nil)
	}
	for i := 1; i < n.queue.len(); i++ {
		n.move(n.queue.at(i))
	}
	n.queue.cut(n.sent)
}

// move hands a client back together with its search.
func (n *lane) move(q query) {
	if q.g.gone {
		return
	}
	q.g.moved, q.g.waited, q.g.held = true, n.l.now-q.at, append(q.raw, q.g.held...)
	q.g.owed.Store(0)
	n.l.b.count.moved.Add(1)
	q.g.hand()
}

// lose ends the connection to the engine. Clients with commands under way are handed
// back: nobody knows whether those have run.
func (n *lane) lose(err error) {
	if n.engine == nil {
		return
	}
	l := n.l
	n.up.Store(false)
	n.called.Store(false)
	_ = l.poll.Remove(n.engine)
	_ = n.engine.Close() // whatever it says, it is over
	n.engine = nil
	l.b.count.links.Add(-1)
	if l.ctx.Err() == nil {
		l.b.count.lost.Add(1)
		l.b.opts.Logger.Warn("a shared connection to the engine was lost", "address", l.b.engine.addr, "err", err)
	}
	for mid := n.rep.begun; !n.queue.empty(); mid = false {
		q := n.queue.oldest()
		switch {
		case q.g.gone:
		case n.sent > 0:
			q.g.lost, q.g.mid = err, mid
			q.g.hand()
		default:
			n.move(q)
		}
		n.sent = max(0, n.sent-1)
		n.queue.drop()
	}
	if !n.searches {
		l.b.count.kept.Add(int64(len(l.guests)))
	}
	n.queue, n.rep, n.out, n.size = queries{}, replies{}, nil, 0
	n.usual, n.rests, n.eased = 0, 0, false
}

// query is a command under way.
type query struct {
	g   *guest
	cmd *known
	at  time.Duration
	raw []byte // of a search
}

// queries are in the order in which they came.
type queries struct {
	all   []query
	first int
}

func (q *queries) empty() bool    { return q.first == len(q.all) }
func (q *queries) len() int       { return len(q.all) - q.first }
func (q *queries) add(e query)    { q.all = append(q.all, e) }
func (q *queries) at(i int) query { return q.all[q.first+i] }
func (q *queries) oldest() query  { return q.at(0) }

// cut leaves n.
func (q *queries) cut(n int) {
	clear(q.all[q.first+n:])
	q.all = q.all[:q.first+n]
}

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
