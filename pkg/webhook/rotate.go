package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// ErrConflict is a Store's answer to a Save that somebody else was faster than.
var ErrConflict = errors.New("written by somebody else meanwhile")

// Store keeps the certificates for all replicas.
type Store interface {
	// Load returns what is kept, empty at first, and its version.
	Load(ctx context.Context) (data map[string][]byte, version string, err error)
	// Save replaces the version, or returns ErrConflict.
	Save(ctx context.Context, data map[string][]byte, version string) error
	// Trust has the API server trust authorities, PEM, when it calls the webhook.
	Trust(ctx context.Context, authorities []byte) error
}

// RotateOptions say how certificates are made. Times have defaults.
type RotateOptions struct {
	Store Store
	// Names that the API server calls the webhook by.
	Names []string
	// Authority and Leaf are how long certificates are valid: 10 years and 90 days. A
	// leaf is renewed when a third of its time is left, an authority when less than
	// two leaves' is.
	Authority, Leaf time.Duration
	// Every is how often they are looked at; it bounds how long a replica shows what
	// another one has replaced, and how long a lost trust stays lost. Default 30 s.
	Every time.Duration
	// Now is the time; default time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// EnsureDefaults fills in what is zero.
func (o *RotateOptions) EnsureDefaults() {
	for _, d := range []struct {
		to    *time.Duration
		value time.Duration
	}{{&o.Authority, 10 * 365 * 24 * time.Hour}, {&o.Leaf, 90 * 24 * time.Hour}, {&o.Every, 30 * time.Second}} {
		if *d.to == 0 {
			*d.to = d.value
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

// Validate lists every fault.
func (o *RotateOptions) Validate() error {
	var faults []error
	if o.Store == nil {
		faults = append(faults, errors.New("rotation: no store"))
	}
	if len(o.Names) == 0 {
		faults = append(faults, errors.New("rotation: no names"))
	}
	if o.Leaf <= 0 || o.Every <= 0 || o.Authority < 4*o.Leaf {
		faults = append(faults, fmt.Errorf("rotation: leaf %s, every %s: want more than 0, and authority %s at least four times the leaf", o.Leaf, o.Every, o.Authority))
	}
	return errors.Join(faults...)
}

// Rotator has a certificate for a server.
type Rotator struct {
	opt RotateOptions

	mu    sync.Mutex
	shown *tls.Certificate
	last  error // of the last look
}

// NewRotator returns one that has none yet.
func NewRotator(o RotateOptions) (*Rotator, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return &Rotator{opt: o}, nil
}

// Config is a server's that shows the certificate of the moment.
func (r *Rotator) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.shown == nil {
				return nil, errors.New("there is no certificate yet")
			}
			return r.shown, nil
		},
	}
}

// Ready reports whether there is a certificate that is valid, and why not.
func (r *Rotator) Ready() (bool, []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.shown == nil && r.last != nil:
		return false, []string{"no certificate yet: " + r.last.Error()}
	case r.shown == nil:
		return false, []string{"no certificate yet"}
	case r.opt.Now().After(r.shown.Leaf.NotAfter):
		return false, []string{fmt.Sprintf("the certificate is over: %v", r.last)}
	}
	return true, nil
}

// Failing reports whether the last look after the certificates failed. What was shown
// and trusted before still is.
func (r *Rotator) Failing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last != nil
}

// Run looks after the certificates until ctx ends, and returns its error.
func (r *Rotator) Run(ctx context.Context) error {
	tick := time.NewTicker(r.opt.Every)
	defer tick.Stop()
	for {
		_ = r.Step(ctx) // which has said it
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// attempts are how often a race for the store may be lost in one look.
const attempts = 5

// Step looks once, and notes how that ended.
func (r *Rotator) Step(ctx context.Context) error {
	err := r.look(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.mu.Lock()
	was := r.last
	r.last = err
	r.mu.Unlock()
	if err != nil && (was == nil || was.Error() != err.Error()) {
		r.opt.Logger.Error("certificates of the webhook", "err", err)
	}
	return err
}

// look renews what has to be: kept, then trusted, then shown.
func (r *Rotator) look(ctx context.Context) error {
	for range attempts {
		data, version, err := r.opt.Store.Load(ctx)
		if err != nil {
			return fmt.Errorf("read the certificates: %w", err)
		}
		s := parseSet(data)
		changed, err := s.renew(r.opt.Now(), r.opt.Names, r.opt.Authority, r.opt.Leaf)
		if err != nil {
			return err
		}
		if changed {
			if data, err = s.data(); err == nil {
				err = r.opt.Store.Save(ctx, data, version)
			}
			if errors.Is(err, ErrConflict) {
				continue
			}
			if err != nil {
				return fmt.Errorf("keep the certificates: %w", err)
			}
			r.opt.Logger.Info("certificates of the webhook are renewed", "until", s.leaf.cert.NotAfter, "authority_until", s.ca.cert.NotAfter)
		}
		if err := r.opt.Store.Trust(ctx, s.trusted()); err != nil {
			return fmt.Errorf("tell the API server whom to trust: %w", err)
		}
		r.mu.Lock()
		r.shown = s.certificate()
		r.mu.Unlock()
		return nil
	}
	return fmt.Errorf("keep the certificates: %w, %d times", ErrConflict, attempts)
}
