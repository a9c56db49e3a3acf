package simulation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"evenkeel/internal/fsx/fsxtest"
	"evenkeel/pkg/aof"
	"evenkeel/test/rig"
)

// mark is a command that was acknowledged, by which pod.
type mark struct {
	id     string
	pod    *rig.Pod
	losses int // how often the pod had lost what was not synced
}

// elections is a cluster whose leader changes.
type elections struct {
	*cluster
	began   map[string]aof.Fork // where an epoch began, in which one
	excused map[*rig.Pod]int64  // how many resyncs it may have
	short   map[*rig.Pod]bool   // its log did not reach back to where it parted from a leader's
	ended   map[string]int64    // how far an epoch was written, of those whose leader has followed another one
	stray   []*rig.Pod          // those that have not heard of the new leader
	marks   []mark
}

func newElections(c *cluster) *elections {
	e := &elections{cluster: c, began: map[string]aof.Fork{}, excused: map[*rig.Pod]int64{}, short: map[*rig.Pod]bool{}, ended: map[string]int64{}}
	c.judge, c.opened = e.few, func(p *rig.Pod) {
		if p != c.leader {
			e.attach(p)
		}
	}
	for _, p := range c.pods[1:] {
		e.excused[p] = 1
	}
	return e
}

// run elects once or twice, and then all follow the last leader.
func (e *elections) run() error {
	for range 1 + e.IntN(2) {
		if err := errors.Join(e.some(4+e.IntN(12)), e.elect(), e.some(2+e.IntN(12))); err != nil {
			return err
		}
	}
	e.net.Worsen(rig.Faults{})
	for len(e.stray) > 0 {
		if err := e.reunite(); err != nil {
			return err
		}
	}
	if err := e.writeTo(e.leader); err != nil {
		return err
	}
	return errors.Join(e.settle(), e.checkMarks())
}

// some does n random things.
func (e *elections) some(n int) error {
	for range n {
		if err := e.one(); err != nil {
			return err
		}
		time.Sleep(time.Duration(e.Int64N(int64(2 * time.Second))))
	}
	return nil
}

func (e *elections) one() error {
	switch n := e.IntN(100); {
	case n < 50:
		return e.writeTo(e.leader)
	case n < 60:
		e.worsen()
	case n < 64:
		e.say("cut all")
		e.net.CutAll()
	case n < 78:
		p := e.pods[e.IntN(len(e.pods))]
		if p.Running() {
			return e.compact(p)
		}
	case n < 84:
		return e.awaitSync()
	case n < 90 && len(e.stray) > 0:
		return e.reunite()
	case n < 97:
		if p := e.pods[e.IntN(len(e.pods))]; p != e.leader && !slices.Contains(e.stray, p) {
			return e.again(p)
		}
	default:
		return e.again(e.leader)
	}
	return nil
}

// writeTo writes to a leader, and remembers what it has promised.
func (e *elections) writeTo(p *rig.Pod) error {
	cmds := e.commands(1 + e.IntN(4))
	id := fmt.Sprintf("m%d.", len(e.marks))
	e.say("write to %s: %s and %.100q", p.Name, id, cmds)
	e.count.writes += int64(len(cmds))
	answers, err := p.Do(append(cmds, []string{"SET", "mark", id, "STRING", "x"}), false)
	if err != nil || !strings.HasSuffix(answers, "+OK\r\n") {
		return fmt.Errorf("write to %s: %.200q %w", p.Name, answers, err)
	}
	e.marks = append(e.marks, mark{id, p, e.losses[p]})
	return nil
}

// again restarts a pod, which may have to be resynced for that.
func (e *elections) again(p *rig.Pod) error {
	if err := e.restart(p); err != nil {
		return err
	}
	if p == e.leader {
		e.newEpoch()
		for _, f := range e.pods {
			if f != p && f.Running() && !slices.Contains(e.stray, f) {
				e.attach(f)
			}
		}
	}
	return nil
}

