package leader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/replication"
)

// Log is what the leader needs of the log; *aof.Log is one.
type Log interface {
	// Position returns the epoch and where the log ends.
	Position() aof.Position
	// Written returns the last batch that a tail can read.
	Written() aof.Mark
	// Tail reads from pos on, if the log has it and the digest there is d.
	Tail(pos aof.Position, d aof.Digest) (*aof.Tail, error)
	// OpenBase opens the newest base.
	OpenBase() (*aof.BaseReader, error)
	// Forks are the histories that the log's own one goes on from.
	Forks() []aof.Fork
}

// Options configure a Leader.
type Options struct {
	// Log is what is served. Required.
	Log Log
	// Snapshot returns the state of now, whose position is in the log when it
	// returns. nil: a follower that cannot continue gets the whole base.
	Snapshot func(ctx context.Context) (Snapshot, error)
	// ID is this server's id, so that it can refuse to be followed by itself.
	// Empty: it cannot.
	ID string
	// HeartbeatInterval is the time between two heartbeats. Default 1 s.
	HeartbeatInterval time.Duration
	// WriteTimeout is how long a follower may take nothing at all of what is
	// waiting for it. Default 60 s.
	WriteTimeout time.Duration
	// AckTimeout is how long a follower may say nothing. Default 60 s.
	AckTimeout time.Duration
	// MaxHeld is how much of the log may be kept on disk for a follower alone, because
	// it is behind the base and the backlog, in bytes of commands. Default 1 GiB; negative: any
	// amount.
	MaxHeld int64
	// TurnTimeout is how long a follower that compacts may keep others from it.
	// Default 15 min.
	TurnTimeout time.Duration
	// MaxFollowers is how many may be connected. Default 64.
	MaxFollowers int
	// Now is the wall clock, for times that are told. Default time.Now.
	Now func() time.Time
	// Logger hears of followers that come and go. Default: none.
	Logger *slog.Logger
}

// DefaultMaxHeld is the default of Options.MaxHeld, in bytes.
const DefaultMaxHeld = 1 << 30

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.HeartbeatInterval == 0 {
		o.HeartbeatInterval = time.Second
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = time.Minute
	}
	if o.AckTimeout == 0 {
		o.AckTimeout = time.Minute
	}
	if o.MaxHeld == 0 {
		o.MaxHeld = DefaultMaxHeld
	}
	if o.TurnTimeout == 0 {
		o.TurnTimeout = 15 * time.Minute
	}
	if o.MaxFollowers == 0 {
		o.MaxFollowers = 64
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
	if o.Log == nil {
		faults = append(faults, errors.New("leader: no log"))
	}
	if o.ID != "" && !replication.ValidID(o.ID) {
		faults = append(faults, fmt.Errorf("leader: server id %.64q: want printable bytes without spaces", o.ID))
	}
	for name, d := range map[string]time.Duration{
		"heartbeat interval": o.HeartbeatInterval, "write timeout": o.WriteTimeout, "ack timeout": o.AckTimeout,
		"turn timeout": o.TurnTimeout,
	} {
		if d <= 0 {
			faults = append(faults, fmt.Errorf("leader: %s %s: want more than 0", name, d))
		}
	}
	if o.MaxFollowers < 0 {
		faults = append(faults, fmt.Errorf("leader: max followers %d: want 1 or more", o.MaxFollowers))
	}
	return errors.Join(faults...)
}
