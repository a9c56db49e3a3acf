package main

import (
	"cmp"
	"os"
	"path/filepath"
	"time"

	"evenkeel/pkg/metrics"
	"evenkeel/pkg/proxy"
	"evenkeel/pkg/replication"
	"evenkeel/pkg/resp"
	"evenkeel/pkg/tile38/bridge"
	"evenkeel/pkg/tile38/local"
	"evenkeel/pkg/tile38/shrink"
	"evenkeel/pkg/upstream"
)

// externalReport is what /status answers beside a Tile38.
type externalReport struct {
	Version   string            `json:"version"`
	Pod       string            `json:"pod,omitempty"`
	Started   time.Time         `json:"started"`
	Ready     bool              `json:"ready"`
	NotReady  []string          `json:"not_ready,omitempty"`
	Address   string            `json:"engine_address"`
	Engine    *local.State      `json:"engine,omitempty"`
	Follow    string            `json:"follow,omitempty"`
	Bridge    *bridge.Status    `json:"bridge,omitempty"`    // of a follower
	Judgement *shrink.Judgement `json:"judgement,omitempty"` // of a follower without a bridge
	Followers []followerReport  `json:"followers,omitempty"` // of a leader
	Healing   *shrink.Report    `json:"healing,omitempty"`   // of followers, the last one
	// Compared is what the last comparison of objects came to, of a follower without a
	// bridge; Comparisons counts them, a leader's of all such followers.
	Compared    *shrink.Comparison `json:"compared,omitempty"`
	Comparisons *shrink.ProofStats `json:"comparisons,omitempty"`
	Compactor   any                `json:"compactor,omitempty"`
	Upstream    *upstream.Stats    `json:"upstream,omitempty"`
}

// followerReport is a follower as its leader's sidecar sees it.
type followerReport struct {
	Addr    string `json:"addr"`
	Bridged bool   `json:"bridged"`
	shrink.Judgement
	Compared *shrink.Comparison `json:"compared,omitempty"` // objects, the last time
}

// Status tells what the process is and does.
func (x *external) Status() any {
	r := &externalReport{Version: version, Pod: x.pod, Started: x.started, Address: x.cfg.tile38.addr, Follow: x.cfg.follow}
	r.Ready, r.NotReady = x.gate.Ready()
	if !x.gate.assembled() {
		return r
	}
	st, up := x.local.State(), x.backend.Stats()
	r.Engine, r.Upstream = &st, &up
	if x.compactor != nil {
		r.Compactor = x.compactor.Stats()
	}
	x.role.report(r)
	return r
}

// makeMetrics shows what the parts report.
func (x *external) makeMetrics() error {
	m, err := metrics.New(metrics.Options{
		Sources: metrics.Sources{
			Ready:       func() bool { ok, _ := x.gate.Ready(); return ok },
			Leads:       func() bool { return x.cfg.follow == "" },
			Disk:        x.diskSource,
			Replication: x.role.replication,
			Comparisons: x.comparisonsSource,
			Compaction:  x.compactionSource,
			Connections: func() metrics.Connections { return connections(x.proxy) },
			Data:        x.dataSource,
			Server:      x.serverSource,
			Engine:      x.engineSource,
			Upstream:    x.upstreamSource,
			Certificate: x.certificateSource(),
		},
		Commands: x.backend.CommandNames(),
		FollowerStates: []string{
			string(replication.Connecting), string(replication.FullResync), string(replication.RangeResync),
			string(replication.CatchingUp), string(replication.Streaming),
		},
		Conditions: []string{
			string(shrink.Fine), string(shrink.CatchingUp), string(shrink.Doubled), string(shrink.Diverged),
			string(shrink.Detached), string(shrink.Unreachable), string(shrink.Unknown),
		},
	})
	if err != nil {
		return err
	}
	x.observer.Store(m)
	x.metrics.set(m.Handler())
	return nil
}

