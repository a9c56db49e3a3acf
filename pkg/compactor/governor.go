package compactor

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"
)

// adaptive is the rate that goes with the latency of requests.
const adaptive = "adaptive"

// ParseRate reads compaction-rate: "adaptive", which is 0, or a size above 0,
// in bytes per second.
func ParseRate(s string) (bytesPerSecond int64, err error) {
	if strings.EqualFold(s, adaptive) {
		return 0, nil
	}
	n, err := ParseSize(s)
	if err == nil && n == 0 {
		err = fmt.Errorf("%w: %q would never end", ErrSize, s)
	}
	return n, err
}

// FormatRate writes a rate so that ParseRate gives it again.
func FormatRate(bytesPerSecond int64) string {
	if bytesPerSecond == 0 {
		return adaptive
	}
	return FormatSize(bytesPerSecond)
}

// GovernorOptions say how a Governor decides.
type GovernorOptions struct {
	Max    float64       // share of one processor at most, in percent. Default 12
	Floor  float64       // share that a compaction has in any case, so that it ends. Default 3, or Max if that is less
	Limit  float64       // p99 may be so many times what it was. Default 1.1
	Slack  time.Duration // and so much more: nobody who is not on the same machine could tell. Default 20 µs
	Window time.Duration // time between two decisions. Default 100 ms
	Before time.Duration // the baseline is the p99 of one to two of these. Default 10 s
	Enough int64         // requests without which nothing is decided. Default 100
}

// EnsureDefaults fills in what is zero.
func (o *GovernorOptions) EnsureDefaults() {
	number := func(v *float64, def float64) {
		if *v == 0 {
			*v = def
		}
	}
	number(&o.Max, 12)
	number(&o.Floor, min(3, o.Max))
	number(&o.Limit, 1.1)
	if o.Slack == 0 {
		o.Slack = 20 * time.Microsecond
	}
	if o.Window == 0 {
		o.Window = 100 * time.Millisecond
	}
	if o.Before == 0 {
		o.Before = 10 * time.Second
	}
	if o.Enough == 0 {
		o.Enough = 100
	}
}

// Validate lists every fault of the options.
func (o GovernorOptions) Validate() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(o.Max <= 0 || o.Max > 100, "share: %v %% is not above 0 and up to 100", o.Max)
	fault(o.Floor <= 0 || o.Floor > o.Max, "smallest share: %v %% is not above 0 and up to the largest, %v", o.Floor, o.Max)
	fault(o.Limit < 1, "limit: %v times the latency before is below 1", o.Limit)
	fault(o.Slack < 0, "slack: %v is below 0", o.Slack)
	fault(o.Window <= 0, "window: %v is not above 0", o.Window)
	fault(o.Before <= 0, "time before: %v is not above 0", o.Before)
	fault(o.Enough < 1, "enough requests: %d is below 1", o.Enough)
	return errors.Join(faults...)
}

// How the share moves with each decision.
const (
	fallTo   = 0.6      // of what it was
	riseBy   = 1.0 / 16 // of the largest
	strayers = 2        // standard deviations by which more than one in a hundred may be slow by chance
)

// Governor sets the share of a processor that a compaction may take. The share
// falls while more than one request in a hundred takes longer than Limit times
// the p99 of the time before the compaction, and rises while they do not. It has
// no clock: times are passed in, and do not go back. Its methods are safe for
// concurrent use.
type Governor struct {
	opt GovernorOptions
	all latencies

	mu      sync.Mutex // guards what follows
	rate    int64      // bytes per second; 0: adaptive
	running bool
	share   float64

	// Before a compaction: what was counted in the last generation, and where the
	// one at hand began.
	last   counts
	mark   counts
	markAt time.Time

	// During one.
	baseline time.Duration
	limit    time.Duration // 0: it is not known what is slow
	seen     counts
	seenAt   time.Time
	slow, n  int64 // requests since the last decision, and the slow ones among them
	current  time.Duration
}

