package resync

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/follower"
	"evenkeel/pkg/leader"
)

// TestWaitSynced: a follower that syncs when the leader asks for it.
func TestWaitSynced(t *testing.T) {
	l, f, g := cluster(t)
	l.write("SET fleet x POINT 1 1")
	end := l.log.Position().Offset
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	// Neither syncs by itself (FsyncNo): that they have is the leader's doing.
	if got := l.lead.WaitSynced(ctx, end, 2); got != 2 {
		t.Fatalf("%d followers have synced, want 2", got)
	}
	for _, p := range []*pod{f, g} {
		if st := p.log.Stats(); st.Synced < end {
			t.Errorf("a follower has synced %d of %d bytes", st.Synced, end)
		}
	}
	g.unfollow()
	l.until("one follower", func() bool { return l.lead.Streaming() == 1 })
	l.write("SET fleet y POINT 1 1")
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got := l.lead.WaitSynced(short, l.log.Position().Offset, 2); got != 1 {
		t.Errorf("%d followers have synced, want 1", got)
	}
}

// TestSyncedOfAnother: what a follower has synced of another history counts for
// nothing, neither while it is being resynced nor after it.
func TestSyncedOfAnother(t *testing.T) {
	for name, objects := range map[string]int{"full": 10, "ranges": 5000} {
		t.Run(name, func(t *testing.T) {
			l, f := open(t, t.TempDir()), open(t, t.TempDir())
			l.serve()
			l.fill("fleet", 0, 5000)
			for f.log.Position().Offset < 2*l.log.Position().Offset {
				f.fill("other", 0, objects)
			}
			if err := f.log.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			f.follow(l)
			end := l.log.Position().Offset
			f.until("streaming", func() bool {
				for _, s := range l.lead.Followers() {
					if s.Synced > end {
						t.Fatalf("it has synced %d, the log ends at %d", s.Synced, end)
					}
				}
				return f.fol.Status().CaughtUp && l.lead.Streaming() == 1
			})
			f.converge(l)
			if got := f.log.Stats().Synced; got > end {
				t.Errorf("the log ends at %d and has synced %d", end, got)
			}
		})
	}
}

// TestTurns: of a leader and its followers one at a time has the turn, and one
// that goes away does not keep it.
func TestTurns(t *testing.T) {
	l, f, g := cluster(t)
	var busy, most, turns atomic.Int32
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	hold := func(take func(context.Context) (func(), error)) {
		for range 20 {
			done, err := take(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			most.Store(max(most.Load(), busy.Add(1)))
			turns.Add(1)
			time.Sleep(100 * time.Microsecond) // what a compaction takes
			busy.Add(-1)
			done()
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { hold(l.lead.Turn) })
	wg.Go(func() { hold(f.fol.Turn) })
	wg.Go(func() { hold(g.fol.Turn) })
	wg.Wait()
	if most.Load() != 1 || turns.Load() != 60 {
		t.Errorf("%d pods at once, %d turns; want 1 and 60", most.Load(), turns.Load())
	}
	if _, err := f.fol.Turn(ctx); err != nil {
		t.Fatal(err)
	}
	f.unfollow() // it never gives the turn back
	done, err := l.lead.Turn(ctx)
	if err != nil {
		t.Fatalf("the turn of a follower that is gone: %v", err)
	}
	done()
	if _, err := f.fol.Turn(ctx); !errors.Is(err, follower.ErrNoLeader) {
		t.Errorf("a turn without a leader: %v", err)
	}
}

// TestTurnGivenUp: who stops waiting does not get in the way of the next.
func TestTurnGivenUp(t *testing.T) {
	l, f, g := cluster(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done, err := l.lead.Turn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	short, stop := context.WithTimeout(ctx, 20*time.Millisecond)
	defer stop()
	if _, err := f.fol.Turn(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a turn while the leader has it: %v", err)
	}
	done()
	for _, p := range []*pod{g, f} {
		done, err := p.fol.Turn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		done()
	}
}

// TestCompactAll: a shrink is finished when all followers have compacted and
// their states are the leader's.
func TestCompactAll(t *testing.T) {
	l, f, g := open(t, t.TempDir()), open(t, t.TempDir()), open(t, t.TempDir())
	l.serve()
	l.fill("fleet", 0, 1000)
	g.compactErr = errors.New("no room")
	for _, p := range []*pod{f, g} {
		p.follow(l)
		p.converge(l)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var good, bad int
	for _, c := range l.lead.CompactAll(ctx, "1") {
		switch {
		case c.Err == nil && c.Offset == l.log.Position().Offset:
			good++
		case c.Err != nil && strings.Contains(c.Err.Error(), "no room"):
			bad++
		default:
			t.Errorf("%+v", c)
		}
	}
	if good != 1 || bad != 1 {
		t.Errorf("%d followers have compacted, %d have not; want 1 and 1", good, bad)
	}
	if base := f.log.Stats().Base; base.Offset != l.log.Position().Offset {
		t.Errorf("the follower's base is at %d", base.Offset)
	}
}

// TestCompactedOtherwise: a follower that reports another state than the
// leader's has not compacted.
func TestCompactedOtherwise(t *testing.T) {
	l, f := open(t, t.TempDir()), open(t, t.TempDir())
	l.serve()
	l.fill("fleet", 0, 10)
	f.lie = aof.Digest{Hi: 1}
	f.follow(l)
	f.converge(l)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	all := l.lead.CompactAll(ctx, "1")
	if len(all) != 1 || all[0].Err == nil || !strings.Contains(all[0].Err.Error(), "state") {
		t.Errorf("%+v", all)
	}
}

// TestTooFarBehind: a follower that takes nothing is cut when more of the log
// than the limit is kept for it alone, not before, and then nothing is.
func TestTooFarBehind(t *testing.T) {
	l, f := open(t, t.TempDir()), open(t, t.TempDir())
	l.maxHeld = 1 << 20
	l.serve()
	l.fill("fleet", 0, 1000)
	f.follow(l)
	f.converge(l)
	f.net.Stall()
	for range 300 { // 30 MB, more than sockets hold; they would be there without it, too
		l.fill("fleet", 0, 1000)
	}
	time.Sleep(100 * time.Millisecond) // several looks
	if n := l.lead.Stats().Ended[leader.ReasonBehind]; n > 0 {
		t.Error("cut, although nothing is kept for it alone")
	}
	l.compact()
	l.until("cut", func() bool { return l.lead.Stats().Ended[leader.ReasonBehind] > 0 })
	l.until("nothing is kept for it", func() bool { return l.log.Stats().BacklogBytes == 0 })
	f.net.Resume()
	f.converge(l)
	f.resyncs(0, 1, 1)
}
