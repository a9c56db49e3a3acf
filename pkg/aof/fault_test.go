package aof

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"evenkeel/internal/clock"
	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
)

func faulty(t *testing.T, policy FsyncPolicy, change ...func(*Options)) (*Log, *fsxtest.FS, *clock.Fake) {
	t.Helper()
	f := fsxtest.New(fsx.OS{})
	c := clock.NewFake(time.UnixMilli(1000))
	l := openLog(t, t.TempDir(), append([]func(*Options){func(o *Options) {
		o.FS, o.Fsync, o.Clock = f, policy, c
	}}, change...)...)
	return l, f, c
}

// heal lets the worker's retry find the disk in order.
func heal(t *testing.T, l *Log, c *clock.Fake) {
	t.Helper()
	c.BlockUntil(1)
	c.Advance(tickEvery)
	eventually(t, func() bool { _, err := l.Begin(0); return err == nil })
}

// eventually waits for something that the worker does.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}

// A full disk: writes fail with a clear error, nothing acknowledged is lost,
// nothing is written twice, and writing resumes when there is room, wherever the
// disk became full.
func TestFullDisk(t *testing.T) {
	for _, policy := range []FsyncPolicy{FsyncAlways, FsyncEverySecond, FsyncNo} {
		for room := int64(0); room < 400; room += 13 {
			t.Run(fmt.Sprintf("%v/%d", policy, room), func(t *testing.T) {
				l, disk, c := faulty(t, policy, func(o *Options) { o.SegmentBytes = 250 })
				want := command(set(0)...)
				write(t, l, 1, set(0))
				disk.Room(room)
				var failed error
				for i := 1; failed == nil; i++ {
					off := add(t, l, int64(i), set(i), set(i+1))
					failed = l.Commit(bg, off)
					want = append(append(want, command(set(i)...)...), command(set(i+1)...)...)
				}
				if !errors.Is(failed, ErrUnwritable) || !errors.Is(failed, syscall.ENOSPC) ||
					!strings.Contains(failed.Error(), "free space or enlarge the volume") || !strings.Contains(failed.Error(), l.o.Dir) {
					t.Fatalf("error %v", failed)
				}
				if _, err := l.Begin(100); !errors.Is(err, ErrUnwritable) {
					t.Fatalf("Begin: %v", err)
				}
				if s := l.Stats(); s.Writable || s.Failure == nil || s.PendingBytes == 0 {
					t.Fatalf("stats %+v", s)
				}
				if err := l.Commit(bg, l.Last().Offset); !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("Commit: %v", err)
				}
				disk.Room(-1)
				heal(t, l, c)
				if err := l.Commit(bg, int64(len(want))); err != nil {
					t.Fatal(err)
				}
				write(t, l, 200, set(9))
				want = append(want, command(set(9)...)...)
				if got := mustReplay(t, l); !bytes.Equal(got.log, want) {
					t.Fatalf("replayed %q, want %q", got.log, want)
				}
				closeLog(t, l)
				again := openLog(t, l.o.Dir)
				if got := mustReplay(t, again); !bytes.Equal(got.log, want) || again.Recovery().CutFile != "" {
					t.Fatalf("reopened %q, %+v", got.log, again.Recovery())
				}
			})
		}
	}
}

func TestShortWrites(t *testing.T) {
	for most := 1; most < 30; most += 7 {
		l, disk, _ := faulty(t, FsyncNo)
		disk.ShortWrites(most)
		var want []byte
		for i := range 5 {
			write(t, l, int64(i), set(i))
			want = append(want, command(set(i)...)...)
		}
		if got := mustReplay(t, l); !bytes.Equal(got.log, want) {
			t.Errorf("%d bytes a write: %q", most, got.log)
		}
	}
}

// A crash while the disk is full loses nothing that was acknowledged.
func TestCrashOnFullDisk(t *testing.T) {
	l, disk, c := faulty(t, FsyncAlways)
	off := write(t, l, 1, set(1))
	disk.Room(40)
	if err := l.Commit(bg, add(t, l, 2, set(2))); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	crashed := openLog(t, copyDir(t, l.o.Dir))
	if crashed.Last().Offset != off || crashed.Recovery().CutBytes != 40 {
		t.Errorf("%v, %+v", crashed.Last(), crashed.Recovery())
	}
	disk.Room(-1)
	heal(t, l, c)
}