// carriedReplication is what a bridge, which alone knows, says of it.
func carriedReplication(st *bridge.Status) metrics.Replication {
	n := func(v int64) uint64 { return uint64(max(v, 0)) }
	return metrics.Replication{
		Follower: true, State: string(st.State), Following: st.Leader, CaughtUp: st.CaughtUp,
		LagBytes: st.LagBytes, Lag: lagDuration(st.LagSeconds), DigestEqual: st.DigestEqual,
		Received: n(st.BytesReceived), Reconnects: n(st.Reconnects),
		Continued:    n(st.Resumes.Continued + st.Resumes.Found + st.Resumes.FoundByLog),
		RangeResyncs: n(st.Resumes.Difference), FullResyncs: n(st.Resumes.Full + st.Resumes.Fresh), Divergences: n(st.Divergences),
	}
}

func (x *external) comparisonsSource() metrics.Comparisons {
	st := x.role.comparisons()
	n := func(v int64) uint64 { return uint64(max(v, 0)) }
	return metrics.Comparisons{Compared: n(st.Compared), Failed: n(st.Failed), Differing: st.Differing, Objects: st.Objects}
}

// judgedReplication is what comparing a follower without a bridge with its leader says
// of it.
func judgedReplication(leader string, c shrink.Condition) metrics.Replication {
	return metrics.Replication{
		Follower: true, State: string(conditionState(c)), Following: leader, Condition: string(c),
		CaughtUp: c == shrink.Fine, LagBytes: -1, Lag: -1, DigestEqual: c != shrink.Diverged,
	}
}

// conditionState says in the words of our own protocol what a follower without a
// bridge does.
func conditionState(c shrink.Condition) replication.State {
	switch c {
	case shrink.Fine, shrink.Diverged:
		return replication.Streaming
	case shrink.CatchingUp, shrink.Doubled:
		return replication.CatchingUp
	}
	return replication.Connecting
}

// diskSource is that of the Tile38's file, or of what the sidecar keeps itself.
func (x *external) diskSource() metrics.Disk { return disk(cmp.Or(x.cfg.tile38.dir, x.cfg.dataDir)) }

func (x *external) compactionSource() metrics.Compaction {
	if x.compactor == nil {
		return metrics.Compaction{}
	}
	st := x.compactor.Stats()
	return metrics.Compaction{
		Running: st.Running || x.local.State().Rewriting, Failures: st.Failures, Cause: string(st.Decision.Cause),
		LogBytes: st.Facts.LogBytes, ThresholdBytes: st.Policy.Threshold(st.Facts),
	}
}

func (x *external) engineSource() metrics.Engine {
	st := x.local.State()
	e := metrics.Engine{Up: st.Up, MemoryBytes: -1, HeapBytes: -1, LogBytes: -1, FileBytes: -1, MemoryLimit: x.cfg.tile38.memoryLimit}
	if st.Up {
		e.MemoryBytes, e.HeapBytes, e.LogBytes = st.Memory, st.Heap, st.Server.AOFSize
	}
	if x.cfg.tile38.dir == "" {
		return e
	}
	if info, err := os.Stat(filepath.Join(x.cfg.tile38.dir, "appendonly.aof")); err == nil {
		e.FileBytes = info.Size()
	}
	return e
}

func (x *external) upstreamSource() metrics.Upstream {
	st := x.backend.Stats()
	return upstreamMetrics(&st)
}

func (x *external) dataSource() metrics.Data {
	c := x.local.State().Server.Counts
	return metrics.Data{
		Objects: c.Objects, Points: c.Points, Strings: c.Strings, Collections: int(c.Collections), Hooks: int(c.Hooks),
	}
}

func (x *external) serverSource() metrics.Server {
	s := x.local.State().Server
	return metrics.Server{ID: s.ID, Version: s.Version, Build: version, Started: x.started}
}

// connections are the clients of a proxy.
func connections(p *proxy.Server) metrics.Connections {
	st := p.Stats()
	var transports []metrics.Transport
	for kind := range resp.NumKinds {
		transports = append(transports, metrics.Transport{Name: kind.String(), Count: uint64(st.Transports[kind])})
	}
	return metrics.Connections{
		Open: st.Current, Accepted: uint64(st.Total),
		Rejected: []metrics.Rejected{
			{Reason: "max_connections", Count: uint64(st.Rejected)}, {Reason: "protected_mode", Count: uint64(st.Refused)},
		},
		Transports: transports,
	}
}
