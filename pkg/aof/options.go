package aof

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"evenkeel/internal/clock"
	"evenkeel/internal/fsx"
)

// Defaults of Options.
const (
	DefaultSegmentBytes = 64 << 20
	DefaultBacklogBytes = 64 << 20
	DefaultMaxPending   = 64 << 20
)

// Options configure a Log.
type Options struct {
	FS  fsx.FS // default: the operating system's
	Dir string // the data directory; required, created when missing

	// Fsync is when written data is forced to the disk. The zero value is
	// FsyncAlways, the safest.
	Fsync FsyncPolicy
	// SegmentBytes is the size of a segment file after which the next begins.
	SegmentBytes int64
	// BacklogBytes is how much of the log before the base is kept at least for
	// followers that come back, in bytes of payload; negative: nothing.
	BacklogBytes int64
	// MaxPending is how many bytes are buffered in memory while the disk does not
	// take them; beyond it writes are refused.
	MaxPending int64

	// Now returns Unix milliseconds: the origin of relative times to live in an
	// adopted file. Default: that of Clock.
	Now func() int64
	// Clock paces the sync of FsyncEverySecond and retries after a write error,
	// and measures syncs. It never decides what is in the log.
	Clock clock.Clock
	// OnSync hears how long each sync of a segment took, and its error. It is
	// called without a lock held and must be quick.
	OnSync func(took time.Duration, err error)
	// Logger gets what nobody waits for: background errors, removed files.
	Logger *slog.Logger
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.FS == nil {
		o.FS = fsx.OS{}
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	if o.BacklogBytes == 0 {
		o.BacklogBytes = DefaultBacklogBytes
	}
	if o.MaxPending == 0 {
		o.MaxPending = DefaultMaxPending
	}
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.Now == nil {
		c := o.Clock
		o.Now = func() int64 { return c.Now().UnixMilli() }
	}
	if o.OnSync == nil {
		o.OnSync = func(time.Duration, error) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Validate lists every fault.
func (o *Options) Validate() error {
	var errs []error
	if o.Dir == "" {
		errs = append(errs, errors.New("aof: no data directory"))
	}
	if o.Fsync > FsyncNo {
		errs = append(errs, fmt.Errorf("aof: unknown fsync policy %d", o.Fsync))
	}
	if o.SegmentBytes <= 0 {
		errs = append(errs, fmt.Errorf("aof: segment size %d: must be positive", o.SegmentBytes))
	}
	if o.MaxPending <= 0 {
		errs = append(errs, fmt.Errorf("aof: pending limit %d: must be positive", o.MaxPending))
	}
	return errors.Join(errs...)
}
