package compactor

import (
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// ruled is a governor with a time of its own.
type ruled struct {
	*Governor
	t   *testing.T
	now time.Time
	rnd *rand.Rand
}

func rule(t *testing.T, o GovernorOptions) *ruled {
	t.Helper()
	g, err := NewGovernor(o, noon)
	if err != nil {
		t.Fatal(err)
	}
	return &ruled{Governor: g, t: t, now: noon, rnd: rand.New(rand.NewPCG(1, 2))}
}

// serve lets n requests pass whose latencies are evenly spread between half of
// typical and one and a half times of it: their p99 is 1.49 times typical.
func (r *ruled) serve(n int, typical time.Duration) {
	for range n {
		r.Observe(typical/2 + time.Duration(r.rnd.Float64()*float64(typical)))
	}
}

// windows goes through some windows with n requests each and returns the share
// at their end.
func (r *ruled) windows(count, n int, typical time.Duration) (share float64) {
	for range count {
		r.serve(n, typical)
		r.now = r.now.Add(100 * time.Millisecond)
		share, _ = r.Pace(r.now)
	}
	return share
}

// before is a time without a compaction, with n requests, and then one begins.
func (r *ruled) before(n int, typical time.Duration) {
	r.serve(n, typical)
	r.now = r.now.Add(time.Minute)
	r.Begin(r.now)
}

const typical = time.Millisecond

func TestGovernor(t *testing.T) {
	for _, tt := range []struct {
		name     string
		baseline int // requests before
		during   func(r *ruled) float64
		least    float64
		most     float64
	}{
		{"as before", 5000, func(r *ruled) float64 { return r.windows(50, 200, typical) }, 20, 25},
		{"a tenth slower on average is within the limit", 5000, func(r *ruled) float64 { return r.windows(50, 200, typical*107/100) }, 20, 25},
		{"slower", 5000, func(r *ruled) float64 { return r.windows(3, 200, 2*typical) }, 5, 6},
		{"only the tail is slower", 5000, func(r *ruled) float64 {
			for range 20 {
				r.serve(10, 3*typical) // of 210: p95 is as before
				r.windows(1, 200, typical)
			}
			return r.Stats().Share
		}, 3, 3},
		{"slower for long: the floor", 5000, func(r *ruled) float64 { return r.windows(100, 200, 5*typical) }, 3, 3},
		{"recovers", 5000, func(r *ruled) float64 {
			r.windows(100, 200, 5*typical)
			return r.windows(30, 200, typical)
		}, 20, 25},
		{"recovers when nobody asks any more", 5000, func(r *ruled) float64 {
			r.windows(100, 200, 5*typical)
			return r.windows(30, 0, 0)
		}, 25, 25},
		{"a thin window decides nothing", 5000, func(r *ruled) float64 { return r.windows(9, 10, 100*typical) }, 25, 25},
		{"thin windows count together", 5000, func(r *ruled) float64 { return r.windows(10, 10, 100*typical) }, 15, 15},
		{"a thin window does not let it rise", 5000, func(r *ruled) float64 {
			r.windows(1, 200, 5*typical)
			return r.windows(5, 10, typical)
		}, 15, 15},
		{"no baseline", 0, func(r *ruled) float64 { return r.windows(20, 200, 100*typical) }, 25, 25},
		{"hardly a baseline", 99, func(r *ruled) float64 { return r.windows(20, 200, 100*typical) }, 25, 25},
		{"idle", 0, func(r *ruled) float64 { return r.windows(20, 0, 0) }, 25, 25},
		{"idle after a busy time", 5000, func(r *ruled) float64 { return r.windows(20, 0, 0) }, 25, 25},
		{"less than a window", 5000, func(r *ruled) float64 {
			r.serve(1000, 100*typical)
			r.now = r.now.Add(99 * time.Millisecond)
			share, _ := r.Pace(r.now)
			return share
		}, 25, 25},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := rule(t, GovernorOptions{Max: 25})
			r.before(tt.baseline, typical)
			if got := tt.during(r); got < tt.least || got > tt.most {
				t.Errorf("share %.2f %%, want %v to %v; %+v", got, tt.least, tt.most, r.Stats())
			}
		})
	}
}

// Requests faster than the slack's worth are not slowed down by anything that
// somebody could notice.
func TestGovernorSlack(t *testing.T) {
	r := rule(t, GovernorOptions{Max: 25})
	r.before(5000, 5*time.Microsecond)
	if got := r.windows(50, 200, 15*time.Microsecond); got < 20 {
		t.Errorf("share %v %% for 15 µs after 5 µs", got)
	}
	if got := r.windows(50, 200, 100*time.Microsecond); got != 3 {
		t.Errorf("share %v %% for 100 µs after 5 µs", got)
	}
}

