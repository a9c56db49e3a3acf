package follower_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/follower"
	"evenkeel/pkg/leader"
	"evenkeel/pkg/replication"
	"evenkeel/pkg/replication/reptest"
)

func TestStream(t *testing.T) {
	p := newPair(t)
	p.options.ID, p.options.ListeningPort, p.options.IPAddress = "follower", 1234, "10.0.0.9"
	p.options.Synced = func() int64 { return 42 }
	p.write("before", 100)
	p.startFollower()
	p.converge()
	p.write("after", 100)
	p.Lead.Write(t, "DEL", "before3")
	p.converge()

	end := p.Lead.Log.Position().Offset
	p.until("acknowledged", func() bool {
		all := p.Leader.Followers()
		return len(all) == 1 && all[0].Acked == end
	})
	f := p.Leader.Followers()[0]
	if f.ID != "follower" || f.ListeningPort != 1234 || f.IPAddress != "10.0.0.9" || f.Synced != 42 || f.LagBytes != 0 ||
		f.FullResync || !strings.HasPrefix(f.Addr, "127.0.0.1:") || f.LastAck.IsZero() || f.Since.IsZero() {
		t.Errorf("the leader knows %+v", f)
	}
	st := p.Follower.Status()
	if st.LeaderID != "leader" || st.Leader != "leader:9851" || st.LagBytes != 0 || st.LagSeconds != 0 || !st.DigestEqual ||
		st.LastError != "" || st.Reconnects != 0 || st.BytesReceived != p.Net.Received.Load() {
		t.Errorf("the follower knows %+v", st)
	}
	if ok, why := p.Follower.Ready(0); !ok {
		t.Errorf("not ready: %q", why)
	}
	if !p.saw(follower.EventCaughtUp) {
		t.Errorf("events: %v", p.kinds())
	}
}

// The follower's own log leads to the same state when it is opened again, and it
// goes on from there.
func TestFollowerRestart(t *testing.T) {
	p := newPair(t, smallSegments)
	p.write("a", 50)
	p.startFollower()
	p.converge()
	p.stopFollower()
	p.write("b", 50)
	p.startFollower()
	p.converge()
	p.wantResyncs(1, 0)
}

func TestLeaderRestart(t *testing.T) {
	p := newPair(t)
	p.write("a", 50)
	p.startFollower()
	p.converge()
	before := p.Follower.Status()
	p.stopLeader()
	p.until("loss noticed", func() bool { return p.Follower.Status().State == "connecting" })
	if st := p.Follower.Status(); st.LastError == "" || st.LastErrorAt.IsZero() || !st.CaughtUp {
		t.Errorf("without a leader: %+v", st)
	}
	p.startLeader()
	p.write("b", 50)
	p.converge()
	st := p.Follower.Status()
	if st.FullResyncs != before.FullResyncs || st.ContinueResyncs != before.ContinueResyncs+1 || st.Reconnects != 1 {
		t.Errorf("before %+v, after %+v", before, st)
	}
}

// A connection that is cut at any byte of the answer and of the stream costs
// neither a byte nor a resync.
func TestCutAtEveryByte(t *testing.T) {
	p := newPair(t)
	p.write("a", 1)
	p.startFollower()
	p.converge()
	p.stopFollower()
	base := p.Lead.Log.Position()

	// How long is the whole stream? Batches of 5 ms apart are batches of their own.
	for i := range int64(6) {
		offset := p.Lead.Append(t, p.Lead.Log.Last().Time+10, "SET", fmt.Sprint("k", i), "#1 2 3\r\n*1\r\n")
		if err := p.Lead.Log.Commit(context.Background(), offset); err != nil {
			t.Fatal(err)
		}
	}
	size := streamSize(t, p.Lead.Log, base)
	total := size + int64(len("+CONTINUE  99 END 999 NOW 1700000000000 ID leader\r\n")+40)
	step := int64(1)
	if testing.Short() {
		step = 7
	}
	for cut := int64(1); cut <= total; cut += step {
		q := &pair{t: t, beat: p.beat, LDir: p.LDir, FDir: copyDir(t, p.FDir), Lead: p.Lead, Leader: p.Leader, Server: p.Server}
		q.Net.Resolve = p.Net.Resolve
		q.Net.Inject(reptest.Fault{CutAfter: cut})
		q.startFollower()
		q.converge()
		if st := q.Follower.Status(); st.FullResyncs != 0 {
			t.Fatalf("cut after %d bytes: %d full resyncs", cut, st.FullResyncs)
		}
		if n := q.Net.Dialed.Load(); n < 2 && cut <= size {
			t.Fatalf("cut after %d bytes: %d connection", cut, n)
		}
		q.stopFollower()
	}
}

// streamSize returns the bytes of the log behind pos, payload and annotations.
func streamSize(t *testing.T, log *aof.Log, pos aof.Position) (size int64) {
	t.Helper()
	tail := openTail(t, log, pos)
	defer closeOf(t, tail)
	return drain(t, tail, log.Written().Offset)
}

