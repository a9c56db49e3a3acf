package hooks

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
	"evenkeel/pkg/aof"
)

// life is what a process did before the power failed.
type life struct {
	policy    aof.FsyncPolicy
	appended  map[string]int // messages 0 … n-1 of a hook
	committed map[string]int
	removed   int // messages of r before its removal, which was committed; 0: it was not
	before    *inbox
	moved     uint64
}

// live lets a process do a bit of everything on the disk, which may die.
func live(disk fsx.FS, policy aof.FsyncPolicy) *life {
	l := &life{policy: policy, appended: map[string]int{}, committed: map[string]int{}, before: newInbox()}
	q, err := tryOpen("data", func(o *Options) {
		o.FS, o.Fsync, o.Local, o.SegmentBytes = disk, policy, l.before, 200
	})
	if err != nil {
		return l
	}
	for _, h := range []string{"a", "b", "r"} {
		q.SetHook(h, []string{"local://" + h})
	}
	q.SetHook("d", []string{"kafka://h/t"})
	if q.Start() != nil {
		return l
	}
	write := func(n int, hooks ...string) {
		for range n {
			for _, h := range hooks {
				q.Append(h, []byte(strconv.Itoa(l.appended[h])))
				l.appended[h]++
			}
			if q.Commit(bg) == nil {
				maps.Copy(l.committed, l.appended)
			}
		}
	}
	settle := func() {
		for end := time.Now().Add(patience); time.Now().Before(end) && q.Blocked() == nil; {
			s := q.Stats()
			if int(s.Waiting) == l.appended["d"] && q.quiet() {
				return
			}
			time.Sleep(100 * time.Microsecond)
		}
	}
	write(2, "d")
	write(18, "a", "b")
	settle()
	q.Pause()
	write(6, "a", "r")
	q.RemoveHook("r")
	if q.Commit(bg) == nil {
		l.removed = l.appended["r"]
	}
	write(3, "b")
	q.Resume()
	write(5, "a")
	settle()
	q.Pause()
	write(4, "b", "a", "d")
	l.moved = q.Stats().Moved
	_ = q.Stop(bg) // the disk may be dead
	return l
}

// check starts again on what is left.
func (l *life) check(t *testing.T, when string, disk fsx.FS) {
	t.Helper()
	after := newInbox()
	q, err := tryOpen("data", func(o *Options) { o.FS, o.Local = disk, after })
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	for _, h := range []string{"a", "b", "r", "d"} {
		q.SetHook(h, []string{"local://" + h})
	}
	start(t, q)
	drained(t, q)
	s := q.Stats()
	stop(t, q)
	if s.Damaged > 0 && l.policy == aof.FsyncAlways {
		t.Errorf("%s: %d damaged", when, s.Damaged)
	}
	for _, h := range []string{"a", "b", "d"} {
		got := map[int]bool{}
		for _, m := range l.before.list(h) {
			n, _ := strconv.Atoi(m)
			got[n] = true
		}
		last := -1
		for _, m := range after.list(h) {
			n, err := strconv.Atoi(m)
			if err != nil || n <= last || n >= l.appended[h] {
				t.Fatalf("%s: hook %s: %q after %d of %d", when, h, m, last, l.appended[h])
			}
			got[n], last = true, n
		}
		if l.policy != aof.FsyncAlways {
			continue
		}
		for n := range l.committed[h] {
			if !got[n] {
				t.Fatalf("%s: hook %s: message %d was committed and is lost", when, h, n)
			}
		}
	}
	if r := after.list("r"); l.policy == aof.FsyncAlways && l.removed > 0 && len(r) > 0 {
		t.Fatalf("%s: %q of a hook that was removed", when, r)
	}
}

// Power fails at any operation on the disk, and again while the next process
// starts. What was committed with FsyncAlways and not delivered is there.
func TestPowerLossAnywhere(t *testing.T) {
	for _, policy := range []aof.FsyncPolicy{aof.FsyncAlways, aof.FsyncNo} {
		random := rand.New(rand.NewPCG(uint64(policy), 2))
		survived := false
		for n := 0; !survived; n++ {
			mem, losses := fsxtest.NewMemory("data"), fsxtest.Losses()
			disk := fsxtest.New(mem)
			disk.DieAt(n)
			l := live(disk, policy)
			survived = disk.Ops() <= n
			if survived && (l.committed["a"] != 33 || l.removed != 6 || l.moved == 0) {
				t.Fatalf("a whole life: %v, %d removed, %d moved", l.committed, l.removed, l.moved)
			}
			for _, loss := range losses {
				when := fmt.Sprintf("%v, power lost at %d, %s", policy, n, loss.Name)
				left := mem.AfterPowerLoss(loss, random)
				again := fsxtest.New(left)
				again.DieAt(random.IntN(8))
				if q, err := tryOpen("data", func(o *Options) { o.FS = again }); err == nil {
					_ = q.Stop(bg) // the disk may be dead
				}
				l.check(t, when, left.AfterPowerLoss(losses[random.IntN(len(losses))], random))
			}
		}
	}
}
