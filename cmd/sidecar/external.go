package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"evenkeel/internal/fsx"
	"evenkeel/pkg/admin"
	"evenkeel/pkg/compactor"
	"evenkeel/pkg/metrics"
	"evenkeel/pkg/proxy"
	"evenkeel/pkg/settings"
	"evenkeel/pkg/tile38"
	"evenkeel/pkg/tile38/local"
	"evenkeel/pkg/tile38/shrink"
	"evenkeel/pkg/upstream"
)

// external is a sidecar beside a Tile38 in the same pod: every part of it.
type external struct {
	*shell

	pod       string // what others call this one
	announce  string // where others reach it; without a host if they know better
	local     *local.Local
	role      role
	target    *shrink.Target // the log of the Tile38
	compactor *compactor.Compactor
	fit       freshFlag // ready, as the proxy asks it
	backend   *upstream.Backend
	proxy     *proxy.Server
}

// role is what a sidecar does for a Tile38 that leads, or follows, beside what is
// done for both.
type role interface {
	// follow is the address that the Tile38 is to follow; "": none.
	follow() string
	// announces is where the leader is to say that the Tile38 is reached, as far as
	// the Tile38 says it itself; "": it does not.
	announces() string
	// compacts is what the compactor works on, nil: nothing may be compacted here.
	compacts() compactor.Target
	// parts starts what runs.
	parts(ctx context.Context)
	// ready is about what the role needs.
	ready() (bool, []string)
	// route completes the options of the proxy's backend.
	route(o *upstream.Options)
	// replication is what /metrics says of it, which must be cheap.
	replication() metrics.Replication
	// comparisons counts those of objects that are made here.
	comparisons() shrink.ProofStats
	// report completes what /status says.
	report(r *externalReport)
	close()
}

// load has nothing to load: the Tile38 does that, and may start after its
// sidecar. Until it answers the pod is not ready.
func (x *external) load(context.Context, io.Writer) error {
	if err := os.MkdirAll(x.cfg.dataDir, 0o750); err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("the name of this machine: %w", err)
	}
	_, port, err := net.SplitHostPort(reach(x.listeners.client))
	x.announce = cmp.Or(x.cfg.tile38.announce, ":"+port)
	x.pod = host + ":" + port
	return err
}

// engine says how the Tile38 is reached.
func (x *external) engine() tile38.Options {
	return tile38.Options{Addr: x.cfg.tile38.addr, Auth: x.cfg.tile38.password}
}

// leader says how the leader is reached.
func (x *external) leader() tile38.Options {
	return tile38.Options{Addr: x.cfg.follow, Auth: x.cfg.tile38.leader, Dial: x.dial}
}

// assemble makes the parts and ties them together.
func (x *external) assemble() error {
	t := &x.cfg.tile38
	var err error
	if x.role, err = x.newRole(); err != nil {
		return err
	}
	if x.local, err = local.New(local.Options{
		Addr: t.addr, Auth: t.password, Follow: x.role.follow(), LeaderAuth: t.leader, Announce: x.role.announces(),
		KeepFollowing: !t.promote, Logger: x.logger,
	}); err != nil {
		return err
	}
	if err := x.makeCompactor(); err != nil {
		return err
	}
	maxUnsent, err := compactor.ParseSize(t.maxUnsent)
	if err != nil {
		return fmt.Errorf("--max-unsent-replies: %w", err)
	}
	o := upstream.Options{
		Engine: t.addr, Auth: t.password, ConnectWait: t.connectWait, MaxPending: t.maxPending, MaxHead: int(x.cfg.proxy.Limits.MaxHeader),
		LocalWrites: !x.cfg.forward.writes, ReadFrom: upstream.ReadFrom(x.cfg.forward.readFrom),
		ReadYourWritesTimeout: x.cfg.forward.ownWrites, LeaderWait: x.cfg.forward.timeout, DialLeader: x.dial, Observe: x.observe, Logger: x.logger,
		SharedConnections: t.sharedConnections(), MaxUnsent: maxUnsent,
	}
	x.role.route(&o)
	if x.backend, err = upstream.New(o); err != nil {
		return err
	}
	p := x.cfg.proxy
	p.Logger, p.DrainTimeout, p.Refuse = x.logger, x.cfg.drainTimeout, x.cfg.protection()
	if x.proxy, err = proxy.NewRaw(p, x.backend); err != nil {
		return err
	}
	if err := x.makeMetrics(); err != nil {
		return err
	}
	x.gate.ask(x.ready)
	return nil
}

