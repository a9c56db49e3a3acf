package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"evenkeel/pkg/admin"
	"evenkeel/pkg/compactor"
	"evenkeel/pkg/metrics"
)

// shell is what every sidecar has, whatever engine it serves.
type shell struct {
	cfg       *config
	logger    *slog.Logger
	listeners *listeners
	gate      gate
	dial      func(ctx context.Context, addr string) (net.Conn, error) // to leaders; nil: over TCP as it is
	secured   *tls.Config                                              // of the clients' listener; nil: no TLS

	metrics  lazyHandler // /metrics answers 503 until the engine is there
	observer atomic.Pointer[metrics.Metrics]
	started  time.Time

	parts    sync.WaitGroup // what serve starts
	failed   chan error     // how one of them ended
	stopHTTP func()
}

// service is an engine with all that is around it. Its methods are called in
// this order, each once; after an error of load or assemble only close is.
type service interface {
	admin.Status
	// actions are what the admin listener can be asked for, from the beginning.
	actions() []admin.Action
	// load makes the engine's data available. It ends with ctx.
	load(ctx context.Context, errOut io.Writer) error
	// assemble makes the parts above the engine and ties them together.
	assemble() error
	// serve starts every part that runs, until ctx ends.
	serve(ctx context.Context)
	// banner tells a person where everything is and what to try.
	banner(w io.Writer)
	// shutdown ends the parts in the order in which they depend on each other.
	// stopWork ends the context of serve.
	shutdown(stopWork context.CancelFunc) error
	// close ends what load and assemble began.
	close() error
}

// startHTTP serves the probes from the beginning: loading is not death.
func (s *shell) startHTTP(status admin.Status, actions ...admin.Action) {
	s.started = time.Now()
	s.gate.close("starting")
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	o := admin.ServeOptions{Logger: s.logger}
	serve := func(name string, f func() error) {
		wg.Go(func() {
			if err := f(); err != nil {
				s.logger.Error("cannot serve any more", "what", name, "err", err)
			}
		})
	}
	serve("probes", func() error {
		return admin.Serve(ctx, s.listeners.probe, s.probes(), o)
	})
	serve("admin", func() error {
		return admin.Serve(ctx, s.listeners.admin, admin.Admin(status, actions...), o)
	})
	s.stopHTTP = sync.OnceFunc(func() { cancel(); wg.Wait() })
}

// probes are the handlers of the probe listener.
func (s *shell) probes() http.Handler {
	h := admin.Probe(&s.gate, &s.metrics)
	if s.cfg.engineKind == engineTile38 {
		h = admin.ProbeEngine(h, s.cfg.tile38.addr)
	}
	return h
}

// part starts something that runs until the end. Its error ends the process.
func (s *shell) part(name string, f func() error) {
	s.parts.Go(func() {
		if err := f(); err != nil && !errors.Is(err, context.Canceled) {
			s.failed <- fmt.Errorf("%s: %w", name, err)
		}
	})
}

// compacted tells the log file and the metrics.
func (s *shell) compacted(r compactor.Report) {
	s.observer.Load().ObserveCompaction(metrics.CompactionDone{
		Result: string(r.Outcome), End: r.Start.Add(r.Duration), Duration: r.Duration,
		BytesBefore: r.Result.BytesBefore, BytesAfter: r.Result.BytesAfter,
	})
	attrs := []any{
		"origin", r.Origin, "took", r.Duration.Round(time.Millisecond), "objects", r.Result.Objects,
		"bytes_before", r.Result.BytesBefore, "bytes_after", r.Result.BytesAfter,
	}
	if r.Err != nil {
		s.logger.Error("compaction "+string(r.Outcome), append(attrs, "err", r.Err)...)
		return
	}
	s.logger.Info("compaction done", attrs...)
}

// maxParts is how many parts a sidecar has at most.
const maxParts = 16

// lazyHandler is a handler that comes later.
type lazyHandler struct {
	mu sync.RWMutex
	h  http.Handler
}

func (l *lazyHandler) set(h http.Handler) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.h = h
}

// ServeHTTP answers 503 until the handler has come.
func (l *lazyHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.RLock()
	h := l.h
	l.mu.RUnlock()
	if h == nil {
		http.Error(w, "not yet: the log is being loaded", http.StatusServiceUnavailable)
		return
	}
	h.ServeHTTP(w, r)
}
