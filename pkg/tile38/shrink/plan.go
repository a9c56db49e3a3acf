package shrink

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kind of a Step.
type Kind string

// The steps.
const (
	Wait   Kind = "wait"    // and look again
	Shrink Kind = "shrink"  // rewrite the leader's log once more
	Reset  Kind = "reset"   // let these followers begin anew
	Done   Kind = "done"    // all are fine
	GiveUp Kind = "give-up" // some are not, and nothing is left to do
)

// Step is what comes next.
type Step struct {
	Kind      Kind     `json:"kind"`
	Followers []string `json:"followers,omitempty"` // whom it is about
	Why       string   `json:"why"`
}

// Patient is a follower as Plan sees it.
type Patient struct {
	Addr      string
	Bridged   bool
	Judgement Judgement
	Since     time.Time // since when it has not got on
	Resets    int       // that it has had
	// Compared is what the last comparison of its objects came to; nil: there was none.
	Compared *Comparison
}

// View is all that Plan goes by.
type View struct {
	Now            time.Time
	Stall          time.Duration
	Shrinks        int // made to heal, beside the one that made it necessary
	MaxShrinks     int
	MaxUnavailable int
	Reset          bool   // is allowed
	LogBytes       int64  // of the leader's log
	Block          int64  // see Options.Block
	Stranger       string // why the leader is not to be made equal to; "": it is the leader
	Followers      []Patient
}

// Plan says what comes next. It waits for all that may become fine by themselves,
// each for a bounded time, so that nobody is dropped while it catches up; then those
// that do not are healed, all at once by a rewrite of the leader's log, which drops
// every follower without a bridge, or some at a time by a reset.
func Plan(v View) Step {
	var waiting, stuck, sick, why []string
	unbridged := 0
	for _, p := range v.Followers {
		if !p.Bridged {
			unbridged++
		}
		switch {
		case p.Judgement.Condition == Fine:
		case p.Judgement.Sick() && !p.Bridged:
			sick = append(sick, p.Addr)
		case v.Now.Sub(p.Since) < v.Stall:
			waiting = append(waiting, p.Addr)
			why = append(why, strings.Join(p.Judgement.Reasons, "; "))
		default:
			stuck = append(stuck, p.Addr)
		}
	}
	switch {
	case len(waiting) > 0:
		return Step{Wait, waiting, "they may become fine by themselves: " + strings.Join(why, ", ")}
	case len(sick) == 0 && len(stuck) == 0:
		return Step{Kind: Done, Why: "all followers are fine"}
	case len(sick) == 0:
		return Step{GiveUp, stuck, fmt.Sprintf("not fine within %v, and no rewrite helps", v.Stall)}
	}
	if v.Stranger != "" {
		return Step{GiveUp, slices.Concat(sick, stuck), v.Stranger}
	}
	noShrink := v.refusal()
	reset := v.resettable(sick, len(stuck))
	switch {
	case len(reset) > 0 && noShrink != "":
		return Step{Reset, reset, "no rewrite heals them: " + noShrink}
	case len(reset) > 0 && unbridged > v.MaxUnavailable:
		return Step{Reset, reset, fmt.Sprintf("a rewrite would drop %d followers at once, and %d may be unfit", unbridged, v.MaxUnavailable)}
	case noShrink == "":
		return Step{Shrink, sick, "they find the file that they have read and load it again"}
	}
	return Step{GiveUp, slices.Concat(sick, stuck), noShrink}
}

// refusal says why a rewrite heals nobody: "" if it may.
func (v View) refusal() string {
	switch {
	case v.LogBytes < v.Block:
		return fmt.Sprintf("the leader's log has %d bytes; with less than %d a follower reads all of it each time", v.LogBytes, v.Block)
	case v.MaxShrinks == 0:
		return "no further rewrite is allowed"
	case v.Shrinks >= v.MaxShrinks:
		return fmt.Sprintf("%d further rewrites have not healed them", v.Shrinks)
	}
	return ""
}

// resettable lists those who may be reset now: as many as may be unfit, others that
// are unfit included.
func (v View) resettable(sick []string, stuck int) []string {
	if !v.Reset {
		return nil
	}
	var addrs []string
	for _, p := range v.Followers {
		if p.Resets == 0 && slices.Contains(sick, p.Addr) {
			addrs = append(addrs, p.Addr)
		}
	}
	// One at least: who is stuck may be so for ever.
	return addrs[:min(len(addrs), max(1, v.MaxUnavailable-stuck))]
}

// String is a step in words.
func (s Step) String() string {
	if len(s.Followers) == 0 {
		return fmt.Sprintf("%s: %s", s.Kind, s.Why)
	}
	return fmt.Sprintf("%s %s: %s", s.Kind, strings.Join(s.Followers, ", "), s.Why)
}
