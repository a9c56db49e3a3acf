package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	timers "evenkeel/internal/clock"
	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
	"evenkeel/pkg/aof"
)

// openOn is open on a disk with faults, with a clock for the log's retries.
func openOn(t *testing.T, disk fsx.FS, c timers.Clock, dir string) *fixture {
	t.Helper()
	f := &fixture{t: t, now: &atomic.Int64{}}
	f.now.Store(1_700_000_000_000)
	var err error
	if f.log, err = aof.Open(aof.Options{
		FS: disk, Dir: dir, Fsync: aof.FsyncNo, Now: f.now.Load, SegmentBytes: 64 << 10, Clock: c,
	}); err != nil {
		t.Fatal(err)
	}
	if f.Store, err = Open(context.Background(), Options{Log: f.log, Now: f.now.Load}); err != nil {
		t.Fatal(errors.Join(err, f.log.Close(context.Background())))
	}
	return f
}

// TestCompactOnBadDisk: a compaction meets a full or broken disk, once or for
// good, at any of its operations. What it leaves is the whole state, on disk
// and in memory, and the next compaction on a disk in order succeeds.
func TestCompactOnBadDisk(t *testing.T) {
	for _, kind := range []fault{
		{errno: syscall.ENOSPC}, {errno: syscall.ENOSPC, lasting: true}, {errno: syscall.ENOSPC, die: true},
		{errno: syscall.EIO}, {errno: syscall.EIO, lasting: true}, {errno: syscall.EIO, die: true},
	} {
		t.Run(fmt.Sprintf("%v/lasting=%v/die=%v", kind.errno, kind.lasting, kind.die), func(t *testing.T) {
			t.Parallel() // most of the time goes by while the disk syncs
			failed, n := 0, 0
			for hit := true; hit; n++ {
				ft := kind
				ft.n = n
				var bad bool
				if hit, bad = compactWithFault(t, &ft); bad {
					failed++
				}
			}
			if n < 8 || failed < 5 {
				t.Errorf("%d of %d operations made it fail: has it changed what it does?", failed, n)
			}
		})
	}
}

// fault is a disk's at one of its operations.
type fault struct {
	n       int // which one, from the compaction's first on
	errno   syscall.Errno
	lasting bool
	die     bool // the process dies when the compaction has met it
	what    string
}

// compactWithFault compacts with a fault. It returns whether there was an nth
// operation, and whether the compaction failed.
func compactWithFault(t *testing.T, ft *fault) (hit, failed bool) {
	t.Helper()
	dir := t.TempDir()
	disk, timer := fsxtest.New(fsx.OS{}), timers.NewFake(time.UnixMilli(1000))
	f := openOn(t, disk, timer, dir)
	f.mustWrite("SET k a POINT 1 2", "SET k b STRING text", "SETCHAN c NEARBY k FENCE POINT 1 1 100")
	if _, err := f.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.mustWrite("SET k a POINT 3 4", "DEL k b", "SET k z POINT 5 6")
	want, base := f.digest(), f.log.Stats().Base.Offset

	// After a failed sync of what clients wrote, only a restart knows what there is.
	var lost atomic.Bool
	first := disk.Ops() + 1 + ft.n
	disk.FailWith(func(i int, op fsxtest.Op, path string) error {
		if i < first || i > first && !ft.lasting {
			return nil
		}
		if i == first {
			ft.what = string(op) + " " + filepath.Base(path)
		}
		if op == fsxtest.OpSync && strings.HasPrefix(filepath.Base(path), "seg") {
			lost.Store(ft.errno == syscall.EIO)
		}
		return ft.errno
	})
	_, err := f.Compact(t.Context())
	if ft.die {
		disk.DieAt(0)
	} else {
		disk.FailWith(nil)
	}
	hit, failed = disk.Ops() >= first, err != nil
	if failed && (!hit || !errors.Is(err, ft.errno)) {
		t.Errorf("%+v: %v", ft, err)
	}
	if now := f.log.Stats().Base.Offset; failed != (now == base) {
		t.Errorf("%+v: %v, but the base is at %d and was at %d", ft, err, now, base)
	}
	if got := f.digest(); got != want {
		t.Errorf("%+v: digest %s in memory, want %s", ft, got, want)
	}
	if !ft.die && !lost.Load() {
		want = compactAgain(t, f, timer, ft)
	}
	if err := f.log.Close(context.Background()); err != nil && !ft.die && !lost.Load() {
		t.Errorf("%+v: %v", ft, err)
	}
	f = open(t, dir)
	if got := f.digest(); got != want {
		t.Errorf("%+v: digest %s after a restart, want %s", ft, got, want)
	}
	if _, err := f.Compact(t.Context()); err != nil {
		t.Errorf("%+v: compaction after a restart: %v", ft, err)
	}
	f.close()
	if temp, err := filepath.Glob(filepath.Join(dir, "*"+fsx.TempSuffix)); err != nil || len(temp) > 0 {
		t.Errorf("%+v: left %q, %v", ft, temp, err)
	}
	return hit, failed
}

// compactAgain goes on with a disk in order, and returns the digest.
func compactAgain(t *testing.T, f *fixture, timer *timers.Fake, ft *fault) string {
	t.Helper()
	// The log may have noticed a fault of its own; it tries again each second.
	for end := time.Now().Add(10 * time.Second); !strings.HasPrefix(f.write("SET k after POINT 7 8"), "+OK"); time.Sleep(time.Millisecond) {
		timer.Advance(time.Second)
		if time.Now().After(end) {
			t.Fatalf("%+v: writing does not go on", ft)
		}
	}
	if _, err := f.Compact(t.Context()); err != nil {
		t.Errorf("%+v: the next compaction: %v", ft, err)
	}
	return f.digest()
}

// TestCompactCancelledAnywhere: a shutdown in the middle ends a compaction at
// once, whether it writes or reads back; the next start finds everything, and
// compacts.
func TestCompactCancelledAnywhere(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	for i := range 2000 {
		f.mustWrite(fmt.Sprintf("SET k %d POINT 1 1", i))
	}
	want := f.digest()
	why := errors.New("shutting down")
	cancelled := 0
	for n := 1; ; n *= 2 {
		ctx, cancel := context.WithCancelCause(t.Context())
		rests := 0
		f.opt.Pace = func() Pace {
			if rests++; rests == n {
				cancel(why)
			}
			return Pace{Percent: 100}
		}
		before := f.log.Stats()
		_, err := f.Compact(ctx)
		cancel(nil)
		if err == nil && rests < n {
			break // it was through before
		}
		cancelled++
		for end := time.Now().Add(10 * time.Second); f.log.Stats().TempBytes > 0 && time.Now().Before(end); {
			time.Sleep(time.Millisecond) // the log may be writing its MANIFEST
		}
		if after := f.log.Stats(); !errors.Is(err, why) && !errors.Is(err, context.Canceled) || after.TempBytes != 0 || after.BaseBytes != before.BaseBytes {
			t.Fatalf("cancelled at rest %d: %v, %+v", n, err, after)
		}
		f.close()
		f = open(t, dir)
		if got := f.digest(); got != want {
			t.Fatalf("cancelled at rest %d: digest %s after a restart, want %s", n, got, want)
		}
	}
	if cancelled < 2 {
		t.Errorf("it was through before it could be cancelled")
	}
	f.close()
	f = open(t, dir)
	if got := f.digest(); got != want || f.log.Stats().BaseBytes == 0 {
		t.Errorf("digest %s from the base, want %s", got, want)
	}
}
