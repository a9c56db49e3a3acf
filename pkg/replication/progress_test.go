package replication

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"evenkeel/pkg/aof"
)

// world is a follower's clock and a leader's that shows something else.
type world struct {
	t    *testing.T
	now  time.Time
	skew int64 // leader's clock - ours, ms
	p    *Progress
}

func newWorld(t *testing.T) *world {
	return &world{t: t, now: time.Unix(1_000_000, 0), skew: -3_600_000, p: NewProgress(time.Second)}
}

func (w *world) pass(d time.Duration) { w.now = w.now.Add(d) }

// leaderTime is the leader's clock, ago before now.
func (w *world) leaderTime(ago time.Duration) int64 {
	return w.now.Add(-ago).UnixMilli() + w.skew
}

func (w *world) mark(offset int64, ago time.Duration) aof.Mark {
	return aof.Mark{Offset: offset, Time: w.leaderTime(ago)}
}

func (w *world) heartbeat(offset int64) { w.p.Heard(w.mark(offset, 0), w.now) }

func (w *world) batch(offset int64, ago time.Duration) {
	m := w.mark(offset, ago)
	w.p.Heard(m, w.now)
	w.p.Applied(m)
}

func (w *world) connect(from, end int64) {
	w.p.At(aof.Position{Epoch: testEpoch, Offset: from})
	w.p.Connecting("l:1")
	w.p.Answered(Answer{Epoch: testEpoch, Start: aof.Mark{Offset: from}, End: end, Now: w.leaderTime(0), LeaderID: "L"}, w.now)
}

// want checks state, caught up, lag in bytes and in seconds.
func (w *world) want(state State, caughtUp bool, bytes int64, seconds float64) {
	w.t.Helper()
	s := w.p.Status(w.now)
	if s.State != state || s.CaughtUp != caughtUp || s.LagBytes != bytes || math.Abs(s.LagSeconds-seconds) > 0.0011 {
		w.t.Fatalf("got %s, caught up %v, lag %d bytes, %.3f s; want %s, %v, %d, %.3f",
			s.State, s.CaughtUp, s.LagBytes, s.LagSeconds, state, caughtUp, bytes, seconds)
	}
}

func TestProgressContinue(t *testing.T) {
	w := newWorld(t)
	w.want(Connecting, false, 0, -1)
	w.connect(100, 300)
	w.want(CatchingUp, false, 200, -1) // how old offset 100 is nobody said yet
	w.batch(200, 40*time.Second)
	w.want(CatchingUp, false, 100, 40)
	w.batch(300, 10*time.Second)
	w.want(Streaming, true, 0, 0)
	w.pass(1400 * time.Millisecond)
	w.want(Streaming, true, 0, 0)
	w.pass(200 * time.Millisecond) // a heartbeat is overdue
	w.want(Streaming, true, 0, 1.6)
	w.heartbeat(300)
	w.want(Streaming, true, 0, 0)
}

// A leader that was idle for an hour has not put its follower an hour behind.
func TestProgressLagAfterIdleness(t *testing.T) {
	w := newWorld(t)
	w.connect(100, 100)
	w.want(Streaming, true, 0, 0)
	for range 3600 {
		w.pass(time.Second)
		w.heartbeat(100)
	}
	w.pass(500 * time.Millisecond)
	w.heartbeat(180) // written within the last half second
	w.want(Streaming, true, 80, 0.5)
	w.batch(140, 100*time.Millisecond)
	w.want(Streaming, true, 40, 0.1)
	w.batch(180, 0)
	w.want(Streaming, true, 0, 0)
}

// Lines that waited in a buffer are old when they are heard; that is lag, not
// a slow clock.
func TestProgressLagThroughBuffers(t *testing.T) {
	w := newWorld(t)
	w.connect(0, 0)
	w.pass(10 * time.Second)
	for i := range int64(50) { // 10 s behind, for 50 s
		w.pass(time.Second)
		w.p.Heard(w.mark(1000+10*i, 10*time.Second), w.now)
		w.batch(10*i, 10*time.Second)
		s := w.p.Status(w.now)
		if math.Abs(s.LagSeconds-10) > 0.0011 {
			t.Fatalf("after %d s: lag %.3f s, want 10", i, s.LagSeconds)
		}
	}
}

