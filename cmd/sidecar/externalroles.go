package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"time"

	"evenkeel/pkg/compactor"
	"evenkeel/pkg/metrics"
	"evenkeel/pkg/tile38"
	"evenkeel/pkg/tile38/bridge"
	"evenkeel/pkg/tile38/shrink"
	"evenkeel/pkg/upstream"
)

// newRole returns what the flags make of the Tile38.
func (x *external) newRole() (role, error) {
	switch {
	case x.cfg.follow == "":
		return newLeads(x)
	case x.cfg.tile38.bridge:
		return newCarried(x)
	}
	return newPlain(x)
}

// leads is the role of a Tile38 that leads: heartbeats, compaction, and followers
// that are brought through it.
type leads struct {
	x     *external
	beat  func(context.Context) error
	end   func()
	coord *shrink.Coordinator

	mu       sync.Mutex
	patients []shrink.Patient // as of the last look
}

func newLeads(x *external) (*leads, error) {
	t := &x.cfg.tile38
	l := &leads{x: x}
	l.beat, l.end = shrink.Beater(x.engine(), tile38.NewHeartbeat(t.heartbeatKey, x.pod).Command)
	beat := l.beat
	if t.heartbeat == 0 {
		beat = nil
	}
	target, err := x.newTarget(beat)
	if err != nil {
		return nil, err
	}
	l.coord, err = shrink.New(shrink.Options{
		Target: target, Key: t.heartbeatKey, MaxUnavailable: t.maxUnavailable, Reset: t.resetFollowers, MaxShrinks: t.maxShrinks,
		Bridged: l.bridged, Objects: x.objects(),
		// Followers are reached through their sidecars, which speak what this one does.
		Reach: func(addr string) tile38.Options { return tile38.Options{Addr: addr, Auth: t.leader, Dial: x.dial} },
		OnStep: func(s shrink.Step) {
			if s.Kind != shrink.Wait {
				x.logger.Info("followers after a compaction", "step", s.Kind, "followers", s.Followers, "why", s.Why)
			}
		},
	})
	return l, err
}

// bridged says whether a follower follows its own sidecar: then it follows its own
// machine, at an address that is none of ours.
func (l *leads) bridged(_, following string) bool {
	return shrink.Loopback(following) && following != l.x.cfg.tile38.addr && following != reach(l.x.listeners.client)
}

func (l *leads) replication() metrics.Replication {
	l.mu.Lock()
	defer l.mu.Unlock()
	conditions := map[string]int{}
	for _, p := range l.patients {
		conditions[string(p.Judgement.Condition)]++
	}
	return metrics.Replication{Leading: metrics.Leading{Followers: len(l.patients), Conditions: conditions}}
}

func (l *leads) comparisons() shrink.ProofStats { return l.coord.Proofs() }

func (l *leads) follow() string             { return "" }
func (l *leads) announces() string          { return "" }
func (l *leads) compacts() compactor.Target { return onlyLeading{l.coord, l.x} }
func (l *leads) ready() (bool, []string)    { return true, nil }
func (l *leads) route(*upstream.Options)    {}
func (l *leads) close()                     { l.end() }

// onlyLeading is the log of a Tile38 while it leads: a rewrite would make one that
// follows, and was left to it, read its leader's log anew.
type onlyLeading struct {
	compactor.Target
	x *external
}

func (o onlyLeading) Facts() compactor.Facts {
	if !o.x.local.State().InRole {
		return compactor.Facts{} // nothing that would be worth it
	}
	return o.Target.Facts()
}

func (o onlyLeading) Compact(ctx context.Context) (compactor.Result, error) {
	if st := o.x.local.State(); !st.InRole {
		return compactor.Result{}, fmt.Errorf("the Tile38 at %s does not lead: it follows %q", o.x.cfg.tile38.addr, st.Server.Following)
	}
	return o.Target.Compact(ctx)
}

