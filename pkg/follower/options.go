package follower

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/replication"
)

// ErrDiverged is what a Store returns, wrapped or not, from ApplyBatch when the
// batch is in its log and applied but the state's digest is not the batch's.
var ErrDiverged = errors.New("the state diverged from the leader's")

// Store is where the leader's log goes. Run calls it from one goroutine.
type Store interface {
	// Position returns where our log ends, and the state's digest there. An empty
	// epoch means that there is nothing to continue from.
	Position() (aof.Position, aof.Digest)
	// ApplyBatch appends b to our log as it is and applies it. The payload is
	// valid until it returns. If the digest is not b.Digest then, the error is
	// ErrDiverged.
	ApplyBatch(ctx context.Context, b aof.Batch) error
	// JoinEpoch lets our log go on as part of the history epoch; forks lead there
	// from our own epoch.
	JoinEpoch(ctx context.Context, epoch string, forks []aof.Fork) error
	// PartedFrom returns behind which offset our log has what a leader at p, whose
	// history has these forks, has not; parted is false if there is no such thing.
	PartedFrom(p aof.Position, forks []aof.Fork) (offset int64, parted bool)
	// Reset takes a base, size raw bytes from r, verifies it and puts it in the
	// place of the log and the state, at m. What our log has behind the offset lost, if that is
	// not negative, is put aside before that. An error leaves the old ones in force.
	Reset(ctx context.Context, h aof.History, m aof.Mark, lost, size int64, r io.Reader) error
}

// Options configure a Follower.
type Options struct {
	// Leader is the address, host:port, of the leader's RESP port. Required.
	Leader string
	// Auth is the password that the leader wants. Empty: none.
	Auth string
	// ID is this server's id, told to the leader. Empty: none; a follower that
	// follows itself is not found out then.
	ID string
	// ListeningPort is where clients reach this server, told to the leader; 0: unknown.
	ListeningPort int
	// IPAddress is the same for the address; empty: where the connection comes from.
	IPAddress string
	// Accept says why a leader that has answered so is not to be followed. Nothing of its log is
	// taken then. Default: whoever is at its address is followed.
	Accept func(a replication.Answer) error
	// Store takes the log. Required.
	Store Store
	// Ranges is the store, if it can take a range resync. nil: it can not, and
	// takes the leader's whole base.
	Ranges Ranges
	// Synced returns the offset up to which the store's log is on disk, told to
	// the leader. Default: not known, 0 is told.
	Synced func() int64
	// Sync forces the store's log to the disk: somebody waits for it at the leader.
	// Default: nothing.
	Sync func(ctx context.Context) error
	// Compact compacts the store's log, because the leader asks for it, and returns where
	// the new base stands. It takes its turn itself, see Follower.Turn. Default: an error.
	Compact func(ctx context.Context) (offset int64, digest aof.Digest, err error)
	// Dial connects. Default: TCP with DialTimeout.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// DialTimeout is for the default Dial. Default 5 s.
	DialTimeout time.Duration
	// AnswerTimeout is how long the leader may take for an answer to AUTH and
	// REPLICATE; it may have to look an offset up. Default 30 s.
	AnswerTimeout time.Duration
	// HeartbeatInterval is the time between two heartbeats of the leader. Default 1 s.
	HeartbeatInterval time.Duration
	// ReadTimeout is how long the leader may say nothing at all while it streams.
	// Default 5 x HeartbeatInterval.
	ReadTimeout time.Duration
	// AckInterval is the time between two acknowledgements. Default 1 s.
	AckInterval time.Duration
	// BackoffMin and BackoffMax bound the wait before the next attempt; it doubles
	// from one to the other, less up to half of it at random. Default 100 ms and 5 s.
	BackoffMin, BackoffMax time.Duration
	// MaxLag is the limit that Ready uses when it is not given one. Default 10 s.
	MaxLag time.Duration
	// MaxBatch is the longest payload of one batch that is taken, in bytes.
	// Default 1 GiB.
	MaxBatch int
	// OnEvent hears of what happens, from the goroutine of Run, which waits for it.
	OnEvent func(Event)
	// Now is the clock for Status. Its monotonic part is what counts. Default time.Now.
	Now func() time.Time
	// Logger hears of the same as OnEvent. Default: none.
	Logger *slog.Logger
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	setDuration(&o.DialTimeout, 5*time.Second)
	setDuration(&o.AnswerTimeout, 30*time.Second)
	setDuration(&o.HeartbeatInterval, time.Second)
	setDuration(&o.ReadTimeout, 5*o.HeartbeatInterval)
	setDuration(&o.AckInterval, time.Second)
	setDuration(&o.BackoffMin, 100*time.Millisecond)
	setDuration(&o.BackoffMax, 5*time.Second)
	setDuration(&o.MaxLag, 10*time.Second)
	if o.MaxBatch == 0 {
		o.MaxBatch = replication.DefaultMaxBatch
	}
	if o.Synced == nil {
		o.Synced = func() int64 { return 0 }
	}
	if o.Sync == nil {
		o.Sync = func(context.Context) error { return nil }
	}
	if o.Compact == nil {
		o.Compact = func(context.Context) (int64, aof.Digest, error) {
			return 0, aof.Digest{}, errors.New("this follower does not compact")
		}
	}
	if o.Dial == nil {
		d := net.Dialer{Timeout: o.DialTimeout}
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", addr)
		}
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
}

func setDuration(d *time.Duration, def time.Duration) {
	if *d == 0 {
		*d = def
	}
}

// Validate lists every fault.
func (o *Options) Validate() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("follower: "+format, args...))
	}
	if _, _, err := net.SplitHostPort(o.Leader); err != nil {
		fault("leader %q: want host:port: %w", o.Leader, err)
	}
	if strings.ContainsAny(o.Auth, "\r\n") {
		fault("the password has a line end in it")
	}
	if o.ID != "" && !replication.ValidID(o.ID) {
		fault("server id %.64q: want printable bytes without spaces", o.ID)
	}
	if o.IPAddress != "" && !replication.ValidID(o.IPAddress) {
		fault("IP address %.64q: want printable bytes without spaces", o.IPAddress)
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
		{"dial timeout", o.DialTimeout}, {"answer timeout", o.AnswerTimeout},
		{"heartbeat interval", o.HeartbeatInterval}, {"read timeout", o.ReadTimeout},
		{"ack interval", o.AckInterval}, {"smallest back-off", o.BackoffMin}, {"max lag", o.MaxLag},
	} {
		if d.d <= 0 {
			fault("%s %s: want more than 0", d.name, d.d)
		}
	}
	if o.BackoffMax < o.BackoffMin {
		fault("back-off from %s to %s: want the second not smaller", o.BackoffMin, o.BackoffMax)
	}
	if o.MaxBatch < 0 {
		fault("largest batch %d: want 1 byte or more", o.MaxBatch)
	}
	return errors.Join(faults...)
}