func TestProgressFull(t *testing.T) {
	w := newWorld(t)
	w.p.Diverged()
	w.p.Answered(Answer{Kind: Full, Epoch: testEpoch, Start: w.mark(50, time.Minute), Size: 10, End: 80, Now: w.leaderTime(0)}, w.now)
	w.p.Resynced(4)
	w.want(FullResync, false, 80, -1)
	if s := w.p.Status(w.now); s.Resync != (ResyncProgress{Done: 4, Total: 10}) || s.DigestEqual || s.FullResyncs != 1 {
		t.Fatalf("got %+v", s)
	}
	w.p.Installed(testEpoch, w.mark(50, time.Minute))
	w.want(CatchingUp, false, 30, 60)
	w.batch(80, 0)
	w.want(Streaming, true, 0, 0)
	if s := w.p.Status(w.now); !s.DigestEqual || s.Epoch != testEpoch || s.Divergences != 1 {
		t.Fatalf("got %+v", s)
	}
}

func TestProgressLost(t *testing.T) {
	w := newWorld(t)
	w.connect(100, 100)
	w.p.Lost(errors.New("cable"), w.now)
	w.want(Connecting, true, 0, 0)
	w.pass(5 * time.Second)
	w.want(Connecting, true, 0, 5)
	if s := w.p.Status(w.now); s.LastError != "cable" || s.LastErrorAt.IsZero() || s.Reconnects != 0 || s.SilentSeconds != 5 {
		t.Fatalf("got %+v", s)
	}
	w.connect(100, 150)
	w.want(CatchingUp, false, 50, -1)
	if s := w.p.Status(w.now); s.Reconnects != 1 || s.ContinueResyncs != 2 {
		t.Fatalf("got %+v", s)
	}
}

func TestLeaderClockSetBack(t *testing.T) {
	w := newWorld(t)
	w.connect(0, 0)
	w.pass(time.Second)
	w.heartbeat(0)
	w.skew -= 30_000
	for range 130 {
		w.pass(time.Second)
		w.heartbeat(0)
	}
	w.heartbeat(10)
	w.pass(100 * time.Millisecond)
	// Right again, though by the largest sample ever it would be 30.
	if s := w.p.Status(w.now); s.LagSeconds > 0.2 || s.LagSeconds < 0 {
		t.Errorf("lag %.3f s two minutes after the leader's clock was set back", s.LagSeconds)
	}
}

func TestLeaderClockUnknown(t *testing.T) {
	var c LeaderClock
	now := time.Unix(5, 0)
	if _, ok := c.Now(now); ok {
		t.Error("knows the time before any sample")
	}
	c.Hear(7000, now)
	if got, ok := c.Now(now.Add(time.Second)); !ok || got != 8000 {
		t.Errorf("got %d, %v; want 8000", got, ok)
	}
}

func TestReady(t *testing.T) {
	good := Status{State: Streaming, CaughtUp: true, DigestEqual: true, Leader: "l:1"}
	with := func(change func(*Status)) Status { s := good; change(&s); return s }
	for _, tt := range []struct {
		name string
		s    Status
		want []string // parts of the reasons, in order; none: ready
	}{
		{"streaming", good, nil},
		{"lag at the limit", with(func(s *Status) { s.LagSeconds = 10 }), nil},
		{"lag over it", with(func(s *Status) { s.LagSeconds = 10.1 }), []string{"10.1 s behind"}},
		{"lost, fresh", with(func(s *Status) { s.State, s.LagSeconds = Connecting, 3 }), nil},
		{"lost, old", with(func(s *Status) { s.State, s.LagSeconds = Connecting, 11 }), []string{"11.0 s behind"}},
		{"digest", with(func(s *Status) { s.DigestEqual = false }), []string{"digest"}},
		{"catching up", with(func(s *Status) { s.State, s.CaughtUp, s.LeaderOffset = CatchingUp, false, 9 }), []string{"offset 0 of 9"}},
		{"never connected", with(func(s *Status) { s.State, s.CaughtUp, s.LagSeconds = Connecting, false, -1 }), []string{"yet"}},
		{"refused", with(func(s *Status) { s.State, s.CaughtUp, s.LastError = Connecting, false, "no" }), []string{"l:1: no"}},
		{"full", with(func(s *Status) {
			s.State, s.CaughtUp, s.DigestEqual, s.Resync = FullResync, false, false, ResyncProgress{Done: 3, Total: 7}
		}), []string{"digest", "3 of 7 bytes"}},
		{"unknown lag", with(func(s *Status) { s.LagSeconds = -1 }), []string{"unknown"}},
	} {
		ok, reasons := tt.s.Ready(10 * time.Second)
		if ok != (len(tt.want) == 0) || len(reasons) != len(tt.want) {
			t.Errorf("%s: %v %q", tt.name, ok, reasons)
			continue
		}
		for i, w := range tt.want {
			if !strings.Contains(reasons[i], w) {
				t.Errorf("%s: reason %q, want %q in it", tt.name, reasons[i], w)
			}
		}
	}
}