func TestPendingLimit(t *testing.T) {
	l, _, _ := faulty(t, FsyncNo, func(o *Options) { o.MaxPending = 1000 })
	var err error
	for i := 0; err == nil && i < 100; i++ {
		if _, err = l.Begin(1); err == nil {
			l.Add(set(i))
			l.End(digestAt(l.Last().Offset + int64(len(command(set(i)...)))))
		}
	}
	if !errors.Is(err, ErrUnwritable) || !strings.Contains(err.Error(), "wait for the disk") {
		t.Fatalf("error %v", err)
	}
	if err := l.Commit(bg, l.Last().Offset); err != nil {
		t.Fatal(err)
	}
	write(t, l, 2, set(1))
}

// A failed sync is for good: what the disk has is not known any more.
func TestFailedSync(t *testing.T) {
	for _, policy := range []FsyncPolicy{FsyncAlways, FsyncEverySecond} {
		t.Run(policy.String(), func(t *testing.T) {
			l, disk, c := faulty(t, policy)
			off := write(t, l, 1, set(1))
			if err := l.Sync(bg); err != nil {
				t.Fatal(err)
			}
			disk.FailOp(fsxtest.OpSync, syscall.EIO)
			off2 := add(t, l, 2, set(2))
			err := l.Commit(bg, off2)
			if policy == FsyncAlways && !errors.Is(err, syscall.EIO) {
				t.Fatalf("Commit: %v", err)
			}
			if policy == FsyncEverySecond {
				c.BlockUntil(1)
				c.Advance(tickEvery)
				eventually(t, func() bool { return !l.Stats().Writable })
			}
			disk.FailOp("", nil)
			_, err = l.Begin(3)
			if !errors.Is(err, ErrUnwritable) || !strings.Contains(err.Error(), "restart") {
				t.Fatalf("Begin: %v", err)
			}
			if err := l.Sync(bg); !errors.Is(err, ErrUnwritable) {
				t.Fatalf("Sync: %v", err)
			}
			if policy == FsyncAlways && l.Written().Offset != off {
				t.Errorf("written %v, acknowledged %d", l.Written(), off)
			}
			if err := l.Close(bg); !errors.Is(err, syscall.EIO) {
				t.Errorf("Close: %v", err)
			}
			closeLog(t, openLog(t, l.o.Dir))
		})
	}
}

// A sync that failed because the disk is full is made good: the data is written
// again before the next sync, which alone would prove nothing.
func TestSyncOnFullDisk(t *testing.T) {
	for _, policy := range []FsyncPolicy{FsyncAlways, FsyncEverySecond} {
		t.Run(policy.String(), func(t *testing.T) {
			l, disk, c := faulty(t, policy)
			write(t, l, 1, set(1))
			if err := l.Sync(bg); err != nil {
				t.Fatal(err)
			}
			disk.FailOp(fsxtest.OpSync, syscall.ENOSPC)
			off := add(t, l, 2, set(2))
			if err := l.Commit(bg, off); policy == FsyncAlways && !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("Commit: %v", err)
			}
			if policy == FsyncEverySecond {
				c.BlockUntil(1)
				c.Advance(tickEvery)
				eventually(t, func() bool { return !l.Stats().Writable })
			}
			disk.FailOp("", nil)
			before := disk.Ops()
			heal(t, l, c)
			if err := l.Commit(bg, off); err != nil {
				t.Fatal(err)
			}
			seg := filepath.Join(l.o.Dir, formatName(kindSegment, 0, 1))
			if got := strings.Join(disk.History()[before:], "\n"); !strings.HasPrefix(got, "write "+seg+"\nsync "+seg) {
				t.Errorf("healed by\n%s", got)
			}
			if got := mustReplay(t, l); got.last.Offset != off {
				t.Errorf("ends at %v", got.last)
			}
		})
	}
}

