package metamorphic

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
	"evenkeel/pkg/aof"
	"evenkeel/test/rig"
)

// checkPause lets a follower catch up, after cuts and silence, before
// everything is looked at. It is whole seconds, see rig's words.
const checkPause = 60 * time.Second

// tally counts what the runs did, so that a test can see that they did it.
type tally struct {
	steps, compactions, resyncs, ranges, adoptions, looks, starts, cuts int64
}

// plain carries out the steps and returns what they answer. Like run it is to be
// called in a bubble.
func plain(s *script) (answers []string, err error) {
	p := rig.NewPod("leader", nil, rig.Options{Fsync: aof.FsyncNo})
	if err := p.Start(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Check(), p.Stop()) }()
	start := time.Now()
	for i := range s.steps {
		start = start.Add(rig.Gap)
		time.Sleep(time.Until(start))
		a, err := s.do(p, i)
		if err != nil {
			return nil, fmt.Errorf("plain run, step %d: %w", i, err)
		}
		answers = append(answers, a)
		if s.looksAfter(i) {
			start = start.Add(checkPause)
			time.Sleep(time.Until(start))
			answers[i] += p.Dump()
		}
	}
	return answers, nil
}

func (s *script) do(p *rig.Pod, i int) (string, error) {
	if len(s.steps[i].Cmds) == 0 {
		return p.Told.Take(), nil
	}
	a, err := p.Do(s.steps[i].Cmds, s.steps[i].JSON)
	return a + p.Told.Take(), err
}

func (s *script) looksAfter(i int) bool { return i%checkEvery == checkEvery-1 || i == len(s.steps)-1 }

// world is a run with everything that may happen.
type world struct {
	*script
	net      *rig.Network
	leader   *rig.Pod
	follower *rig.Pod // nil: none
	tally    *tally
	adopted  int64
	away     int        // the step after which the follower comes back; 0: it is there
	failed   chan error // of compactions in the background
}

// run carries out the script and compares with the answers of the plain run.
func run(s *script, want []string, dir string, count *tally) (err error) {
	w := &world{script: s, net: rig.NewNetwork(s.seed), tally: count, failed: make(chan error, 100)}
	w.net.Worsen(s.faults)
	defer w.net.Close()
	if s.files {
		w.leader = rig.NewPodOn(fsx.OS{}, filepath.Join(dir, "0"), "leader", w.net, s.leader)
	} else {
		w.leader = rig.NewPod("leader", w.net, s.leader)
	}
	if err := w.leader.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.end(w.leader)) }()
	if s.follower != nil {
		w.follower = rig.NewPod("follower", w.net, *s.follower)
		if err := w.follower.Start(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, w.end(w.follower)) }()
	}
	if err := w.play(want); err != nil {
		return err
	}
	return w.counts()
}

// end ends a pod, which may not have started again.
func (w *world) end(p *rig.Pod) error {
	w.tally.compactions += p.Compactions.Load()
	return errors.Join(p.Check(), p.Stop())
}

func (w *world) play(want []string) error {
	start := time.Now()
	for i := range w.steps {
		start = start.Add(rig.Gap)
		time.Sleep(time.Until(start))
		got, err := w.do(w.leader, i)
		if err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
		if w.looksAfter(i) {
			start = start.Add(checkPause)
			time.Sleep(time.Until(start))
			got += w.leader.Dump()
			w.tally.looks++
		}
		if got != want[i] {
			return fmt.Errorf("step %d (%s): %s", i, w.steps[i], rig.FirstDifference(want[i], got))
		}
		if err := w.compare(i); err != nil {
			return fmt.Errorf("after step %d: %w", i, err)
		}
		if time.Since(start) > 0 {
			return fmt.Errorf("step %d took %s of the schedule", i, time.Since(start))
		}
		if err := w.happen(i); err != nil {
			return fmt.Errorf("after step %d: %w", i, err)
		}
		w.tally.steps++
	}
	select {
	case err := <-w.failed:
		return fmt.Errorf("a compaction: %w", err)
	default:
		return nil
	}
}

