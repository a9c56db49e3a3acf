package aof

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
)

func TestCompaction(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, func(o *Options) { o.BacklogBytes = -1 })
	for i := range 10 {
		write(t, l, int64(i), set(i))
	}
	m := l.Seal(20, l.Last().Digest)
	if m != (Mark{l.Last().Offset, 20, l.Last().Digest}) {
		t.Errorf("Seal returned %v, the log ends at %v", m, l.Last())
	}
	b, err := l.CreateBase(m)
	if err != nil {
		t.Fatal(err)
	}
	write(t, l, 21, set(77)) // meanwhile
	var base []byte
	big := strings.Repeat("x", 1000)
	for i := range 300 {
		c := []string{"SET", "k", fmt.Sprint(i), "STRING", big}
		if err := b.Add(c); err != nil {
			t.Fatal(err)
		}
		base = append(base, command(c...)...)
	}
	// The worker may be replacing the manifest, through another temporary file.
	if b.Written() == 0 || l.Stats().TempBytes < b.Written() {
		t.Errorf("written %d, temporary %d", b.Written(), l.Stats().TempBytes)
	}
	var seen []byte
	batches := 0
	if err := b.Verify(bg, func(x Batch) error {
		seen = append(seen, x.Payload...)
		if last := len(x.Payload) == 0; last == x.Unchecked || x.Offset != m.Offset || x.Time != m.Time || (last && x.Mark != m) {
			return fmt.Errorf("batch %+v", x.Mark)
		}
		batches++
		return nil
	}); err != nil || !bytes.Equal(seen, base) || batches != len(base)/batchBytes+2 {
		t.Fatalf("%v, %d batches", err, batches)
	}
	if err := b.Add(set(1)); err == nil {
		t.Error("Add after Verify: no error")
	}
	freed, err := b.Install(bg)
	if err != nil || freed == 0 {
		t.Fatalf("freed %d, %v", freed, err)
	}
	if err := b.Abort(); err != nil {
		t.Errorf("Abort after Install: %v", err)
	}
	check := func(l *Log) {
		t.Helper()
		c := mustReplay(t, l)
		if !bytes.Equal(c.base, base) || !bytes.Equal(c.log, command(set(77)...)) {
			t.Error("other contents")
		}
		if want := int64(len(base) + len(c.log)); l.PayloadSize() != want {
			t.Errorf("payload %d, want %d", l.PayloadSize(), want)
		}
		if s := l.Stats(); s.Base != m || s.First != m.Offset || s.BacklogBytes != 0 || s.TempBytes != 0 {
			t.Errorf("stats %+v", s)
		}
	}
	check(l)
	closeLog(t, l)
	if got := names(t, dir, ""); len(got) != 4 {
		t.Errorf("files %v", got)
	}
	check(openLog(t, dir))
}

// Two compactions without a write between them, and one of nothing at all.
func TestCompactionTwice(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, func(o *Options) { o.BacklogBytes = -1 })
	compact(t, l, 1)
	write(t, l, 2, set(1))
	for i := range 3 {
		compact(t, l, int64(10+i), set(i))
		if c := mustReplay(t, l); !bytes.Equal(c.base, command(set(i)...)) || len(c.log) != 0 {
			t.Fatalf("compaction %d: %q", i, c.base)
		}
	}
	write(t, l, 20, set(5))
	closeLog(t, l)
	l = openLog(t, dir)
	if c := mustReplay(t, l); !bytes.Equal(c.base, command(set(2)...)) || !bytes.Equal(c.log, command(set(5)...)) {
		t.Errorf("reopened %q %q", c.base, c.log)
	}
	if n := len(names(t, dir, baseName)); n != 1 {
		t.Errorf("%d bases", n)
	}
}