// FsyncEverySecond syncs once a second while there is something to sync.
func TestEverySecond(t *testing.T) {
	l, _, c := faulty(t, FsyncEverySecond)
	for i := range 3 {
		for j := range 5 {
			write(t, l, int64(i), set(j))
		}
		c.BlockUntil(1)
		if got := l.Stats().Syncs; got != int64(i) {
			t.Fatalf("round %d: %d syncs", i, got)
		}
		c.Advance(tickEvery)
		eventually(t, func() bool { return l.Stats().Syncs == int64(i+1) })
	}
	l.SetFsync(FsyncAlways)
	write(t, l, 9, set(9))
	if got := l.Stats(); got.Syncs != 4 || got.Policy != FsyncAlways {
		t.Errorf("%d syncs, policy %v", got.Syncs, got.Policy)
	}
}

// A caller who gives up leaves nothing behind that is never written.
func TestCommitCancelled(t *testing.T) {
	l, _, _ := faulty(t, FsyncEverySecond)
	off := add(t, l, 1, set(1))
	if err := l.takeTurn(bg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if err := l.Commit(ctx, off); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit: %v", err)
	}
	l.giveTurn()
	eventually(t, func() bool { return l.Written().Offset == off })
}

// The manifest cannot be replaced for a while: the log goes on.
func TestManifestFails(t *testing.T) {
	l, disk, c := faulty(t, FsyncNo, func(o *Options) { o.SegmentBytes = 100 })
	disk.FailWith(func(_ int, _ fsxtest.Op, path string) error {
		if strings.Contains(path, manifestName) {
			return syscall.ENOSPC
		}
		return nil
	})
	for i := range 4 {
		write(t, l, int64(i), set(i))
	}
	want := mustReplay(t, l)
	crashed := openLog(t, copyDir(t, l.o.Dir))
	if got := mustReplay(t, crashed); !bytes.Equal(got.log, want.log) {
		t.Errorf("reopened %q", got.log)
	}
	disk.FailWith(nil)
	c.BlockUntil(1)
	c.Advance(tickEvery)
	eventually(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.published
	})
}

// The directory cannot be synced when MANIFEST has just named a new base: the
// log rests on the old one, but what is on the disk relies on the new one, which
// must not go before MANIFEST is told.
func TestDisownedBaseStaysUntilManifestKnows(t *testing.T) {
	l, disk, c := faulty(t, FsyncNo)
	write(t, l, 1, set(1))
	compact(t, l, 2, set(1))
	write(t, l, 3, set(2))
	want := mustReplay(t, l)
	m := l.Seal(4, l.Last().Digest)
	b, err := l.CreateBase(m)
	if err == nil {
		err = errors.Join(b.Add(set(1)), b.Add(set(2)))
	}
	if err != nil {
		t.Fatal(err)
	}
	var phase atomic.Int64
	disk.FailWith(func(_ int, op fsxtest.Op, path string) error {
		switch {
		case phase.Load() == 0 && op == fsxtest.OpRename && strings.Contains(path, formatName(kindBase, m.Offset, 1)):
			phase.Store(1) // the base has its name
		case phase.Load() == 1 && op == fsxtest.OpRename && strings.HasSuffix(path, manifestName):
			phase.Store(2) // MANIFEST relies on it
		case phase.Load() == 2 && op == fsxtest.OpSyncDir:
			phase.Store(3)
			return syscall.EIO
		case phase.Load() == 3 && op == fsxtest.OpRemove && strings.Contains(path, formatName(kindBase, m.Offset, 1)):
			phase.Store(4) // it goes; and then the process dies
		case phase.Load() == 4:
			return syscall.EIO
		}
		return nil
	})
	if _, err := b.Install(bg); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Install: %v", err)
	}
	c.BlockUntil(1)
	c.Advance(tickEvery)
	eventually(t, func() bool { return phase.Load() == 4 })
	_ = l.Close(bg) // the disk is dead
	again := openLog(t, l.o.Dir)
	if got := mustReplay(t, again); !bytes.Equal(got.log, want.log) {
		t.Errorf("reopened %q, want %q", got.log, want.log)
	}
}
