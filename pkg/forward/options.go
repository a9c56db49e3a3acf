package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// Options of a Pool. Zero fields mean the default.
type Options struct {
	// Dial connects to the leader. Default: TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Auth tells the leader's password; "": none. Default: none.
	Auth func() string
	// Name is what the connections are called in the leader's CLIENT LIST. Default
	// "evenkeel:forward".
	Name string
	// ID is the own server id: a connection that leads here is none to a leader.
	ID string
	// DialTimeout bounds one attempt to connect, the handshake included. Default 1 s.
	DialTimeout time.Duration
	// Silence is how long a leader may take for a reply before it is asked whether it
	// lives at all. Default 5 s.
	Silence time.Duration
	// MaxLinks bounds the connections; pipelines wait in line for one. Default 64.
	MaxLinks int
	// IdleTimeout is how long a connection is kept that nobody needs. Default 1 min.
	IdleTimeout time.Duration
}

// EnsureDefaults replaces zero fields by their defaults.
func (o *Options) EnsureDefaults() {
	if o.Dial == nil {
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		}
	}
	if o.Auth == nil {
		o.Auth = func() string { return "" }
	}
	if o.Name == "" {
		o.Name = "evenkeel:forward"
	}
	if o.DialTimeout == 0 {
		o.DialTimeout = time.Second
	}
	if o.Silence == 0 {
		o.Silence = 5 * time.Second
	}
	if o.MaxLinks == 0 {
		o.MaxLinks = 64
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = time.Minute
	}
}

// Validate reports every fault of the options.
func (o Options) Validate() error {
	var errs []error
	for _, v := range []struct {
		name  string
		value int64
	}{
		{"DialTimeout", int64(o.DialTimeout)}, {"Silence", int64(o.Silence)}, {"MaxLinks", int64(o.MaxLinks)}, {"IdleTimeout", int64(o.IdleTimeout)},
	} {
		if v.value < 1 {
			errs = append(errs, fmt.Errorf("option %s: %d is not positive", v.name, v.value))
		}
	}
	return errors.Join(errs...)
}

// Stats are counters since the Pool was made, except Links.
type Stats struct {
	Links        int64 // connections now
	Dials        int64 // connections that were made
	DialFailures int64 // attempts that failed
	Lost         int64 // connections that ended with commands under way
}

var (
	// ErrNotLeader says that who answers at the address does not lead.
	ErrNotLeader = errors.New("not the leader")
	// ErrRefused says that the leader takes no commands from here, whoever tries again.
	ErrRefused = errors.New("the connection was refused")
	// ErrBusy says that no connection has become free in time.
	ErrBusy = errors.New("no connection to it is free")
	// ErrChanged says that there is another leader now.
	ErrChanged = errors.New("the leader has changed")
	// ErrTooLarge says that there are more replies than the caller takes.
	ErrTooLarge = errors.New("the reply is too large")
	// ErrSilent says that the leader does not answer, and not on a new connection either.
	ErrSilent = errors.New("the leader does not answer")
)
