package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Election is how a pod whose leader is elected fares.
type Election struct {
	Transitions    uint64        // times that this pod has become the leader
	FenceRemaining time.Duration // for how long it may go on to answer as one
	Failsafe       bool          // the other pods stand in for the API server
}

// election shows who leads. It is unchecked, like evenkeel.
type election struct {
	from Sources

	leader, transitions, fence, failsafe *prometheus.Desc
}

func newElection(o Options) *election {
	d := func(name, help string) *prometheus.Desc { return prometheus.NewDesc("evenkeel_"+name, help, nil, nil) }
	return &election{
		from:        o.Sources,
		leader:      d("leader", "Whether this pod leads, and may answer as a leader."),
		transitions: d("election_transitions_total", "How often this pod has become the leader."),
		fence:       d("fence_remaining_seconds", "For how long this pod may go on to answer as a leader if its Lease is not renewed."),
		failsafe:    d("lease_failsafe", "Whether the other pods confirm this leader in the place of an API server that is away."),
	}
}

// Describe describes nothing: see evenkeel.
func (e *election) Describe(chan<- *prometheus.Desc) {}

// Collect asks the sources that there are.
func (e *election) Collect(ch chan<- prometheus.Metric) {
	out := sink(ch)
	if e.from.Leads != nil {
		out.flag(e.leader, e.from.Leads())
	}
	if e.from.Election == nil {
		return
	}
	s := e.from.Election()
	out.counter(e.transitions, s.Transitions)
	out.gauge(e.fence, s.FenceRemaining.Seconds())
	out.flag(e.failsafe, s.Failsafe)
}

// ObserveRenewal hears of each attempt to renew the Lease.
func (m *Metrics) ObserveRenewal(took time.Duration) {
	if m == nil || m.renewals == nil {
		return
	}
	m.renewals.Observe(took.Seconds())
}