func (l *leads) parts(ctx context.Context) {
	t := &l.x.cfg.tile38
	if t.heartbeat > 0 {
		l.x.part("heartbeats", func() error {
			shrink.Beats(ctx, t.heartbeat, l.beat, func(err error) { l.x.logger.Debug("heartbeat", "err", err) })
			return nil
		})
	}
	l.x.part("comparison of objects", func() error { return l.coord.Prove(ctx, t.verifyEvery) })
	l.x.part("followers", func() error {
		return l.coord.Watch(ctx, shrink.WatchOptions{
			Every: t.verifyEvery, OnPatients: l.looked, OnHealed: l.healed,
			OnError: func(err error) { l.x.logger.Debug("followers", "err", err) },
		})
	})
}

// looked tells of followers whose condition has changed.
func (l *leads) looked(ps []shrink.Patient) {
	l.mu.Lock()
	was := l.patients
	l.patients = ps
	l.mu.Unlock()
	for _, p := range ps {
		changed := true
		for _, w := range was {
			changed = changed && (w.Addr != p.Addr || w.Judgement.Condition != p.Judgement.Condition)
		}
		if !changed {
			continue
		}
		say := l.x.logger.Info
		if p.Judgement.Sick() {
			say = l.x.logger.Warn
		}
		say("follower", "address", p.Addr, "condition", p.Judgement.Condition, "reasons", p.Judgement.Reasons, "bridged", p.Bridged)
	}
}

func (l *leads) healed(r shrink.Report, err error) {
	if err != nil {
		l.x.logger.Error("followers could not be healed", "rewrites", r.Shrinks, "err", err)
		return
	}
	l.x.logger.Info("followers are healed", "rewrites", r.Shrinks, "took", r.Duration.Round(time.Millisecond))
}

func (l *leads) report(r *externalReport) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.patients {
		r.Followers = append(r.Followers, followerReport{Addr: p.Addr, Bridged: p.Bridged, Judgement: p.Judgement, Compared: p.Compared})
	}
	r.Healing = l.coord.Last()
	st := l.coord.Proofs()
	r.Comparisons = &st
}

// objects says how objects are compared.
func (x *external) objects() shrink.ObjectOptions {
	t := &x.cfg.tile38
	return shrink.ObjectOptions{Off: !t.verifyObjects, Rate: t.verifyRate, OnCompared: func(addr string, c shrink.Comparison) {
		args := []any{"follower", addr, "objects", c.Objects, "took", c.Took.Round(time.Millisecond)}
		switch {
		case c.Error != "":
			x.logger.Warn("objects could not be compared with the leader's", append(args, "err", c.Error)...)
		case c.Differences > 0:
			x.logger.Error("objects are not the leader's", append(args, "differences", c.Differences, "such as", c.Examples)...)
		default:
			x.logger.Info("objects are the leader's", args...)
		}
	}}
}

// behindLeader is the route of a pod that follows, however it does.
func (x *external) behindLeader() upstream.Route {
	fit := x.fit.get(func() bool { ok, _ := x.ready(); return ok })
	return upstream.Route{Following: true, Leader: x.cfg.follow, Fit: fit}
}

// carried is the role of a Tile38 that follows this sidecar, which follows the
// leader.
type carried struct {
	x        *external
	listener net.Listener
	bridge   *bridge.Bridge
	target   *shrink.Target
}

func newCarried(x *external) (*carried, error) {
	t := &x.cfg.tile38
	ln, err := net.Listen("tcp", t.bridgeListen)
	if err != nil {
		return nil, fmt.Errorf("--bridge-listen: %w; choose another address with --bridge-listen", err)
	}
	c := &carried{x: x, listener: ln}
	c.bridge, err = bridge.New(bridge.Options{
		Leader: x.cfg.follow, LeaderAuth: t.leader, Engine: t.addr, EngineAuth: t.password, Announce: x.announce, Dir: t.dir, Listener: ln,
		StateFile: filepath.Join(x.cfg.dataDir, "bridge.json"), HeartbeatKey: t.heartbeatKey, AcceptEmptyLeader: t.acceptEmpty,
		MaxLag: x.cfg.maxLag, DialLeader: x.dial, Logger: x.logger,
	})
	if err == nil {
		c.target, err = x.newTarget(nil)
	}
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return c, nil
}

