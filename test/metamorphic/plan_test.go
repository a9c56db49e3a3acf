package metamorphic

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/test/rig"
)

// kind is something that happens between two steps.
type kind string

const (
	compact         kind = "compact"
	compactOver     kind = "compact while commands run"
	restart         kind = "restart with other options"
	die             kind = "kill the process"
	losePower       kind = "lose power" // a restart, when the policy promises too little
	adopt           kind = "adopt a plain export"
	cut             kind = "cut the network"
	followerCompact kind = "compact the follower"
	followerRestart kind = "restart the follower"
	followerDie     kind = "kill the follower"
	followerAway    kind = "end the follower for a few steps"
)

// event happens right after a step.
type event struct {
	after int
	kind  kind
	opt   rig.Options // of the start that it brings, if it brings one
	seed  uint64
}

func (e event) String() string {
	s := fmt.Sprintf("after step %d: %s", e.after, e.kind)
	switch e.kind {
	case restart, die, losePower, adopt, followerRestart, followerDie, followerAway:
		s += fmt.Sprintf(" %+v", e.opt)
	}
	return s
}

// script is all that one seed stands for.
type script struct {
	steps    []rig.Step // one without commands has been left out
	leader   rig.Options
	follower *rig.Options // nil: there is none
	events   []event
	faults   rig.Faults
	files    bool // real ones
	seed     uint64
}

// checkEvery is the number of steps between two looks at everything.
const checkEvery = 20

func newScript(seed uint64) *script {
	r := rand.New(rand.NewPCG(seed, 38))
	s := &script{seed: seed, steps: rig.Workload(r, 20+r.IntN(60))}
	s.leader = options(r)
	s.files = r.IntN(16) == 0
	kinds := []kind{compact, compact, compactOver, compactOver, restart, die, losePower, adopt}
	if r.IntN(3) > 0 {
		o := options(r)
		o.Follow, o.SlowBase = "leader", 0
		s.follower = &o
		kinds = append(kinds, cut, cut, followerCompact, followerRestart, followerDie, followerAway, followerAway)
		if r.IntN(2) == 0 {
			s.faults = rig.Faults{Delay: time.Duration(r.Int64N(int64(100 * time.Millisecond)))}
		}
	}
	for range r.IntN(12) {
		e := event{after: r.IntN(len(s.steps)), kind: kinds[r.IntN(len(kinds))], opt: options(r), seed: r.Uint64()}
		if strings.Contains(string(e.kind), "follower") {
			e.opt.Follow, e.opt.SlowBase = "leader", 0
		}
		s.events = append(s.events, e)
	}
	return s
}

// options draws how a pod runs.
func options(r *rand.Rand) rig.Options {
	o := rig.Options{Fsync: aof.FsyncPolicy(r.IntN(3))}
	if r.IntN(3) > 0 {
		o.SegmentBytes = 1 + r.Int64N(1<<(4+r.IntN(12)))
	}
	o.NoRanges = r.IntN(2) == 0
	switch r.IntN(4) {
	case 0:
		o.BacklogBytes = -1
	case 1:
		o.BacklogBytes = 1 + r.Int64N(4000)
	}
	if r.IntN(2) == 0 {
		o.SlowBase = 300 * time.Millisecond // a base takes several writes and must be done within rig.Gap
	}
	return o
}

// keepsAll says that no compaction can take away what a follower still needs.
func (s *script) keepsAll() bool {
	keeps := s.leader.BacklogBytes == 0
	for _, e := range s.events {
		switch e.kind {
		case restart, die, losePower, adopt:
			keeps = keeps && e.opt.BacklogBytes == 0
		}
	}
	return keeps
}

// only returns the script without the steps and events that are not kept.
func (s *script) only(keep []bool) *script {
	c := *s
	c.steps, c.events = append([]rig.Step(nil), s.steps...), nil
	for i := range c.steps {
		if !keep[i] {
			c.steps[i] = rig.Step{}
		}
	}
	for i, e := range s.events {
		if keep[len(s.steps)+i] {
			c.events = append(c.events, e)
		}
	}
	return &c
}

// String is the script as a person reads it.
func (s *script) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "leader %+v, files %v\n", s.leader, s.files)
	if s.follower != nil {
		fmt.Fprintf(&b, "follower %+v, network %+v\n", *s.follower, s.faults)
	}
	for i, step := range s.steps {
		if len(step.Cmds) > 0 {
			fmt.Fprintf(&b, "%4d  %s\n", i, step)
		}
		for _, e := range s.events {
			if e.after == i {
				fmt.Fprintf(&b, "      %s\n", e)
			}
		}
	}
	return b.String()
}