// compare holds the follower against the leader.
func (w *world) compare(i int) error {
	if w.follower == nil || !w.looksAfter(i) {
		return nil
	}
	want, _ := w.leader.Store.Position()
	if got, _ := w.follower.Store.Position(); got != want {
		return fmt.Errorf("the follower is at %s, the leader at %s: %+v", got, want, w.follower.Follower.Status())
	}
	if l, f := w.leader.Dump(), w.follower.Dump(); l != f {
		return fmt.Errorf("the follower differs: %s", rig.FirstDifference(l, f))
	}
	return nil
}

// counts checks how the follower came to its data.
func (w *world) counts() error {
	w.tally.cuts += w.net.Cuts.Load()
	w.tally.adoptions += w.adopted
	if w.follower == nil {
		return nil
	}
	resyncs := w.follower.Resyncs.Load()
	w.tally.resyncs += resyncs
	w.tally.ranges += w.follower.Ranges.Load()
	if d := w.follower.Diverged.Load(); d > 0 {
		return fmt.Errorf("the follower diverged %d times", d)
	}
	// It begins with nothing, and an adopted log is another history.
	if w.keepsAll() && resyncs > 1+w.adopted {
		return fmt.Errorf("%d resyncs; %d were because of compactions", resyncs, resyncs-1-w.adopted)
	}
	return nil
}

// happen carries out what comes after step i.
func (w *world) happen(i int) error {
	if w.away > 0 && i >= w.away {
		w.away = 0
		if err := w.follower.Start(); err != nil {
			return err
		}
	}
	for _, e := range w.events {
		if e.after != i || (e.opt.Follow != "" && (w.follower == nil || w.away > 0)) {
			continue
		}
		if err := w.one(e); err != nil {
			return fmt.Errorf("%s: %w", e.kind, err)
		}
	}
	return nil
}

func (w *world) one(e event) error {
	switch e.kind {
	case compact:
		return w.leader.Compact()
	case compactOver:
		w.leader.CompactMeanwhile(func(err error) { w.failed <- err })
		return nil
	case cut:
		w.net.CutAll()
		return nil
	case followerCompact:
		return w.follower.Compact()
	case followerAway:
		return w.leave(e)
	case followerRestart, followerDie:
		return w.again(w.follower, e)
	case adopt:
		return w.adopt(e)
	}
	return w.again(w.leader, e)
}

// again ends a pod and starts it.
func (w *world) again(p *rig.Pod, e event) error {
	w.tally.starts++
	switch {
	case e.kind == die || e.kind == followerDie:
		p.Kill()
	case e.kind == losePower && p.Options.Fsync == aof.FsyncAlways && !w.files:
		losses := fsxtest.Losses()
		r := rand.New(rand.NewPCG(e.seed, 1))
		p.LosePower(losses[r.IntN(len(losses))], r)
	default:
		if err := p.Stop(); err != nil {
			return err
		}
	}
	p.Options = e.opt
	return p.Start()
}

// leave ends the follower until a few steps later, before the next look.
func (w *world) leave(e event) error {
	back := e.after + 1 + int(e.seed%6)
	for i := e.after; i <= back; i++ {
		if i+1 >= len(w.steps) || w.looksAfter(i+1) {
			back = i
		}
	}
	if back == e.after {
		return w.again(w.follower, e)
	}
	w.away = back
	err := w.follower.Stop()
	w.follower.Options = e.opt
	return err
}

// adopt starts the leader anew on a plain export, which has no times: a base
// made at this moment has none that are relative to another.
func (w *world) adopt(e event) error {
	w.adopted++
	if err := w.leader.Stop(); err != nil {
		return err
	}
	w.leader.Options.SlowBase = 0
	if err := w.leader.Start(); err != nil {
		return err
	}
	if err := w.leader.Compact(); err != nil {
		return err
	}
	if err := w.leader.Adopt(filepath.Join(filepath.Dir(w.leader.Dir), fmt.Sprint(w.adopted))); err != nil {
		return err
	}
	w.leader.Options = e.opt
	return w.leader.Start()
}