func openTail(t *testing.T, log *aof.Log, pos aof.Position) *aof.Tail {
	t.Helper()
	// The digest is what a follower would say; find it in the log itself.
	var digest aof.Digest
	found := false
	err := log.Replay(context.Background(), func(b aof.Batch) error {
		if b.Offset == pos.Offset {
			digest, found = b.Digest, true
		}
		return nil
	}, nil)
	if err != nil || !found {
		t.Fatalf("digest at %s: %v, found %v", pos, err, found)
	}
	tail, err := log.Tail(pos, digest)
	if err != nil {
		t.Fatal(err)
	}
	return tail
}

// drain reads up to the offset end.
func drain(t *testing.T, tail *aof.Tail, end int64) (size int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		raw, m, err := tail.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		size += int64(len(raw))
		if m.Offset >= end {
			return size
		}
	}
}

// A bit that flips on the way is found by the checksum or the framing, and the
// follower goes on from what it has.
func TestFlippedBits(t *testing.T) {
	p := newPair(t)
	p.write("a", 1)
	p.startFollower()
	p.converge()
	p.stopFollower()
	p.write("b", 30)
	answer := int64(len("+CONTINUE  99 END 999 NOW 1700000000000 ID leader\r\n") + 40)
	heartbeat := int64(len(replication.AppendHeartbeat(nil, p.Lead.Log.Last())))
	corrupt := 0
	for at := answer + heartbeat + 1; at < answer+heartbeat+900; at += 59 {
		q := &pair{t: t, beat: p.beat, LDir: p.LDir, FDir: copyDir(t, p.FDir), Lead: p.Lead, Leader: p.Leader, Server: p.Server}
		q.Net.Resolve = p.Net.Resolve
		q.Net.Inject(reptest.Fault{Flip: at})
		q.options.ReadTimeout = 300 * time.Millisecond // a length that became longer waits for what never comes
		q.startFollower()
		q.converge()
		st := q.Follower.Status()
		if st.FullResyncs != 0 || st.Reconnects == 0 || st.LastError == "" {
			t.Fatalf("byte %d flipped: %+v", at, st)
		}
		if strings.Contains(st.LastError, replication.ErrCorrupt.Error()) {
			corrupt++
		}
		q.stopFollower()
	}
	if corrupt < 10 {
		t.Errorf("%d of 16 flipped bits were found by checksum or framing", corrupt)
	}
}

// A compaction of the leader, while it streams, is not noticed by the follower:
// no reconnect, and not one byte more than the log itself.
func TestLeaderCompactionIsInvisible(t *testing.T) {
	p := newPair(t, smallSegments, keepNothing)
	p.stopLeader()
	p.beat = time.Hour // heartbeats would blur the count
	p.startLeader()
	p.write("a", 200)
	p.startFollower()
	p.converge()

	reference := openTail(t, p.Lead.Log, p.Lead.Log.Position())
	defer closeOf(t, reference)
	counted := func() { // the leader counts when its write has returned
		t.Helper()
		p.until("counted", func() bool { return p.Leader.Stats().BytesSent == p.Net.Received.Load() })
	}
	counted()
	sent, got := p.Leader.Stats().BytesSent, p.Net.Received.Load()
	p.Lead.Compact(t)
	if n := p.Leader.Stats().BytesSent; n != sent {
		t.Fatalf("a compaction without writes sent %d bytes", n-sent)
	}
	for i := range 5 {
		p.write(fmt.Sprint("b", i, "-"), 60)
		p.Lead.Compact(t)
	}
	p.Lead.Write(t, "DEL", "a7")
	p.converge()
	counted()
	want := drain(t, reference, p.Lead.Log.Position().Offset)
	if n := p.Leader.Stats().BytesSent - sent; n != want {
		t.Errorf("the leader sent %d bytes for %d of log", n, want)
	}
	if n := p.Net.Received.Load() - got; n != want {
		t.Errorf("the follower received %d bytes for %d of log", n, want)
	}
	if n := p.Net.Dialed.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	if st := p.Follower.Status(); st.Reconnects != 0 || st.FullResyncs+st.ContinueResyncs != 1 {
		t.Errorf("got %+v", st)
	}
}