// newEpoch takes note of where the leader's epoch began, if it is new.
func (e *elections) newEpoch() {
	epoch := e.leader.Log.Position().Epoch
	if forks := e.leader.Log.Forks(); len(forks) > 0 && e.began[epoch] == (aof.Fork{}) {
		e.began[epoch] = forks[len(forks)-1]
	}
}

// attach is called before a pod follows the leader: it may need a resync if it
// has something that the leader does not, or the leader has too little.
func (e *elections) attach(p *rig.Pod) {
	if !p.Running() || !e.leader.Running() {
		return
	}
	at, _ := p.Store.Position()
	if end, ok := e.ended[at.Epoch]; ok && at.Offset > end {
		e.failed = fmt.Errorf("%s is at %v; its leader has written no more than %d of that", p.Name, at, end)
	}
	fork, parted := p.Log.PartedFrom(e.leader.Log.Position(), e.leader.Log.Forks())
	if parted && fork < p.Log.Stats().First || !common(epochs(p), epochs(e.leader)) {
		e.short[p] = true // what is not in the log as commands cannot be kept as such
	}
	if at.Epoch == "" || at.Offset < e.leader.Began.Load() || !e.agrees(at) {
		e.excused[p]++
	}
}

// epochs are those that a pod's log knows.
func epochs(p *rig.Pod) []string {
	all := []string{p.Log.Position().Epoch}
	for _, f := range p.Log.Forks() {
		all = append(all, f.Epoch)
	}
	return all
}

// common says whether two lists share an epoch. A pod that lost all it had, and is
// promoted before it gets anything back, begins a history that has nothing to do with others.
func common(a, b []string) bool {
	return slices.ContainsFunc(a, func(epoch string) bool { return slices.Contains(b, epoch) })
}

// agrees says whether the leader's history is that of at, up to there.
func (e *elections) agrees(at aof.Position) bool {
	lead := e.leader.Log.Position()
	for lead.Epoch != at.Epoch {
		f, ok := e.began[lead.Epoch]
		if !ok {
			return false
		}
		lead = aof.Position{Epoch: f.Epoch, Offset: min(lead.Offset, f.Offset)}
	}
	return at.Offset <= lead.Offset
}

// few wants no resync that nothing excuses.
func (e *elections) few(p *rig.Pod) error {
	if n := p.Resyncs.Load(); n > e.excused[p] {
		return fmt.Errorf("%s had %d resyncs, %d by ranges; %d are excused", p.Name, n, p.Ranges.Load(), e.excused[p])
	}
	return nil
}

// awaitSync writes and waits for the disks of followers.
func (e *elections) awaitSync() error {
	if err := e.writeTo(e.leader); err != nil {
		return err
	}
	end := e.leader.Log.Position()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	said := e.leader.Leader.WaitSynced(ctx, end.Offset, 1+e.IntN(followers))
	have := 0
	for _, p := range e.pods {
		if p == e.leader || !p.Running() {
			continue
		}
		at, err := p.OnDisk()
		if err != nil {
			return fmt.Errorf("the disk of %s: %w", p.Name, err)
		}
		if at.Epoch == end.Epoch && at.Offset >= end.Offset {
			have++
		}
	}
	e.say("%d followers have synced %d", said, end.Offset)
	if said > have {
		return fmt.Errorf("%d followers are said to have %v on their disks, %d have", said, end, have)
	}
	e.count.synced += int64(said)
	if said > 0 && len(e.stray) == 0 && e.IntN(2) == 0 {
		return e.rescue(e.marks[len(e.marks)-1].id)
	}
	return nil
}

// rescue lets the leader lose power for good, and promotes who has most.
func (e *elections) rescue(id string) error {
	e.losePower(e.leader)
	var best *rig.Pod
	for _, p := range e.pods {
		at, _ := p.Store.Position()
		if p != e.leader && p.Running() && at.Epoch == e.leader.Log.Position().Epoch && (best == nil || p.Log.Stats().Synced > best.Log.Stats().Synced) {
			best = p
		}
	}
	if best == nil {
		return fmt.Errorf("nobody has what followers had synced")
	}
	if err := e.promote(best); err != nil {
		return err
	}
	if it, _ := best.Store.Snapshot().Get("mark", id); it == nil {
		return fmt.Errorf("%s is the leader and lacks %s, which a follower had synced", best.Name, id)
	}
	return nil
}

