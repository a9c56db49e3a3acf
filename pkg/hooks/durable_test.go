package hooks

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
	"evenkeel/pkg/aof"
)

func smallSegments(o *Options) { o.SegmentBytes = 300 }

// Everything that waited is there after a restart, in order, once.
func TestRestart(t *testing.T) {
	for _, policy := range []aof.FsyncPolicy{aof.FsyncAlways, aof.FsyncEverySecond, aof.FsyncNo} {
		dir, box := t.TempDir(), newInbox()
		set := func(o *Options) { o.Fsync = policy; o.Local = box; smallSegments(o) }
		q := open(t, dir, set)
		q.SetHook("a", []string{"local://a"})
		q.SetHook("b", []string{"local://b"})
		q.SetHook("gone", []string{"local://gone"})
		start(t, q)
		add(t, q, "a", numbers(0, 20)...)
		box.wait(t, "a", 20)
		q.Pause()
		for i := 20; i < 60; i++ {
			add(t, q, "a", fmt.Sprint(i))
			add(t, q, "b", fmt.Sprint(i))
			add(t, q, "gone", fmt.Sprint(i))
		}
		q.Append("a", []byte("60")) // Stop writes it
		stop(t, q)

		q = open(t, dir, set)
		expect(t, "waiting", q.Stats().Waiting, 41+40+40)
		q.SetHook("a", []string{"local://a"})
		q.SetHook("b", []string{"local://b"})
		start(t, q) // gone is not defined: its messages go
		expect(t, "a", box.wait(t, "a", 61), numbers(0, 61))
		expect(t, "b", box.wait(t, "b", 40), numbers(20, 60))
		drained(t, q)
		eventually(t, "old files are removed", func() bool { return q.Stats().Segments <= 1 })
		stop(t, q)

		q = open(t, dir, set)
		expect(t, "after all", q.Stats().Waiting, 0)
		stop(t, q)
		expect(t, "messages", []any{box.list("a"), box.list("b"), box.list("gone")}, []any{numbers(0, 61), numbers(20, 60), []string{}})
	}
}

// A process that is killed leaves what was committed. What was delivered shortly
// before may come again, nothing else, and the order stays.
func TestKilled(t *testing.T) {
	dir, box := t.TempDir(), newInbox()
	q := open(t, dir, withLocal(box), smallSegments, func(o *Options) { o.AckInterval = time.Hour })
	q.SetHook("a", []string{"local://a"})
	start(t, q)
	for i := range 100 {
		add(t, q, "a", fmt.Sprint(i))
		if i == 50 {
			box.wait(t, "a", 50)
			q.Pause()
		}
	}
	eventually(t, "no senders", func() bool { return q.Stats().Senders == 0 })
	delivered := len(box.list("a"))
	after := newInbox()
	p := open(t, clone(t, dir), withLocal(after), smallSegments)
	waiting := int(p.Stats().Waiting)
	if waiting < 100-delivered {
		t.Fatalf("%d wait, %d of 100 were delivered", waiting, delivered)
	}
	p.SetHook("a", []string{"local://a"})
	start(t, p)
	expect(t, "after", after.wait(t, "a", waiting), numbers(100-waiting, 100))
}

