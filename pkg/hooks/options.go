package hooks

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"evenkeel/internal/clock"
	"evenkeel/internal/fsx"
	"evenkeel/pkg/aof"
)

// Defaults of Options.
const (
	DefaultSegmentBytes = 16 << 20
	DefaultMaxBytes     = 1 << 30
	DefaultMaxAge       = 24 * time.Hour
	DefaultMaxMessage   = 64 << 20
	DefaultMaxPending   = 128 << 20
	DefaultMaxMemory    = 64 << 20
	DefaultMaxSenders   = 256
	DefaultTimeout      = 5 * time.Second
	DefaultFirstRetry   = 100 * time.Millisecond
	DefaultLongRetry    = 30 * time.Second
	DefaultAckInterval  = 200 * time.Millisecond
	DefaultStopGrace    = 3 * time.Second
)

// Local is where messages for local:// endpoints go. It must not block.
type Local interface {
	Publish(channel string, msg []byte) int
}

// Options configure a Queue.
type Options struct {
	FS  fsx.FS // default: the operating system's
	Dir string // a folder of its own; required, created when missing

	// Local gets messages for local:// endpoints. nil: their delivery fails.
	Local Local

	// Fsync is when written messages are forced to the disk. The zero value is
	// FsyncAlways, the safest.
	Fsync aof.FsyncPolicy
	// SegmentBytes is the size of a segment file after which the next begins.
	SegmentBytes int64
	// MaxBytes is how much may wait, in bytes on disk, a message counting as 512
	// at least. Beyond it the oldest messages of the hook that holds most go.
	MaxBytes int64
	// MaxAge is how long a message may wait; an older one is dropped.
	MaxAge time.Duration
	// MaxMessage is the largest message in bytes.
	MaxMessage int64
	// MaxPending is how many bytes are buffered in memory while they cannot be
	// written to the disk; beyond it new messages are dropped.
	MaxPending int64
	// MaxMemory is how many bytes of waiting messages are kept in memory so that
	// they need not be read from the disk.
	MaxMemory int64

	// MaxSenders is how many hooks are served at the same time.
	MaxSenders int
	// Timeout bounds one attempt at one endpoint.
	Timeout time.Duration
	// RetryMin is the pause after a first failed attempt, RetryMax the longest.
	RetryMin, RetryMax time.Duration
	// AckInterval is how soon deliveries are written down when nothing else is.
	// What was delivered after the last time is delivered again after a crash.
	AckInterval time.Duration
	// StopGrace is how long Stop lets attempts that are under way go on.
	StopGrace time.Duration

	// Clock gives messages their time and paces retries.
	Clock clock.Clock
	// Logger gets what nobody waits for: drops, damage, errors of the disk.
	Logger *slog.Logger
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	bytes := func(p *int64, d int64) {
		if *p == 0 {
			*p = d
		}
	}
	span := func(p *time.Duration, d time.Duration) {
		if *p == 0 {
			*p = d
		}
	}
	bytes(&o.SegmentBytes, DefaultSegmentBytes)
	bytes(&o.MaxBytes, DefaultMaxBytes)
	bytes(&o.MaxMessage, DefaultMaxMessage)
	bytes(&o.MaxPending, DefaultMaxPending)
	bytes(&o.MaxMemory, DefaultMaxMemory)
	span(&o.MaxAge, DefaultMaxAge)
	span(&o.Timeout, DefaultTimeout)
	span(&o.RetryMin, DefaultFirstRetry)
	span(&o.RetryMax, DefaultLongRetry)
	span(&o.AckInterval, DefaultAckInterval)
	span(&o.StopGrace, DefaultStopGrace)
	if o.MaxSenders == 0 {
		o.MaxSenders = DefaultMaxSenders
	}
	if o.FS == nil {
		o.FS = fsx.OS{}
	}
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Validate lists every fault.
func (o *Options) Validate() error {
	var errs []error
	if o.Dir == "" {
		errs = append(errs, errors.New("hooks: no folder"))
	}
	if o.Fsync > aof.FsyncNo {
		errs = append(errs, fmt.Errorf("hooks: unknown fsync policy %d", o.Fsync))
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"segment size", o.SegmentBytes}, {"limit of bytes", o.MaxBytes}, {"limit of a message", o.MaxMessage},
		{"limit of pending bytes", o.MaxPending}, {"limit of memory", o.MaxMemory}, {"number of senders", int64(o.MaxSenders)},
		{"age", int64(o.MaxAge)}, {"timeout", int64(o.Timeout)}, {"retry pause", int64(o.RetryMin)},
		{"longest retry pause", int64(o.RetryMax)}, {"ack interval", int64(o.AckInterval)}, {"stop grace", int64(o.StopGrace)},
	} {
		if f.value <= 0 {
			errs = append(errs, fmt.Errorf("hooks: %s %d: must be positive", f.name, f.value))
		}
	}
	if o.SegmentBytes > maxSegment {
		errs = append(errs, fmt.Errorf("hooks: segment size %d: at most %d", o.SegmentBytes, maxSegment))
	}
	if o.MaxMessage > maxBody-maxNames {
		errs = append(errs, fmt.Errorf("hooks: limit of a message %d: at most %d", o.MaxMessage, maxBody-maxNames))
	}
	return errors.Join(errs...)
}
