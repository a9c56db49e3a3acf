package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// ServeOptions are the limits of an HTTP server.
type ServeOptions struct {
	HeaderTimeout time.Duration // to read a request's header; default 5 s
	ReadTimeout   time.Duration // to read a whole request; default 10 s
	WriteTimeout  time.Duration // to answer; default 2 min, for profiles
	IdleTimeout   time.Duration // between requests of a connection; default 1 min
	DrainTimeout  time.Duration // for running requests once ctx has ended; default 5 s
	HeaderBytes   int           // of a request's header; default 16 KiB
	Logger        *slog.Logger  // default: drops everything
}

// EnsureDefaults fills in what is zero.
func (o *ServeOptions) EnsureDefaults() {
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&o.HeaderTimeout, 5 * time.Second},
		{&o.ReadTimeout, 10 * time.Second},
		{&o.WriteTimeout, 2 * time.Minute},
		{&o.IdleTimeout, time.Minute},
		{&o.DrainTimeout, 5 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	if o.HeaderBytes == 0 {
		o.HeaderBytes = 16 << 10
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Validate lists every fault of the options.
func (o ServeOptions) Validate() error {
	var faults []error
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"header timeout", o.HeaderTimeout}, {"read timeout", o.ReadTimeout}, {"write timeout", o.WriteTimeout},
		{"idle timeout", o.IdleTimeout}, {"drain timeout", o.DrainTimeout},
	} {
		if d.value < 0 {
			faults = append(faults, fmt.Errorf("%s: %v is below 0", d.name, d.value))
		}
	}
	if o.HeaderBytes < 0 {
		faults = append(faults, fmt.Errorf("header bytes: %d is below 0", o.HeaderBytes))
	}
	return errors.Join(faults...)
}

// Serve answers on ln until ctx ends; then it takes no more requests, gives the
// running ones DrainTimeout, cancels the rest and waits for their handlers. It
// closes ln and returns nil after such an end, and an error when ln failed.
func Serve(ctx context.Context, ln net.Listener, h http.Handler, o ServeOptions) error {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return errors.Join(fmt.Errorf("serve %v: %w", ln.Addr(), err), ln.Close())
	}
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var handlers sync.WaitGroup
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handlers.Add(1)
			defer handlers.Done()
			h.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: o.HeaderTimeout,
		ReadTimeout:       o.ReadTimeout,
		WriteTimeout:      o.WriteTimeout,
		IdleTimeout:       o.IdleTimeout,
		MaxHeaderBytes:    o.HeaderBytes,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return requests },
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	select {
	case err := <-failed:
		cancel()
		handlers.Wait()
		return errors.Join(fmt.Errorf("serve %v: %w", ln.Addr(), err), srv.Close())
	case <-ctx.Done():
	}
	drain, stop := context.WithTimeout(context.WithoutCancel(ctx), o.DrainTimeout)
	defer stop()
	err := srv.Shutdown(drain)
	cancel()
	if errors.Is(err, context.DeadlineExceeded) {
		o.Logger.Warn("requests were cut off", "address", ln.Addr().String(), "after", o.DrainTimeout)
		err = srv.Close()
	}
	<-failed // http.ErrServerClosed
	handlers.Wait()
	if err != nil {
		return fmt.Errorf("serve %v: shut down: %w", ln.Addr(), err)
	}
	return nil
}
