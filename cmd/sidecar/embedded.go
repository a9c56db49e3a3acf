package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"evenkeel/internal/fsx"
	"evenkeel/pkg/aof"
	"evenkeel/pkg/compactor"
	"evenkeel/pkg/hooks"
	"evenkeel/pkg/leader"
	"evenkeel/pkg/node"
	"evenkeel/pkg/proxy"
	"evenkeel/pkg/pubsub"
	"evenkeel/pkg/settings"
	"evenkeel/pkg/store"
)

// embedded is a sidecar with the embedded engine: every part of it, from the log
// up to the clients.
type embedded struct {
	*shell

	settings  *settings.Settings
	log       *aof.Log
	store     *store.Store
	compactor *compactor.Compactor
	governor  *compactor.Governor // of the compactor's pace
	leader    *leader.Leader
	hub       *pubsub.Hub
	hooks     *hooks.Queue
	node      *node.Node
	proxy     *proxy.Server
	election  *election // nil: the flags say who leads

	logClosed func() error
}

// load opens the log, which locks the directory, and replays it.
func (s *embedded) load(ctx context.Context, errOut io.Writer) error {
	segment, err := compactor.ParseSize(s.cfg.segmentSize)
	if err != nil {
		return fmt.Errorf("--segment-size: %w", err)
	}
	pending, err := compactor.ParseSize(s.cfg.maxPending)
	if err != nil {
		return fmt.Errorf("--max-pending: %w", err)
	}
	if s.log, err = aof.Open(aof.Options{
		Dir: s.cfg.dataDir, Fsync: aof.FsyncEverySecond,
		SegmentBytes: segment, MaxPending: pending, Logger: s.logger,
		OnSync: s.synced,
	}); err != nil {
		return err
	}
	s.logClosed = sync.OnceValue(s.closeFiles)
	s.tellRecovery()
	if s.settings, err = settings.Load(fsx.OS{}, s.cfg.dataDir); err != nil {
		return errors.Join(err, s.closeLog())
	}
	if err := s.cfg.override(s.settings); err != nil {
		return errors.Join(err, s.closeLog())
	}
	s.cfg.engine.Seed, s.cfg.engine.Script.Now = rand.Uint64(), time.Now
	started := time.Now()
	if s.governor, err = compactor.NewGovernor(compactor.GovernorOptions{Max: float64(s.cfg.compactCPU)}, started); err != nil {
		return errors.Join(err, s.closeLog())
	}
	st, err := store.Open(ctx, store.Options{
		Log: s.log, Engine: s.cfg.engine, ReadSlice: s.cfg.readSlice, Pace: s.pace,
		Progress: loadProgress(errOut, &s.gate), Logger: s.logger,
	})
	if err != nil {
		return errors.Join(err, s.closeLog())
	}
	s.store = st
	s.logger.Info("log loaded", "commands", s.store.Stats().Commands,
		"offset", s.log.Position().Offset, "took", time.Since(started).Round(time.Millisecond))
	return s.afterCrash(ctx)
}

// afterCrash begins a new epoch for a leader that was not shut down in good
// order: its followers may have an end of its log that the crash took. So they learn
// that they have something else, and keep it, instead of taking new commands for old ones.
func (s *embedded) afterCrash(ctx context.Context) error {
	host, _ := s.settings.Follow()
	r := s.log.Recovery()
	if s.cfg.follow != "" || host != "" || s.cfg.elect.on || r.Clean || r.New {
		return nil // a leader that is elected begins one anyway
	}
	if err := s.store.BeginEpoch(ctx); err != nil {
		return fmt.Errorf("begin a new epoch after a crash: %w", err)
	}
	return nil
}

// synced tells the metrics, once there are any.
func (s *embedded) synced(took time.Duration, err error) {
	if m := s.observer.Load(); m != nil {
		m.ObserveFsync(took, err)
	}
}

func (s *embedded) closeFiles() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.drainTimeout)
	defer cancel()
	if err := s.log.Close(ctx); err != nil {
		return fmt.Errorf("close the log in %s: %w", s.cfg.dataDir, err)
	}
	return nil
}

