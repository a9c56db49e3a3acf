package stock_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"evenkeel/pkg/follower"
	"evenkeel/pkg/follower/stock"
)

// fleet writes n objects of random places.
func (p *pair) fleet(n int) {
	p.t.Helper()
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf("SET fleet t%d FIELD speed %d POINT %v %v", rand.IntN(2000), rand.IntN(90), rand.Float64()*80, rand.Float64()*80)
	}
	p.Do(lines...)
}

var everything = []string{
	"SET a p POINT 1 2", "SET a z POINT 1 2 3", "SET a s STRING hi", "SET a g OBJECT " + `{"type":"LineString","coordinates":[[1,2],[3,4]]}`,
	"JSET j k a 1", "JSET j k b.c x", "SET t a POINT 1 1", "RENAME t u", "SET n a POINT 1 1", "SET n b NX POINT 9 9", "FSET a p speed 3",
	"SET gone a POINT 1 1", "DROP gone", "SETCHAN ch NEARBY a FENCE POINT 1 2 100", "SETHOOK h http://127.0.0.1:1/x WITHIN a FENCE BOUNDS 1 1 2 2",
	"PERSIST a p", "DEL u none",
}

// TestFirst: nothing own: the leader's log is taken as it comes; there is: it
// goes, but for what is the same already.
func TestFirst(t *testing.T) {
	for _, own := range [][]string{nil, everything[:9], {"SET a p POINT 1 2", "SET ghost x POINT 1 1", "SET a ghost POINT 1 1", "SETCHAN old NEARBY a FENCE POINT 1 2 100", "SETHOOK ch http://127.0.0.1:1/x NEARBY a FENCE POINT 1 2 100"}} {
		t.Run(fmt.Sprint(len(own)), func(t *testing.T) {
			p := newPair(t)
			p.own(own...)
			p.Do(everything...)
			p.start()
			p.level()
			if n := p.fol.Status().FullResyncs; (n == 1) != (own != nil) {
				t.Errorf("%d full resyncs", n)
			}
			p.Do("DEL a p", "SET a q POINT 5 5", "PDELHOOK h*")
			p.level()
			want := []string{"server", "replicate", "replconf listening-port", "aof 0"}
			if got := p.Commands(); len(got) < 4 || !slices.Equal(got[:4], want) {
				t.Errorf("the leader was sent %q, want %q", got, want)
			}
			if st := p.fol.Status(); st.LagBytes != 0 || st.LagSeconds < 0 {
				t.Errorf("level, but %+v", st)
			}
			if ok, why := p.fol.Ready(0); !ok {
				t.Errorf("not ready: %q", why)
			}
		})
	}
}

// TestShrink: the follower goes on behind what it has, and takes little more
// than what was written meanwhile.
func TestShrink(t *testing.T) {
	p := newPair(t)
	p.fleet(4000)
	p.start()
	p.level()
	for range 3 {
		before := p.Sent()
		p.BeginShrink()
		p.fleet(200)
		p.level()
		p.Mute(true)
		p.fleet(100) // not delivered before the connection goes
		p.EndShrink()
		p.Mute(false)
		p.level()
		if sent := p.Sent() - before; sent > 200<<10 {
			t.Errorf("%d bytes because of a shrink, the file has %d", sent, p.Size())
		}
	}
	if st := p.fol.Status(); st.FullResyncs != 0 || st.ContinueResyncs != 4 {
		t.Errorf("%d full resyncs, %d continued", st.FullResyncs, st.ContinueResyncs)
	}
}

// TestReconnect: a connection that is lost costs no more than what was missed.
func TestReconnect(t *testing.T) {
	p := newPair(t)
	p.fleet(3000)
	p.start()
	p.level()
	before := p.Sent()
	p.Mute(true)
	p.fleet(10)
	p.Drop()
	p.Mute(false)
	p.level()
	if sent := p.Sent() - before; sent > 4000 { // sent to the lost connection, and again
		t.Errorf("%d bytes for ten commands", sent)
	}
	if st := p.fol.Status(); st.FullResyncs != 0 {
		t.Errorf("%d full resyncs", st.FullResyncs)
	}
}

// TestQuietShrink: without a tail the whole file is read, and nothing written.
func TestQuietShrink(t *testing.T) {
	p := newPair(t)
	p.fleet(3000)
	p.Do("SET a x EX 1000 POINT 1 1", "SETCHAN ch EX 1000 NEARBY a FENCE POINT 1 2 100")
	p.start()
	p.until("catching up", func() bool { return p.fol.Status().CaughtUp })
	end := p.log.Last().Offset
	for i := range 2 {
		p.BeginShrink()
		p.EndShrink()
		p.until("a full resync", func() bool { return p.count(follower.EventFullDone) == i+1 && p.fol.Status().CaughtUp })
	}
	if got := p.log.Last().Offset; got != end {
		t.Errorf("the own log grew by %d bytes", got-end)
	}
}