func TestTornAndDamaged(t *testing.T) {
	dir, box := t.TempDir(), newInbox()
	q := open(t, dir)
	q.SetHook("a", nil)
	for i := range 10 {
		add(t, q, "a", strings.Repeat(fmt.Sprint(i), 50))
	}
	stop(t, q)
	path := filepath.Join(dir, segmentName(1))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	size := len(b) / 10
	b[3*size+40] ^= 1
	if err := os.WriteFile(path, b[:len(b)-7], 0o600); err != nil {
		t.Fatal(err)
	}
	for _, junk := range []string{"hooks-x.log", segmentName(7) + ".tmp", "other"} {
		if err := os.WriteFile(filepath.Join(dir, junk), []byte("junk"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log logBuffer
	q = open(t, dir, withLocal(box), logTo(&log))
	s := q.Stats()
	expect(t, "numbers", []any{s.Waiting, s.Damaged, s.Torn}, []any{8, 1, 1})
	expect(t, "log", []any{log.count("torn end"), log.count("damaged")}, []any{1, 1})
	if fi, err := os.Stat(path); err != nil || fi.Size() != int64(9*size) {
		t.Errorf("size %d, %v", fi.Size(), err)
	}
	q.SetHook("a", []string{"local://a"})
	start(t, q)
	got := strings.Join(box.wait(t, "a", 8), "")
	expect(t, "order", strings.NewReplacer(strings.Repeat("0", 50), "0").Replace(got[:50])+fmt.Sprint(len(got)), "0400")
	if strings.Contains(got, "3") || strings.Contains(got, "9") {
		t.Error("a damaged message was delivered")
	}
}

// What is damaged while the queue is open is dropped when it is read.
func TestDamagedWhileOpen(t *testing.T) {
	dir, box := t.TempDir(), newInbox()
	var log logBuffer
	q := open(t, dir, withLocal(box), logTo(&log), func(o *Options) { o.MaxMemory = 1 })
	q.SetHook("a", []string{"local://a"})
	add(t, q, "a", "first", "second", "third")
	path := filepath.Join(dir, segmentName(1))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(b), "second", "secon?", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, q)
	expect(t, "messages", box.wait(t, "a", 2), []string{"first", "third"})
	drained(t, q)
	expect(t, "dropped", q.Stats().Dropped["damaged"], 1)
	eventually(t, "logged", func() bool { return log.count("reason=damaged") == 1 })
}

// While the disk is full Commit fails, and messages are kept and written later.
func TestDiskFull(t *testing.T) {
	for _, op := range []fsxtest.Op{fsxtest.OpCreate, fsxtest.OpWrite, fsxtest.OpSync, fsxtest.OpSyncDir} {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			dir, box, disk := t.TempDir(), newInbox(), fsxtest.New(fsx.OS{})
			q := open(t, dir, withLocal(box), smallSegments, func(o *Options) { o.FS = disk; o.Fsync = aof.FsyncAlways })
			q.SetHook("a", []string{"local://a"})
			start(t, q)
			add(t, q, "a", numbers(0, 3)...)
			box.wait(t, "a", 3)
			eventually(t, "acks are written", func() bool { return q.quiet() })
			disk.FailOp(op, syscall.ENOSPC)
			for i := 3; i < 30; i++ {
				q.Append("a", []byte(fmt.Sprint(i)))
			}
			err := q.Commit(bg)
			if !errors.Is(err, ErrUnwritable) || !errors.Is(err, syscall.ENOSPC) || !errors.Is(q.Blocked(), syscall.ENOSPC) {
				t.Fatalf("commit: %v, blocked: %v", err, q.Blocked())
			}
			expect(t, "nothing is delivered that is not safe", len(box.list("a")), 3)
			disk.FailOp("", nil)
			eventually(t, "healed", func() bool { return q.Blocked() == nil })
			commit(t, q)
			expect(t, "messages", box.wait(t, "a", 30), numbers(0, 30))
			left := open(t, clone(t, dir))
			s := left.Stats()
			expect(t, "damage", []any{s.Damaged, s.Torn}, []any{0, 0})
		})
	}
}

// quiet says whether nothing is to be written.
func (q *Queue) quiet() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.dirty) == 0 && q.pending == 0
}

func TestCommitOfNothing(t *testing.T) {
	disk := fsxtest.New(fsx.OS{})
	q := open(t, t.TempDir(), func(o *Options) { o.FS = disk; o.Fsync = aof.FsyncAlways })
	q.SetHook("a", nil)
	add(t, q, "a", "1")
	ops := disk.Ops()
	if n := testing.AllocsPerRun(100, func() { commit(t, q) }); n != 0 || disk.Ops() != ops {
		t.Errorf("%v allocations, %d operations", n, disk.Ops()-ops)
	}
	at := q.Appended()
	q.Append("a", []byte("2"))
	if err := q.CommitTo(bg, at); err != nil || disk.Ops() != ops {
		t.Errorf("%v, %d operations", err, disk.Ops()-ops)
	}
}

func TestFsyncPolicies(t *testing.T) {
	disk := fsxtest.New(fsx.OS{})
	syncs := func() int { return strings.Count(strings.Join(disk.History(), "\n"), "sync ") }
	q := open(t, t.TempDir(), func(o *Options) { o.FS = disk; o.Fsync = aof.FsyncNo })
	q.SetHook("a", nil)
	add(t, q, "a", "1")
	expect(t, "no", syncs(), 0)
	q.SetFsync(aof.FsyncAlways)
	eventually(t, "what was written is synced", func() bool { return syncs() == 1 })
	add(t, q, "a", "2")
	expect(t, "always", syncs(), 2)
	q.SetFsync(aof.FsyncEverySecond)
	add(t, q, "a", "3")
	expect(t, "everysec", syncs(), 2)
	eventually(t, "a second later", func() bool { return syncs() == 3 })
}