// newTarget is the log of the Tile38 as it is compacted.
func (x *external) newTarget(beat func(context.Context) error) (*shrink.Target, error) {
	t, err := shrink.NewTarget(shrink.TargetOptions{
		Engine: x.engine(), FS: fsx.OS{}, Dir: x.cfg.tile38.dir,
		State: filepath.Join(x.cfg.dataDir, "aofshrink.json"), Beat: beat, Timeout: x.cfg.tile38.shrinkTimeout,
		OnError: func(err error) { x.logger.Debug("compaction of the Tile38", "err", err) },
	})
	x.target = t
	return t, err
}

// makeCompactor lets the log be compacted, each pod in its turn.
func (x *external) makeCompactor() error {
	target := x.role.compacts()
	if target == nil {
		return nil
	}
	policy, err := x.cfg.shrinkPolicy()
	if err != nil {
		return err
	}
	o := compactor.Options{Target: target, Policy: policy, OnFinish: x.compacted}
	if x.cfg.turns {
		at := x.engine()
		if x.cfg.follow != "" {
			at = x.leader()
		}
		turns, err := shrink.NewTurns(shrink.TurnOptions{
			Leader: at, Key: x.cfg.tile38.heartbeatKey, Pod: x.pod, Slots: x.cfg.tile38.maxUnavailable, Wait: x.cfg.turnWait,
			OnError: func(err error) { x.logger.Warn("turn to compact", "err", err) },
		})
		if err != nil {
			return err
		}
		o.Turn = turns.Take
	}
	x.compactor, err = compactor.New(o)
	return err
}

// shrinkPolicy is what the flags say about compaction.
func (c *config) shrinkPolicy() (compactor.Policy, error) {
	p := compactor.DefaultPolicy()
	for name, set := range map[string]func(string) error{
		settings.ShrinkMinSize: func(v string) (err error) { p.MinSize, err = compactor.ParseSize(v); return err },
		settings.ShrinkGrowth:  func(v string) (err error) { _, err = fmt.Sscan(v, &p.Growth); return err },
		settings.ShrinkCheck: func(v string) error {
			p.CheckEvery, _ = settings.Duration(v)
			return nil
		},
		settings.ShrinkCooldown: func(v string) error {
			p.Cooldown, _ = settings.Duration(v)
			return nil
		},
	} {
		if !c.set(name) {
			continue
		}
		if err := set(*c.properties[name]); err != nil {
			return p, fmt.Errorf("--%s: %w", name, err)
		}
	}
	return p, nil
}

func (x *external) serve(ctx context.Context) {
	x.part("engine", func() error { return x.local.Run(ctx) })
	x.role.parts(ctx)
	if x.compactor != nil {
		x.part("compactor", func() error { return x.compactor.Run(ctx) })
	}
	x.part("clients", func() error { return x.proxy.Serve(ctx, x.listeners.clients()...) })
}

// shutdown: first nobody is sent here any more, then commands under way are
// answered, then the parts stop.
func (x *external) shutdown(stopWork context.CancelFunc) error {
	x.gate.close("shutting down")
	ctx, cancel := context.WithTimeout(context.Background(), x.cfg.drainTimeout)
	defer cancel()
	if err := x.proxy.Shutdown(ctx); err != nil {
		x.logger.Warn("clients were cut off", "after", x.cfg.drainTimeout, "err", err)
	}
	stopWork()
	x.parts.Wait()
	return nil
}

func (x *external) close() error {
	if x.role != nil {
		x.role.close()
	}
	if x.target != nil {
		x.target.Close()
	}
	if x.backend == nil {
		return nil
	}
	return x.backend.Close()
}

// ready is the truth about the Tile38, not what it says of itself.
func (x *external) ready() (bool, []string) {
	if ok, why := x.local.Ready(); !ok {
		return false, why
	}
	return x.role.ready()
}

// observe hears of every command.
func (x *external) observe(name string, took time.Duration, failed bool) {
	x.observer.Load().Observe(name, took, failed)
}

func (x *external) banner(w io.Writer) {
	var b strings.Builder
	role := "leader"
	if x.cfg.follow != "" {
		role = "follower of " + x.cfg.follow
	}
	fmt.Fprintf(&b, "evenkeel %s: beside the Tile38 at %s, %s\n", version, x.cfg.tile38.addr, role)
	client := reach(x.listeners.client)
	probe, admin := reach(x.listeners.probe), reach(x.listeners.admin)
	fmt.Fprintf(&b, "  clients  %s\n", client)
	fmt.Fprintf(&b, "  probes   http://%s/readyz  http://%s/livez  http://%s/metrics\n", probe, probe, probe)
	fmt.Fprintf(&b, "  admin    http://%s/status\n", admin)
	_, _ = io.WriteString(w, b.String())
}

// actions: the role of a Tile38 is not elected.
func (x *external) actions() []admin.Action {
	return []admin.Action{{Name: "handover", Help: "nothing: the role of this pod is not elected", Do: func(context.Context, url.Values) (any, error) {
		return handedOver{Note: errNotElected.Error()}, nil
	}}}
}