// TestGhosts: what was deleted while the follower was away goes, whatever else
// happened, and the own log grows by the difference.
func TestGhosts(t *testing.T) {
	p := newPair(t)
	p.fleet(3000)
	p.Do("SET a x POINT 1 1", "SET b x POINT 1 1", "SETCHAN ch NEARBY a FENCE POINT 1 2 100")
	p.start()
	p.level()
	end := p.log.Last().Offset
	p.Mute(true)
	p.Do("DEL a x", "DROP b", "DELCHAN ch", "SET c x POINT 1 1")
	p.BeginShrink()
	p.EndShrink()
	p.Mute(false)
	p.level()
	if n := p.fol.Status().FullResyncs; n != 1 {
		t.Errorf("%d full resyncs", n)
	}
	if grown := p.log.Last().Offset - end; grown > 400 {
		t.Errorf("the own log grew by %d bytes for four commands", grown)
	}
}

// TestRepeating: traffic that repeats itself looks like what was taken, but is
// not; what happened in between must not be missed.
func TestRepeating(t *testing.T) {
	p := newPair(t)
	p.fleet(2000)
	same := slices.Repeat([]string{"SET a x POINT 1 1", "SET a y POINT 2 2"}, 40)
	p.Do(append([]string{"SET a ghost POINT 1 1"}, same...)...)
	p.start()
	p.level()
	p.Mute(true)
	p.Do("DEL a ghost")
	p.BeginShrink()
	p.Do(same...)
	p.EndShrink()
	p.Mute(false)
	p.level()
	if st := p.fol.Status(); st.FullResyncs != 1 || st.Divergences != 0 {
		t.Errorf("%d full resyncs, %d divergences", st.FullResyncs, st.Divergences)
	}
}

// TestSimilar: a round of the fleet that is repeated to the byte, so that what was
// taken last is in the new file once. The dump does not end where it begins.
func TestSimilar(t *testing.T) {
	p := newPair(t)
	round := make([]string, 60)
	for i := range round {
		round[i] = fmt.Sprintf("SET parked t%d POINT %d 1", i, i)
	}
	p.fleet(2000)
	p.Do("SET a ghost POINT 1 1")
	p.Do(round...)
	p.start()
	p.level()
	p.Mute(true)
	p.Do("DEL a ghost")
	p.BeginShrink()
	p.Do("SET a other POINT 1 1")
	p.Do(round...)
	p.EndShrink()
	p.Mute(false)
	p.level()
	if n := p.fol.Status().FullResyncs; n != 1 {
		t.Errorf("%d full resyncs", n)
	}
}

// TestReplaced: another server behind the same address.
func TestReplaced(t *testing.T) {
	p := newPair(t)
	p.Do(everything...)
	p.start()
	p.level()
	p.Replace(strings.Repeat("6", 32))
	p.Do("SET other x POINT 1 1")
	p.level()
	if st := p.store.Stats(); st.Objects != 1 || st.Hooks+st.Channels != 0 {
		t.Errorf("%+v", st)
	}
}

// TestCounts: when the leader counts otherwise after a stream was gone on with,
// everything is compared; once, as that is all that can be done.
func TestCounts(t *testing.T) {
	p := newPair(t)
	p.fleet(500)
	p.start()
	p.level()
	p.Skew(1)
	p.Drop()
	p.until("a divergence", func() bool { return p.fol.Status().Divergences == 1 })
	if ok, _ := p.fol.Ready(0); ok && !p.fol.Status().DigestEqual {
		t.Error("ready with other counts")
	}
	p.until("a full resync", func() bool { return p.count(follower.EventFullDone) == 1 })
	p.level()
	p.fleet(10)
	p.level()
	if st := p.fol.Status(); st.Divergences != 1 || !st.DigestEqual {
		t.Errorf("after the resync: %+v", st)
	}
}

// TestNotComparable: counts that cannot be compared in time are no proof either.
func TestNotComparable(t *testing.T) {
	p := newPair(t)
	p.opt.VerifyTimeout = 50 * time.Millisecond
	p.Do("SET a x POINT 1 1")
	p.start()
	p.level()
	p.Skew(1) // equal never, and too few answers to count as different
	p.opt.PollInterval = 40 * time.Millisecond
	p.Drop()
	p.until("a full resync", func() bool { return p.count(follower.EventFullDone) >= 1 })
	p.Skew(0)
	p.level()
}

