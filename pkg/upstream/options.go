package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"evenkeel/pkg/resp"
)

// ReadFrom says where a pod that follows has its clients' reads answered.
type ReadFrom string

// Values of ReadFrom.
const (
	ReadLocal  ReadFrom = "local"  // here, always
	ReadFit    ReadFrom = "fit"    // here while Route.Fit, else by the leader
	ReadLeader ReadFrom = "leader" // by the leader, always
)

// Route is the role of this pod at the moment.
type Route struct {
	Following bool   // the engine here follows
	Leader    string // host:port for what the leader is to answer; "": nobody knows
	Fit       bool   // the engine here has what a follower should have
}

// Options of a Backend. Zero fields mean the default.
type Options struct {
	// Engine is the address of the engine, host:port.
	Engine string
	// Auth is its password, and the leader's, for our own questions; clients
	// say it themselves.
	Auth string
	// DialEngine and DialLeader connect to them. Default: TCP.
	DialEngine, DialLeader func(ctx context.Context, addr string) (net.Conn, error)
	// DialTimeout bounds one attempt to connect. Default 1 s.
	DialTimeout time.Duration
	// ConnectWait is how long commands wait for an engine that cannot be reached,
	// counted from the first attempt that failed. Default 5 s: a restart. LeaderWait is
	// the same for the leader. Default 5 s.
	ConnectWait, LeaderWait time.Duration
	// MaxPending is how many commands of a client may be under way; it is not read
	// further then. Default 65,536.
	MaxPending int
	// MaxHead is how long the head of an HTTP request may be, with its first line, in
	// bytes, to be understood and routed: what is longer passes to the engine here.
	// So much is held of a request until its head is whole. Default 64 KiB.
	MaxHead int

	// SharedConnections is how many connections to the engine clients share for small
	// commands, and how many for short searches. Default 0: none.
	SharedConnections int
	// MaxUnsent is how many bytes of replies that came over a shared connection are kept
	// for a client that does not take them; with more it is disconnected. Default 64 MiB.
	MaxUnsent int64

	// Route tells the role. It is called for each piece that a client sends, and
	// must be quick. Default: not following.
	Route func() Route
	// LocalWrites leaves writes to the engine here, which refuses them while it
	// follows. Default: they go to the leader.
	LocalWrites bool
	// ReadFrom is for a pod that follows. Default ReadFit.
	ReadFrom ReadFrom
	// ReadYourWritesTimeout is how long a read waits for what the same connection
	// has written through the leader; then the leader answers it. Default 1 s.
	ReadYourWritesTimeout time.Duration
	// Offset tells how far the leader's log is, WaitFor waits until the engine here
	// has taken that much of it. Default of each: aof_size of SERVER.
	Offset  func(ctx context.Context) (int64, error)
	WaitFor func(ctx context.Context, offset int64) error

	// Observe is told of each command that was answered: a name of
	// Backend.CommandNames, the time from its arrival to that of the end of its
	// reply, and whether that was an error. It must be quick.
	Observe func(name string, took time.Duration, failed bool)
	// Logger; default slog.Default.
	Logger *slog.Logger
}

// EnsureDefaults replaces zero fields by their defaults.
func (o *Options) EnsureDefaults() {
	if o.DialTimeout == 0 {
		o.DialTimeout = time.Second
	}
	if o.ConnectWait == 0 {
		o.ConnectWait = 5 * time.Second
	}
	if o.LeaderWait == 0 {
		o.LeaderWait = 5 * time.Second
	}
	if o.MaxPending == 0 {
		o.MaxPending = 64 << 10
	}
	if o.MaxHead == 0 {
		o.MaxHead = resp.DefaultMaxHeader
	}
	if o.MaxUnsent == 0 {
		o.MaxUnsent = 64 << 20
	}
	if o.ReadFrom == "" {
		o.ReadFrom = ReadFit
	}
	if o.ReadYourWritesTimeout == 0 {
		o.ReadYourWritesTimeout = time.Second
	}
	if o.Route == nil {
		o.Route = func() Route { return Route{} }
	}
	if o.Observe == nil {
		o.Observe = func(string, time.Duration, bool) {}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	tcp := func(ctx context.Context, addr string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	}
	if o.DialEngine == nil {
		o.DialEngine = tcp
	}
	if o.DialLeader == nil {
		o.DialLeader = tcp
	}
}

// Validate reports every fault of the options.
func (o Options) Validate() error {
	var errs []error
	if _, _, err := net.SplitHostPort(o.Engine); err != nil {
		errs = append(errs, fmt.Errorf("option Engine: %w", err))
	}
	switch o.ReadFrom {
	case ReadLocal, ReadFit, ReadLeader:
	default:
		errs = append(errs, fmt.Errorf("option ReadFrom: %q is not local, fit or leader", o.ReadFrom))
	}
	for _, v := range []struct {
		name string
		d    int64
	}{
		{"DialTimeout", int64(o.DialTimeout)}, {"ConnectWait", int64(o.ConnectWait)}, {"LeaderWait", int64(o.LeaderWait)}, {"MaxPending", int64(o.MaxPending)}, {"MaxHead", int64(o.MaxHead)},
		{"MaxUnsent", o.MaxUnsent},
		{"ReadYourWritesTimeout", int64(o.ReadYourWritesTimeout)},
	} {
		if v.d < 1 {
			errs = append(errs, fmt.Errorf("option %s: %d is not positive", v.name, v.d))
		}
	}
	if o.SharedConnections < 0 {
		errs = append(errs, fmt.Errorf("option SharedConnections: %d is negative", o.SharedConnections))
	}
	if o.Offset != nil && o.WaitFor == nil {
		errs = append(errs, errors.New("option Offset: the engine's aof_size is no such offset; give WaitFor too"))
	}
	return errors.Join(errs...)
}
