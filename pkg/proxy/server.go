package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ErrServed is returned by Serve when the server has served before, or has been
// shut down: a Server serves once.
var ErrServed = errors.New("proxy: server has been used before")

// cutGrace is how long sessions may take to end after their connections have
// been cut and their contexts ended, before they are given up.
const cutGrace = 2 * time.Second

// Server accepts connections and serves them with a Backend.
type Server struct {
	opts    Options
	backend Backend    // nil when raw is set
	raw     RawBackend // nil when backend is set
	log     *slog.Logger
	count   counters

	// Settable while serving.
	maxConns     atomic.Int64
	idleTimeout  atomic.Int64 // ns
	writeTimeout atomic.Int64 // ns
	keepAlive    atomic.Int64 // ns

	lastID      atomic.Int64
	lastRefusal atomic.Int64   // last logged, in Unix ns, of too many connections
	lastRefused atomic.Int64   // the same of Options.Refuse
	rejecting   chan struct{}  // holds a token for each refused connection that lingers
	work        sync.WaitGroup // goroutines of connections

	// base ends when connections are cut, draining when they are to end.
	base     context.Context
	cut      context.CancelFunc
	draining context.Context
	drain    context.CancelFunc
	ended    chan struct{} // closed when Serve has nothing left to wait for

	mu    sync.Mutex // leaf: nothing is called with it held
	lns   []net.Listener
	used  bool
	conns map[*Conn]struct{}
}

// New returns a server that is ready to Serve.
func New(opts Options, backend Backend) (*Server, error) {
	opts.EnsureDefaults()
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("proxy options: %w", err)
	}
	s := &Server{
		opts:      opts,
		backend:   backend,
		log:       opts.Logger,
		rejecting: make(chan struct{}, maxRejecting),
		ended:     make(chan struct{}),
		conns:     make(map[*Conn]struct{}),
	}
	s.base, s.cut = context.WithCancel(context.Background())
	s.draining, s.drain = context.WithCancel(s.base)
	s.maxConns.Store(int64(opts.MaxConns))
	s.idleTimeout.Store(int64(opts.IdleTimeout))
	s.writeTimeout.Store(int64(opts.WriteTimeout))
	s.keepAlive.Store(int64(opts.KeepAlive))
	return s, nil
}

// SetMaxConns changes the limit on connections; those above it stay.
func (s *Server) SetMaxConns(n int) { s.maxConns.Store(int64(n)) }

// SetIdleTimeout changes Options.IdleTimeout for all connections; 0: never.
func (s *Server) SetIdleTimeout(d time.Duration) { s.idleTimeout.Store(int64(d)) }

// SetWriteTimeout changes Options.WriteTimeout for all connections.
func (s *Server) SetWriteTimeout(d time.Duration) { s.writeTimeout.Store(int64(d)) }

// SetKeepAlive changes Options.KeepAlive for connections accepted from now on.
func (s *Server) SetKeepAlive(d time.Duration) { s.keepAlive.Store(int64(d)) }

// Each calls f for every connection that is served, oldest first.
func (s *Server) Each(f func(*Conn)) {
	conns := s.snapshot()
	slices.SortFunc(conns, func(a, b *Conn) int { return cmp.Compare(a.id, b.id) })
	for _, c := range conns {
		f(c)
	}
}

func (s *Server) snapshot() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

func (s *Server) current() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Serve accepts connections from all of lns until Shutdown is called or ctx ends, which
// begins a shutdown bounded by DrainTimeout. It closes lns, and returns when all
// connections have ended: nil after a shutdown that had to cut nothing, or the
// error that ended it.
func (s *Server) Serve(ctx context.Context, lns ...net.Listener) error {
	if err := s.use(lns); err != nil {
		for _, ln := range lns {
			err = errors.Join(err, ln.Close())
		}
		return err
	}
	var helpers sync.WaitGroup
	done := make(chan struct{})
	helpers.Go(func() { s.sweep(done) })
	helpers.Go(func() {
		select {
		case <-ctx.Done():
			s.beginDrain()
		case <-done:
		}
	})

	err := errors.Join(s.acceptAll(lns), s.waitForConns())
	close(done)
	helpers.Wait()
	close(s.ended)
	return err
}

// acceptAll accepts from all of lns until the shutdown, which begins when one of
// them fails, too: nobody would know of what is left.
func (s *Server) acceptAll(lns []net.Listener) error {
	errs := make([]error, len(lns))
	var wg sync.WaitGroup
	for i, ln := range lns {
		wg.Go(func() {
			errs[i] = s.accept(ln)
			s.beginDrain()
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Shutdown stops accepting, lets every connection answer the whole commands
// that it has received, and ends it. When ctx or DrainTimeout ends first, what
// is left is cut. It returns when Serve is about to.
func (s *Server) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.DrainTimeout)
	defer cancel()
	if !s.beginDrain() {
		return nil // never served
	}
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
	}
	s.cutAll()
	select {
	case <-s.ended:
	case <-time.After(2 * cutGrace): // Serve gives up before
	}
	return fmt.Errorf("proxy shutdown: connections were cut: %w", ctx.Err())
}

func (s *Server) use(lns []net.Listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used {
		return ErrServed
	}
	s.used, s.lns = true, lns
	return nil
}

// beginDrain makes accept return and connections end. It may be called many
// times; it returns false if there is nothing to end.
func (s *Server) beginDrain() bool {
	s.mu.Lock()
	s.used = true
	lns := s.lns
	s.mu.Unlock()
	// Before the snapshot: who is registered behind it sees this when it starts.
	s.drain()
	if len(lns) == 0 {
		return false
	}
	for _, ln := range lns {
		if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.log.Warn("closing the listener", "address", ln.Addr(), "error", err)
		}
	}
	for _, c := range s.snapshot() {
		c.wake()
	}
	return true
}

// waitForConns waits for all connections to end, cuts them after DrainTimeout,
// and then gives sessions cutGrace to notice.
func (s *Server) waitForConns() error {
	gone := make(chan struct{})
	go func() { // ends with the last session
		s.work.Wait()
		close(gone)
	}()
	drain := time.NewTimer(s.opts.DrainTimeout)
	defer drain.Stop()
	select {
	case <-gone:
	case <-s.base.Done(): // cut by Shutdown
	case <-drain.C:
		s.cutAll()
	}
	grace := time.NewTimer(cutGrace)
	defer grace.Stop()
	select {
	case <-gone:
	case <-grace.C:
		return fmt.Errorf("proxy: %d sessions did not end within %v of being cut", s.current(), cutGrace)
	}
	if n := s.count.closed[ClosedCut].Load(); n > 0 {
		return fmt.Errorf("proxy: %d connections were cut", n)
	}
	return nil
}

// cutAll ends all connections at once. Each gets its reason before its context
// ends, so that none takes itself for drained.
func (s *Server) cutAll() {
	for _, c := range s.snapshot() {
		c.end(ClosedCut)
	}
	s.cut()
}
