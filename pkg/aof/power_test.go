package aof

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
)

// Power fails at any operation on the disk. With FsyncAlways everything that was
// acknowledged is there afterwards; with the other policies the log opens and
// holds a beginning of what was appended. And again when power fails while that
// is being recovered.
func TestPowerLossAnywhere(t *testing.T) {
	leader := openLog(t, t.TempDir())
	// Its base lies where a segment of the history that it replaces begins: that
	// must not be taken for its continuation.
	at := int64(0)
	for i := range 10 {
		at += int64(len(command(set(i)...)))
	}
	at += 4 // four of the ten have a number of two digits
	pad := at - int64(len(command("SET", "k", "pad", "STRING", strings.Repeat("p", 100)))) + 100
	write(t, leader, 1, []string{"SET", "k", "pad", "STRING", strings.Repeat("p", int(pad))})
	if got := leader.Last().Offset; got != at {
		t.Fatalf("the leader is at %d, not %d", got, at)
	}
	compact(t, leader, 5, set(2))
	const rounds = 6 // with other survivors
	for round := range uint64(2 * rounds) {
		policy, random := FsyncAlways, rand.New(rand.NewPCG(round, 2))
		if round%2 == 1 {
			policy = FsyncNo
		}
		survived := false
		met := false
		for n := 0; !survived; n++ {
			mem, losses := fsxtest.NewMemory("data"), fsxtest.Losses()
			disk := fsxtest.New(mem)
			disk.DieAt(n)
			life := dieScript(t, leader, "data", disk, policy)
			survived = disk.Ops() <= n
			met = strings.Count(strings.Join(disk.History(), "\n"), "create "+filepath.Join("data", formatName(kindSegment, at, 1))) == 2
			for _, loss := range losses {
				when := fmt.Sprintf("round %d, %v, power lost at %d, %s", round, policy, n, loss.Name)
				left := mem.AfterPowerLoss(loss, random)
				again := fsxtest.New(left)
				again.DieAt(random.IntN(12))
				if l, err := tryOpen("data", func(o *Options) { o.FS = again }); err == nil {
					_ = l.Close(bg) // the disk may be dead
				}
				second := left.AfterPowerLoss(losses[random.IntN(len(losses))], random)
				life.check(t, when, second, "data", leader)
			}
		}
		if !met {
			t.Fatalf("the old history has no segment that begins at %d", at)
		}
	}
}

// The process dies and the next one finds, in the system's memory, more than the
// disk has: what it then calls written survives a loss of power.
func TestOpenMakesDurable(t *testing.T) {
	mem := fsxtest.NewMemory("data")
	disk := fsxtest.New(mem)
	l, err := tryOpen("data", func(o *Options) { o.FS = disk; o.SegmentBytes = 200 })
	if err != nil {
		t.Fatal(err)
	}
	// The manifest does not learn of the rotations.
	disk.FailOp(fsxtest.OpRename, syscall.ENOSPC)
	var off int64
	for i := range 5 {
		if _, err := l.Begin(int64(i)); err != nil {
			t.Fatal(err)
		}
		l.Add(set(i))
		off = l.End(digestAt(off + int64(len(command(set(i)...)))))
		if err := l.Commit(bg, off); err != nil {
			t.Fatal(err)
		}
	}
	disk.DieAt(0)
	if err := l.Close(bg); err == nil {
		t.Fatal("it could close")
	}
	again := openLog(t, "data", func(o *Options) { o.FS = mem })
	written := again.Written()
	left := mem.AfterPowerLoss(fsxtest.Loss{}, rand.New(rand.NewPCG(1, 2)))
	third := openLog(t, "data", func(o *Options) { o.FS = left })
	if c := mustReplay(t, third); written.Offset != off || c.last != written {
		t.Errorf("left %v, written were %v of %d", c.last, written, off)
	}
}

func (life *life) check(t *testing.T, at string, disk fsx.FS, dir string, leader *Log) {
	t.Helper()
	l, err := tryOpen(dir, func(o *Options) { o.FS = disk })
	if err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	defer closeLog(t, l)
	c, err := replayAll(l)
	if err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	var state []byte
	if err := EachCommand(c.base, func(args []string) error {
		if args[0] == "STATE" {
			state = append(state, args[1]...)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if l.Position().Epoch == leader.Position().Epoch {
		if !life.received || !bytes.Equal(c.base, command(set(2)...)) || !bytes.HasPrefix(command(set(30)...), c.log) || len(c.log) < len(life.after) {
			t.Fatalf("%s: %q %q, acknowledged %q", at, c.base, c.log, life.after)
		}
		return
	}
	state = append(state, c.log...)
	if !bytes.HasPrefix(life.appended, state) {
		t.Fatalf("%s: %q is no beginning of %q", at, state, life.appended)
	}
	if life.policy == FsyncAlways && !bytes.HasPrefix(state, life.acked) {
		t.Fatalf("%s: %q, acknowledged %q", at, state, life.acked)
	}
	if life.installed {
		t.Fatalf("%s: the history that was received is gone", at)
	}
}
