package proxy

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"evenkeel/pkg/resp"
)

// phase is what the goroutine of a connection is doing.
type phase = int32

const (
	phaseWorking  phase = iota // carrying out commands, opening or closing
	phaseReading               // waiting for the client to send
	phaseWriting               // waiting for the client to take
	phaseHijacked              // somebody else owns the connection
)

// Conn is a connection of a client. Its methods may be called from anywhere.
type Conn struct {
	srv    *Server
	id     int64
	nc     atomic.Pointer[net.Conn]
	opened time.Time
	ctx    context.Context
	cancel context.CancelFunc

	session     atomic.Pointer[Session]
	rawConn     atomic.Pointer[Raw] // set when a RawSession owns the connection
	lastCommand atomic.Int64        // ns after opened
	reason      atomic.Int32        // CloseReason + 1; 0 while open

	// For the sweeper. since is set before phase is.
	phase atomic.Int32
	since atomic.Int64 // ns after opened: the last bytes that came, or the last attempt to send some
	slim  atomic.Bool  // has been told to give back its buffers
	head  headWatch    // of the sweeper alone

	wakeMu sync.Mutex // orders wake and the change to phaseHijacked

	// Of the connection's goroutine alone.
	rd   *resp.Reader
	cmds []resp.Command
	out  []byte
	seen bool      // a command has been received
	last resp.Kind // of the last command received
}

func newConn(s *Server, nc net.Conn) *Conn {
	c := &Conn{srv: s, id: s.lastID.Add(1), opened: time.Now()}
	c.nc.Store(&nc)
	c.ctx, c.cancel = context.WithCancel(s.base)
	if s.raw == nil {
		c.rd = resp.NewReader((*source)(c), s.opts.Limits)
	}
	return c
}

// conn is the connection as it is now: see Raw.Detach.
func (c *Conn) conn() net.Conn { return *c.nc.Load() }

// ID is different for each connection of a server; later ones have larger IDs.
func (c *Conn) ID() int64 { return c.id }

// RemoteAddr is the address of the client.
func (c *Conn) RemoteAddr() net.Addr { return c.conn().RemoteAddr() }

// LocalAddr is the address that the client has connected to.
func (c *Conn) LocalAddr() net.Addr { return c.conn().LocalAddr() }

// Opened is when the connection was accepted.
func (c *Conn) Opened() time.Time { return c.opened }

// LastCommand is when the last commands were received, at first Opened.
func (c *Conn) LastCommand() time.Time { return c.opened.Add(time.Duration(c.lastCommand.Load())) }

// Session is what Backend.Open returned, nil while it has not.
func (c *Conn) Session() Session {
	if p := c.session.Load(); p != nil {
		return *p
	}
	return nil
}

// BatchOutput is Options.BatchOutput, in bytes.
func (c *Conn) BatchOutput() int64 { return c.srv.opts.BatchOutput }

// MaxOutput is Options.MaxOutput, in bytes.
func (c *Conn) MaxOutput() int64 { return c.srv.opts.MaxOutput }

// WriteTimeout is Options.WriteTimeout.
func (c *Conn) WriteTimeout() time.Duration { return c.srv.opts.WriteTimeout }

// Kill ends the connection at once: a command that is being carried out has its
// context ended, and replies that have not been sent are dropped. A session that
// wants to end its own connection sets Verdict.Close, which sends the reply.
func (c *Conn) Kill() { c.end(ClosedKilled) }

// end ends the connection at once. The first reason counts.
func (c *Conn) end(why CloseReason) {
	if !c.reason.CompareAndSwap(0, int32(why)+1) {
		return
	}
	c.cancel()
	c.hangUp(why)
}

// hangUp closes the connection at once.
func (c *Conn) hangUp(why CloseReason) {
	nc := c.conn()
	if tcp := tcpOf(nc); tcp != nil && (why == ClosedStalled || why == ClosedCut) {
		// The kernel would keep trying to deliver what it holds.
		_ = tcp.SetLinger(0)
	}
	closeQuietly(nc)
}

// wake makes the read that waits, or the next one, fail with a timeout.
func (c *Conn) wake() {
	c.wakeMu.Lock()
	defer c.wakeMu.Unlock()
	if r := c.rawConn.Load(); r != nil {
		r.poke()
	}
	if c.phase.Load() != phaseHijacked {
		c.setReadDeadline(time.Unix(1, 0))
	}
}

func (c *Conn) setReadDeadline(t time.Time) {
	// It fails only when the connection is closed, which the next read tells.
	_ = c.conn().SetReadDeadline(t)
}

// progress notes the time. Looking at the clock is not for free: it is done
// once for what comes and once for what goes.
func (c *Conn) progress() { c.since.Store(int64(time.Since(c.opened))) }

// source is the connection as resp.Reader reads it.
type source Conn

// Read notes progress, and counts.
func (src *source) Read(p []byte) (int, error) {
	n, err := (*Conn)(src).conn().Read(p)
	if n > 0 {
		(*Conn)(src).progress()
		src.slim.Store(false)
		src.srv.count.in.Add(int64(n))
	}
	return n, err
}
