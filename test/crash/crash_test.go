package crash

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"evenkeel/internal/fsx/fsxtest"
	"evenkeel/pkg/aof"
	"evenkeel/pkg/hooks"
	"evenkeel/test/rig"
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(800) // lives make garbage, and little of it at a time is in use
	goleak.VerifyTestMain(m)
}

// TestEveryOperation crashes at each operation on the disk.
func TestEveryOperation(t *testing.T) {
	everyLife(t, everyOperation) // with a plain file to adopt and small segments, and without
}

// everyLife runs a test with each policy and two seeds, side by side.
func everyLife(t *testing.T, run func(t *testing.T, policy aof.FsyncPolicy, seed uint64)) {
	for _, policy := range []aof.FsyncPolicy{aof.FsyncAlways, aof.FsyncEverySecond, aof.FsyncNo} {
		for _, seed := range []uint64{1, 2} {
			t.Run(fmt.Sprintf("%v/%d", policy, seed), func(t *testing.T) {
				t.Parallel()
				run(t, policy, seed)
			})
		}
	}
}

func everyOperation(t *testing.T, policy aof.FsyncPolicy, seed uint64) {
	var leader *leaderLog
	inBubble(t, func() (err error) { leader, err = newLeaderLog(); return err })
	s := newScript(policy, seed, leader)
	var model *life
	inBubble(t, func() (err error) { model, err = live(s, fsxtest.NewFolders(), 1<<30); return err })
	if !model.reset || len(model.told) == 0 || len(model.acked) < 5 {
		t.Fatalf("a whole life: %d messages, %d acknowledged by the leader's", len(model.told), len(model.acked))
	}
	points, checks, lost := 0, 0, 0
	for n := 0; ; n += stride {
		disk := fsxtest.NewFolders()
		var l *life
		inBubble(t, func() (err error) { l, err = live(s, disk, n); return err })
		if l.died.IsZero() {
			break
		}
		points++
		random := rand.New(rand.NewPCG(uint64(n), seed))
		for _, loss := range append(fsxtest.Losses(), process) { // the last works on the disk itself
			left := disk
			if loss != process {
				left = disk.AfterPowerLoss(loss, random)
			}
			inBubble(t, func() error {
				gone, err := l.check(model, left, loss, random)
				if err != nil {
					history := l.disk.History()
					return fmt.Errorf("crash at operation %d (%s), %s: %w", n, history[n], loss.Name, err)
				}
				lost += gone
				return nil
			})
			checks++
		}
	}
	t.Logf("%d operations, %d recoveries, %d commands lost that were not promised", points, checks, lost)
}

// process stands for the death of the process alone.
var process = fsxtest.Loss{Name: "the process dies"}

func inBubble(t *testing.T, f func() error) {
	t.Helper()
	var err error
	synctest.Test(t, func(*testing.T) { err = f() })
	if err != nil {
		t.Fatal(err)
	}
}

// check starts again on what is left and compares. It returns how many
// acknowledged commands are gone.
func (l *life) check(model *life, left *fsxtest.Folders, loss fsxtest.Loss, r *rand.Rand) (gone int, err error) {
	if loss != process { // and power fails again in the recovery
		again := fsxtest.New(left)
		again.DieAt(r.IntN(12))
		p := rig.NewPodOn(again, "data", "pod", nil, rig.Options{NoExpiry: true})
		if p.Start() == nil {
			p.Kill()
		}
		losses := fsxtest.Losses()
		left = left.AfterPowerLoss(losses[r.IntN(len(losses))], r)
	}
	p := rig.NewPodOn(left, "data", "pod", nil, rig.Options{NoExpiry: true})
	if err := p.Start(); err != nil {
		return 0, err
	}
	defer p.Kill()
	at, _ := p.Store.Position()
	states, acked := model.states, l.acked
	foreign := at.Epoch == l.leader.epoch
	switch {
	case foreign && !l.resetting:
		return 0, fmt.Errorf("it has the leader's history at %d", at.Offset)
	case foreign:
		states = l.leader.states
	case l.reset:
		return 0, fmt.Errorf("the leader's history was installed and is gone")
	}
	if foreign && !l.reset {
		acked = nil // what was promised in the history that is replaced
	}
	want, ok := states[at.Offset]
	if !ok {
		return 0, fmt.Errorf("no command ends at offset %d", at.Offset)
	}
	if got := p.State(); got != want {
		return 0, fmt.Errorf("offset %d: %s", at.Offset, rig.FirstDifference(want, got))
	}
	if n := p.Store.Stats().DigestMismatch; n > 0 {
		return 0, fmt.Errorf("%d batches lead to another digest", n)
	}
	for _, a := range acked {
		if a.offset <= at.Offset {
			continue
		}
		if loss == process || promised(l.policy, a, l.died) {
			return 0, fmt.Errorf("it ends at %d; %d was acknowledged %s before the crash", at.Offset, a.offset, l.died.Sub(a.at))
		}
		gone++
	}
	if err := goesOn(p); err != nil {
		return gone, err
	}
	if foreign || (loss != process && l.policy != aof.FsyncAlways) {
		return gone, nil
	}
	return gone, l.checkMessages(model, left, at.Offset)
}

// goesOn writes to what was recovered, and starts once more.
func goesOn(p *rig.Pod) error {
	if _, err := p.Do([][]string{{"SET", "more", "x", "POINT", "1", "2"}}, false); err != nil {
		return err
	}
	want := p.State()
	if err := errors.Join(p.Check(), p.Stop()); err != nil {
		return err
	}
	if err := p.Start(); err != nil {
		return fmt.Errorf("the start after writing on: %w", err)
	}
	if got := p.State(); got != want {
		return fmt.Errorf("after writing on: %s", rig.FirstDifference(want, got))
	}
	return nil
}

// promised says that a loss of power must not take it.
func promised(policy aof.FsyncPolicy, a ack, died time.Time) bool {
	switch policy {
	case aof.FsyncAlways:
		return true
	case aof.FsyncEverySecond:
		return died.Sub(a.at) > time.Second
	case aof.FsyncNo:
	}
	return false
}

// inbox is what a webhook delivers to.
type inbox struct {
	mu  sync.Mutex
	got []string
}

func (i *inbox) Publish(_ string, msg []byte) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.got = append(i.got, group.ReplaceAllString(string(msg), ""))
	return 1
}

// checkMessages wants all messages of the writes up to offset, in order.
func (l *life) checkMessages(model *life, left *fsxtest.Folders, offset int64) error {
	var in inbox
	q, err := hooks.Open(hooks.Options{FS: left, Dir: "hooks", Local: &in})
	if err != nil {
		return err
	}
	q.SetHook(hook, []string{"local://x"})
	if err := q.Start(); err != nil {
		return err
	}
	time.Sleep(10 * time.Second)
	if err := q.Stop(bg); err != nil {
		return err
	}
	want := model.told[:model.messages[offset]]
	if len(in.got) < len(want) || !slices.Equal(in.got[:len(want)], want) {
		return fmt.Errorf("offset %d: the queue has %d messages, want %d: %.300q", offset, len(in.got), len(want), in.got)
	}
	// Of a write that was under way there may be some, though not the write.
	more := model.told[len(want):]
	for _, m := range in.got[len(want):] {
		i := slices.Index(more, m)
		if i < 0 {
			return fmt.Errorf("offset %d: the queue has a message of no write: %.300s", offset, m)
		}
		more = more[i+1:]
	}
	return nil
}