func (e *elections) losePower(p *rig.Pod) {
	e.say("%s loses power", p.Name)
	if p.Options.Fsync != aof.FsyncAlways {
		e.losses[p]++
	}
	losses := fsxtest.Losses()
	p.LosePower(losses[e.IntN(len(losses))], e.Rand)
}

// elect lets something happen to the leader and promotes another pod.
func (e *elections) elect() error {
	var candidates []*rig.Pod
	for _, p := range e.pods {
		if p != e.leader && p.Running() && p.Options.Follow == e.leader.Name && p.Resyncs.Load() > 0 {
			candidates = append(candidates, p)
		}
	}
	if len(candidates) == 0 {
		return nil
	}
	old, next := e.leader, candidates[e.IntN(len(candidates))]
	switch e.IntN(5) {
	case 0:
		e.say("%s dies", old.Name)
		old.Kill()
	case 1:
		e.losePower(old)
	case 2:
		e.say("%s is cut off", old.Name)
		e.net.Isolate(old.Name, true)
	case 3:
		e.say("%s ends", old.Name)
		if err := old.Stop(); err != nil {
			return err
		}
	default: // it goes on
	}
	time.Sleep(time.Duration(e.Int64N(int64(8 * time.Second))))
	if err := e.promote(next); err != nil {
		return err
	}
	for old.Running() && e.IntN(4) > 0 {
		if err := errors.Join(e.writeTo(old), e.writeTo(next)); err != nil {
			return err
		}
		time.Sleep(time.Duration(e.Int64N(int64(time.Second))))
	}
	return nil
}

// promote makes p the leader. All others have to be told.
func (e *elections) promote(p *rig.Pod) error {
	e.say("%s is promoted", p.Name)
	e.count.promotions++
	p.Unfollow()
	at, _ := p.Store.Position()
	if err := p.Promote(); err != nil {
		return fmt.Errorf("promote %s: %w", p.Name, err)
	}
	e.leader, e.stray = p, nil
	if at.Epoch == "" { // it was halfway: a history of its own begins here
		p.Began.Store(max(1, p.Log.Position().Offset))
	} else {
		e.newEpoch()
	}
	for _, other := range e.pods {
		switch {
		case other == p:
		case other.Running() && other.Options.Follow == p.Name: // since the time before it was a follower
			e.attach(other)
		default:
			e.stray = append(e.stray, other)
		}
	}
	return nil
}

// reunite lets one of those who have not heard of the leader follow it.
func (e *elections) reunite() error {
	i := e.IntN(len(e.stray))
	p := e.stray[i]
	e.stray = slices.Delete(e.stray, i, i+1)
	e.net.Isolate(p.Name, false)
	if p.Running() && e.IntN(2) == 0 {
		e.say("%s follows %s", p.Name, e.leader.Name)
		p.Unfollow()
		if p.Options.Follow == "" {
			p.Store.Refuse(rig.ErrFollows)
			at := p.Log.Position()
			e.ended[at.Epoch] = at.Offset
		}
		e.attach(p)
		return p.FollowNow(e.leader.Name)
	}
	return e.again(p)
}

// checkMarks wants every command that was acknowledged in the state, or in the
// files of the pod that had to give it up.
func (e *elections) checkMarks() error {
	snap := e.leader.Store.Snapshot()
	for _, m := range e.marks {
		if it, _ := snap.Get("mark", m.id); it != nil {
			continue
		}
		text, err := m.pod.GivenUp()
		if err != nil {
			return err
		}
		switch {
		case strings.Contains(text, "\r\n"+m.id+"\r\n"):
			e.count.givenUp++
		case e.losses[m.pod] > m.losses:
			e.count.powerless++
		case e.short[m.pod]:
			e.count.short++
		default:
			return fmt.Errorf("%s, which %s acknowledged, is neither in the state nor in its files of what it gave up", m.id, m.pod.Name)
		}
	}
	return nil
}
