package shrink

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Seen is what a server said at one moment.
type Seen struct {
	At          time.Time
	Err         string // why it said nothing
	Refused     bool   // it has never caught up with its leader, and says nothing else
	ID          string
	Following   string
	CaughtUp    bool
	AOFSize     int64  // bytes, as it counts
	Hooks       int64  // and channels
	Beat        string // all heartbeats that it has; each is written once
	Collections map[string]Count
}

// Look is a follower between two looks at its leader.
type Look struct {
	Before, Follower, After Seen
	File                    int64 // bytes of the follower's file; below 0: unknown
}

// Condition is what is the matter with a follower.
type Condition string

// The conditions.
const (
	Fine        Condition = "fine"
	CatchingUp  Condition = "catching-up" // it says so, or it reads the log anew
	Doubled     Condition = "doubled"     // its aof_size counts more than its leader's log: caught_up says nothing
	Diverged    Condition = "diverged"    // its objects are not its leader's
	Detached    Condition = "detached"    // it has no leader
	Comparing   Condition = "comparing"   // its counts are right again, and its objects are not known to be
	Unreachable Condition = "unreachable"
	Unknown     Condition = "unknown" // its leader does not answer
)

// Judgement is a condition and why.
type Judgement struct {
	Condition Condition `json:"condition"`
	Reasons   []string  `json:"reasons,omitempty"`
	// Got is how far it has come, in bytes of its own count: what is catching up and
	// does not get on is stuck.
	Got int64 `json:"aof_size"`
}

// Sick says that it does not become fine by itself.
func (j Judgement) Sick() bool { return j.Condition == Doubled || j.Condition == Diverged }

// Rules say how exact sizes are.
type Rules struct {
	// Slack is by how many bytes the sizes of two logs with the same objects may
	// differ: a follower logs what is over itself, and nothing that changes nothing.
	Slack int64
	// Bridged: the sidecar of the follower keeps its log, whose size says nothing.
	Bridged bool
}

// maxReasons is how many differing collections are named.
const maxReasons = 8

// Judge says what is the matter with a follower, from one look or several in order.
// What traffic may explain is no fault: a count is wrong that lies outside of what
// the leader had during all looks, in each of them.
func Judge(looks []Look, r Rules) Judgement {
	last := looks[len(looks)-1]
	f := last.Follower
	one := func(c Condition, format string, args ...any) Judgement {
		return Judgement{Condition: c, Reasons: []string{fmt.Sprintf(format, args...)}, Got: f.AOFSize}
	}
	switch {
	case f.Err != "":
		return one(Unreachable, "it does not answer: %s", f.Err)
	case f.Refused:
		return one(CatchingUp, "it has not caught up with its leader yet")
	case f.Following == "":
		return one(Detached, "it follows nobody")
	case last.Before.Err != "" || last.After.Err != "":
		return one(Unknown, "the leader does not answer: %s", last.Before.Err+last.After.Err)
	case f.ID == last.After.ID:
		return one(Detached, "it is the leader itself")
	}
	switch level, beats := levelBy(looks); {
	case level:
	case beats:
		return one(CatchingUp, "it has not read the last heartbeat of its leader")
	case !f.CaughtUp:
		return one(CatchingUp, "caught_up is false")
	case !r.Bridged:
		if late := lateness(looks, r); late != "" {
			return one(CatchingUp, "%s", late)
		}
	}
	j := Judgement{Condition: Fine, Got: f.AOFSize}
	if !r.Bridged {
		if why := doubled(looks, r); why != "" {
			j.Condition, j.Reasons = Doubled, []string{why}
		}
	}
	if differs := differences(looks); len(differs) > 0 {
		j.Condition = Diverged
		j.Reasons = append(j.Reasons, differs...)
	}
	return j
}

// levelBy says whether a follower had all that its leader had written before a look,
// and whether the leader writes heartbeats, without which that cannot be known. It is
// exact where caught_up and sizes are not: a follower logs nothing of a command that
// changes nothing for it, such as the DEL behind a dump that has the object no more, so
// that its aof_size may stay behind for ever.
func levelBy(looks []Look) (level, beats bool) {
	for _, l := range looks {
		if l.Before.Beat == "" {
			continue
		}
		beats = true
		if l.Follower.Beat == l.Before.Beat || l.Follower.Beat == l.After.Beat {
			return true, true
		}
	}
	return false, beats
}

// lateness says why a follower that calls itself caught up is not, by its
// sizes: "" if it is.
func lateness(looks []Look, r Rules) string {
	first, last := looks[0], looks[len(looks)-1]
	if last.File >= 0 && last.File < last.Before.AOFSize-r.Slack {
		return fmt.Sprintf("its file has %d of %d bytes", last.File, last.Before.AOFSize)
	}
	if n := last.Before.AOFSize - last.Follower.AOFSize; n > r.Slack {
		return fmt.Sprintf("it is %d bytes behind", n)
	}
	grown := last.Follower.AOFSize - first.Follower.AOFSize
	if most := last.After.AOFSize - first.Before.AOFSize; grown > max(0, most)+r.Slack {
		return fmt.Sprintf("it reads the log anew: %d bytes while the leader wrote %d", grown, most)
	}
	return ""
}

// doubled says how aof_size is wrong: "" if it is not.
func doubled(looks []Look, r Rules) string {
	last := looks[len(looks)-1]
	for _, l := range looks {
		if l.Follower.AOFSize <= l.After.AOFSize+r.Slack && (l.File < 0 || l.Follower.AOFSize <= l.File+r.Slack) {
			return ""
		}
	}
	if last.File >= 0 && last.Follower.AOFSize > last.File+r.Slack {
		return fmt.Sprintf("its aof_size is %d, its file has %d bytes", last.Follower.AOFSize, last.File)
	}
	return fmt.Sprintf("its aof_size is %d, the leader's %d", last.Follower.AOFSize, last.After.AOFSize)
}

// differences names the collections that are another size than the leader's.
func differences(looks []Look) (reasons []string) {
	keys := map[string]bool{}
	for _, l := range looks {
		for _, s := range []Seen{l.Before, l.Follower, l.After} {
			for k := range s.Collections {
				keys[k] = true
			}
		}
	}
	more := 0
	add := func(name string, of func(Seen) int64) bool {
		if why := outside(looks, of); why != "" {
			if len(reasons) < maxReasons {
				reasons = append(reasons, name+": "+why)
			} else {
				more++
			}
			return true
		}
		return false
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		name := fmt.Sprintf("collection %.100q", k)
		_ = add(name+", objects", func(s Seen) int64 { return s.Collections[k].Objects }) ||
			add(name+", points", func(s Seen) int64 { return s.Collections[k].Points }) ||
			add(name+", strings", func(s Seen) int64 { return s.Collections[k].Strings })
	}
	add("hooks and channels", func(s Seen) int64 { return s.Hooks })
	if more > 0 {
		reasons = append(reasons, fmt.Sprintf("and %d more", more))
	}
	return reasons
}

// outside says how a number of the follower's is none that the leader had: "" if it
// may be.
func outside(looks []Look, of func(Seen) int64) string {
	low, high := of(looks[0].Before), of(looks[0].Before)
	for _, l := range looks {
		low = min(low, of(l.Before), of(l.After))
		high = max(high, of(l.Before), of(l.After))
	}
	for _, l := range looks {
		if n := of(l.Follower); n >= low && n <= high {
			return ""
		}
	}
	last := looks[len(looks)-1]
	return fmt.Sprintf("%d, the leader has %d", of(last.Follower), of(last.After))
}