func TestCreateBaseErrors(t *testing.T) {
	l := openLog(t, t.TempDir())
	off := write(t, l, 1, set(1))
	write(t, l, 2, set(2))
	if _, err := l.CreateBase(Mark{Offset: off + 1000}); err == nil {
		t.Error("beyond the end: no error")
	}
	// Not where Seal was called.
	b, err := l.CreateBase(Mark{Offset: off, Digest: digestAt(off)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.CreateBase(Mark{Offset: off}); err == nil {
		t.Error("a second one at the same time: no error")
	}
	if _, err := b.Install(bg); err == nil || !strings.Contains(err.Error(), "not sealed there") {
		t.Errorf("Install: %v", err)
	}
	if got := names(t, l.o.Dir, baseName); len(got) != 0 {
		t.Errorf("left %v", got)
	}
	// A later one was faster.
	m := l.Seal(3, l.Last().Digest)
	b, err = l.CreateBase(m)
	if err != nil {
		t.Fatal(err)
	}
	write(t, l, 4, set(3))
	compact(t, l, 5, set(3))
	if _, err := b.Install(bg); err == nil {
		t.Error("behind an older base: no error")
	}
	if c := mustReplay(t, l); !bytes.Equal(c.base, command(set(3)...)) {
		t.Errorf("base %q", c.base)
	}
}

// What comes back from the disk is not what was written: Verify tells.
func TestVerifyFindsDamage(t *testing.T) {
	l := openLog(t, t.TempDir())
	b, err := l.CreateBase(l.Seal(1, Digest{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Add(set(1)); err != nil {
		t.Fatal(err)
	}
	if err := b.finish(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.t.f.WriteAt([]byte("x"), 30); err != nil {
		t.Fatal(err)
	}
	err = b.Verify(bg, nil)
	if de, ok := errors.AsType[*DamageError](err); !ok || !strings.HasSuffix(de.File, fsx.TempSuffix) {
		t.Errorf("Verify: %v", err)
	}
	if err := b.Abort(); err != nil {
		t.Error(err)
	}
	if got := names(t, l.o.Dir, baseName); len(got) != 0 {
		t.Errorf("left %v", got)
	}
}

// The backlog before the base is kept, and no more.
func TestBacklog(t *testing.T) {
	l := openLog(t, t.TempDir(), func(o *Options) { o.SegmentBytes = 100; o.BacklogBytes = 200 })
	one := int64(len(command(set(1)...)))
	for i := range 10 {
		write(t, l, int64(i), set(i))
	}
	compact(t, l, 20, set(1))
	if s := l.Stats(); s.First > 10*one-200 || s.First <= 10*one-200-one || s.BacklogBytes == 0 {
		t.Errorf("%+v, one command has %d bytes", s, one)
	}
	first := l.Stats().First
	if _, err := l.Tail(Position{l.epoch, first - one}, digestAt(first-one)); !errors.Is(err, ErrGone) {
		t.Errorf("before the backlog: %v", err)
	}
	tail, err := l.Tail(Position{l.epoch, first}, digestAt(first))
	if err != nil {
		t.Fatal(err)
	}
	l.SetBacklogBytes(0)
	l.wakeWorker()
	compact(t, l, 21, set(1))
	if got := l.Stats().First; got != first {
		t.Errorf("with a tail at %d the log begins at %d", first, got)
	}
	if tail.Lag() != 10*one-first {
		t.Errorf("lag %d", tail.Lag())
	}
	if err := tail.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return l.Stats().First == 10*one && l.Stats().BacklogBytes == 0 })
	eventually(t, func() bool { return len(names(t, l.o.Dir, segmentName)) == 0 })
}

// The manifest does not call a segment complete that is not synced.
func TestManifestWaitsForSync(t *testing.T) {
	l, disk, c := faulty(t, FsyncNo, func(o *Options) { o.SegmentBytes = 100 })
	disk.FailOp(fsxtest.OpSync, syscall.ENOSPC)
	// One commit for both: the worker's failing sync refuses what comes later.
	add(t, l, 1, set(1))
	write(t, l, 20, set(2))
	if n := l.Stats().Segments; n != 2 {
		t.Fatalf("%d segments", n)
	}
	l.mu.Lock()
	m := l.manifestLocked(l.base, l.segs, nil)
	l.mu.Unlock()
	if len(m.Files) != 1 || m.Files[0].End != nil {
		t.Errorf("manifest %+v", m.Files)
	}
	eventually(t, func() bool { _, err := l.Begin(0); return err != nil }) // the worker has tried, and waits
	disk.FailOp("", nil)
	heal(t, l, c)
}
