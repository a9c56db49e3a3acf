package shrink

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"evenkeel/pkg/compactor"
)

// What a rewrite fails with.
var (
	// ErrNoSwap says that AOFSHRINK ended and the file is the old one.
	ErrNoSwap = errors.New("AOFSHRINK has ended without a new file")
	// ErrRestarted says that the engine was started again during AOFSHRINK.
	ErrRestarted = errors.New("the engine was started again during AOFSHRINK")
	// ErrTimeout says that AOFSHRINK takes longer than it may.
	ErrTimeout = errors.New("AOFSHRINK does not end")
)

// Target is the log of a stock Tile38 as a compactor compacts it: a leader's, or
// that of a follower with a bridge. Its methods are safe for concurrent use.
type Target struct {
	opt TargetOptions

	asking sync.Mutex // held by Facts; before mu
	ask    *link
	work   sync.Mutex // held by Compact; before mu
	link   *link

	mu   sync.Mutex // guards what follows
	base base
	last int64 // the size when it was last asked; a smaller one is a rewrite by somebody else
}

var _ compactor.Target = (*Target)(nil)

// NewTarget makes a target; nothing is dialled. A state file that cannot be read is
// told to OnError and counts as none.
func NewTarget(o TargetOptions) (*Target, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("shrink: %w", err)
	}
	b, err := loadBase(o.FS, o.State)
	if err != nil {
		o.OnError(err)
	}
	return &Target{opt: o, ask: newLink(o.Engine), link: newLink(o.Engine), base: b}, nil
}

// Close ends the connections.
func (t *Target) Close() {
	t.asking.Lock()
	t.ask.close()
	t.asking.Unlock()
	t.work.Lock()
	t.link.close()
	t.work.Unlock()
}

// Facts asks the engine. What cannot be asked has a log of 0 bytes, which nobody
// compacts.
//
// The base is the size right after the last rewrite, as the state file has it, or as
// it was seen: a log that has become smaller was rewritten by somebody else. Where
// nothing is known of one, the base is the estimate of the live bytes: so a log is
// compacted for what it holds too much, not because the sidecar is new.
func (t *Target) Facts() compactor.Facts {
	ctx, cancel := context.WithTimeout(context.Background(), t.opt.Engine.Timeout)
	defer cancel()
	t.asking.Lock()
	defer t.asking.Unlock()
	m, err := t.ask.server(ctx)
	if err != nil {
		t.opt.OnError(fmt.Errorf("ask for the size of the log: %w", err))
		return compactor.Facts{FreeBytes: -1}
	}
	size, objects := t.size(m), number(m, "num_objects")
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.base.Bytes > 0 && t.base.ID != m["id"]:
		t.base = base{} // another server, or its data were taken away
	case size < t.base.Bytes, size < t.last:
		t.remember(base{ID: m["id"], Bytes: size, Objects: objects, At: time.Now()})
	}
	t.last = size
	f := compactor.Facts{
		LogBytes: size, BaseBytes: t.base.Bytes, FreeBytes: -1,
		LiveBytes: t.base.live(max(0, objects), max(0, number(m, "in_memory_size"))),
	}
	if f.BaseBytes == 0 {
		f.BaseBytes = f.LiveBytes
	}
	if t.opt.Dir != "" {
		if free, err := t.opt.FS.FreeSpace(t.opt.Dir); err == nil {
			f.FreeBytes = free
		} else {
			t.opt.OnError(fmt.Errorf("free space: %w", err))
		}
	}
	return f
}

// size returns that of the file, where it is shared: a follower's aof_size may
// count two files.
func (t *Target) size(m map[string]string) int64 {
	if t.opt.Dir != "" {
		if info, err := t.opt.FS.Stat(filepath.Join(t.opt.Dir, "appendonly.aof")); err == nil {
			return info.Size()
		}
	}
	return max(0, number(m, "aof_size"))
}

// remember notes a rewrite. mu is held.
func (t *Target) remember(b base) {
	t.base, t.last = b, b.Bytes
	if err := b.save(t.opt.FS, t.opt.State); err != nil {
		t.opt.OnError(err)
	}
}