// TestCaughtUp: not before everything that the leader had is in the own log.
func TestCaughtUp(t *testing.T) {
	for _, own := range []string{"", "SET own x POINT 1 1"} {
		p := newPair(t)
		if own != "" {
			p.own(own)
		}
		p.Do(everything...)
		p.Mute(true)
		p.start()
		p.until("a stream", func() bool { return slices.Contains(p.Commands(), "aof 0") })
		time.Sleep(50 * time.Millisecond)
		if st := p.fol.Status(); st.CaughtUp {
			t.Errorf("caught up with nothing: %+v", st)
		}
		if ok, why := p.fol.Ready(0); ok || len(why) == 0 {
			t.Error("ready with nothing")
		}
		if own != "" && p.store.Item("own", "x") == nil {
			t.Error("the old data went before the new ones came")
		}
		p.Mute(false)
		p.level()
	}
}

// TestPromoted: FOLLOW no one before the first resync is done keeps what came, and
// what was there; only then, and only if it is asked for.
func TestPromoted(t *testing.T) {
	for _, tt := range []struct {
		merge bool
		cause error
		kept  bool
	}{{true, stock.ErrPromoted, true}, {true, context.Canceled, false}, {false, stock.ErrPromoted, false}} {
		p := newPair(t)
		p.opt.Merge = tt.merge
		p.own("SET own x POINT 1 1")
		p.Do("SET lead a POINT 1 2")
		p.Cut(1) // of the last command one byte is missing: its end is never reached
		p.Do("SET lead b POINT 1 2")
		p.Replace(strings.Repeat("7", 32))
		p.Do("SET lead a POINT 1 2", "SET lead b POINT 1 2")
		p.Cut(1)
		p.start()
		p.until("most of the log", func() bool { return p.fol.Status().Resync.Done > 0 || p.fol.Status().BytesReceived > 0 })
		if err := p.stop(tt.cause); !errors.Is(err, tt.cause) {
			t.Errorf("ended with %v", err)
		}
		if got := p.store.Item("lead", "a") != nil; got != tt.kept {
			t.Errorf("%+v: the leader's object is there: %v", tt, got)
		}
		if p.store.Item("own", "x") == nil {
			t.Errorf("%+v: the own object went", tt)
		}
	}
}

// TestSilent: a stream that stands still is given up.
func TestSilent(t *testing.T) {
	p := newPair(t)
	p.opt.ReadTimeout = 100 * time.Millisecond
	p.fleet(100)
	p.start()
	p.level()
	p.Mute(true)
	p.fleet(1)
	p.until("another attempt", func() bool { return p.count(follower.EventLost) > 0 })
	if st := p.fol.Status(); !strings.Contains(st.LastError, "silent") {
		t.Errorf("%+v", st)
	}
	p.Mute(false)
	p.level()
}

// TestDiskFull: while the own log cannot be written the follower waits; nothing is
// lost, and nothing read anew, when it can be again.
func TestDiskFull(t *testing.T) {
	p := newPair(t)
	p.fleet(200)
	p.start()
	p.level()
	p.disk.Room(1000)
	p.fleet(400)
	p.until("a log that cannot be written", func() bool { return !p.log.Stats().Writable })
	p.fleet(100)
	p.disk.Room(-1)
	p.level()
	if st := p.fol.Status(); st.FullResyncs != 0 || st.Divergences != 0 {
		t.Errorf("%+v", st)
	}
	if err := p.log.Commit(t.Context(), p.log.Last().Offset); err != nil {
		t.Errorf("the own log: %v", err)
	}
}

// TestRestart: the place in the leader's file is not remembered; the difference is
// nothing.
func TestRestart(t *testing.T) {
	p := newPair(t)
	p.fleet(500)
	p.start()
	p.level()
	_ = p.stop(context.Canceled)
	end := p.log.Last().Offset
	p.Do("DEL fleet t1", "SET fleet t1 POINT 7 7")
	p.start()
	p.level()
	if grown := p.log.Last().Offset - end; grown > 200 {
		t.Errorf("the own log grew by %d bytes", grown)
	}
}

// TestSelf: who follows itself finds out, writes nothing, and tries again.
func TestSelf(t *testing.T) {
	p := newPair(t)
	p.opt.ID = strings.Repeat("5", 32)
	p.Do("SET a x POINT 1 1")
	p.start()
	p.until("two attempts", func() bool { return p.count(follower.EventLost) > 1 })
	if st := p.fol.Status(); !strings.Contains(st.LastError, "itself") || st.CaughtUp || p.store.Stats().Objects != 0 {
		t.Errorf("%+v", st)
	}
}

// TestOptions lists every fault.
func TestOptions(t *testing.T) {
	_, err := stock.New(stock.Options{Leader: "x", Auth: "a\nb", ListeningPort: -1, BackoffMin: 2, BackoffMax: 1, Tail: -1, PollInterval: -1})
	for _, want := range []string{"leader", "password", "listening port", "no store", "back-off", "tail", "poll interval"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}
