package simulation

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"evenkeel/internal/fsx/fsxtest"
	"evenkeel/pkg/aof"
	"evenkeel/test/rig"
)

const (
	followers = 3
	// quiet is how long it may take at the end until all are equal: followers come
	// back with the longest pause between attempts.
	quiet = time.Minute
)

// tally counts what happened in all seeds.
type tally struct {
	writes, compactions, restarts, resyncs, ranges, cuts, silences, replays int64
	turns, promotions, synced, givenUp, powerless, short                    int64
	virtual                                                                 time.Duration
}

func (t *tally) add(c *tally) {
	t.writes += c.writes
	t.compactions += c.compactions
	t.restarts += c.restarts
	t.resyncs += c.resyncs
	t.ranges += c.ranges
	t.cuts += c.cuts
	t.silences += c.silences
	t.replays += c.replays
	t.virtual += c.virtual
	t.turns += c.turns
	t.promotions += c.promotions
	t.synced += c.synced
	t.givenUp += c.givenUp
	t.powerless += c.powerless
	t.short += c.short
}

// cluster is a leader and its followers.
type cluster struct {
	*rand.Rand
	net     *rig.Network
	leader  *rig.Pod
	pods    []*rig.Pod // the leader first
	count   *tally
	judge   func(p *rig.Pod) error // whether a follower had too many resyncs
	elects  bool
	steady  bool  // followers stay connected, and the leader keeps nothing for others
	excuses int64 // how often the leader may have lost what followers have
	failed  error // of a compaction in the background
	turns   *turns
	losses  map[*rig.Pod]int // how often a pod lost what was not synced
	opened  func(p *rig.Pod) // a follower has opened its log, and does not follow yet

	past []string
}

// simulate is one seed, with promotions or without. It is to be called in a bubble. History says what
// happened.
func simulate(seed uint64, elections bool, count *tally) (history []string, err error) {
	r := rand.New(rand.NewPCG(seed, 77))
	c := &cluster{Rand: r, net: rig.NewNetwork(seed), count: count, turns: newTurns(), losses: map[*rig.Pod]int{}}
	began := time.Now()
	defer func() {
		for _, p := range c.pods {
			if p.Running() {
				err = errors.Join(err, p.Check(), p.Stop())
			}
			count.compactions += p.Compactions.Load()
		}
		c.net.Close()
		count.virtual += time.Since(began)
		history = c.past
	}()
	c.elects, c.steady = elections, r.IntN(4) == 0 && !elections
	c.leader = rig.NewPod("leader", c.net, c.options(false))
	c.pods = []*rig.Pod{c.leader}
	if err := c.leader.Start(); err != nil {
		return nil, err
	}
	for i := range followers {
		p := rig.NewPod(fmt.Sprint("follower", i+1), c.net, c.options(true))
		if err := p.Start(); err != nil {
			return nil, err
		}
		c.pods = append(c.pods, p)
	}
	c.judge = c.resyncs
	if elections {
		return nil, newElections(c).run()
	}
	for range 10 + r.IntN(60) {
		if err := c.act(); err != nil {
			return nil, err
		}
		time.Sleep(time.Duration(r.Int64N(int64(2 * time.Second))))
	}
	return nil, c.settle()
}

// options draws how a pod runs. The backlog holds all that is written here, so
// that no compaction takes away what a follower may ask for; without one, what
// connected followers need is kept all the same.
func (c *cluster) options(follows bool) rig.Options {
	o := rig.Options{Fsync: aof.FsyncPolicy(c.IntN(3)), AckTimeout: 20 * time.Second}
	o.NoRanges, o.NewEpochs, o.Opened = c.IntN(2) == 0 && !c.elects, true, c.opened
	if c.IntN(3) > 0 {
		o.SegmentBytes = 1 + c.Int64N(1<<(10+c.IntN(5)))
	}
	if c.steady {
		o.BacklogBytes = -1
	}
	if follows {
		o.Follow = c.leader.Name
	}
	if (!follows || c.elects) && c.IntN(2) == 0 {
		o.SlowBase = time.Second
	}
	return o
}

func (c *cluster) say(format string, a ...any) {
	c.past = append(c.past, fmt.Sprintf(format, a...))
}

// resyncs: once the first is through, nothing but a leader that lost what it had
// sent is a reason for another.
func (c *cluster) resyncs(p *rig.Pod) error {
	if n, again := p.Resyncs.Load(), p.Again.Load(); n < 1 || n > 1+c.excuses || (again > 0 && c.excuses == 0) {
		return fmt.Errorf("%s had %d resyncs, and began %d after the first", p.Name, n, again)
	}
	return nil
}

// act does one random thing.
func (c *cluster) act() error {
	switch n := c.IntN(100); {
	case n < 55 || n >= 84 && c.steady:
		return c.write()
	case c.steady && n < 66:
		c.net.Worsen(rig.Faults{Delay: time.Duration(c.Int64N(int64(300 * time.Millisecond)))})
	case n < 62:
		c.worsen()
	case n < 66:
		c.say("cut all")
		c.net.CutAll()
	case n < 84:
		return c.compact(c.pods[c.IntN(len(c.pods))])
	case n < 96:
		return c.restart(c.pods[1+c.IntN(followers)])
	default:
		return c.restart(c.leader)
	}
	return nil
}

