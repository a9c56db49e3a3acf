package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"evenkeel/pkg/resp"
)

// RawBackend serves the bytes of connections instead of their commands: another
// server stands behind it. The Server keeps what is about connections: how many,
// how long idle or stuck, shutdown, statistics.
type RawBackend interface {
	// OpenRaw is called once for each connection that is served, before its first
	// byte has been read, on the goroutine of the connection.
	OpenRaw(c *Conn) RawSession
}

// RawSession serves one connection.
type RawSession interface {
	// Serve owns the connection until it returns, which says why it ends. With an
	// error it is broken: there is no point in sending more.
	//
	// ctx ends when the connection is cut. A read from the connection that waits
	// fails with os.ErrDeadlineExceeded when a shutdown begins: see Raw.Draining.
	Serve(ctx context.Context, r *Raw) (CloseReason, error)
	// Idle says whether the client is owed nothing, so that IdleTimeout may end
	// the connection. It is called from any goroutine.
	Idle() bool
}

// Raw is a connection that a RawSession owns. Its methods may be called from
// several goroutines, but Write by one at a time.
type Raw struct {
	c       *Conn
	session RawSession
	// writing is when the write that waits has last made progress, in ns after
	// Conn.opened; 0: none waits.
	writing atomic.Int64
	endless atomic.Bool
	counted atomic.Bool
	// half is odd while the head of an HTTP request is incomplete, and grows.
	half  atomic.Int64
	woken chan struct{} // holds one: see Detach
}

// NewRaw is New for a backend that serves bytes. Options.Limits, MaxPipeline,
// BatchOutput and MaxOutput, which are about commands, mean nothing then;
// HeaderTimeout holds where the backend says that a head is coming: Raw.Head.
func NewRaw(opts Options, backend RawBackend) (*Server, error) {
	s, err := New(opts, nil)
	if err != nil {
		return nil, err
	}
	s.raw = backend
	return s, nil
}

// NetConn is the connection, for reading, deadlines of reads and half-closing. It
// is another one behind Attach.
func (r *Raw) NetConn() net.Conn { return r.c.conn() }

// Draining says whether a shutdown has begun: what has been received is to be
// answered, and the connection to end.
func (r *Raw) Draining() bool { return r.c.srv.draining.Err() != nil }

// Received notes bytes that came, and commands that they complete.
func (r *Raw) Received(bytes, commands int) {
	r.c.progress()
	r.c.srv.count.in.Add(int64(bytes))
	if commands > 0 {
		r.c.lastCommand.Store(r.c.since.Load())
		r.c.srv.count.commands.Add(int64(commands))
	}
}

// Transport notes the form of what the client sends; the first counts.
func (r *Raw) Transport(k resp.Kind) {
	if r.counted.CompareAndSwap(false, true) {
		r.c.srv.count.kinds[k].Add(1)
	}
}

// Head notes that the head of an HTTP request is coming, or, with false, that it
// does so no more: HeaderTimeout holds meanwhile.
func (r *Raw) Head(coming bool) {
	if was := r.half.Load()&1 == 1; was != coming {
		r.half.Add(1)
	}
}

// Endless says that the client may take nothing for as long as it likes.
func (r *Raw) Endless() { r.endless.Store(true) }

// Write sends p. WriteTimeout holds for each piece of it.
func (r *Raw) Write(p []byte) (int, error) {
	if r.c.reason.Load() != 0 { // killed: its context ended before its socket is closed
		return 0, net.ErrClosed
	}
	sent := 0
	for sent < len(p) {
		r.c.progress()
		r.writing.Store(r.c.since.Load() | 1)
		n, err := r.c.conn().Write(p[sent:min(len(p), sent+writePiece)])
		sent += n
		r.c.srv.count.out.Add(int64(n))
		if err != nil {
			r.writing.Store(0)
			return sent, err
		}
	}
	r.writing.Store(0)
	return sent, nil
}

// Wake makes the read that waits, or the next one, fail with
// os.ErrDeadlineExceeded.
func (r *Raw) Wake() {
	r.poke()
	r.c.setReadDeadline(time.Unix(1, 0))
}

// Rest undoes Wake. What asked for it is to be looked at behind it.
func (r *Raw) Rest() { r.c.setReadDeadline(time.Time{}) }

// Woken says whether err is what Wake, or a shutdown, has done to a read.
func Woken(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// serveRaw hands the connection to its session.
func (c *Conn) serveRaw() (CloseReason, error) {
	r := &Raw{c: c, session: c.srv.raw.OpenRaw(c), woken: make(chan struct{}, 1)}
	c.rawConn.Store(r)
	if c.srv.opts.Observe.Opened != nil {
		c.srv.opts.Observe.Opened(c)
	}
	if r.Draining() {
		return ClosedDrain, nil
	}
	return r.session.Serve(c.ctx, r)
}

// lookRaw is look for a connection that a RawSession owns.
func (s *Server) lookRaw(c *Conn, r *Raw, now time.Time) {
	at := int64(now.Sub(c.opened))
	if writing := r.writing.Load(); writing != 0 {
		if !r.endless.Load() && at-writing > s.writeTimeout.Load() {
			c.end(ClosedStalled)
		}
		return
	}
	if c.head.took(r.half.Load(), s.opts.HeaderTimeout) {
		c.end(ClosedHeader)
		return
	}
	if idle := s.idleTimeout.Load(); idle > 0 && at-c.since.Load() > idle && r.session.Idle() {
		c.end(ClosedIdle)
	}
}

// secured is what a connection under TLS has beside net.Conn.
type secured interface {
	HandshakeContext(ctx context.Context) error
	NetConn() net.Conn
}

// handshake is done before the first read: a read that is woken in the middle of
// one would spoil it.
func (c *Conn) handshake() error {
	tc, ok := c.conn().(secured)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.srv.opts.HeaderTimeout)
	defer cancel()
	if err := tc.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake with %v: %w", c.RemoteAddr(), err)
	}
	return nil
}

// tcpOf is the TCP connection that nc is or stands on, or nil.
func tcpOf(nc net.Conn) *net.TCPConn {
	if tc, ok := nc.(secured); ok {
		nc = tc.NetConn()
	}
	tcp, _ := nc.(*net.TCPConn)
	return tcp
}
