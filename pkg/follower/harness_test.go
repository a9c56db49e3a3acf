package follower_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/follower"
	"evenkeel/pkg/leader"
	"evenkeel/pkg/replication/reptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long an event may take before a test gives up.
const patience = time.Minute

// pair is a leader and a follower, with a network between them.
type pair struct {
	t        testing.TB
	opts     []reptest.Options // of both logs
	options  follower.Options  // of the follower, over the defaults of start
	wrap     func(*reptest.Node) follower.Store
	beat     time.Duration // of the leader
	Net      reptest.Network
	LDir     string
	FDir     string
	Lead     *reptest.Node
	Leader   *leader.Leader
	Server   *reptest.Server
	Foll     *reptest.Node
	Follower *follower.Follower

	stop func()

	mu     sync.Mutex // guards what follows
	addr   string
	events []follower.Event
}

// newPair starts a leader.
func newPair(t testing.TB, opts ...reptest.Options) *pair {
	p := &pair{t: t, opts: opts, beat: 20 * time.Millisecond, LDir: t.TempDir(), FDir: t.TempDir()}
	p.Net.Resolve = func() string { p.mu.Lock(); defer p.mu.Unlock(); return p.addr }
	t.Cleanup(func() { p.stopFollower() })
	p.startLeader()
	return p
}

func (p *pair) startLeader() {
	p.t.Helper()
	p.Lead = reptest.Open(p.t, p.LDir, follower.ErrDiverged, p.opts...)
	p.serve()
}

// serve starts a leader on the log that is open.
func (p *pair) serve() {
	p.t.Helper()
	var err error
	p.Leader, err = leader.New(leader.Options{Log: p.Lead.Log, ID: "leader", HeartbeatInterval: p.beat})
	if err != nil {
		p.t.Fatal(err)
	}
	p.Server = reptest.Listen(p.t, p.Leader.Serve)
	p.mu.Lock()
	p.addr = p.Server.Addr
	p.mu.Unlock()
}

// stopLeader ends the leader and closes its log.
func (p *pair) stopLeader() {
	p.t.Helper()
	closeOf(p.t, p.Leader)
	p.Server.Stop()
	p.Lead.Close(p.t)
}

// startFollower opens the follower's log and runs it.
func (p *pair) startFollower() {
	p.t.Helper()
	p.Foll = reptest.Open(p.t, p.FDir, follower.ErrDiverged, p.opts...)
	o := p.options
	o.Leader, o.Store, o.Dial = "leader:9851", p.Foll, p.Net.Dial
	if p.wrap != nil {
		o.Store = p.wrap(p.Foll)
	}
	o.BackoffMin, o.BackoffMax = time.Millisecond, 20*time.Millisecond
	o.OnEvent = func(e follower.Event) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.events = append(p.events, e)
	}
	if o.AckInterval == 0 {
		o.AckInterval = 10 * time.Millisecond
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = 10 * time.Second
	}
	var err error
	if p.Follower, err = follower.New(o); err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Follower.Run(ctx) }()
	p.stop = func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			p.t.Errorf("Run returned %v, want %v", err, context.Canceled)
		}
	}
}

// stopFollower ends the follower, as far as it runs, and closes its log.
func (p *pair) stopFollower() {
	if p.stop != nil {
		p.stop()
		p.stop = nil
		p.Foll.Close(p.t)
	}
}

// until waits for cond.
func (p *pair) until(what string, cond func() bool) {
	p.t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("not within %s: %s; follower %+v", patience, what, p.Follower.Status())
		}
	}
}

// converge waits until the follower has all of the leader's log, and compares.
func (p *pair) converge() {
	p.t.Helper()
	p.until("offsets agree", func() bool {
		pos, _ := p.Foll.Position()
		st := p.Follower.Status()
		return pos == p.Lead.Log.Position() && st.Offset == pos.Offset && st.CaughtUp && st.State == "streaming"
	})
	if l, f := p.Lead.State(), p.Foll.State(); !maps.Equal(l, f) {
		p.t.Fatalf("states differ: leader has %d keys, follower %d", len(l), len(f))
	}
	if _, got := p.Foll.Position(); got != p.Lead.Log.Last().Digest {
		p.t.Fatalf("digests differ: %s, %s", got, p.Lead.Log.Last().Digest)
	}
}

// write writes n keys with a value of their own each.
func (p *pair) write(prefix string, n int) {
	p.t.Helper()
	for i := range n {
		p.Lead.Write(p.t, "SET", fmt.Sprint(prefix, i), fmt.Sprint("value of ", prefix, i))
	}
}

// kinds returns the kinds of the events so far.
func (p *pair) kinds() (kinds []follower.EventKind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

func (p *pair) saw(kind follower.EventKind) bool {
	for _, k := range p.kinds() {
		if k == kind {
			return true
		}
	}
	return false
}

// wantResyncs checks how the follower came to its data since it was started.
func (p *pair) wantResyncs(continues, fulls int64) {
	p.t.Helper()
	st := p.Follower.Status()
	if st.ContinueResyncs != continues || st.FullResyncs != fulls {
		p.t.Fatalf("%d continued, %d full; want %d, %d", st.ContinueResyncs, st.FullResyncs, continues, fulls)
	}
}

// keepNothing makes a log keep nothing before its base for followers.
func keepNothing(o *aof.Options) { o.BacklogBytes = -1 }

// smallSegments makes a log begin a new file every few batches.
func smallSegments(o *aof.Options) { o.SegmentBytes = 4 << 10 }

func closeOf(t testing.TB, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// copyDir returns a copy of a data directory that nobody has open.
func copyDir(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}