// write carries out a few commands, which need not be committed by themselves.
func (c *cluster) write() error {
	cmds := rig.Writes(c.Rand, 1+c.IntN(6))
	c.say("write %.100q", cmds)
	if c.IntN(4) == 0 {
		return c.writeTogether(cmds)
	}
	c.count.writes += int64(len(cmds))
	if _, err := c.leader.Do(cmds, false); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// compact begins a compaction, now and then amid writes.
func (c *cluster) compact(p *rig.Pod) error {
	c.say("%s compacts", p.Name)
	begin := func() {
		p.CompactInTurn(c.turns.of(p), func(err error) { c.failed = fmt.Errorf("%s: compaction: %w", p.Name, err) })
	}
	if c.IntN(3) > 0 {
		begin()
		return nil
	}
	return c.writeTogether(c.commands(12), begin)
}

// commands returns n random writes, or fewer.
func (c *cluster) commands(n int) [][]string {
	return slices.DeleteFunc(rig.Writes(c.Rand, n), func(w []string) bool { return c.elects && w[0] == "FLUSHDB" })
}

// writeTogether carries out each command as a client of its own, and in their
// midst what else there is to do.
func (c *cluster) writeTogether(cmds [][]string, amid ...func()) error {
	c.count.writes += int64(len(cmds))
	errs := make([]error, len(cmds))
	var clients sync.WaitGroup
	for i := range cmds {
		clients.Go(func() { _, errs[i] = c.leader.Do(cmds[i:i+1], false) })
	}
	for _, f := range amid {
		f()
	}
	clients.Wait()
	return errors.Join(errs...)
}

// worsen changes what the network does to new connections.
func (c *cluster) worsen() {
	f := rig.Faults{
		Delay: time.Duration(c.Int64N(int64(300 * time.Millisecond))),
		Cut:   c.Float64() * 0.6, Silent: c.Float64() * 0.2, Refuse: c.Float64() * 0.5, Replay: c.Float64() * 0.3,
		Distant: 1 + c.Int64N(1<<(4+c.IntN(12))),
	}
	c.say("network %+v", f)
	c.net.Worsen(f)
}

// restart ends a pod, in one way or another, and starts it.
func (c *cluster) restart(p *rig.Pod) error {
	c.count.restarts++
	switch n := c.IntN(3); {
	case !p.Running():
		c.say("%s starts", p.Name)
	case n == 0:
		c.say("%s dies", p.Name)
		p.Kill()
	case n == 1:
		if p.Options.Fsync != aof.FsyncAlways {
			c.losses[p]++
			if p == c.leader {
				c.excuses++ // it may lose what it has sent
			}
		}
		c.say("%s loses power", p.Name)
		losses := fsxtest.Losses()
		p.LosePower(losses[c.IntN(len(losses))], c.Rand)
	default:
		c.say("%s ends", p.Name)
		if err := p.Stop(); err != nil {
			return err
		}
	}
	p.Options = c.options(p != c.leader)
	if c.IntN(2) == 0 && p != c.leader {
		time.Sleep(time.Duration(c.Int64N(int64(20 * time.Second))))
	}
	return p.Start()
}

// level says that no follower lags behind.
func (c *cluster) level() bool {
	want, _ := c.leader.Store.Position()
	return !slices.ContainsFunc(c.pods, func(p *rig.Pod) bool {
		at, _ := p.Store.Position()
		return at != want
	})
}

// wait waits until no follower lags behind, but not for ever.
func (c *cluster) wait(step time.Duration) {
	for end := time.Now().Add(quiet); ; time.Sleep(step) {
		synctest.Wait()
		if c.level() || time.Now().After(end) {
			return
		}
	}
}

// settle lets the network heal, waits, and compares.
func (c *cluster) settle() error {
	c.net.Worsen(rig.Faults{})
	if !c.steady {
		c.net.CutAll()
	}
	time.Sleep(8 * time.Second) // all who were connected try again
	for slices.ContainsFunc(c.pods, (*rig.Pod).Compacting) {
		time.Sleep(time.Second) // one whose turn does not come says so
	}
	c.wait(3 * time.Second)
	time.Sleep(3 * time.Second)   // a heartbeat, whose digest is compared, and whatever else should not happen
	c.wait(50 * time.Millisecond) // objects may have expired just now
	if err := errors.Join(c.failed, c.turns.check()); err != nil {
		return err
	}
	want, digest := c.leader.Store.Position()
	dump := c.leader.Dump()
	for _, p := range c.pods {
		if p == c.leader {
			continue
		}
		if got, d := p.Store.Position(); got != want || d != digest {
			return fmt.Errorf("%s is at %s with digest %s, the leader at %s with %s: %+v", p.Name, got, d, want, digest, p.Follower.Status())
		}
		if got := p.Dump(); got != dump {
			return fmt.Errorf("%s differs: %s", p.Name, rig.FirstDifference(dump, got))
		}
		if n := p.Diverged.Load(); n > 0 {
			return fmt.Errorf("%s diverged %d times", p.Name, n)
		}
		c.count.resyncs += p.Resyncs.Load()
		c.count.ranges += p.Ranges.Load()
		if err := c.judge(p); err != nil {
			return err
		}
	}
	c.count.turns += c.turns.taken
	c.count.cuts += c.net.Cuts.Load()
	c.count.silences += c.net.Silences.Load()
	c.count.replays += c.net.Replays.Load()
	return nil
}
