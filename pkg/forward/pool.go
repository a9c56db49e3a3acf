package forward

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Pool has the connections to the leader. Its methods may be called by several
// goroutines.
type Pool struct {
	opt    Options
	places chan struct{} // holds a token for each connection in use

	dials, dialFailures, lost atomic.Int64

	mu     sync.Mutex // guards what follows; nothing is called with it held but methods of connections
	idle   []*link    // the one that was used last is last
	all    map[*link]struct{}
	addr   string // of the leader; connections to others are ended
	closed bool
}

// New returns a pool without connections. Run must be called for idle ones to be
// closed.
func New(opt Options) (*Pool, error) {
	opt.EnsureDefaults()
	if err := opt.Validate(); err != nil {
		return nil, fmt.Errorf("forward options: %w", err)
	}
	return &Pool{opt: opt, places: make(chan struct{}, opt.MaxLinks), all: map[*link]struct{}{}}, nil
}

// Run closes connections that nobody needs until ctx ends, and then all of them.
func (p *Pool) Run(ctx context.Context) {
	tick := time.NewTicker(max(p.opt.IdleTimeout/2, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			p.mu.Lock()
			p.closed = true
			p.mu.Unlock()
			p.end(func(*link) bool { return true })
			return
		case now := <-tick.C:
			p.sweep(now.Add(-p.opt.IdleTimeout))
		}
	}
}

// sweep closes what has been idle since before.
func (p *Pool) sweep(before time.Time) {
	p.mu.Lock()
	var old []*link
	kept := p.idle[:0]
	for _, l := range p.idle {
		if l.used.Before(before) {
			old = append(old, l)
		} else {
			kept = append(kept, l)
		}
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	p.mu.Unlock()
	for _, l := range old {
		p.drop(l)
	}
}

// Lead says who the leader is from now on; "": nobody. Connections to others are
// given a moment for what is under way, and end with ErrChanged: who was the leader may
// never answer.
func (p *Pool) Lead(addr string) {
	p.mu.Lock()
	p.addr = addr
	p.mu.Unlock()
	p.end(func(l *link) bool { return l.addr != addr })
}

// end ends connections, those in use soon.
func (p *Pool) end(which func(*link) bool) {
	p.mu.Lock()
	var idle []*link
	kept := p.idle[:0]
	for _, l := range p.idle {
		if which(l) {
			idle = append(idle, l)
			delete(p.all, l)
		} else {
			kept = append(kept, l)
		}
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	for l := range p.all {
		if which(l) && !l.changed.Swap(true) {
			_ = l.conn.SetDeadline(time.Now().Add(lastWords)) // fails only when it is closed
		}
	}
	p.mu.Unlock()
	for _, l := range idle {
		p.drop(l)
	}
}

// drop closes a connection.
func (p *Pool) drop(l *link) {
	_ = l.conn.Close() // nothing could be done about an error
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, l)
}

// Stats returns the counters now.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	links := int64(len(p.all))
	p.mu.Unlock()
	return Stats{Links: links, Dials: p.dials.Load(), DialFailures: p.dialFailures.Load(), Lost: p.lost.Load()}
}

// take returns a connection to addr, which belongs to the caller until give.
func (p *Pool) take(ctx context.Context, addr string, patience time.Duration) (*link, error) {
	select {
	case p.places <- struct{}{}:
	default:
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case p.places <- struct{}{}:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-timer.C:
			return nil, fmt.Errorf("%w: all %d have been in use for %s", ErrBusy, p.opt.MaxLinks, patience)
		}
	}
	l, err := p.find(ctx, addr)
	if err != nil {
		<-p.places
	}
	return l, err
}

// find returns an idle connection or makes one.
func (p *Pool) find(ctx context.Context, addr string) (*link, error) {
	for {
		p.mu.Lock()
		n := len(p.idle)
		if n == 0 {
			p.mu.Unlock()
			return p.dial(ctx, addr)
		}
		l := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		if l.addr == addr && l.quiet() {
			return l, nil
		}
		p.drop(l)
	}
}

// give takes a connection back; whole: nothing is under way on it.
func (p *Pool) give(l *link, whole bool) {
	if whole {
		l.used = time.Now()
	}
	p.mu.Lock()
	keep := whole && !p.closed && l.addr == p.addr
	if keep {
		p.idle = append(p.idle, l)
	}
	p.mu.Unlock()
	if !keep {
		p.drop(l)
	}
	<-p.places
}

// dial connects.
func (p *Pool) dial(ctx context.Context, addr string) (*link, error) {
	l, err := p.connect(ctx, addr)
	if err != nil {
		if !errors.Is(err, ErrNotLeader) {
			p.dialFailures.Add(1)
		}
		return nil, err
	}
	p.dials.Add(1)
	p.mu.Lock()
	ended := p.closed || p.addr != addr
	if !ended {
		p.all[l] = struct{}{}
	}
	p.mu.Unlock()
	if ended {
		return nil, errors.Join(ErrChanged, l.conn.Close())
	}
	return l, nil
}
