package main

import (
	"maps"
	"slices"

	"evenkeel/internal/fsx"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/metrics"
	"evenkeel/pkg/node"
	"evenkeel/pkg/replication"
	"evenkeel/pkg/settings"
)

// makeMetrics shows what the parts report.
func (s *embedded) makeMetrics() error {
	o := metrics.Options{
		Sources: metrics.Sources{
			Ready:       func() bool { ok, _ := s.gate.Ready(); return ok },
			Leads:       s.leads,
			Log:         s.logSource,
			Disk:        func() metrics.Disk { return disk(s.cfg.dataDir) },
			Replication: s.replicationSource,
			Compaction:  s.compactionSource,
			Connections: s.connectionSource,
			Messages:    s.messageSource,
			Hooks:       s.hookSource,
			Data:        s.dataSource,
			Collections: s.collections,
			Server:      s.serverSource,
			Upstream:    s.upstreamSource,
			Certificate: s.certificateSource(),
		},
		Commands: s.node.CommandNames(),
		FollowerStates: []string{
			string(replication.Connecting), string(replication.FullResync), string(replication.RangeResync),
			string(replication.CatchingUp), string(replication.Streaming),
		},
		MaxCollectionLabels: s.cfg.maxLabels,
	}
	if s.election != nil {
		o.Sources.Election = s.electionSource
	}
	m, err := metrics.New(o)
	if err != nil {
		return err
	}
	s.observer.Store(m)
	s.metrics.set(m.Handler())
	return nil
}

func (s *embedded) logSource() metrics.Log {
	st := s.log.Stats()
	return metrics.Log{
		Bytes: st.BaseBytes + st.SinceBytes, CommandBytes: st.PayloadBytes, Offset: st.Last.Offset, SyncedOffset: st.Synced,
		Writable: st.Writable,
		Files: []metrics.LogFiles{
			{Kind: "base", Bytes: st.BaseBytes}, {Kind: "segments", Files: st.Segments, Bytes: st.SinceBytes},
			{Kind: "backlog", Bytes: st.BacklogBytes}, {Kind: "temporary", Bytes: st.TempBytes},
			{Kind: "pending", Bytes: st.PendingBytes},
		},
	}
}

// disk is the filesystem of a directory.
func disk(dir string) metrics.Disk {
	d := metrics.Disk{FreeBytes: -1, SizeBytes: -1}
	if free, err := (fsx.OS{}).FreeSpace(dir); err == nil {
		d.FreeBytes = free
	}
	if size, err := (fsx.OS{}).DiskSize(dir); err == nil {
		d.SizeBytes = size
	}
	return d
}

func (s *embedded) replicationSource() metrics.Replication {
	lead := s.leader.Stats()
	r := metrics.Replication{Leading: metrics.Leading{Followers: lead.Followers, Sent: uint64(lead.BytesSent)}}
	for _, f := range s.leader.Followers() {
		r.Leading.MaxLagBytes = max(r.Leading.MaxLagBytes, f.LagBytes)
	}
	st := s.node.FollowerStatus()
	if st == nil {
		return r
	}
	r.Follower = true
	r.State, r.Following = string(st.State), st.Leader
	r.CaughtUp, r.CaughtUpOnce = st.CaughtUp, s.node.CaughtUpOnce()
	r.LagBytes, r.Lag = st.LagBytes, lagDuration(st.LagSeconds)
	r.DigestEqual = st.DigestEqual
	r.Received, r.Reconnects = uint64(st.BytesReceived), uint64(st.Reconnects)
	r.Continued, r.RangeResyncs, r.FullResyncs = uint64(st.ContinueResyncs), uint64(st.RangeResyncs), uint64(st.FullResyncs)
	r.Divergences = uint64(st.Divergences)
	return r
}

func (s *embedded) compactionSource() metrics.Compaction {
	st := s.compactor.Stats()
	return metrics.Compaction{
		Running: st.Running, Failures: st.Failures, Cause: string(st.Decision.Cause),
		LogBytes: st.Facts.LogBytes, ThresholdBytes: st.Policy.Threshold(st.Facts),
		SharePercent: st.Pace.Share, RateBytes: st.Pace.Bytes, Written: uint64(s.store.Stats().BaseBytes), // #nosec G115 -- never below 0
	}
}

func (s *embedded) messageSource() metrics.Messages {
	st := s.hub.Stats()
	return metrics.Messages{
		Listeners: st.Listeners, Waiting: st.Waiting, Slow: st.Slow,
		Published: st.Published, Delivered: st.Delivered,
	}
}

func (s *embedded) hookSource() metrics.Hooks {
	st := s.hooks.Stats()
	h := metrics.Hooks{Queued: st.Waiting, QueuedBytes: st.Bytes, Oldest: st.Oldest, MaxBytes: s.cfg.hooks.MaxBytes, MaxAge: s.cfg.hooks.MaxAge}
	for _, n := range st.Delivered {
		h.Delivered += n
	}
	for _, n := range st.Failed {
		h.Failed += n
	}
	for _, reason := range slices.Sorted(maps.Keys(st.Dropped)) {
		h.Dropped = append(h.Dropped, metrics.Rejected{Reason: reason, Count: st.Dropped[reason]})
	}
	return h
}

func (s *embedded) connectionSource() metrics.Connections { return connections(s.proxy) }

func (s *embedded) dataSource() metrics.Data {
	st := s.store.Stats()
	return metrics.Data{
		Objects: int64(st.Objects), Points: int64(st.Points), Strings: int64(st.Texts),
		WeightBytes: st.ContentBytes, Collections: st.Collections, Hooks: st.Hooks + st.Channels,
		Expired: uint64(st.Expired),
	}
}

// collections runs on a snapshot: a scrape holds up nobody.
func (s *embedded) collections(yield func(metrics.Collection) bool) {
	s.store.Snapshot().Scan("", func(c *collection.Collection) bool {
		return yield(metrics.Collection{
			Name: c.Name(), Objects: int64(c.Len()), Points: int64(c.Points()),
			Strings: int64(c.Texts()), WeightBytes: int64(c.Weight()),
		})
	})
}

func (s *embedded) serverSource() metrics.Server {
	limit, _ := settings.Bytes(s.settings.Get(settings.MaxMemory))
	return metrics.Server{
		ID: s.settings.ServerID(), Version: node.TileVersion, Build: version, Started: s.started, MaxHeapBytes: limit,
	}
}
