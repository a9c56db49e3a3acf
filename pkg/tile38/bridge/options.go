package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"time"

	"evenkeel/internal/fsx"
	"evenkeel/pkg/engine"
	"evenkeel/pkg/tile38"
)

// Options configure a Bridge.
type Options struct {
	// Leader is the address, host:port, of the leader: a Tile38, or a sidecar before
	// one. Required.
	Leader string
	// LeaderAuth is the leader's password. Empty: none.
	LeaderAuth string
	// Engine is the address of the pod's own Tile38, the follower. Required.
	Engine string
	// EngineAuth is its password. Empty: none.
	EngineAuth string
	// Announce is where others reach the follower, host:port: that is what the leader
	// shows of it. Without a host it is that of the connection to the leader. Default:
	// Engine.
	Announce string
	// Dir holds its append-only file. Required.
	Dir string
	// Listener is where it connects to. Run closes it. Required.
	Listener net.Listener

	// StateFile is where the bridge keeps whose history the follower has. Default:
	// evenkeel-bridge.json in Dir.
	StateFile string
	// FS is the filesystem of both. Default: the host's.
	FS fsx.FS
	// HeartbeatKey is the collection of the heartbeats. Default:
	// tile38.DefaultHeartbeatKey.
	HeartbeatKey string
	// Channel carries messages that tell how far the follower is. Clients of it who
	// subscribe to every channel see them. Default: evenkeel:applied.
	Channel string
	// AcceptEmptyLeader lets a leader that has none of the follower's collections
	// empty it.
	AcceptEmptyLeader bool
	// Keep is how much of what was sent is kept to find the follower again after it
	// lost the end of its file, in bytes. Default 4 MiB.
	Keep int64
	// Ahead is how much is taken from the leader before the follower takes it, in
	// bytes. Then the leader has to wait. Default 16 MiB.
	Ahead int64
	// Window is how much of the end of a new file of the leader's is searched for
	// what was taken last, in bytes. Default tile38.DefaultWindow.
	Window int64
	// Limits bound what the state takes that a leader's file is read into.
	Limits engine.Options

	// DialLeader connects to the leader. Default: TCP.
	DialLeader func(ctx context.Context, addr string) (net.Conn, error)
	// Timeout is for connecting and for each answer. Default 5 s.
	Timeout time.Duration
	// ReadTimeout is how long the leader may say nothing while something is known to
	// come. Default 30 s.
	ReadTimeout time.Duration
	// WriteTimeout is how long the follower may take nothing. Default 60 s.
	WriteTimeout time.Duration
	// PollInterval is the time between two questions how far both are. Default 1 s.
	PollInterval time.Duration
	// RedialInterval is how often the leader's name is resolved anew. Default 10 s.
	RedialInterval time.Duration
	// VerifyTimeout is how long the counts of both sides may take to agree. Default
	// 60 s.
	VerifyTimeout time.Duration
	// BackoffMin and BackoffMax bound the wait before the next attempt. Default 100 ms
	// and 5 s.
	BackoffMin, BackoffMax time.Duration
	// MaxLag is the limit that Ready uses when it is not given one. Default 10 s.
	MaxLag time.Duration
	// OnEvent hears of what happens, from the goroutine that it happens in, which
	// waits for it.
	OnEvent func(Event)
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Logger hears of the same as OnEvent. Default: none.
	Logger *slog.Logger
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	for _, d := range o.durations() {
		if *d.d == 0 {
			*d.d = d.def
		}
	}
	for _, d := range []struct {
		n   *int64
		def int64
	}{{&o.Keep, 4 << 20}, {&o.Ahead, 16 << 20}, {&o.Window, tile38.DefaultWindow}} {
		if *d.n == 0 {
			*d.n = d.def
		}
	}
	for _, d := range []struct {
		s   *string
		def string
	}{
		{&o.Announce, o.Engine}, {&o.StateFile, filepath.Join(o.Dir, "evenkeel-bridge.json")}, {&o.HeartbeatKey, tile38.DefaultHeartbeatKey},
		{&o.Channel, "evenkeel:applied"},
	} {
		if *d.s == "" {
			*d.s = d.def
		}
	}
	if o.FS == nil {
		o.FS = fsx.OS{}
	}
	if o.OnEvent == nil {
		o.OnEvent = func(Event) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Limits.EnsureDefaults()
}

type duration struct {
	name string
	d    *time.Duration
	def  time.Duration
}

func (o *Options) durations() []duration {
	return []duration{
		{"timeout", &o.Timeout, 5 * time.Second}, {"read timeout", &o.ReadTimeout, 30 * time.Second},
		{"write timeout", &o.WriteTimeout, time.Minute}, {"poll interval", &o.PollInterval, time.Second},
		{"redial interval", &o.RedialInterval, 10 * time.Second}, {"verify timeout", &o.VerifyTimeout, time.Minute},
		{"smallest back-off", &o.BackoffMin, 100 * time.Millisecond}, {"largest back-off", &o.BackoffMax, 5 * time.Second},
		{"max lag", &o.MaxLag, 10 * time.Second},
	}
}

// Validate lists every fault.
func (o *Options) Validate() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("bridge: "+format, args...))
	}
	for name, addr := range map[string]string{"leader": o.Leader, "engine": o.Engine, "announce": o.Announce} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			fault("%s %q: want host:port: %w", name, addr, err)
		}
	}
	for name, auth := range map[string]string{"leader": o.LeaderAuth, "engine": o.EngineAuth} {
		if strings.ContainsAny(auth, "\r\n") {
			fault("the password of the %s has a line end in it", name)
		}
	}
	if o.Dir == "" {
		fault("no directory")
	}
	if o.Listener == nil {
		fault("no listener")
	}
	for _, d := range o.durations() {
		if *d.d <= 0 {
			fault("%s %s: want more than 0", d.name, *d.d)
		}
	}
	if o.BackoffMax < o.BackoffMin {
		fault("back-off from %s to %s: want the second not smaller", o.BackoffMin, o.BackoffMax)
	}
	for name, n := range map[string]int64{"keep": o.Keep, "ahead": o.Ahead, "window": o.Window} {
		if n < 1 {
			fault("%s %d: want 1 byte or more", name, n)
		}
	}
	if err := o.Limits.Validate(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}