// tellRecovery says what opening the log did to the directory.
func (s *embedded) tellRecovery() {
	r := s.log.Recovery()
	if r.AdoptedFrom != "" {
		s.logger.Info("adopted a Tile38 log", "file", r.AdoptedFrom)
	}
	if r.CutBytes > 0 {
		s.logger.Warn("the log ended within a batch; it was cut at the last whole one",
			"file", r.CutFile, "at", r.CutAt, "bytes", r.CutBytes, "kept_in", r.KeptIn)
	}
}

// assemble makes the parts above the store and ties them together.
func (s *embedded) assemble() error {
	var err error
	if s.compactor, err = compactor.New(compactor.Options{
		Target:   target{s},
		Turn:     func(ctx context.Context) (func(), error) { return s.node.Turn(ctx) },
		Policy:   s.policy(),
		Governor: s.governor,
		OnFinish: s.compacted,
	}); err != nil {
		return err
	}
	id := s.settings.ServerID()
	if s.leader, err = leader.New(leader.Options{
		Log: s.log, ID: id, Logger: s.logger, MaxHeld: s.cfg.maxHeld,
		Snapshot: func(ctx context.Context) (leader.Snapshot, error) { return s.store.RangeSnapshot(ctx) },
	}); err != nil {
		return err
	}
	if s.hub, err = pubsub.NewHub(s.cfg.hub); err != nil {
		return err
	}
	if err := s.openHooks(); err != nil {
		return err
	}
	_, port, _ := splitHostPort(reach(s.listeners.client))
	if err := s.makeElection(); err != nil {
		return err
	}
	o := node.Options{
		Store: s.store, Log: s.log, Compactor: s.compactor, Leader: s.leader, Hub: s.hub, Hooks: s.hooks,
		MaxScripts: s.cfg.maxScripts, ScriptWait: s.cfg.engine.Script.MaxTime,
		Settings:   s.settings,
		NoHTTP:     !s.cfg.http,
		DialLeader: s.dial,
		Forward:    s.cfg.forward.options(),
		Follow:     s.cfg.follow, ListenPort: port, MaxLag: s.cfg.maxLag, MaxHeld: s.cfg.maxHeld, TurnWait: s.cfg.turnLimit(), Logger: s.logger,
		Observe: s.observe,
	}
	s.elected(&o)
	s.node = node.New(o)
	if err := s.hooks.Start(); err != nil {
		return fmt.Errorf("queue of hook messages: %w", err)
	}
	p := s.cfg.proxy
	p.Limits.NoHTTP = !s.cfg.http
	p.Logger, p.DrainTimeout = s.logger, s.cfg.drainTimeout
	if s.proxy, err = proxy.New(p, s.node); err != nil {
		return err
	}
	s.node.Attach(s.proxy)
	if err := s.makeMetrics(); err != nil {
		return err
	}
	s.watchSettings()
	s.gate.ask(s.ready)
	return nil
}

// serve starts every part that runs.
func (s *embedded) serve(ctx context.Context) {
	s.part("compactor", func() error { return s.compactor.Run(ctx) })
	s.part("node", func() error { s.node.Run(ctx); return nil })
	if s.election != nil {
		s.part("election", func() error { return s.election.elector.Run(ctx) })
	}
	s.part("clients", func() error { return s.proxy.Serve(ctx, s.listeners.clients()...) })
}

// shutdown: first nobody is sent here any more, then commands under way are
// answered, then the parts stop.
func (s *embedded) shutdown(stopWork context.CancelFunc) error {
	s.resign() // while clients are still served
	s.gate.close("shutting down")
	s.node.Drain()
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.drainTimeout)
	defer cancel()
	if err := s.proxy.Shutdown(ctx); err != nil {
		// Clients that did not go away in time. What they were promised is kept.
		s.logger.Warn("clients were cut off", "after", s.cfg.drainTimeout, "err", err)
	}
	err := s.leader.Close()
	stopWork()
	s.parts.Wait()
	if s.election != nil {
		err = errors.Join(err, s.election.peers.Close())
	}
	return err
}

// close stops the delivery of hooks, then syncs and closes the log.
func (s *embedded) close() error {
	if s.store == nil {
		return nil // load has closed the log itself
	}
	return errors.Join(s.stopHooks(), s.closeLog())
}

// closeLog syncs and closes the log, once.
func (s *embedded) closeLog() error { return s.logClosed() }

