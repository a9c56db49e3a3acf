package main

import (
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
	Compactor any               `json:"compactor,omitempty"`
	Upstream  *upstream.Stats   `json:"upstream,omitempty"`
}

// followerReport is a follower as its leader's sidecar sees it.
type followerReport struct {
	Addr    string `json:"addr"`
	Bridged bool   `json:"bridged"`
	shrink.Judgement
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
			Replication: x.replicationSource,
			Compaction:  x.compactionSource,
			Connections: func() metrics.Connections { return connections(x.proxy) },
			Data:        x.dataSource,
			Server:      x.serverSource,
			Engine:      x.engineSource,
			Upstream:    x.upstreamSource,
		},
		Commands: x.backend.CommandNames(),
		FollowerStates: []string{
			string(replication.Connecting), string(replication.FullResync), string(replication.RangeResync),
			string(replication.CatchingUp), string(replication.Streaming),
		},
	})
	if err != nil {
		return err
	}
	x.observer.Store(m)
	x.metrics.set(m.Handler())
	return nil
}

// replicationSource is that of the bridge, if there is one: only it knows.
func (x *external) replicationSource() metrics.Replication {
	var report externalReport
	x.role.report(&report)
	r := metrics.Replication{Leading: metrics.Leading{Followers: len(report.Followers)}}
	if st := report.Bridge; st != nil {
		r.Follower = true
		r.State, r.Following, r.CaughtUp = string(st.State), st.Leader, st.CaughtUp
		r.LagBytes, r.Lag = st.LagBytes, lagDuration(st.LagSeconds)
		r.DigestEqual = st.Verified && st.Divergences == 0
		r.Received, r.Reconnects = uint64(st.BytesReceived), uint64(st.Reconnects)            // #nosec G115 -- counters
		r.Continued = uint64(st.Resumes.Continued + st.Resumes.Found + st.Resumes.FoundByLog) // #nosec G115 -- counters
		r.RangeResyncs = uint64(st.Resumes.Difference)                                        // #nosec G115 -- counters
		r.FullResyncs = uint64(st.Resumes.Full + st.Resumes.Fresh)                            // #nosec G115 -- counters
		r.Divergences = uint64(st.Divergences)                                                // #nosec G115 -- counters
	}
	return r
}

func (x *external) compactionSource() metrics.Compaction {
	if x.compactor == nil {
		return metrics.Compaction{}
	}
	st := x.compactor.Stats()
	return metrics.Compaction{Running: st.Running || x.local.State().Rewriting, Failures: st.Failures, Cause: string(st.Decision.Cause)}
}

func (x *external) engineSource() metrics.Engine {
	st := x.local.State()
	if !st.Up {
		return metrics.Engine{MemoryBytes: -1, HeapBytes: -1, LogBytes: -1}
	}
	return metrics.Engine{Up: true, MemoryBytes: st.Memory, HeapBytes: st.Heap, LogBytes: st.Server.AOFSize}
}

func (x *external) upstreamSource() metrics.Upstream {
	st := x.backend.Stats()
	n := func(v int64) uint64 { return uint64(max(v, 0)) }
	return metrics.Upstream{
		Connections: st.Links, Dialled: n(st.Dials), DialFailures: n(st.DialFailures), Refused: n(st.Refused),
		Lost: n(st.Lost), LostCommands: n(st.LostCommands), Forwarded: n(st.Forwarded), LeaderReads: n(st.LeaderReads),
		OwnWriteWaits: n(st.OwnWriteWaits), OwnWriteMisses: n(st.OwnWriteMisses),
	}
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
		Rejected:   []metrics.Rejected{{Reason: "max_connections", Count: uint64(st.Rejected)}},
		Transports: transports,
	}
}