// beat writes a heartbeat; that it fails does not matter to the rewrite.
func (t *Target) beat(ctx context.Context) {
	if err := t.opt.Beat(ctx); err != nil && ctx.Err() == nil {
		t.opt.OnError(fmt.Errorf("heartbeat: %w", err))
	}
}

// Compact is AOFSHRINK up to the swap of the file. The end of ctx ends the wait; the
// rewrite itself cannot be stopped. One that runs already is waited for in the place
// of a new one.
func (t *Target) Compact(ctx context.Context) (compactor.Result, error) {
	t.work.Lock()
	defer t.work.Unlock()
	before, err := t.link.server(ctx)
	if err != nil {
		return compactor.Result{}, fmt.Errorf("before AOFSHRINK: %w", err)
	}
	r := compactor.Result{BytesBefore: t.size(before)}
	if err := t.rewrite(ctx, number(before, "aof_size")); err != nil {
		return r, err
	}
	after, err := t.link.server(ctx)
	if err != nil {
		return r, fmt.Errorf("the log has been rewritten, its size is unknown: %w", err)
	}
	r.BytesAfter, r.Objects = t.size(after), number(after, "num_objects")
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remember(base{ID: after["id"], Bytes: r.BytesAfter, Objects: r.Objects, At: time.Now()})
	return r, nil
}

// rewrite sends AOFSHRINK and waits for the swap. work is held.
func (t *Target) rewrite(ctx context.Context, size int64) error {
	started, err := t.started(ctx)
	if err != nil {
		return fmt.Errorf("before AOFSHRINK: %w", err)
	}
	wire, err := newTripwire(ctx, t.opt.Engine, max(0, size))
	if err != nil {
		return fmt.Errorf("before AOFSHRINK: %w", err)
	}
	defer wire.close()
	if _, err := t.link.do(ctx, "AOFSHRINK"); err != nil {
		return fmt.Errorf("AOFSHRINK: %w", err)
	}
	t.beat(ctx)
	err = t.await(ctx, wire, started)
	t.beat(ctx) // the followers that were dropped look for it, whatever has happened
	return err
}

// await waits for the end of a rewrite.
func (t *Target) await(ctx context.Context, wire *tripwire, started time.Time) error {
	begun := time.Now()
	var idle time.Time // since when nothing is in progress; zero: something is
	tick := time.NewTicker(t.opt.Poll)
	defer tick.Stop()
	for {
		if time.Since(begun) > t.opt.Timeout {
			return fmt.Errorf("%w: not within %v (see the engine's load, its log and its disk; if the rewrite hangs, start the engine again: the old file is whole)",
				ErrTimeout, t.opt.Timeout)
		}
		busy, now, err := t.progress(ctx)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("AOFSHRINK goes on without being waited for: %w", context.Cause(ctx))
		case err != nil: // it may come back
		case now.Sub(started) > restartSlack:
			return fmt.Errorf("%w: which file is in force is not known until the next one (see why it ended: its log, its memory limit)", ErrRestarted)
		case !busy && wire.cut():
			return nil
		case busy:
			idle = time.Time{}
		case idle.IsZero():
			idle = time.Now()
		case time.Since(idle) > t.opt.Grace:
			return fmt.Errorf("%w: the old one is in force (see \"aof shrink failed\" in the engine's log; is the disk full, or %s in the way?)", ErrNoSwap, "appendonly.aof-shrink")
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// restartSlack is by how much two looks at when a server was started may differ.
const restartSlack = 2 * time.Second

// started returns when the engine was started, by this machine's clock.
func (t *Target) started(ctx context.Context) (time.Time, error) {
	_, at, err := t.progress(ctx)
	return at, err
}

// progress says whether a rewrite is in progress, and when the engine was started.
func (t *Target) progress(ctx context.Context) (busy bool, started time.Time, err error) {
	m, err := t.link.table(ctx, "SERVER", "EXT")
	if err != nil {
		return false, time.Time{}, err
	}
	up, err := strconv.ParseFloat(m["tile38_uptime_in_seconds"], 64)
	if err != nil {
		return false, time.Time{}, fmt.Errorf("answer to SERVER EXT: tile38_uptime_in_seconds is %.32q", m["tile38_uptime_in_seconds"])
	}
	return m["tile38_aof_rewrite_in_progress"] == "true", time.Now().Add(-time.Duration(up * float64(time.Second))), nil
}