// openHooks opens the queue of messages for webhooks.
func (s *embedded) openHooks() (err error) {
	o := s.cfg.hooks
	o.Local, o.Logger = s.hub, s.logger
	o.Fsync, _ = aof.ParseFsyncPolicy(s.settings.Get(settings.AppendFsync)) // watchSettings says so, too
	if s.hooks, err = hooks.Open(o); err != nil {
		return fmt.Errorf("queue of hook messages: %w", err)
	}
	return nil
}

// stopHooks ends the delivery to webhooks; what waits is delivered after the
// next start.
func (s *embedded) stopHooks() error {
	if s.hooks == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.drainTimeout)
	defer cancel()
	if err := s.hooks.Stop(ctx); err != nil {
		return fmt.Errorf("stop the queue of hook messages: %w", err)
	}
	return nil
}

// watchSettings makes CONFIG SET work at once.
func (s *embedded) watchSettings() {
	s.settings.Watch(settings.AppendFsync, func(v string) {
		if p, err := aof.ParseFsyncPolicy(v); err == nil {
			s.log.SetFsync(p)
			s.hooks.SetFsync(p)
		}
	})
	s.settings.Watch(settings.ReplBacklogSize, func(v string) {
		if n, err := compactor.ParseSize(v); err == nil {
			s.log.SetBacklogBytes(n)
		}
	})
	for _, name := range []string{
		settings.ShrinkMinSize, settings.ShrinkGrowth, settings.ShrinkCheck, settings.ShrinkCooldown,
	} {
		s.settings.Watch(name, func(string) {
			if err := s.compactor.SetPolicy(s.policy()); err != nil {
				s.logger.Error("compaction settings", "err", err)
			}
		})
	}
	s.settings.Watch(settings.CompactionRate, func(v string) {
		if n, err := compactor.ParseRate(v); err == nil {
			s.governor.SetRate(n)
		}
	})
	s.settings.Watch(settings.KeepAlive, func(v string) {
		if n, err := strconv.Atoi(v); err == nil {
			s.proxy.SetKeepAlive(time.Duration(n) * time.Second)
		}
	})
}

// policy is what the settings say about compaction.
func (s *embedded) policy() compactor.Policy {
	p := compactor.DefaultPolicy()
	if n, err := compactor.ParseSize(s.settings.Get(settings.ShrinkMinSize)); err == nil {
		p.MinSize = n
	}
	if n, err := strconv.Atoi(s.settings.Get(settings.ShrinkGrowth)); err == nil {
		p.Growth = n
	}
	if d, ok := settings.Duration(s.settings.Get(settings.ShrinkCheck)); ok {
		p.CheckEvery = d
	}
	if d, ok := settings.Duration(s.settings.Get(settings.ShrinkCooldown)); ok {
		p.Cooldown = d
	}
	return p
}

// pace is how fast the store may compact now.
func (s *embedded) pace() store.Pace {
	percent, rate := s.governor.Pace(time.Now())
	return store.Pace{Percent: percent, BytesPerSecond: rate}
}

// observe hears of every command.
func (s *embedded) observe(name string, d time.Duration, failed bool) {
	s.observer.Load().Observe(name, d, failed)
	s.governor.Observe(d)
}

// target is the store as the compactor sees it.
type target struct{ s *embedded }

// Facts are the sizes of the log's files.
func (t target) Facts() compactor.Facts {
	st := t.s.log.Stats()
	free, err := fsx.OS{}.FreeSpace(filepath.Clean(t.s.cfg.dataDir))
	if err != nil {
		free = -1
	}
	return compactor.Facts{
		LogBytes: st.BaseBytes + st.SinceBytes, BaseBytes: st.BaseBytes,
		// What a new base takes is not known before it is written; it cannot be
		// more than the log that leads to the same state, but for rounding.
		LiveBytes: st.BaseBytes + st.SinceBytes, FreeBytes: free,
	}
}

// Compact writes a new base.
func (t target) Compact(ctx context.Context) (compactor.Result, error) {
	c, err := t.s.store.Compact(ctx)
	return compactor.Result{BytesBefore: c.BytesBefore, BytesAfter: c.BytesAfter, Objects: c.Objects}, err
}
