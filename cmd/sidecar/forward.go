package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"evenkeel/pkg/metrics"
	"evenkeel/pkg/node"
	"evenkeel/pkg/upstream"
)

// forwardConfig is what the flags say about commands that a follower sends to its
// leader.
type forwardConfig struct {
	writes     bool
	readFrom   string
	ownWrites  time.Duration
	timeout    time.Duration
	maxWaiting int
	maxLinks   int
	idle       time.Duration
}

func (c *forwardConfig) flags(f *pflag.FlagSet) {
	var d node.Forward
	d.EnsureDefaults()
	f.BoolVar(&c.writes, "write-forwarding", true, "with --follow: writes go to the leader")
	f.StringVar(&c.readFrom, "read-from", string(d.ReadFrom), "with --follow, who answers reads: local; fit: here while ready, else the leader; leader")
	f.DurationVar(&c.ownWrites, "read-your-writes-timeout", d.OwnWrites, "how long a read waits for what the same connection has written through the leader; then the leader answers it")
	f.DurationVar(&c.timeout, "write-forwarding-timeout", d.Timeout, "how long commands that have not been carried out wait for a leader that can be reached")
	f.IntVar(&c.maxWaiting, "write-forwarding-waiting", d.MaxWaiting, "client connections whose commands may wait for a leader; those of others fail at once")
	f.IntVar(&c.maxLinks, "write-forwarding-connections", d.MaxLinks, "connections to the leader for such commands")
	f.DurationVar(&c.idle, "write-forwarding-idle", d.IdleTimeout, "how long one of these is kept that nobody needs")
}

func (c *forwardConfig) check() (faults []error) {
	switch upstream.ReadFrom(c.readFrom) {
	case upstream.ReadLocal, upstream.ReadFit, upstream.ReadLeader:
	default:
		faults = append(faults, fmt.Errorf("--read-from %q: want local, fit or leader", c.readFrom))
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
	}{{"--read-your-writes-timeout", c.ownWrites}, {"--write-forwarding-timeout", c.timeout}, {"--write-forwarding-idle", c.idle}} {
		if d.value <= 0 {
			faults = append(faults, fmt.Errorf("%s %s: want more than 0", d.flag, d.value))
		}
	}
	for _, n := range []struct {
		flag  string
		value int
	}{{"--write-forwarding-waiting", c.maxWaiting}, {"--write-forwarding-connections", c.maxLinks}} {
		if n.value < 1 {
			faults = append(faults, fmt.Errorf("%s %d: want 1 or more", n.flag, n.value))
		}
	}
	return faults
}

// options are those of the embedded engine.
func (c *forwardConfig) options() *node.Forward {
	return &node.Forward{
		LocalWrites: !c.writes, ReadFrom: upstream.ReadFrom(c.readFrom), OwnWrites: c.ownWrites,
		Timeout: c.timeout, MaxWaiting: c.maxWaiting, MaxLinks: c.maxLinks, IdleTimeout: c.idle,
	}
}

// upstreamSource is the way to the leader.
func (s *embedded) upstreamSource() metrics.Upstream {
	st := s.node.Forwarding() // assemble sees to it that there are some
	u := upstreamMetrics(&st.Stats)
	u.Retried, u.Waiting, u.Here = uint64(max(st.Retried, 0)), st.Waiting, uint64(max(st.Here, 0))
	return u
}

// upstreamMetrics are counts as the metrics have them.
func upstreamMetrics(st *upstream.Stats) metrics.Upstream {
	n := func(v int64) uint64 { return uint64(max(v, 0)) }
	return metrics.Upstream{
		Connections: st.Links, Dialled: n(st.Dials), DialFailures: n(st.DialFailures), Refused: n(st.Refused),
		Lost: n(st.Lost), LostCommands: n(st.LostCommands), Forwarded: n(st.Forwarded), LeaderReads: n(st.LeaderReads),
		OwnWriteWaits: n(st.OwnWriteWaits), OwnWriteMisses: n(st.OwnWriteMisses),
		SharedClients: st.Guests, SlowClients: n(st.Slow), MovedSearches: n(st.Moved),
	}
}