func (c *carried) follow() string             { return reach(c.listener) }
func (c *carried) announces() string          { return "" }
func (c *carried) compacts() compactor.Target { return c.target }
func (c *carried) ready() (bool, []string)    { return c.bridge.Ready(c.x.cfg.maxLag) }
func (c *carried) close()                     { _ = c.listener.Close() }

func (c *carried) parts(ctx context.Context) {
	c.x.part("bridge", func() error { return c.bridge.Run(ctx) })
}

func (c *carried) route(o *upstream.Options) {
	o.Route = c.x.behindLeader
	o.WaitFor = c.bridge.WaitFor
}

func (c *carried) replication() metrics.Replication {
	st := c.bridge.Status()
	return carriedReplication(&st)
}

func (c *carried) comparisons() shrink.ProofStats { return shrink.ProofStats{} }

func (c *carried) report(r *externalReport) {
	st := c.bridge.Status()
	r.Bridge = &st
}

// plain is the role of a Tile38 that follows its leader by itself. It is looked at
// from outside, and its log is left alone: a rewrite would make it read its leader's
// anew.
type plain struct {
	x     *external
	coord *shrink.Coordinator

	mu     sync.Mutex
	judged shrink.Patient
	looks  int
}

func newPlain(x *external) (*plain, error) {
	lead, err := shrink.NewTarget(shrink.TargetOptions{Engine: x.leader(), Timeout: x.cfg.tile38.shrinkTimeout})
	if err != nil {
		return nil, err
	}
	x.target = lead // closed with the others
	p := &plain{x: x}
	p.coord, err = shrink.New(shrink.Options{
		Target: lead, Key: x.cfg.tile38.heartbeatKey, MaxShrinks: -1,
		Reach: func(string) tile38.Options { return x.engine() }, Objects: x.objects(),
	})
	return p, err
}

func (p *plain) follow() string             { return p.x.cfg.follow }
func (p *plain) announces() string          { return p.x.announce }
func (p *plain) compacts() compactor.Target { return nil }
func (p *plain) close()                     {}

func (p *plain) parts(ctx context.Context) {
	p.x.part("comparison of objects", func() error { return p.coord.Prove(ctx, p.x.cfg.tile38.verifyEvery) })
	p.x.part("comparison with the leader", func() error {
		tick := time.NewTicker(p.x.cfg.tile38.verifyEvery)
		defer tick.Stop()
		for {
			now := p.coord.Look(ctx, p.x.cfg.tile38.addr)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			p.mu.Lock()
			was := p.judged.Judgement.Condition
			p.judged, p.looks = now, p.looks+1
			p.mu.Unlock()
			if j := now.Judgement; was != j.Condition {
				p.x.logger.Info("the Tile38 compared with its leader", "condition", j.Condition, "reasons", j.Reasons)
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
		}
	})
}

func (p *plain) ready() (bool, []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.looks == 0 {
		return false, []string{"it has not been compared with its leader yet"}
	}
	return shrink.Ready(p.judged.Judgement)
}

func (p *plain) route(o *upstream.Options) { o.Route = p.x.behindLeader }

func (p *plain) replication() metrics.Replication {
	p.mu.Lock()
	defer p.mu.Unlock()
	condition := p.judged.Judgement.Condition
	if p.looks == 0 {
		condition = shrink.Unknown
	}
	return judgedReplication(p.x.cfg.follow, condition)
}

func (p *plain) comparisons() shrink.ProofStats { return p.coord.Proofs() }

func (p *plain) report(r *externalReport) {
	p.mu.Lock()
	defer p.mu.Unlock()
	judged, st := p.judged, p.coord.Proofs()
	r.Judgement, r.Compared, r.Comparisons = &judged.Judgement, judged.Compared, &st
}
