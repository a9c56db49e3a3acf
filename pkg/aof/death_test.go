package aof

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
)

// life is what a log that died had been told and had promised.
type life struct {
	policy    FsyncPolicy
	appended  []byte // commands, in order
	acked     []byte // of these, what Commit has returned for
	received  bool   // the leader's history was being installed
	installed bool   // and that returned
	after     []byte // acknowledged in it
}

// dieScript is a life of a log: writes with rotations, two compactions, and a
// full sync from leader.
func dieScript(t *testing.T, leader *Log, dir string, disk fsx.FS, policy FsyncPolicy) *life {
	f := &life{policy: policy}
	l, err := Open(Options{Dir: dir, FS: disk, Fsync: policy, SegmentBytes: 250, BacklogBytes: -1})
	if err != nil {
		return f
	}
	defer func() { _ = l.Close(bg) }() // the disk is dead, or it is in order
	put := func(i int) (acked bool) {
		if _, err := l.Begin(int64(i)); err != nil {
			return false
		}
		c := command(set(i)...)
		l.Add(set(i))
		off := l.End(digestAt(l.Last().Offset + int64(len(c))))
		if !f.received {
			f.appended = append(f.appended, c...)
		}
		return l.Commit(bg, off) == nil
	}
	puts := func(from, n int) {
		for i := range n {
			if put(from + i) {
				f.acked = bytes.Clone(f.appended)
			}
		}
	}
	base := func(now int64) {
		m := l.Seal(now, l.Last().Digest)
		b, err := l.CreateBase(m)
		if err != nil {
			return
		}
		if b.Add([]string{"STATE", string(f.appended)}) == nil {
			_, _ = b.Install(bg) // the disk may be dead
		}
	}
	puts(0, 6)
	base(10)
	puts(11, 1)
	base(12)
	puts(20, 5)
	f.received = true
	if f.installed = transfer(t, leader, l) == nil; f.installed && put(30) {
		f.after = command(set(30)...)
	}
	if policy != FsyncAlways {
		f.after = nil
	}
	return f
}

// The process dies at any operation on the disk: what was acknowledged is there
// after a restart, in one of the histories that were installed, and the
// directory holds nothing else.
func TestDeathAnywhere(t *testing.T) {
	leader := openLog(t, t.TempDir())
	write(t, leader, 1, set(1))
	compact(t, leader, 5, set(2))
	survived := false
	for n := 0; !survived; n++ {
		dir := t.TempDir()
		disk := fsxtest.New(lazyFS{})
		disk.DieAt(n)
		life := dieScript(t, leader, dir, disk, FsyncAlways)
		survived = disk.Ops() <= n
		at := fmt.Sprintf("death at %d", n)
		life.check(t, at, lazyFS{}, dir, leader)
		l := openLog(t, dir, withoutSync)
		before := mustReplay(t, l)
		write(t, l, 99, set(99))
		closeLog(t, l)
		for _, name := range names(t, dir, "") {
			if strings.HasSuffix(name, fsx.TempSuffix) {
				t.Fatalf("%s left %s", at, name)
			}
		}
		again := openLog(t, dir, withoutSync)
		if got := mustReplay(t, again); !bytes.Equal(got.log, append(before.log, command(set(99)...)...)) {
			t.Fatalf("%s: after writing on %q", at, got.log)
		}
		if len(again.Recovery().Removed)+len(again.Recovery().Ignored) > 0 {
			t.Fatalf("%s: %+v", at, again.Recovery())
		}
		closeLog(t, again)
	}
}
