package aof

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"evenkeel/internal/fsx/fsxtest"
)

// transfer brings the base of one log into another.
func transfer(t testing.TB, from, to *Log) error {
	t.Helper()
	b, err := from.OpenBase()
	if err != nil {
		return err
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	r, err := to.Receive(History{Epoch: b.Position().Epoch}, b.Mark(), b.Size())
	if err != nil {
		return err
	}
	if _, err := io.Copy(r, b); err != nil {
		return errors.Join(err, r.Abort())
	}
	if err := r.Verify(bg, func(Batch) error { return nil }); err != nil {
		return errors.Join(err, r.Abort())
	}
	return r.Install(bg)
}

func TestReceive(t *testing.T) {
	leader := openLog(t, t.TempDir())
	write(t, leader, 1, set(1))
	compact(t, leader, 5, set(2), set(3))
	dir := t.TempDir()
	follower := openLog(t, dir, func(o *Options) { o.SegmentBytes = 100 })
	for i := range 5 {
		write(t, follower, int64(i), set(100+i))
	}
	old, err := follower.Tail(Position{follower.epoch, 0}, Digest{})
	if err != nil {
		t.Fatal(err)
	}
	if err := transfer(t, leader, follower); err != nil {
		t.Fatal(err)
	}
	if _, _, err := old.Next(bg); !errors.Is(err, ErrEpoch) {
		t.Errorf("a tail of the old history: %v", err)
	}
	if err := old.Close(); err != nil {
		t.Error(err)
	}
	if follower.Position() != leader.Position() || follower.Last() != leader.Last() {
		t.Errorf("at %v, the leader is at %v", follower.Position(), leader.Position())
	}
	tail, err := leader.Tail(follower.Position(), follower.Last().Digest)
	if err != nil {
		t.Fatal(err)
	}
	write(t, leader, 6, set(4))
	raw, _, err := tail.Next(bg)
	if err != nil {
		t.Fatal(err)
	}
	if err := ParseBatches(raw, func(b Batch) error {
		off, err := follower.AppendBatch(b)
		if err != nil {
			return err
		}
		return follower.Commit(bg, off)
	}); err != nil {
		t.Fatal(err)
	}
	if err := tail.Close(); err != nil {
		t.Error(err)
	}
	closeLog(t, follower)
	follower = openLog(t, dir)
	a, b := mustReplay(t, leader), mustReplay(t, follower)
	if !bytes.Equal(a.base, b.base) || !bytes.Equal(a.log, b.log) || a.last != b.last {
		t.Error("leader and follower differ")
	}
	if got := names(t, dir, ""); len(got) != 4 {
		t.Errorf("files %v", got)
	}
	// Back to an empty history.
	empty := openLog(t, t.TempDir())
	if err := transfer(t, empty, follower); err != nil {
		t.Fatal(err)
	}
	if p := follower.Position(); p != empty.Position() || follower.PayloadSize() != 0 {
		t.Errorf("at %v", p)
	}
	write(t, follower, 9, set(9))
	closeLog(t, follower)
	if c := mustReplay(t, openLog(t, dir)); len(c.base) != 0 || !bytes.Equal(c.log, command(set(9)...)) {
		t.Errorf("replayed %q %q", c.base, c.log)
	}
}

// A compaction that was under way when the history was replaced comes to nothing.
func TestReceiveDuringCompaction(t *testing.T) {
	leader, l := openLog(t, t.TempDir()), openLog(t, t.TempDir())
	write(t, leader, 1, set(1))
	compact(t, leader, 5, set(2))
	write(t, l, 1, set(7))
	write(t, l, 1, set(8))
	b, err := l.CreateBase(l.Seal(2, l.Last().Digest))
	if err != nil {
		t.Fatal(err)
	}
	if err := transfer(t, leader, l); err != nil {
		t.Fatal(err)
	}
	write(t, l, 3, set(9))
	l.Seal(4, l.Last().Digest)
	if _, err := b.Install(bg); !errors.Is(err, ErrEpoch) {
		t.Errorf("Install: %v", err)
	}
	if c := mustReplay(t, l); !bytes.Equal(c.base, command(set(2)...)) || !bytes.Equal(c.log, command(set(9)...)) {
		t.Errorf("%q %q", c.base, c.log)
	}
	dir := l.o.Dir
	closeLog(t, l)
	if c := mustReplay(t, openLog(t, dir)); !bytes.Equal(c.base, command(set(2)...)) || !bytes.Equal(c.log, command(set(9)...)) {
		t.Errorf("reopened %q %q", c.base, c.log)
	}
	if got := names(t, dir, baseName); len(got) != 1 {
		t.Errorf("bases %v", got)
	}
}

// The same offset in another history: the old files have the names that the new
// ones would get.
func TestReceiveAtTheSameOffset(t *testing.T) {
	leader := openLog(t, t.TempDir())
	write(t, leader, 1, set(1))
	compact(t, leader, 5, set(2))
	dir := t.TempDir()
	follower := openLog(t, dir)
	write(t, follower, 1, set(7))
	compact(t, follower, 5, set(7))
	write(t, follower, 6, set(8))
	for range 2 {
		if err := transfer(t, leader, follower); err != nil {
			t.Fatal(err)
		}
		write(t, follower, 7, set(9))
		c := mustReplay(t, follower)
		if !bytes.Equal(c.base, command(set(2)...)) || !bytes.Equal(c.log, command(set(9)...)) {
			t.Errorf("%q %q", c.base, c.log)
		}
		closeLog(t, follower)
		follower = openLog(t, dir)
		if again := mustReplay(t, follower); !bytes.Equal(c.base, again.base) || !bytes.Equal(c.log, again.log) {
			t.Errorf("reopened %q %q", again.base, again.log)
		}
	}
}

// A name that the manifest on the disk calls obsolete is not given to a new file
// although the old one is gone: a crash would make Open remove the new one.
func TestObsoleteNamesAreNotFree(t *testing.T) {
	leader := openLog(t, t.TempDir())
	write(t, leader, 1, set(1))
	m, _ := compact(t, leader, 5, set(2))
	l, disk, c := faulty(t, FsyncNo)
	write(t, l, 1, set(7))
	l.Seal(2, l.Last().Digest)
	write(t, l, 3, set(8))
	if err := l.Sync(bg); err != nil {
		t.Fatal(err)
	}
	old := formatName(kindSegment, m.Offset, 1)
	if got := names(t, l.o.Dir, old); len(got) != 1 {
		t.Fatalf("no %s", old)
	}
	renames := 0
	disk.FailWith(func(_ int, op fsxtest.Op, path string) error {
		if op == fsxtest.OpRename && strings.HasSuffix(path, manifestName) {
			if renames++; renames > 1 {
				return syscall.ENOSPC
			}
		}
		return nil
	})
	if err := transfer(t, leader, l); err != nil {
		t.Fatal(err)
	}
	if got := names(t, l.o.Dir, old); len(got) != 0 {
		t.Fatalf("%s is still there", old)
	}
	write(t, l, 9, set(9))
	crashed := openLog(t, copyDir(t, l.o.Dir))
	if got := mustReplay(t, crashed); !bytes.Equal(got.log, command(set(9)...)) {
		t.Errorf("after a crash %q, %+v", got.log, crashed.Recovery())
	}
	disk.FailWith(nil)
	c.BlockUntil(1)
	c.Advance(tickEvery)
	eventually(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.onDisk) == 0
	})
}

