package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"time"

	"evenkeel/pkg/resp"
)

const (
	// writePiece is what is written at once: a client that takes this much
	// within WriteTimeout is slow, not stuck.
	writePiece = 256 << 10
	// slowOutput is a reply that a client may take so long to take that it
	// would seem idle afterwards.
	slowOutput = 64 << 10
	// keepOutput is the largest buffer for replies that is kept while a
	// connection is active.
	keepOutput = 1 << 20
)

// errPanic stands for a panic of the session, which has been logged.
var errPanic = errors.New("the session panicked")

// serve runs the connection from its acceptance to its end.
func (c *Conn) serve() {
	s := c.srv
	why, err := c.run()
	graceful := err == nil && c.reason.CompareAndSwap(0, int32(why)+1)
	if graceful {
		switch why {
		case ClosedByCommand, ClosedByEngine, ClosedEngineLost, ClosedProtocol, ClosedOutput, ClosedDrain:
			stop := closeAfter(c.ctx, c.conn())
			linger(c.conn())
			stop()
		}
		closeQuietly(c.conn())
	} else {
		c.end(why) // does nothing if something else ended it
	}
	c.cancel()
	why = CloseReason(c.reason.Load() - 1)
	c.closeSession()
	s.unregister(c)
	s.count.closed[why].Add(1)
	if s.opts.Observe.Closed != nil {
		s.opts.Observe.Closed(c, why)
	}
	s.log.Debug("connection ended", "id", c.id, "client", c.RemoteAddr(), "reason", why, "error", err)
}

// run serves commands until the connection is to end, and says why. With an
// error the connection is broken: there is no point in sending more.
func (c *Conn) run() (why CloseReason, err error) {
	defer func() {
		if c.survived(recover()) {
			why, err = ClosedPanic, errPanic
		}
	}()
	if err := c.handshake(); err != nil {
		return ClosedHandshake, err
	}
	if c.srv.raw != nil {
		return c.serveRaw()
	}
	c.openSession()
	if c.srv.draining.Err() != nil {
		return ClosedDrain, nil // accepted too late to be woken by the drain
	}
	for {
		c.phase.Store(phaseReading)
		clear(c.cmds)
		c.cmds, err = c.rd.Batch(c.cmds[:0], c.srv.opts.MaxPipeline)
		c.phase.Store(phaseWorking)
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) && !c.woken() {
				continue
			}
			return c.readFailed(err)
		}
		c.note(c.cmds)
		c.lastCommand.Store(c.since.Load())
		c.srv.count.commands.Add(int64(len(c.cmds)))
		if end, why, err := c.answer(c.cmds); end || err != nil {
			return why, err
		}
	}
}

// woken handles a wake-up while waiting: the connection is to end (true), or to
// give back its buffers.
func (c *Conn) woken() bool {
	// In this order: a drain that begins after the check wakes again.
	c.setReadDeadline(time.Time{})
	if c.srv.draining.Err() != nil {
		return true
	}
	c.rd.Release()
	c.out, c.cmds = nil, nil
	return false
}

// readFailed says why the connection ends after an error of the reader, and
// tells the client if it can be told.
func (c *Conn) readFailed(err error) (CloseReason, error) {
	var bad *resp.ProtocolError
	switch {
	case errors.As(err, &bad):
		c.srv.count.protocol.Add(1)
		return ClosedProtocol, c.sendProtocolError(bad)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ClosedDrain, nil
	case errors.Is(err, io.EOF):
		return ClosedByClient, err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return ClosedMidCommand, err
	}
	return ClosedByReset, err
}

// sendProtocolError answers bytes that are no command. Like Tile38 it says
// nothing to a client that has not sent a command yet and so does not seem to
// speak this protocol, nor to one whose last command was no RESP and no plain
// line; a limit of ours is always told.
func (c *Conn) sendProtocolError(bad *resp.ProtocolError) error {
	c.srv.log.Debug("protocol error", "id", c.id, "client", c.RemoteAddr(), "error", bad)
	switch {
	case bad.Raw != "":
		c.out = append(c.out[:0], bad.Raw...)
	case bad.Quiet:
		return nil
	case c.seen && c.last <= resp.Inline || bad.Limit:
		c.out = c.Session().AppendError(c.out[:0], bad.Text)
	default:
		return nil
	}
	return c.send()
}

