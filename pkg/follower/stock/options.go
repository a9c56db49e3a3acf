package stock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"evenkeel/pkg/follower"
	"evenkeel/pkg/store"
	"evenkeel/pkg/tile38"
)

// Store is where the leader's commands go. Run calls it from one goroutine, but
// for Stats.
type Store interface {
	// BeginEpoch lets the own log go on as a history of its own.
	BeginEpoch(ctx context.Context) error
	// ApplyCommands carries out whole commands and puts them into the own log.
	ApplyCommands(ctx context.Context, payload []byte) (store.Applied, error)
	// NewShadow returns an empty state beside the own.
	NewShadow() *store.Shadow
	// Adopt brings the difference to a shadow in; with merge, without deleting.
	Adopt(ctx context.Context, sh *store.Shadow, merge bool) (store.Difference, error)
	// Empty: there is no data.
	Empty() bool
	// Stats counts the data.
	Stats() store.Stats
}

// Options configure a Follower.
type Options struct {
	// Leader is the address, host:port, of the leader. Required.
	Leader string
	// Auth is the password that the leader wants. Empty: none.
	Auth string
	// ID is this server's id, by which it finds out that it follows itself.
	ID string
	// ListeningPort and IPAddress are where clients reach this server, told to the
	// leader; empty: where the connection comes from.
	ListeningPort int
	IPAddress     string
	// Store takes the commands. Required.
	Store Store
	// Merge: when Promoted ends Run before it was level with this leader once, what
	// has been received is merged into the own data.
	Merge bool
	// Dial connects. Default: TCP with DialTimeout.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// DialTimeout is for connecting and for each answer. Default 5 s.
	DialTimeout time.Duration
	// ReadTimeout is how long the leader may say nothing while something is known to
	// come. Default 30 s.
	ReadTimeout time.Duration
	// PollInterval is the time between two questions how far the leader is. Default 1 s.
	PollInterval time.Duration
	// VerifyTimeout is how long after a stream was gone on with the counts of both
	// sides may take to agree. Default 60 s.
	VerifyTimeout time.Duration
	// Tail is how many of the last bytes are kept, to go on behind them. Default 64 KiB.
	Tail int
	// Window is how much of the end of the leader's file is searched for them, in
	// bytes. Default 64 MiB.
	Window int64
	// BackoffMin and BackoffMax bound the wait before the next attempt; it doubles
	// from one to the other, less up to half of it at random. Default 100 ms and 5 s.
	BackoffMin, BackoffMax time.Duration
	// MaxLag is the limit that Ready uses when it is not given one. Default 10 s.
	MaxLag time.Duration
	// OnEvent hears of what happens, from the goroutine of Run, which waits for it.
	OnEvent func(follower.Event)
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Logger hears of the same as OnEvent. Default: none.
	Logger *slog.Logger
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	for _, d := range []struct {
		d   *time.Duration
		def time.Duration
	}{
		{&o.DialTimeout, 5 * time.Second}, {&o.ReadTimeout, 30 * time.Second}, {&o.PollInterval, time.Second},
		{&o.VerifyTimeout, time.Minute}, {&o.BackoffMin, 100 * time.Millisecond}, {&o.BackoffMax, 5 * time.Second},
		{&o.MaxLag, 10 * time.Second},
	} {
		if *d.d == 0 {
			*d.d = d.def
		}
	}
	if o.Tail == 0 {
		o.Tail = tile38.DefaultTail
	}
	if o.Window == 0 {
		o.Window = tile38.DefaultWindow
	}
	if o.OnEvent == nil {
		o.OnEvent = func(follower.Event) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Validate lists every fault.
func (o *Options) Validate() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("stock follower: "+format, args...))
	}
	if _, _, err := net.SplitHostPort(o.Leader); err != nil {
		fault("leader %q: want host:port: %w", o.Leader, err)
	}
	if strings.ContainsAny(o.Auth, "\r\n") {
		fault("the password has a line end in it")
	}
	if o.ListeningPort < 0 || o.ListeningPort > 65535 {
		fault("listening port %d: want 0 to 65535", o.ListeningPort)
	}
	if o.Store == nil {
		fault("no store")
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{
		{"dial timeout", o.DialTimeout}, {"read timeout", o.ReadTimeout}, {"poll interval", o.PollInterval},
		{"verify timeout", o.VerifyTimeout}, {"smallest back-off", o.BackoffMin}, {"max lag", o.MaxLag},
	} {
		if d.d <= 0 {
			fault("%s %s: want more than 0", d.name, d.d)
		}
	}
	if o.BackoffMax < o.BackoffMin {
		fault("back-off from %s to %s: want the second not smaller", o.BackoffMin, o.BackoffMax)
	}
	if o.Tail < 0 || o.Window < 0 {
		fault("tail %d, window %d: want 1 byte or more", o.Tail, o.Window)
	}
	return errors.Join(faults...)
}