// A compaction while the follower has only a part of what it needs must not take
// away the rest.
func TestCompactionWhileFollowerIsBehind(t *testing.T) {
	p := newPair(t, smallSegments, keepNothing)
	p.write("a", 300)
	p.startFollower()
	for i := range 20 {
		p.write(fmt.Sprint("b", i, "-"), 20)
		p.Lead.Compact(t)
	}
	p.converge()
	if n := p.Net.Dialed.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// gone makes the leader forget the offset of the stopped follower, and delete
// what the follower has.
func (p *pair) gone() {
	p.t.Helper()
	for i := range 40 {
		p.Lead.Write(p.t, "DEL", fmt.Sprint("a", i))
	}
	p.write("b", 50)
	p.Lead.Compact(p.t)
	p.write("c", 50)
	p.Lead.Compact(p.t)
	p.write("d", 5)
}

func TestOffsetGone(t *testing.T) {
	p := newPair(t, smallSegments, keepNothing)
	p.write("a", 50)
	p.startFollower()
	p.converge()
	p.stopFollower()
	p.gone()
	p.startFollower()
	p.converge() // no ghosts: the maps are equal
	p.wantResyncs(0, 1)
	if kinds := p.kinds(); !slices.Contains(kinds, follower.EventFullDone) {
		t.Errorf("events %v", kinds)
	}
	if st := p.Follower.Status(); st.Resync.Total == 0 || st.Resync.Done != st.Resync.Total {
		t.Errorf("progress %+v", st.Resync)
	}
	p.write("e", 10)
	p.converge()
}

// Every byte at which a full resync can be cut leaves the old state in force.
func TestFullResyncCut(t *testing.T) {
	p := newPair(t, smallSegments, keepNothing)
	p.write("a", 50)
	p.startFollower()
	p.converge()
	p.stopFollower()
	old, oldPos := p.Foll.State(), aof.Position{}
	p.gone()
	for cut := int64(200); cut < 3000; cut += 400 {
		q := &pair{t: t, beat: p.beat, opts: p.opts, LDir: p.LDir, FDir: copyDir(t, p.FDir), Lead: p.Lead, Leader: p.Leader, Server: p.Server}
		// The process ends in the middle of the base: no other attempt.
		dead := make(chan struct{})
		q.Net.Resolve = p.Net.Resolve
		q.Net.Inject(reptest.Fault{CutAfter: cut})
		q.Net.Resolve = func() string {
			if q.Net.Dialed.Load() > 0 {
				select {
				case <-dead:
				default:
					return "127.0.0.1:1"
				}
			}
			return p.Net.Resolve()
		}
		q.startFollower()
		q.until("cut", func() bool { return q.saw(follower.EventLost) })
		if got := q.Foll.State(); !equal(got, old) {
			t.Fatalf("cut after %d bytes: %d keys, want the %d old ones", cut, len(got), len(old))
		}
		q.stopFollower()
		q.Foll = reptest.Open(t, q.FDir, follower.ErrDiverged, q.opts...)
		pos, _ := q.Foll.Position()
		if oldPos == (aof.Position{}) {
			oldPos = pos
		}
		if got := q.Foll.State(); !equal(got, old) || pos != oldPos {
			t.Fatalf("cut after %d bytes and restarted: %d keys at %s, want %d at %s", cut, len(got), pos, len(old), oldPos)
		}
		q.Foll.Close(t)
		close(dead)
		q.startFollower()
		q.converge()
		q.wantResyncs(0, 1)
		q.stopFollower()
	}
}

func equal(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

// The network cuts connection after connection while the leader is written to.
func TestWritesThroughManyCuts(t *testing.T) {
	p := newPair(t, smallSegments)
	for i := range int64(40) {
		p.Net.Inject(reptest.Fault{CutAfter: 300 + i*i*7%3000})
	}
	p.startFollower()
	for i := 0; i < 100 || p.Net.Dialed.Load() < 41; i++ {
		p.write(fmt.Sprint("k", i, "-"), 10)
		p.Lead.Write(t, "DEL", fmt.Sprint("k", i-1, "-3"))
	}
	p.converge()
	if st := p.Follower.Status(); st.FullResyncs != 1 || st.Divergences != 0 {
		t.Errorf("got %+v", st) // the first one, from nothing
	}
}

// Followers can follow a follower: the log is the same.
func TestChain(t *testing.T) {
	p := newPair(t)
	p.write("a", 20)
	p.startFollower()
	p.converge()
	q := &pair{t: t, beat: p.beat, LDir: p.FDir, FDir: t.TempDir(), Lead: p.Foll}
	q.Net.Resolve = func() string { return q.addr }
	q.serve()
	q.startFollower()
	q.converge()
	p.write("b", 20)
	p.converge()
	q.converge()
	// A full resync of the one in the middle replaces the log that q reads.
	p.Foll.Tamper("ghost", "boo")
	p.until("noticed", func() bool { return p.saw(follower.EventDiverged) })
	p.write("c", 20)
	p.converge()
	q.converge()
	if n := q.Leader.Stats().Ended[leader.ReasonLog]; n != 1 {
		t.Errorf("the leader of the second follower: %+v", q.Leader.Stats())
	}
	q.stopFollower()
	closeOf(t, q.Leader)
}

// Catching up is acknowledged at once, not at the next tick.
func TestAckOnCatchingUp(t *testing.T) {
	p := newPair(t)
	p.options.AckInterval = time.Hour
	p.write("a", 20)
	p.startFollower()
	end := p.Lead.Log.Position().Offset
	p.until("acknowledged", func() bool {
		all := p.Leader.Followers()
		return len(all) == 1 && all[0].Acked == end
	})
}