func TestReceiveErrors(t *testing.T) {
	leader := openLog(t, t.TempDir())
	write(t, leader, 1, set(1))
	m, _ := compact(t, leader, 5, set(2), set(3))
	b, err := leader.OpenBase()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(b)
	if err != nil || int64(len(raw)) != b.Size() {
		t.Fatal(err, len(raw), b.Size())
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	l := openLog(t, t.TempDir())
	write(t, l, 1, set(9))
	want := mustReplay(t, l)
	try := func(name string, m Mark, announced int64, raw []byte) {
		t.Helper()
		r, err := l.Receive(History{Epoch: leader.epoch}, m, announced)
		if err == nil {
			_, err = r.Write(raw)
			err = errors.Join(err, r.Install(bg))
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if got := mustReplay(t, l); !bytes.Equal(got.log, want.log) || l.Position().Epoch == leader.epoch {
			t.Errorf("%s: the log changed", name)
		}
		if got := names(t, l.o.Dir, baseName); len(got) != 0 {
			t.Errorf("%s: left %v", name, got)
		}
	}
	n := int64(len(raw))
	damaged := bytes.Clone(raw)
	damaged[20] ^= 1
	lastLine := bytes.LastIndexByte(raw, '#')
	try("damaged", m, n, damaged)
	try("too little", m, n, raw[:n-1])
	try("too much", m, n-1, raw)
	try("no last line", m, int64(lastLine), raw[:lastLine])
	try("other digest", Mark{m.Offset, m.Time, Digest{}}, n, raw)
	try("other offset", Mark{m.Offset + 1, m.Time, m.Digest}, n, raw)
	try("nothing at an offset", m, 0, nil)
	if _, err := l.Receive(History{Epoch: "x"}, Mark{}, 0); err == nil {
		t.Error("bad epoch: no error")
	}
	write(t, l, 2, set(10))
}

// A base stays readable when a compaction replaces it.
func TestOpenBaseStaysReadable(t *testing.T) {
	l := openLog(t, t.TempDir())
	write(t, l, 1, set(1))
	m, _ := compact(t, l, 5, set(2))
	b, err := l.OpenBase()
	if err != nil {
		t.Fatal(err)
	}
	write(t, l, 6, set(3))
	compact(t, l, 7, set(4))
	raw, err := io.ReadAll(b)
	if err != nil || !bytes.HasPrefix(raw, command(set(2)...)) || b.Mark() != m {
		t.Errorf("%q, %v", raw, err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
