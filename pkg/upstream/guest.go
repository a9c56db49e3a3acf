package upstream

import (
	"errors"
	"sync/atomic"
	"time"

	"evenkeel/internal/epoll"
	"evenkeel/pkg/proxy"
)

const (
	// maxOwed is how many commands of one client may be under way on a shared
	// connection: who sends more at once gains nothing there.
	maxOwed = 128
	// bigReply is the size from which on replies are not for a shared connection: a
	// slow client's have to be kept somewhere.
	bigReply = 64 << 10
)

var (
	// errSlow: a client does not take its replies.
	errSlow = errors.New("the client does not take its replies")
	// errGone: it was reset.
	errGone = errors.New("the client is gone")
)

// guest is a client on a shared connection. It belongs to the goroutine of that
// until it is handed back to its session.
type guest struct {
	l     *shared
	id    int32
	sock  *epoll.Socket
	r     *proxy.Raw
	back  chan struct{} // holds one when it has been handed back
	owed  atomic.Int32  // commands under way
	on    *lane         // that of the last command
	held  []byte        // what has been read and not been sent to the engine
	out   []byte        // replies that the client has not taken
	wants epoll.Events  // what the poller waits for

	paused  bool // among shared.paused
	leaving bool // is handed back when all is answered
	gone    bool // has been

	// Why it has been handed back, beside held, which is not for a shared connection.
	err    error         // reading has ended
	slow   bool          // out is full
	sent   bool          // it has sent small commands
	other  bool          // it has sent something else than small commands
	heavy  bool          // a reply was big, or many commands were under way
	lost   error         // the engine was lost
	moved  bool          // held begins with a search that was here, and was not answered
	waited time.Duration // how long that has been waiting
	mid    bool          // within a reply
}

// read takes what the client has sent.
func (g *guest) read() {
	buf := g.l.in
	used := copy(buf, g.held)
	n, err := g.sock.Read(buf[used:])
	switch {
	case errors.Is(err, epoll.ErrAgain):
	case err != nil:
		g.leave(err)
	default:
		g.held = g.held[:0]
		g.take(buf[:used+n], n)
	}
}

// take passes on the commands that b begins with; the last fresh bytes of it have not
// been counted. Behind anything that is not for here the client is on its way back.
func (g *guest) take(b []byte, fresh int) {
	v, commands, off := verdictSmall, 0, 0
	for off < len(b) {
		var k *known
		var n int
		if k, n, v = g.l.b.table.small(b[off:]); v == verdictSmall && !g.pass(k, b[off:off+n], off+n < len(b)) {
			v = verdictPrivate
		}
		if v != verdictSmall {
			break
		}
		off += n
		commands++
	}
	g.sent = g.sent || commands > 0
	g.held = append(g.held[:0], b[off:]...)
	if len(g.held) == 0 {
		g.held = nil
	}
	g.r.Received(fresh, commands)
	if v == verdictPrivate {
		g.other = g.l.lanes[laneSmall].engine != nil && g.l.alone()
		g.leave(nil)
	}
}

// pass lets the engine have a command, if that can be here. more: another one has come
// with it.
func (g *guest) pass(k *known, raw []byte, more bool) bool {
	to, owed := g.l.lanes[laneSmall], g.owed.Load()
	if k.search {
		to = g.l.lanes[laneSearches]
	}
	switch {
	case !g.l.alone(), !to.open():
		return false
	case owed >= maxOwed, to.searches && (owed > 0 || more):
		g.heavy = true // it gains nothing here
		return false
	case owed > 0 && to != g.on: // replies keep the order of the commands
		return false
	}
	to.add(query{g: g, cmd: k, at: g.l.now}, raw)
	g.on = to
	g.owed.Add(1)
	return true
}

// leave stops the reading of the client, which is handed back as soon as nothing
// is owed to it.
func (g *guest) leave(err error) {
	if g.gone {
		return
	}
	if !g.leaving {
		g.leaving, g.err = true, err
	}
	if !g.done() {
		g.wait()
	}
}

// done hands the client back when it is leaving, and nothing is owed to it.
func (g *guest) done() bool {
	if g.gone || !g.leaving || g.owed.Load() > 0 || len(g.out) > 0 {
		return false
	}
	g.hand()
	return true
}

// settle is leave for a client that has been given what there was.
func (g *guest) settle() {
	if g.leaving && !g.gone && !g.done() {
		g.wait()
	}
}

// hand hands the client back at once. Replies that are still to come are dropped.
func (g *guest) hand() {
	if g.gone {
		return
	}
	g.gone = true
	g.l.remove(g)
	g.back <- struct{}{}
}

// wait tells the poller what the client is waited for.
func (g *guest) wait() {
	var wants epoll.Events
	switch {
	case len(g.out) > 0: // it is not read before it has taken its replies
		wants = epoll.Out
	case !g.leaving && !g.paused:
		wants = epoll.In
	}
	if wants == g.wants {
		return
	}
	g.wants = wants
	if err := g.l.poll.Set(g.sock, g.id, wants); err != nil {
		g.leaving, g.err = true, err
		g.hand()
	}
}

// ready is about what the poller has told.
func (g *guest) ready(e epoll.Events) {
	switch {
	case e&epoll.Out != 0 && len(g.out) > 0:
		g.drain()
	case e&epoll.In != 0 && !g.leaving && !g.paused && len(g.out) == 0:
		if g.l.full() {
			g.paused = true
			g.l.paused = append(g.l.paused, g)
			g.wait()
			return
		}
		g.read()
	case e&epoll.Gone != 0: // whatever is owed to it, nobody takes it
		g.leaving, g.err = true, errGone
		g.hand()
	}
}

// give sends replies, or parts of them.
func (g *guest) give(p []byte) {
	if g.gone {
		return
	}
	if len(g.out) == 0 {
		n, err := g.write(p)
		if p = p[n:]; err != nil || len(p) == 0 {
			return
		}
	}
	if int64(len(g.out)+len(p)) > g.l.b.opts.MaxUnsent {
		g.slow = true
		g.hand()
		return
	}
	g.out = append(g.out, p...)
	g.wait()
}

// drain sends what the client has not taken.
func (g *guest) drain() {
	n, err := g.write(g.out)
	if err != nil {
		return
	}
	if g.out = g.out[n:]; len(g.out) == 0 {
		g.out = nil
		if !g.done() {
			g.wait()
		}
	}
}

// write sends what the client takes at once. With an error it has been handed back.
func (g *guest) write(p []byte) (int, error) {
	n, err := g.sock.Write(p)
	if err != nil && !errors.Is(err, epoll.ErrAgain) {
		g.leaving, g.err = true, err
		g.hand()
		return n, err
	}
	g.r.Sent(n, n < len(p))
	return n, nil
}
