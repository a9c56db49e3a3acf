package tile38

import (
	"context"
	"errors"
	"sync"

	"github.com/tidwall/redcon"
)

// maxIdle is how many connections to one server a Pool keeps that nobody uses.
const maxIdle = 2

// Pool sends single commands to some servers, over connections that stay. Several
// goroutines may use it.
type Pool struct {
	opt  Options
	life context.Context //nolint:containedctx // connections outlive the call that dials them
	stop context.CancelFunc

	mu     sync.Mutex
	closed bool
	idle   map[string][]*Conn // by address
}

// NewPool returns a pool without connections. Its Options' Addr does not matter.
func NewPool(opt Options) *Pool {
	life, stop := context.WithCancel(context.Background())
	return &Pool{opt: opt, life: life, stop: stop, idle: map[string][]*Conn{}}
}

// Do sends a command to addr and returns its answer, as Conn.Do. A connection that was kept
// and has ended meanwhile is made anew, so the command must be one that may arrive twice.
func (p *Pool) Do(ctx context.Context, addr string, args ...string) (redcon.RESP, error) {
	for {
		c, kept, err := p.take(ctx, addr)
		if err != nil {
			return redcon.RESP{}, err
		}
		unhook := context.AfterFunc(ctx, func() { _ = c.Close() })
		v, err := c.Do(args...)
		_, answered := errors.AsType[AnswerError](err)
		switch {
		case !unhook():
			if err == nil {
				return v, nil // the end of ctx came after the answer
			}
			return v, errors.Join(context.Cause(ctx), c.Close())
		case err == nil, answered:
			p.keep(addr, c)
			return v, err
		case !kept:
			return v, errors.Join(err, c.Close())
		}
		_ = c.Close()
	}
}

// take returns a connection, and whether it was there already.
func (p *Pool) take(ctx context.Context, addr string) (c *Conn, kept bool, err error) {
	p.mu.Lock()
	if free := p.idle[addr]; len(free) > 0 {
		c, p.idle[addr] = free[len(free)-1], free[:len(free)-1]
	}
	p.mu.Unlock()
	if c != nil {
		return c, true, nil
	}
	if err := p.life.Err(); err != nil {
		return nil, false, err
	}
	// The connection outlives ctx, but its making does not.
	life, stop := context.WithCancel(p.life)
	unhook := context.AfterFunc(ctx, stop)
	opt := p.opt
	opt.Addr = addr
	if c, err = Dial(life, opt); err == nil && unhook() {
		return c, false, nil
	}
	stop()
	if c != nil {
		_ = c.Close()
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return nil, false, err
}

// keep puts a connection back.
func (p *Pool) keep(addr string, c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle[addr]) >= maxIdle {
		_ = c.Close()
		return
	}
	p.idle[addr] = append(p.idle[addr], c)
}

// Close ends all connections.
func (p *Pool) Close() error {
	p.stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	var errs []error
	for addr, free := range p.idle {
		for _, c := range free {
			errs = append(errs, c.Close())
		}
		delete(p.idle, addr)
	}
	return errors.Join(errs...)
}