// The baseline follows the traffic, is not what is from long ago, and is not
// what a compaction did.
func TestGovernorBaseline(t *testing.T) {
	r := rule(t, GovernorOptions{Max: 25})
	baseline := func() time.Duration {
		r.Begin(r.now)
		r.End(r.now)
		return r.Stats().Baseline
	}
	idle := func(n int, typical time.Duration) {
		r.serve(n, typical)
		r.now = r.now.Add(10 * time.Second)
		r.Idle(r.now)
	}
	near := func(what string, got, want time.Duration) {
		t.Helper()
		if got < want*96/100 || got > want*104/100 {
			t.Errorf("%s: baseline %v, want about %v", what, got, want)
		}
	}
	idle(10_000, 10*typical)
	idle(10_000, typical)
	near("of the last generation", baseline(), 149*typical/100)
	idle(0, 0)
	near("after a silence", baseline(), 149*typical/100)

	r.Begin(r.now)
	r.windows(20, 500, 50*typical)
	r.Idle(r.now) // somebody looks while it runs
	r.End(r.now)
	near("without what was during a compaction", baseline(), 149*typical/100)
	idle(10_000, 2*typical)
	near("after it", baseline(), 298*typical/100)
}

// The next compaction begins as the last one ended.
func TestGovernorRemembersShare(t *testing.T) {
	r := rule(t, GovernorOptions{Max: 25})
	r.before(5000, typical)
	r.windows(100, 200, 5*typical)
	r.End(r.now)
	if percent, _ := r.Pace(r.now); percent != 25 {
		t.Errorf("%v %% for other work, want all that is allowed", percent)
	}
	r.before(5000, typical)
	if percent, _ := r.Pace(r.now); percent != 3 {
		t.Errorf("it begins with %v %%", percent)
	}
}

func TestGovernorRate(t *testing.T) {
	r := rule(t, GovernorOptions{Max: 40})
	r.before(5000, typical)
	r.windows(100, 200, 5*typical)
	r.SetRate(1 << 20)
	if percent, bytes := r.Pace(r.now); percent != 40 || bytes != 1<<20 {
		t.Errorf("%v %%, %d bytes/s", percent, bytes)
	}
	if st := r.Stats(); st.Rate != "1mb" || st.Bytes != 1<<20 || st.Share != 40 || st.Max != 40 {
		t.Errorf("stats %+v", st)
	}
	r.SetRate(0)
	if percent, bytes := r.Pace(r.now); percent != 40 || bytes != 0 {
		t.Errorf("adaptive again: %v %%, %d bytes/s", percent, bytes)
	}
	if st := r.Stats(); st.Rate != "adaptive" || st.Baseline == 0 || st.Current < 2*st.Baseline {
		t.Errorf("stats %+v", st)
	}
}

func TestParseRate(t *testing.T) {
	for in, want := range map[string]int64{"adaptive": 0, "Adaptive": 0, "32mb": 32 << 20, "1": 1} {
		if got, err := ParseRate(in); err != nil || got != want {
			t.Errorf("%q: %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "0", "0mb", "-1", "fast", "1.5mb"} {
		if got, err := ParseRate(in); err == nil {
			t.Errorf("%q: %d, want an error", in, got)
		}
	}
	if got := FormatRate(0) + FormatRate(32<<20); got != "adaptive32mb" {
		t.Error(got)
	}
}

func TestGovernorListsEveryFault(t *testing.T) {
	_, err := NewGovernor(GovernorOptions{Max: 101, Floor: 200, Limit: 0.5, Slack: -1, Window: -1, Before: -1, Enough: -1}, noon)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"share: 101", "smallest share", "limit", "slack", "window", "time before", "enough"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not among the faults:\n%v", want, err)
		}
	}
}

// Each bucket begins where the last one ends, and is at most a 32nd wide.
func TestBuckets(t *testing.T) {
	for i := range latencySteps - 1 {
		from, to := edge(i), edge(i+1)
		if bucketOf(from) != i || bucketOf(to-1) != i {
			t.Fatalf("bucket %d is %v to %v; these are in %d and %d", i, from, to, bucketOf(from), bucketOf(to-1))
		}
		if i >= 1<<subBits && (to-from)*32 > from {
			t.Fatalf("bucket %d is %v to %v", i, from, to)
		}
	}
	if bucketOf(-1) != 0 || bucketOf(time.Hour) != latencySteps-1 {
		t.Errorf("what is out of range is in %d and %d", bucketOf(-1), bucketOf(time.Hour))
	}
}

// Nothing is lost when everybody counts at once.
func TestObserveConcurrently(t *testing.T) {
	r := rule(t, GovernorOptions{Max: 25})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 1000 {
				r.Observe(time.Duration(i) * time.Microsecond)
				r.Pace(noon)
			}
		})
	}
	wg.Wait()
	c := r.all.read()
	if n := c.total(); n != 4000 {
		t.Errorf("%d of 4000 counted", n)
	}
	if p := c.p99(); p < 975*time.Microsecond || p > 1005*time.Microsecond {
		t.Errorf("p99 %v, want about 989 µs", p)
	}
	if n := testing.AllocsPerRun(100, func() { r.Observe(typical) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	g, err := NewGovernor(GovernorOptions{}, noon)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		g.Observe(typical)
	}
}

// All cores count the same latency, which is where they would contend.
func BenchmarkObserveParallel(b *testing.B) {
	g, err := NewGovernor(GovernorOptions{}, noon)
	if err != nil {
		b.Fatal(err)
	}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			g.Observe(typical)
		}
	})
}
