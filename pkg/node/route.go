package node

import (
	"context"
	"errors"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/forward"
	"evenkeel/pkg/upstream"
)

// ownWrites is what a session remembers of what it has written through the leader.
type ownWrites struct {
	some   bool             // this follower may not have it yet
	known  bool             // at is
	at     forward.Position // where the leader's log has all of it
	missed time.Time        // when waiting for it was last in vain
}

// routes says whether the node sends commands to somebody else.
func (n *Node) routes() bool {
	return n.links != nil && n.role.given() && !n.role.leads()
}

// goes says whether a command is the leader's. It may wait until this follower has
// what the same client has written.
func (s *session) goes(e *entry, args []string) bool {
	if s.node.links == nil || s.forwarded || s.stays || e == nil || s.node.role.leads() {
		return false
	}
	inner := e
	for inner != nil && inner.name == "timeout" {
		if len(args) < 3 {
			return false
		}
		args = args[2:]
		inner = s.node.lookup(args[0])
	}
	if inner == nil || inner.class == upstream.ClassLocal && inner.name != "wait" || !s.node.routes() {
		return false
	}
	f := s.node.opt.Forward
	switch {
	case inner.class != upstream.ClassRead:
		return !f.LocalWrites && !s.denied(e)
	case inner.live && asksForFence(args): // it is told of what comes here
		return false
	case f.ReadFrom == upstream.ReadLeader || f.ReadFrom == upstream.ReadFit && !s.node.fit(s.batch.started):
	case !s.own.some: // what has been gathered is sent first, and then this is asked again
		return false
	default:
		if s.flushWrites(); s.ownWritesCame() {
			return false
		}
	}
	if s.denied(e) {
		return false
	}
	s.node.forwards.leaderReads.Add(1)
	return true
}

// denied says whether the client has to authenticate first.
func (s *session) denied(e *entry) bool {
	return !s.authed && !e.open && s.node.opt.Settings.Get(passProperty) != ""
}

// fitFor is how long what fit has found out counts.
const fitFor = 5 * time.Millisecond

// fit says whether this follower has what it should have. It is not found out for
// each read.
func (n *Node) fit(now time.Time) bool {
	f := &n.forwards
	since := int64(now.Sub(n.started)) + 1
	if at := f.fitAt.Load(); at != 0 && since-at < int64(fitFor) {
		return f.fit.Load()
	}
	ok, _ := n.Ready()
	f.fit.Store(ok)
	f.fitAt.Store(since)
	return ok
}

// ownWritesCame waits until this follower has what this connection has written
// through the leader, at most for OwnWrites.
func (s *session) ownWritesCame() bool {
	limit := s.node.opt.Forward.OwnWrites
	if !s.own.some {
		return true // what was to be written was carried out here
	}
	if !s.own.missed.IsZero() && time.Since(s.own.missed) < limit {
		return false // a pipeline would wait for each of its reads
	}
	s.node.forwards.ownWaits.Add(1)
	ctx, cancel := context.WithTimeout(s.batch.ctx, limit)
	defer cancel()
	err := s.await(ctx)
	if err != nil {
		s.node.forwards.ownMisses.Add(1)
		s.own.missed = time.Now()
		return false
	}
	s.own = ownWrites{}
	return true
}

var errUnknown = errors.New("the leader has not said where its log ends")

// await waits for own writes.
func (s *session) await(ctx context.Context) error {
	if !s.own.known {
		// The connection was lost behind the writes. The end of the log is asked for now.
		got := s.node.links.Do(ctx, s.node.role.leader(), forward.Piece{Where: true, Patience: s.node.opt.Forward.OwnWrites}, nil)
		if !got.Known {
			return errors.Join(errUnknown, got.Err)
		}
		s.own.at, s.own.known = got.At, true
	}
	if s.own.at.Epoch != "" {
		return s.node.opt.Store.Await(ctx, aof.Position(s.own.at))
	}
	return s.node.awaitFile(ctx, s.own.at.Offset)
}

// awaitFile waits until this follower of a Tile38 has so much of that one's file.
func (n *Node) awaitFile(ctx context.Context, size int64) error {
	for pause := minAsk; ; pause = min(2*pause, maxAsk) {
		if st := n.role.status(); st == nil || st.CaughtUp && st.Offset >= size {
			return nil
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// Pauses between two looks at how far a follower of a Tile38 is.
const (
	minAsk = time.Millisecond
	maxAsk = 20 * time.Millisecond
)