// note remembers the forms of the commands received: the first decides what the
// connection is counted as.
func (c *Conn) note(cmds []resp.Command) {
	if !c.seen {
		c.seen = true
		c.srv.count.kinds[cmds[0].Kind].Add(1)
	}
	c.last = cmds[len(cmds)-1].Kind
}

// answer has the session carry out cmds and sends the replies. end: the
// connection is to end.
func (c *Conn) answer(cmds []resp.Command) (end bool, why CloseReason, err error) {
	for len(cmds) > 0 {
		v := c.do(cmds)
		kind := cmds[v.Done-1].Kind
		cmds = cmds[v.Done:]
		if size := int64(len(c.out)); size > c.srv.opts.MaxOutput {
			text := fmt.Sprintf("output limit exceeded: a reply of %d bytes, at most %d are allowed",
				size, c.srv.opts.MaxOutput)
			c.out = c.Session().AppendError(nil, text)
			return true, ClosedOutput, c.send()
		}
		if err := c.send(); err != nil {
			return true, ClosedByReset, err
		}
		switch {
		case v.Hijack != nil:
			c.rd.Unread(len(cmds))
			c.hijack(v.Hijack, kind)
			return true, ClosedByHijack, nil
		case v.Close:
			return true, ClosedByCommand, nil
		}
	}
	return false, 0, nil
}

// do calls the session.
func (c *Conn) do(cmds []resp.Command) (v Verdict) {
	observe := c.srv.opts.Observe.Batch
	var begin time.Time
	if observe != nil {
		begin = time.Now()
	}
	c.out, v = c.Session().Do(c.ctx, cmds, c.out[:0])
	if v.Done <= 0 || v.Done > len(cmds) {
		v.Done = len(cmds)
	}
	if observe != nil {
		observe(c, v.Done, time.Since(begin))
	}
	return v
}

// send writes c.out in one piece unless it is large.
func (c *Conn) send() error {
	rest := c.out
	if len(rest) == 0 {
		return nil
	}
	var err error
	if c.reason.Load() != 0 { // killed: its context ended before its socket is closed
		err = net.ErrClosed
	}
	for len(rest) > 0 && err == nil {
		c.progress()
		c.phase.Store(phaseWriting)
		var n int
		n, err = c.conn().Write(rest[:min(len(rest), writePiece)])
		c.srv.count.out.Add(int64(n))
		rest = rest[n:]
	}
	if len(c.out) > slowOutput {
		c.progress()
	}
	c.phase.Store(phaseWorking)
	if cap(c.out) > keepOutput {
		c.out = nil
	}
	if err != nil {
		return fmt.Errorf("sending to %v: %w", c.RemoteAddr(), err)
	}
	return nil
}

// hijack hands the connection to f until it returns.
func (c *Conn) hijack(f func(context.Context, Hijacked) error, kind resp.Kind) {
	c.out, c.cmds = nil, nil
	c.wakeMu.Lock()
	c.phase.Store(phaseHijacked)
	c.setReadDeadline(time.Time{})
	c.wakeMu.Unlock()

	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	stopDrain := context.AfterFunc(c.srv.draining, cancel)
	defer stopDrain()
	stopRead := context.AfterFunc(ctx, func() { c.setReadDeadline(time.Unix(1, 0)) })
	defer stopRead()
	c.rd.Respond(responder{ctx, c.conn(), &c.srv.writeTimeout})
	if err := f(ctx, Hijacked{Conn: c.conn(), Reader: c.rd, Kind: kind}); err != nil {
		c.srv.log.Info("hijacked connection ended", "id", c.id, "client", c.RemoteAddr(), "error", err)
	}
}

func (c *Conn) openSession() {
	session := c.srv.backend.Open(c)
	c.session.Store(&session)
	if c.srv.opts.Observe.Opened != nil {
		c.srv.opts.Observe.Opened(c)
	}
}

func (c *Conn) closeSession() {
	defer func() { c.survived(recover()) }()
	if session := c.Session(); session != nil {
		session.Close()
	}
}

// survived logs a panic of the session: p is what recover has returned.
func (c *Conn) survived(p any) bool {
	if p == nil {
		return false
	}
	c.srv.count.panics.Add(1)
	c.srv.log.Error("a session panicked; its connection is closed",
		"id", c.id, "client", c.RemoteAddr(), "panic", p, "stack", string(debug.Stack()))
	return true
}
