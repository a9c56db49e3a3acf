package follower_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/follower"
	"evenkeel/pkg/replication/reptest"
)

// Another leader behind the same name: another history.
func TestEpochChanged(t *testing.T) {
	p := newPair(t)
	p.write("a", 50)
	p.startFollower()
	p.converge()
	p.stopLeader()
	p.LDir = t.TempDir()
	p.startLeader()
	p.write("other", 20)
	p.converge()
	if st := p.Follower.Status(); st.FullResyncs == 0 || st.Epoch != p.Lead.Log.Position().Epoch {
		t.Errorf("got %+v", st)
	}
}

// A state that differs is found by the next heartbeat when nothing is written,
// and by the next batch when something is.
func TestDivergence(t *testing.T) {
	for _, how := range []string{"heartbeat", "batch"} {
		t.Run(how, func(t *testing.T) {
			p := newPair(t)
			if how == "batch" {
				p.stopLeader()
				p.beat = time.Hour
				p.startLeader()
			}
			p.write("a", 50)
			p.startFollower()
			p.converge()
			fulls := p.Follower.Status().FullResyncs
			p.Foll.Tamper("ghost", "boo")
			if how == "batch" {
				p.write("b", 1)
			}
			p.until("noticed", func() bool { return p.saw(follower.EventDiverged) })
			p.until("mended", func() bool { return p.Follower.Status().FullResyncs == fulls+1 })
			p.converge()
			if st := p.Follower.Status(); st.Divergences != 1 || !st.DigestEqual || !strings.Contains(st.LastError, "diverged") {
				t.Errorf("got %+v", st)
			}
		})
	}
}

// logStore tells the digest that its log has, which a state that went wrong does
// not have.
type logStore struct{ *reptest.Node }

func (s logStore) Position() (aof.Position, aof.Digest) {
	return s.Log.Position(), s.Log.Last().Digest
}

// Once a batch did not lead to the leader's state the follower asks for a base,
// whatever its store says of itself.
func TestDivergenceAsksForFull(t *testing.T) {
	p := newPair(t)
	p.write("a", 5)
	p.wrap = func(n *reptest.Node) follower.Store { return logStore{n} }
	p.startFollower()
	p.converge()
	fulls := p.Follower.Status().FullResyncs
	p.Foll.Tamper("ghost", "boo")
	p.write("b", 1)
	p.until("mended", func() bool { return p.Follower.Status().FullResyncs == fulls+1 })
	p.converge()
}

// While a divergence is not mended the follower is not ready, and says why.
func TestDivergedIsNotReady(t *testing.T) {
	p := newPair(t)
	p.write("a", 5)
	p.startFollower()
	p.converge()
	p.mu.Lock()
	p.addr = "127.0.0.1:1" // nobody to mend it
	p.mu.Unlock()
	p.Foll.Tamper("ghost", "boo")
	p.until("noticed", func() bool { return !p.Follower.Status().DigestEqual })
	if ok, why := p.Follower.Ready(0); ok || len(why) == 0 || !strings.Contains(why[0], "digest") {
		t.Errorf("ready %v, %q", ok, why)
	}
}

// A follower whose state went wrong while it was away is found out by its hello.
func TestDivergedWhileAway(t *testing.T) {
	p := newPair(t)
	p.write("a", 50)
	p.startFollower()
	p.converge()
	p.stopFollower()
	p.startFollowerTampered()
	p.converge()
	p.wantResyncs(0, 1)
}

// startFollowerTampered is startFollower with a state that is wrong from the beginning.
func (p *pair) startFollowerTampered() {
	p.t.Helper()
	p.mu.Lock()
	good := p.addr
	p.addr = "127.0.0.1:1"
	p.mu.Unlock()
	p.startFollower()
	p.Foll.Tamper("ghost", "boo")
	p.mu.Lock()
	p.addr = good
	p.mu.Unlock()
}

// lazyStore does not do what it says.
type lazyStore struct {
	*reptest.Node
	read int64 // of the base
}

func (s lazyStore) Reset(_ context.Context, _ aof.History, _ aof.Mark, _, _ int64, r io.Reader) error {
	_, err := io.CopyN(io.Discard, r, s.read)
	return err
}

// A store that leaves a part of the base unread, or the old state in force, is
// not believed.
func TestStoreThatDoesNotReset(t *testing.T) {
	p := newPair(t)
	p.write("a", 20)
	p.Lead.Compact(t)
	base, err := p.Lead.Log.OpenBase()
	if err != nil {
		t.Fatal(err)
	}
	defer closeOf(t, base)
	for read, want := range map[int64]string{
		base.Size() - 1: "left 1 bytes of the base unread",
		base.Size():     "after a base of",
	} {
		n := reptest.Open(t, t.TempDir(), follower.ErrDiverged)
		lost := make(chan error, 1)
		f, err := follower.New(follower.Options{
			Leader: "l:1", Dial: p.Net.Dial, Store: lazyStore{n, read}, BackoffMin: time.Hour, BackoffMax: time.Hour,
			OnEvent: func(e follower.Event) {
				if e.Kind == follower.EventLost {
					lost <- e.Err
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		if err := <-lost; !strings.Contains(err.Error(), want) {
			t.Errorf("after %d bytes: %v, want %q in it", read, err, want)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	}
}
