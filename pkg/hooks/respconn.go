package hooks

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"evenkeel/internal/clock"
)

// idlePerAddr is how many idle connections to one server are kept.
const idlePerAddr = 4

// respPool sends single commands to servers that speak RESP. Connections are
// kept for the next command; one with an error, also one of the server, is
// closed, as in Tile38.
type respPool struct {
	dialer net.Dialer
	clock  clock.Clock

	mu   sync.Mutex
	idle map[string][]*respConn
}

type respConn struct {
	net.Conn
	r    *bufio.Reader
	used time.Time
}

func newRESPPool(o *Options) *respPool {
	return &respPool{dialer: net.Dialer{Timeout: o.Timeout}, clock: o.Clock, idle: map[string][]*respConn{}}
}

// publish is PUBLISH channel msg. Any number of receivers will do.
func (p *respPool) publish(ctx context.Context, e *endpoint, msg []byte) error {
	kind, err := p.do(ctx, e.addr, "PUBLISH", e.channel, msg)
	if err == nil && kind != ':' {
		err = fmt.Errorf("the answer to PUBLISH begins with %q", kind)
	}
	return err
}

// addJob is ADDJOB queue msg 0 [REPLICATE n].
func (p *respPool) addJob(ctx context.Context, e *endpoint, msg []byte) error {
	more := []string{"0"}
	if e.replicate != "" {
		more = append(more, "REPLICATE", e.replicate)
	}
	kind, err := p.do(ctx, e.addr, "ADDJOB", e.channel, msg, more...)
	if err == nil && kind != '+' && kind != '$' {
		err = fmt.Errorf("the answer to ADDJOB begins with %q", kind)
	}
	return err
}

// do sends a command and returns the kind of the answer.
func (p *respPool) do(ctx context.Context, addr, name, key string, msg []byte, more ...string) (kind byte, err error) {
	c := p.take(addr)
	if c == nil {
		conn, err := p.dialer.DialContext(ctx, "tcp", addr)
		if err != nil {
			return 0, err
		}
		c = &respConn{Conn: conn, r: bufio.NewReader(conn)}
	}
	if kind, err = c.exchange(ctx, command(name, key, msg, more)); err == nil {
		// An answer that was not expected ends the connection, too.
		if (name == "PUBLISH") == (kind == ':') {
			p.give(addr, c)
			return kind, nil
		}
	}
	_ = c.Close() // of no use any more
	return kind, err
}

func command(name, key string, msg []byte, more []string) []byte {
	b := make([]byte, 0, len(msg)+len(key)+64)
	b = append(b, '*')
	b = strconv.AppendInt(b, int64(3+len(more)), 10)
	b = append(b, '\r', '\n')
	b = bulk(b, name)
	b = bulk(b, key)
	b = bulk(b, msg)
	for _, s := range more {
		b = bulk(b, s)
	}
	return b
}

func bulk[T string | []byte](b []byte, s T) []byte {
	b = append(b, '$')
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, '\r', '\n')
	b = append(b, s...)
	return append(b, '\r', '\n')
}

// exchange writes cmd and reads the answer, within the time of ctx.
func (c *respConn) exchange(ctx context.Context, cmd []byte) (kind byte, err error) {
	deadline, _ := ctx.Deadline() // the zero time: none
	if err := c.SetDeadline(deadline); err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := c.Write(cmd); err != nil {
		return 0, err
	}
	return readAnswer(c.r)
}

// readAnswer reads a simple string, an integer or a bulk string and returns its
// first byte. An error of the server is an error.
func readAnswer(r *bufio.Reader) (kind byte, err error) {
	line, err := r.ReadSlice('\n') // bounded by the reader's buffer
	if err != nil {
		return 0, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return 0, fmt.Errorf("the answer %q is not RESP", line)
	}
	kind, text := line[0], string(line[1:len(line)-2])
	switch kind {
	case '+', ':':
		return kind, nil
	case '-':
		return 0, errors.New("the server answers: " + text)
	case '$':
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > maxAnswer {
			return 0, fmt.Errorf("the answer is a string of length %q", text)
		}
		_, err = io.CopyN(io.Discard, r, int64(n)+2)
		return kind, err
	}
	return 0, fmt.Errorf("the answer %q is not expected", line)
}

func (p *respPool) take(addr string) *respConn {
	now := p.clock.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[addr]
	for n := len(list) - 1; n >= 0; n-- {
		c := list[n]
		list[n] = nil
		p.setLocked(addr, list[:n])
		if now.Sub(c.used) < idleTimeout && c.r.Buffered() == 0 {
			return c
		}
		_ = c.Close() // idle
	}
	return nil
}

func (p *respPool) setLocked(addr string, list []*respConn) {
	if len(list) == 0 {
		delete(p.idle, addr)
		return
	}
	p.idle[addr] = list
}

func (p *respPool) give(addr string, c *respConn) {
	c.used = p.clock.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[addr]
	if len(list) >= idlePerAddr {
		_ = c.Close() // one too many
		return
	}
	p.idle[addr] = append(list, c)
}

// closeIdle closes the connections that are idle for long.
func (p *respPool) closeIdle() {
	now := p.clock.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for addr, list := range p.idle {
		keep := list[:0]
		for _, c := range list {
			if now.Sub(c.used) < idleTimeout {
				keep = append(keep, c)
			} else {
				_ = c.Close() // idle
			}
		}
		clear(list[len(keep):])
		p.setLocked(addr, keep)
	}
}

func (p *respPool) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for addr, list := range p.idle {
		for _, c := range list {
			_ = c.Close() // idle
		}
		delete(p.idle, addr)
	}
}

// any says whether there are idle connections.
func (p *respPool) any() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle) > 0
}