// After a failed sync the system may believe that what it could not write is on
// the disk, so it is written again.
func TestFailedSync(t *testing.T) {
	disk := fsxtest.New(fsx.OS{})
	q := open(t, t.TempDir(), func(o *Options) { o.FS = disk; o.Fsync = aof.FsyncEverySecond })
	q.SetHook("a", nil)
	disk.FailOp(fsxtest.OpSync, syscall.EIO)
	add(t, q, "a", "1")
	eventually(t, "the sync fails", func() bool { return errors.Is(q.Blocked(), syscall.EIO) })
	disk.FailOp("", nil)
	eventually(t, "healed", func() bool { return q.Blocked() == nil })
	var ops []string
	for _, op := range disk.History() {
		verb, _, _ := strings.Cut(op, " ")
		ops = append(ops, verb)
	}
	// The first sync, and perhaps a second one, failed.
	got := strings.Replace(strings.Join(ops, " "), " write sync write sync write sync", " write sync write sync", 1)
	expect(t, "operations", got, "create write sync write sync syncdir")
}

// forgetful is a disk whose failed sync loses what was not synced, also for those
// who read it.
type forgetful struct {
	fsx.FS
	fail atomic.Bool
}

type forgetfulFile struct {
	fsx.File
	fs   *forgetful
	from int64 // what is behind it is not synced
}

func (f *forgetful) OpenFile(path string, flag int, perm fs.FileMode) (fsx.File, error) {
	inner, err := f.FS.OpenFile(path, flag, perm)
	return &forgetfulFile{File: inner, fs: f}, err
}

func (f *forgetfulFile) Sync() error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	if !f.fs.fail.Load() {
		f.from = size
		return f.File.Sync()
	}
	if _, err := f.WriteAt(make([]byte, size-f.from), f.from); err != nil {
		return err
	}
	return syscall.EIO
}

// With FsyncAlways what a failed sync lost is written again from memory.
func TestSyncThatLosesData(t *testing.T) {
	dir, disk := t.TempDir(), &forgetful{FS: fsx.OS{}}
	q := open(t, dir, func(o *Options) { o.FS = disk; o.Fsync = aof.FsyncAlways })
	q.SetHook("a", nil)
	add(t, q, "a", "1")
	disk.fail.Store(true)
	q.Append("a", []byte("2"))
	if err := q.Commit(bg); !errors.Is(err, syscall.EIO) {
		t.Fatalf("commit: %v", err)
	}
	disk.fail.Store(false)
	eventually(t, "healed", func() bool { return q.Blocked() == nil })
	add(t, q, "a", "3")
	s := open(t, clone(t, dir)).Stats()
	expect(t, "numbers", []any{s.Waiting, s.Damaged, s.Torn}, []any{3, 0, 0})
}

// What cannot be read and is dropped takes nothing older with it.
func TestDropFromTheMiddle(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir)
	q.SetHook("a", nil)
	add(t, q, "a", numbers(1, 6)...)
	q.mu.Lock()
	q.filterLocked(q.hooks["a"], func(e *entry) bool { return e.id%2 == 1 })
	q.mu.Unlock()
	expect(t, "waiting", q.Stats().Waiting, 3)
	stop(t, q)
	q = open(t, dir)
	if n := q.Stats().Waiting; n < 3 {
		t.Errorf("%d wait", n)
	}
}

func TestOpenTwice(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	if q, err := tryOpen(dir); err == nil || q != nil {
		t.Error("a second queue was opened")
	}
	if _, err := tryOpen("", func(o *Options) { o.MaxAge, o.SegmentBytes, o.MaxMessage = -1, 1<<40, 1<<40 }); err == nil ||
		strings.Count(err.Error(), "hooks:") != 4 {
		t.Errorf("faults: %v", err)
	}
}

func TestStopped(t *testing.T) {
	q := open(t, t.TempDir())
	q.SetHook("a", nil)
	stop(t, q)
	q.Append("a", []byte("1"))
	if err := q.Start(); !errors.Is(err, ErrClosed) {
		t.Errorf("start: %v", err)
	}
	if err := q.CommitTo(bg, q.Appended()+1); !errors.Is(err, ErrClosed) {
		t.Errorf("commit: %v", err)
	}
	expect(t, "dropped", q.Stats().Dropped["undefined"], 1)
}
