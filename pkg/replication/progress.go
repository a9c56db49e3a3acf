package replication

import (
	"time"

	"evenkeel/pkg/aof"
)

// Progress is the machine behind a follower's Status: it is told what happens
// and never looks for itself. It does no I/O and has no clock. One goroutine
// at a time may use it.
//
//	connecting ──Answered(CONTINUE)──────────────→ catching-up ──→ streaming
//	    │  ↑                                            ↑
//	    │  └──Lost (from any state)                     │
//	    └─Answered(FULL, RANGES)→ full-, range-resync ─Installed┘
//
// catching-up becomes streaming when the offset reaches the one at which the
// leader's log ended when it answered.
type Progress struct {
	s     Status
	clock LeaderClock
	beat  time.Duration

	endAtConnect int64
	heard        aof.Mark  // the newest that the leader said about its log
	heardAt      time.Time // when the leader last said anything, on our clock
	asOf         int64     // our state was the leader's at this time of the leader's, unix ms; 0: unknown
}

// NewProgress returns a machine that is connecting and knows nothing. beat is
// the time between two heartbeats of the leader.
func NewProgress(beat time.Duration) *Progress {
	return &Progress{beat: beat, s: Status{State: Connecting, LagSeconds: -1, DigestEqual: true}}
}

// At tells where the follower's own log ends.
func (p *Progress) At(pos aof.Position) { p.s.Epoch, p.s.Offset = pos.Epoch, pos.Offset }

// Connecting tells that a connection to leader is being made.
func (p *Progress) Connecting(leader string) {
	if leader != p.s.Leader {
		p.s.Leader, p.s.LeaderID = leader, ""
	}
	p.s.State = Connecting
}

// Answered tells what the leader granted.
func (p *Progress) Answered(a Answer, now time.Time) {
	if p.s.ContinueResyncs+p.s.RangeResyncs+p.s.FullResyncs > 0 {
		p.s.Reconnects++
	}
	p.s.LeaderID = a.LeaderID
	p.heardAt, p.asOf = now, 0 // it may be another leader with another clock
	p.clock.Reset(now)
	p.endAtConnect = max(a.End, a.Start.Offset)
	p.s.LeaderOffset = p.endAtConnect
	p.heard = aof.Mark{Offset: p.endAtConnect, Time: a.Now}
	if a.Now > 0 {
		p.clock.Hear(a.Now, now)
	}
	p.s.CaughtUp = false
	switch a.Kind {
	case Full:
		p.s.State = FullResync
		p.s.FullResyncs++
		p.s.Resync = ResyncProgress{Total: a.Size}
		return
	case Ranges:
		p.s.State = RangeResync
		p.s.RangeResyncs++
		p.s.Resync = ResyncProgress{Total: a.Size}
		return
	}
	p.s.ContinueResyncs++
	p.s.State = CatchingUp
	p.s.Epoch = a.Epoch
	p.reached(0)
}

// Received counts bytes from the leader, all of them.
func (p *Progress) Received(n int64) { p.s.BytesReceived += n }

// Resynced counts what a resync has got through: bytes of a base, or objects of
// ranges.
func (p *Progress) Resynced(n int64) { p.s.Resync.Done += n }

// Replaced counts objects that a range resync has brought or taken away.
func (p *Progress) Replaced(n int64) { p.s.Resync.Changed += n }

// Installed tells that the base, or all ranges, have taken the place of the old
// state.
func (p *Progress) Installed(epoch string, m aof.Mark) {
	p.s.State = CatchingUp
	p.s.Epoch, p.s.Offset = epoch, m.Offset
	p.s.DigestEqual = true
	p.reached(m.Time)
}

// Heard tells of a mark of the leader's: of a heartbeat or of a batch that is
// not applied yet.
func (p *Progress) Heard(m aof.Mark, now time.Time) {
	p.heardAt = now
	p.clock.Hear(m.Time, now)
	if m.Offset > p.heard.Offset || m.Offset == p.heard.Offset && m.Time > p.heard.Time {
		p.heard = m
	}
	p.s.LeaderOffset = max(p.s.LeaderOffset, m.Offset)
	if p.s.Offset >= p.heard.Offset {
		p.asOf = max(p.asOf, p.heard.Time)
	}
}

// Applied tells that a batch is in the follower's log and state, with the
// digest that the leader had.
func (p *Progress) Applied(m aof.Mark) {
	p.s.Offset = m.Offset
	p.reached(m.Time)
}

// reached takes note that our state is the leader's of its time at.
func (p *Progress) reached(at int64) {
	p.asOf = max(p.asOf, at)
	if p.s.Offset >= p.heard.Offset {
		p.asOf = max(p.asOf, p.heard.Time)
	}
	if p.s.State == CatchingUp && p.s.Offset >= p.endAtConnect {
		p.s.State, p.s.CaughtUp = Streaming, true
	}
}

// Diverged tells that our state differs from the leader's at the same offset.
// Only Installed takes it back.
func (p *Progress) Diverged() { p.s.DigestEqual = false; p.s.Divergences++ }

// Lost tells that the connection, or the attempt to make one, ended.
func (p *Progress) Lost(err error, now time.Time) {
	p.s.State = Connecting
	p.s.LastError, p.s.LastErrorAt = err.Error(), now
	p.s.Resync = ResyncProgress{}
}

// Status returns what is known at now.
func (p *Progress) Status(now time.Time) Status {
	s := p.s
	s.LagBytes = max(0, s.LeaderOffset-s.Offset)
	s.LagSeconds = p.lag(now)
	if !p.heardAt.IsZero() {
		s.SilentSeconds = now.Sub(p.heardAt).Seconds()
	}
	return s
}

// lag returns for how many seconds our state may have been behind the leader's:
// from the leader's time of the state that we have to the leader's time now,
// both on the leader's clock. While nothing is missing it is 0 until a
// heartbeat is overdue. -1: unknown.
func (p *Progress) lag(now time.Time) float64 {
	leaderNow, ok := p.clock.Now(now)
	if !ok || p.asOf == 0 || p.s.State == FullResync || p.s.State == RangeResync {
		return -1
	}
	if p.s.Offset >= p.s.LeaderOffset && now.Sub(p.heardAt) <= p.beat+p.beat/2 {
		return 0
	}
	return max(0, float64(leaderNow-p.asOf)/1000)
}
