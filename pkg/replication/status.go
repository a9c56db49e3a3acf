package replication

import (
	"fmt"
	"time"
)

// State is what a follower is doing.
type State string

// The states of a follower, in the order in which they follow each other.
const (
	Connecting  State = "connecting"   // no stream: dialing, or waiting to try again
	FullResync  State = "full-resync"  // taking a base
	RangeResync State = "range-resync" // taking what differs from the leader's state
	CatchingUp  State = "catching-up"  // taking what the leader had when it answered
	Streaming   State = "streaming"    // taking what the leader writes
)

// ResyncProgress is how far a resync is: in bytes of a base, or in objects that
// have been compared.
type ResyncProgress struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
	// Changed is how many objects a range resync has brought or taken away.
	Changed int64 `json:"changed,omitempty"`
}

// Status is what a follower knows about itself. Offsets are logical offsets of
// Epoch; times are this machine's.
type Status struct {
	State    State  `json:"state"`
	Leader   string `json:"leader"`              // address
	LeaderID string `json:"leader_id,omitempty"` // server id, once the leader said it
	Epoch    string `json:"epoch"`
	// Offset up to which the follower has applied the log.
	Offset int64 `json:"offset"`
	// LeaderOffset is the largest offset that the leader has spoken of.
	LeaderOffset int64 `json:"leader_offset"`
	LagBytes     int64 `json:"lag_bytes"`
	// LagSeconds is how old, by the leader's clock, the state here is; 0 while
	// nothing is missing and heartbeats come, -1 while unknown. It grows while
	// there is no connection.
	LagSeconds float64 `json:"lag_seconds"`
	// SilentSeconds since the leader last said anything.
	SilentSeconds float64 `json:"silent_seconds"`
	// DigestEqual: no difference from the leader's state is known.
	DigestEqual bool `json:"digest_equal"`
	// CaughtUp: the offset has reached the one that the leader had when this
	// connection, or while there is none the last one, was made.
	CaughtUp bool `json:"caught_up"`

	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`

	Reconnects      int64          `json:"reconnects"` // streams after the first
	FullResyncs     int64          `json:"full_resyncs"`
	RangeResyncs    int64          `json:"range_resyncs"`
	ContinueResyncs int64          `json:"continue_resyncs"`
	Divergences     int64          `json:"divergences"`
	BytesReceived   int64          `json:"bytes_received"`
	Resync          ResyncProgress `json:"resync"`
}

// Ready reports whether the follower may be asked for data, and every reason
// why not. A lost connection alone is no reason: the state here stays true
// until it is older than maxLag.
func (s Status) Ready(maxLag time.Duration) (bool, []string) {
	var reasons []string
	if !s.DigestEqual {
		reasons = append(reasons, "the state differs from the leader's (digest), a resync is needed")
	}
	if s.State == FullResync {
		reasons = append(reasons, fmt.Sprintf("full resync from %s: %d of %d bytes",
			s.Leader, s.Resync.Done, s.Resync.Total))
	}
	if s.State == RangeResync {
		reasons = append(reasons, fmt.Sprintf("range resync from %s: %d of %d objects compared",
			s.Leader, s.Resync.Done, s.Resync.Total))
	}
	if !s.CaughtUp && s.State != FullResync && s.State != RangeResync {
		reasons = append(reasons, s.notCaughtUp())
	}
	if s.LagSeconds < 0 && s.CaughtUp {
		reasons = append(reasons, "the lag behind the leader is unknown")
	}
	if s.LagSeconds > maxLag.Seconds() {
		reasons = append(reasons, fmt.Sprintf("%.1f s behind the leader, the limit is %.1f s",
			s.LagSeconds, maxLag.Seconds()))
	}
	return len(reasons) == 0, reasons
}

func (s Status) notCaughtUp() string {
	if s.State != Connecting {
		return fmt.Sprintf("catching up with %s: at offset %d of %d", s.Leader, s.Offset, s.LeaderOffset)
	}
	if s.LastError == "" {
		return "no connection to leader " + s.Leader + " yet"
	}
	return fmt.Sprintf("no connection to leader %s: %s", s.Leader, s.LastError)
}
