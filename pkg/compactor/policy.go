package compactor

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Policy says when the log is worth a compaction. Zero durations stand for
// their defaults (see EnsureDefaults); a zero MinSize switches automatic
// compaction off.
type Policy struct {
	MinSize    int64         `json:"min_size_bytes"` // aofshrink-min-size: bytes that the log must reach; 0 = off
	Growth     int           `json:"growth_percent"` // aofshrink-growth: percent over the last base that must have been added
	CheckEvery time.Duration `json:"check_every_ns"` // time between two looks at the log
	Cooldown   time.Duration `json:"cooldown_ns"`    // rest after a compaction that succeeded
	BackoffMin time.Duration `json:"backoff_min_ns"` // rest after one failure; doubled by every further one
	BackoffMax time.Duration `json:"backoff_max_ns"` // the longest rest after failures
}

// DefaultPolicy is what a server starts with: 64 MiB and 100 %.
func DefaultPolicy() Policy {
	p := Policy{MinSize: 64 << 20, Growth: 100}
	p.EnsureDefaults()
	return p
}

// EnsureDefaults fills in the durations that are zero. MinSize and Growth are
// left alone: their zero has a meaning.
func (p *Policy) EnsureDefaults() {
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&p.CheckEvery, 10 * time.Second},
		{&p.Cooldown, time.Minute},
		{&p.BackoffMin, time.Minute},
		{&p.BackoffMax, time.Hour},
	} {
		if *d.value == 0 {
			*d.value = d.def
		}
	}
}

// Validate lists every fault of the policy.
func (p Policy) Validate() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(p.MinSize < 0, "aofshrink-min-size: %d bytes is below 0", p.MinSize)
	fault(p.Growth < 0, "aofshrink-growth: %d %% is below 0", p.Growth)
	fault(p.CheckEvery <= 0, "check interval: %v is not above 0", p.CheckEvery)
	fault(p.Cooldown < 0, "cooldown: %v is below 0", p.Cooldown)
	fault(p.BackoffMin <= 0, "shortest back-off: %v is not above 0", p.BackoffMin)
	fault(p.BackoffMax < p.BackoffMin, "longest back-off: %v is below the shortest, %v", p.BackoffMax, p.BackoffMin)
	return errors.Join(faults...)
}

// backoff is the rest after that many failures in a row.
func (p Policy) backoff(failures int) time.Duration {
	rest := p.BackoffMin
	for ; failures > 1; failures-- {
		if rest > p.BackoffMax/2 { // also keeps the doubling from overflowing
			return p.BackoffMax
		}
		rest *= 2
	}
	return rest
}

// Facts are what the log looks like now. All sizes are bytes on disk.
type Facts struct {
	LogBytes  int64 `json:"log_bytes"`  // the base and all segments since it
	BaseBytes int64 `json:"base_bytes"` // the base; 0 when there is none
	LiveBytes int64 `json:"live_bytes"` // estimate of what a new base would take
	FreeBytes int64 `json:"free_bytes"` // free on the log's disk; below 0 when that is unknown
}

// History is what has been tried, as far as the decision needs it.
type History struct {
	Now      time.Time
	Running  bool
	LastEnd  time.Time // when the last compaction ended, well or not; zero when there was none
	Failures int       // failures in a row up to LastEnd
}

// Cause names the rule that decided.
type Cause string

// The rules, in the order in which they are asked.
const (
	CauseOff      Cause = "off"      // aofshrink-min-size is 0
	CauseRunning  Cause = "running"  // a compaction is running
	CauseSize     Cause = "size"     // the log is under the size floor
	CauseGrowth   Cause = "growth"   // too little was added since the base
	CauseBackoff  Cause = "backoff"  // the last compactions failed
	CauseCooldown Cause = "cooldown" // the last compaction ended just now
	CauseDisk     Cause = "disk"     // no room for a new base beside the old
	CauseDue      Cause = "due"      // nothing speaks against it
)

// Decision is whether to compact now, and why or why not.
type Decision struct {
	Run       bool      `json:"run"`
	Cause     Cause     `json:"cause"`
	Reason    string    `json:"reason"`              // one sentence for a person
	NotBefore time.Time `json:"not_before,omitzero"` // when time alone stands against it: until when; else zero
}

// Decide says whether the log should be compacted now. Both the size floor and
// the growth must be crossed; a log without a base has grown without bound.
func Decide(p Policy, f Facts, h History) Decision {
	no := func(c Cause, format string, args ...any) Decision {
		return Decision{Cause: c, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case p.MinSize == 0:
		return no(CauseOff, "aofshrink-min-size is 0: automatic compaction is off")
	case h.Running:
		return no(CauseRunning, "a compaction is running")
	case f.LogBytes < p.MinSize:
		return no(CauseSize, "the log has %s, under aofshrink-min-size %s", approx(f.LogBytes), FormatSize(p.MinSize))
	}
	added := f.LogBytes - f.BaseBytes
	if f.BaseBytes > 0 && float64(added) < float64(f.BaseBytes)*float64(p.Growth)/100 {
		return no(CauseGrowth, "%s since the base of %s (%d %%), under aofshrink-growth %d %%",
			approx(added), approx(f.BaseBytes), int(math.Floor(100*float64(added)/float64(f.BaseBytes))), p.Growth)
	}
	if d := rest(p, h); d.Cause != "" {
		return d
	}
	if d := CheckDisk(f); d.Cause != "" {
		return d
	}
	return Decision{Run: true, Cause: CauseDue,
		Reason: fmt.Sprintf("the log has %s, %s of it since the base", approx(f.LogBytes), approx(added))}
}

// rest asks the rules of time; the zero Decision means that they agree.
func rest(p Policy, h History) Decision {
	if h.LastEnd.IsZero() {
		return Decision{}
	}
	if h.Failures > 0 {
		if until := h.LastEnd.Add(p.backoff(h.Failures)); h.Now.Before(until) {
			return Decision{Cause: CauseBackoff, NotBefore: until,
				Reason: fmt.Sprintf("%d failed in a row: the next try comes in %v", h.Failures, until.Sub(h.Now).Round(time.Second))}
		}
		return Decision{}
	}
	if until := h.LastEnd.Add(p.Cooldown); h.Now.Before(until) {
		return Decision{Cause: CauseCooldown, NotBefore: until,
			Reason: fmt.Sprintf("cooling down for another %v", until.Sub(h.Now).Round(time.Second))}
	}
	return Decision{}
}

// Threshold is the size of the log from which on Decide finds it worth a
// compaction; 0: it never does.
func (p Policy) Threshold(f Facts) int64 {
	if p.MinSize == 0 {
		return 0
	}
	return max(p.MinSize, f.BaseBytes+int64(math.Ceil(float64(f.BaseBytes)*float64(p.Growth)/100)))
}

// CheckDisk asks whether a new base fits beside the old one: the disk must have
// as much room as the live data is thought to take. The zero Decision means
// that it fits, or that nobody knows. Compactions by hand keep this rule too.
func CheckDisk(f Facts) Decision {
	if f.FreeBytes < 0 || f.FreeBytes >= f.LiveBytes {
		return Decision{}
	}
	return Decision{Cause: CauseDisk,
		Reason: fmt.Sprintf("the disk has %s free, a new base needs about %s", approx(f.FreeBytes), approx(f.LiveBytes))}
}
