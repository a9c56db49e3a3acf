package follower

import (
	"context"
	"time"
)

// EventKind tells events apart. There are few, so they can label a metric.
type EventKind string

// What a follower tells.
const (
	EventContinue   EventKind = "continue"    // the leader streams from where we were
	EventFull       EventKind = "full"        // a full resync begins; Bytes is its size
	EventFullDone   EventKind = "full-done"   // the base is in force; Bytes is its size
	EventRanges     EventKind = "ranges"      // a range resync begins; Objects is how many are compared
	EventRangesDone EventKind = "ranges-done" // it is in force; Objects is how many came or went
	EventCaughtUp   EventKind = "caught-up"   // reached what the leader had when it answered
	EventDiverged   EventKind = "diverged"    // our state is not the leader's
	EventLost       EventKind = "lost"        // the connection, or the attempt, failed: Err
)

// Event is something that happened.
type Event struct {
	Kind    EventKind
	At      time.Time
	Leader  string // address
	Epoch   string
	Offset  int64 // where our log ended
	Bytes   int64
	Objects int64
	Err     error
}

// emit fills e in and tells it.
func (f *Follower) emit(ctx context.Context, e Event) {
	pos, _ := f.opt.Store.Position()
	e.At, e.Leader, e.Epoch, e.Offset = f.opt.Now(), f.opt.Leader, pos.Epoch, pos.Offset
	f.tell.Tell(ctx, e, "leader", e.Leader, "epoch", e.Epoch, "offset", e.Offset)
}