// NewGovernor makes a governor that begins to count at now.
func NewGovernor(o GovernorOptions, now time.Time) (*Governor, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("governor: %w", err)
	}
	return &Governor{opt: o, share: o.Max, markAt: now}, nil
}

// Observe counts a request that took d. It is called for every one.
func (g *Governor) Observe(d time.Duration) { g.all.add(d) }

// SetRate replaces the rate: bytes per second, or 0 for adaptive.
func (g *Governor) SetRate(bytesPerSecond int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.rate > 0 && bytesPerSecond == 0 {
		g.share = g.opt.Max
	}
	g.rate = bytesPerSecond
}

// Idle is called now and then while no compaction runs; a baseline older than
// two generations is forgotten then. It is kept while there are no requests.
func (g *Governor) Idle(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running || now.Sub(g.markAt) < g.opt.Before {
		return
	}
	c := g.all.read()
	fresh := c.since(&g.mark)
	if fresh.total() < g.opt.Enough {
		return
	}
	g.last, g.mark, g.markAt = fresh, c, now
}

// Begin says that a compaction begins.
func (g *Governor) Begin(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.all.read()
	before := c.since(&g.mark)
	before = before.plus(&g.last)
	g.running, g.seen, g.seenAt = true, c, now
	g.baseline, g.limit, g.slow, g.n, g.current = 0, 0, 0, 0, 0
	if before.total() < g.opt.Enough {
		return
	}
	g.baseline = before.p99()
	g.limit = max(time.Duration(float64(g.baseline)*g.opt.Limit), g.baseline+g.opt.Slack)
}

// End says that the compaction has ended. The next one begins with the share
// that this one had.
func (g *Governor) End(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running = false
	g.mark, g.markAt = g.all.read(), now
}

// Pace returns the share of a processor in percent, and the bytes per second
// that go with it; 0 for any number.
func (g *Governor) Pace(now time.Time) (percent float64, bytesPerSecond int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.running || g.rate > 0 || g.limit == 0 {
		return g.opt.Max, g.rate
	}
	if now.Sub(g.seenAt) >= g.opt.Window {
		g.decide(now)
	}
	return g.share, 0
}

// decide looks at the requests since the last look. The caller holds mu.
func (g *Governor) decide(now time.Time) {
	c := g.all.read()
	fresh := c.since(&g.seen)
	g.seen, g.seenAt = c, now
	n := fresh.total()
	if n == 0 { // nobody is harmed
		g.n, g.slow = 0, 0
		g.rise()
		return
	}
	g.current = fresh.p99()
	g.n += n
	g.slow += fresh.above(g.limit)
	if g.n < g.opt.Enough {
		return // too few to tell: they count in the next decision
	}
	expected := float64(g.n) / 100
	if float64(g.slow) > expected+strayers*math.Sqrt(expected) {
		g.share = max(g.share*fallTo, g.opt.Floor)
		g.n, g.slow = 0, 0 // they have had their effect
		return
	}
	g.rise()
	g.n, g.slow = g.n/2, g.slow/2 // a little too many, again and again, is too many
}

func (g *Governor) rise() { g.share = min(g.share+g.opt.Max*riseBy, g.opt.Max) }

// PaceStats are a look at the governor.
type PaceStats struct {
	Rate     string        `json:"rate"`              // compaction-rate
	Bytes    int64         `json:"bytes_per_second"`  // 0: adaptive
	Share    float64       `json:"share_percent"`     // of one processor, that a compaction has or would begin with
	Max      float64       `json:"max_share_percent"` // --compaction-cpu
	Baseline time.Duration `json:"p99_before_ns"`     // of the requests before the last compaction; 0: unknown
	Current  time.Duration `json:"p99_during_ns"`     // of those of the last window with any
}

// Stats is a consistent copy of the numbers.
func (g *Governor) Stats() PaceStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	st := PaceStats{
		Rate: FormatRate(g.rate), Bytes: g.rate, Share: g.share, Max: g.opt.Max, Baseline: g.baseline, Current: g.current,
	}
	if g.rate > 0 {
		st.Share = g.opt.Max
	}
	return st
}
