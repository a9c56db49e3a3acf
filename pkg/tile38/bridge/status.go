package bridge

import (
	"context"
	"log/slog"
	"time"

	"evenkeel/pkg/replication"
)

// EventKind says what happened.
type EventKind string

// What happens.
const (
	EventFollower        EventKind = "the follower has connected"
	EventFollowerUnknown EventKind = "the follower has connected, and is not where it was sent to"
	EventFollowerLost    EventKind = "the follower's connection has ended"
	EventContinued       EventKind = "the leader's stream goes on"
	EventFound           EventKind = "the leader's stream goes on in its new file"
	EventFresh           EventKind = "the follower is empty and takes the leader's file"
	EventDifference      EventKind = "the leader's file is read to find the difference"
	EventDifferenceDone  EventKind = "the follower is equal to the leader's file"
	EventFull            EventKind = "LAST RESORT: the follower is emptied and takes the leader's file"
	EventCaughtUp        EventKind = "the follower has all that the leader had"
	EventVerified        EventKind = "the counts of both sides agree"
	EventDiverged        EventKind = "the follower is not equal to the leader"
	EventRefused         EventKind = "REFUSED: the leader has none of the follower's collections"
	EventLost            EventKind = "the leader's connection has ended"
)

// Event is something that happened.
type Event struct {
	Kind     EventKind
	At       time.Time
	Leader   string // address
	Offset   int64  // that the follower has, in the leader's file
	Bytes    int64  // of the leader's file that were searched or read, or that the follower lacks
	Commands int64  // of a difference
	Err      error
}

// Resumes counts how streams of the leader began.
type Resumes struct {
	Continued  int64 `json:"continued"`    // where the last one ended
	Found      int64 `json:"found"`        // behind what was taken last, in a rewritten file
	FoundByLog int64 `json:"found_by_log"` // behind what the follower's own file ends with
	Fresh      int64 `json:"fresh"`        // at the beginning, for an empty follower
	Difference int64 `json:"difference"`   // behind a difference
	Full       int64 `json:"full"`         // at the beginning, behind a FLUSHDB
}

// Status is what a Bridge knows. Offsets are bytes of the leader's file.
type Status struct {
	replication.Status
	// Follower: it is connected.
	Follower bool `json:"follower"`
	// Verified: since its last connection the follower was found equal to the leader,
	// by a comparison or by counts, and not unequal since.
	Verified bool `json:"verified"`
	// LeaderRefused: the leader that answers has none of the follower's collections.
	LeaderRefused bool `json:"leader_refused"`
	// HeartbeatAt is when the newest heartbeat that the follower has was written, by
	// the leader's clock; zero: it has none.
	HeartbeatAt time.Time `json:"heartbeat_at,omitzero"`

	Resumes            Resumes `json:"resumes"`
	BytesSent          int64   `json:"bytes_sent"`          // to the follower
	BytesSearched      int64   `json:"bytes_searched"`      // of the leader's file, for a place
	DifferenceCommands int64   `json:"difference_commands"` // that differences consisted of
	FollowerConnects   int64   `json:"follower_connects"`
	Refused            int64   `json:"refused"` // commands of the leader's file that a difference passed over
}

// Status returns what is known now.
func (b *Bridge) Status() Status {
	now := b.opt.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.st
	s.Status = b.p.Status(now)
	s.Follower = b.link != nil
	return s
}

// Ready reports whether reads may be sent to the follower, and every reason why
// not. A maxLag of 0 means Options.MaxLag.
func (b *Bridge) Ready(maxLag time.Duration) (bool, []string) {
	if maxLag == 0 {
		maxLag = b.opt.MaxLag
	}
	s := b.Status()
	level := s.Status
	if since := b.opt.Now().Sub(b.levelSince()); (!s.CaughtUp || s.LagSeconds < 0) && s.State != replication.RangeResync && since <= maxLag {
		// The leader's stream was gone on with, and soon it is known how far: until then
		// what is here is as true as it was before.
		level.CaughtUp, level.LagSeconds = true, since.Seconds()
	}
	_, reasons := level.Ready(maxLag)
	if !s.Follower && s.FollowerConnects == 0 {
		reasons = append(reasons, "the follower has not connected to the bridge yet")
	}
	if s.LeaderRefused {
		reasons = append(reasons, ErrEmptyLeader.Error())
	}
	if !s.Verified && level.CaughtUp {
		reasons = append(reasons, "the follower has not been compared with the leader yet")
	}
	return len(reasons) == 0, reasons
}

// levelSince is when the follower was last known to have what the leader had, if no
// other way than going on with the stream was taken since; else zero.
func (b *Bridge) levelSince() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.levelAt
}

// count changes the status.
func (b *Bridge) count(change func(s *Status)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.st)
}

// progress tells the machine of something that happened.
func (b *Bridge) progress(tell func(p *replication.Progress)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	tell(b.p)
}

// levels of events; others are for information.
func (k EventKind) level() slog.Level {
	switch k {
	case EventFull, EventDiverged, EventRefused:
		return slog.LevelError
	case EventFollowerUnknown, EventFollowerLost, EventLost, EventDifference:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// happened fills e in and tells it.
func (b *Bridge) happened(ctx context.Context, e Event) {
	e.At, e.Leader, e.Offset = b.opt.Now(), b.opt.Leader, b.Status().Offset
	level := e.Kind.level()
	attrs := []any{"leader", e.Leader, "offset", e.Offset}
	if e.Bytes > 0 {
		attrs = append(attrs, "bytes", e.Bytes)
	}
	if e.Commands > 0 {
		attrs = append(attrs, "commands", e.Commands)
	}
	if e.Err != nil {
		attrs = append(attrs, "error", e.Err)
		b.mu.Lock()
		if text := string(e.Kind) + e.Err.Error(); text == b.lastTold {
			level = slog.LevelDebug // the same again: one line in the log is enough
		} else {
			b.lastTold = text
		}
		b.mu.Unlock()
	}
	b.opt.Logger.Log(ctx, level, "bridge: "+string(e.Kind), attrs...)
	b.opt.OnEvent(e)
}
