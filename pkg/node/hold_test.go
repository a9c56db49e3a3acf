package node

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestFollowEpoch: who has not got the history is not followed, though it is at the address.
func TestFollowEpoch(t *testing.T) {
	lead := serve(t, t.TempDir(), config{})
	lead.dial().talk([][2]string{{"SET k a POINT 1 1", "+OK"}})
	fol := serve(t, t.TempDir(), config{change: given(Forward{})})
	port, _ := strconv.Atoi(lead.port())
	other := strings.Repeat("a", 40)
	if err := fol.node.Follow(t.Context(), "127.0.0.1", port, other); err != nil {
		t.Fatal(err)
	}
	until(t, "the leader to be refused", func() bool {
		return strings.Contains(fol.node.FollowerStatus().LastError, "does not have the history "+other)
	})
	if p := fol.log.Position(); p.Offset != 0 {
		t.Errorf("taken from it: %d bytes", p.Offset)
	}
	if err := fol.node.Follow(t.Context(), "127.0.0.1", port, lead.log.Position().Epoch); err != nil {
		t.Fatal(err)
	}
	level(t, lead, fol)
	// It goes on with a later history of the same leader, and still knows the first one.
	first := lead.log.Position().Epoch
	lead.node.Undecided("for a moment")
	lead.leads()
	if err := fol.node.Follow(t.Context(), "127.0.0.1", port, first); err != nil {
		t.Fatal(err)
	}
	level(t, lead, fol)
}

// TestUndecidedServesNobody: what a pod has that has just started may be nothing.
func TestUndecidedServesNobody(t *testing.T) {
	s := serve(t, t.TempDir(), config{change: given(Forward{})})
	fol := serve(t, t.TempDir(), config{change: given(Forward{})})
	port, _ := strconv.Atoi(s.port())
	if err := fol.node.Follow(t.Context(), "127.0.0.1", port, s.log.Position().Epoch); err != nil {
		t.Fatal(err)
	}
	until(t, "a refusal", func() bool { return strings.Contains(fol.node.FollowerStatus().LastError, "knows no leader") })
	s.leads()
	level(t, s, fol)
}

// TestHold: what is under way is answered, what comes later waits and goes where it belongs.
func TestHold(t *testing.T) {
	open := func() error { return nil }
	lead := serve(t, t.TempDir(), config{change: func(o *Options) { given(Forward{})(o); o.Fence = open }})
	lead.leads()
	c := lead.dial()
	c.talk([][2]string{{"SET k a POINT 1 1", "+OK"}})
	if err := lead.node.hold.enter(t.Context()); err != nil { // a pipeline is under way
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := lead.node.Hold(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("held while a pipeline is under way: %v", err)
	}
	c.talk([][2]string{{"SET k b POINT 1 1", "+OK"}}) // nothing is held after that
	type got struct {
		release func()
		err     error
	}
	held := make(chan got, 1)
	go func() {
		release, err := lead.node.Hold(context.Background())
		held <- got{release, err}
	}()
	until(t, "Hold to have begun", func() bool {
		lead.node.hold.mu.Lock()
		defer lead.node.hold.mu.Unlock()
		return lead.node.hold.held != nil
	})
	if _, err := lead.node.Hold(t.Context()); !errors.Is(err, errHeld) {
		t.Errorf("a second one: %v", err)
	}
	answers := make(chan string, 2)
	for _, id := range []string{"c", "d"} {
		conn := lead.dial()
		go func() { answers <- conn.do("SET k " + id + " POINT 1 1") }()
	}
	c.talk([][2]string{{"PING", "+PONG"}}) // this is nobody's but ours
	lead.node.hold.leave()
	h := <-held
	if h.err != nil {
		t.Fatal(h.err)
	}
	select {
	case a := <-answers:
		t.Fatalf("answered while held: %s", a)
	default:
	}
	// Another node leads now; what has waited goes there.
	next := serve(t, t.TempDir(), config{change: given(Forward{})})
	next.leads()
	lead.node.Undecided("handing over")
	lead.follows(next)
	h.release()
	for range 2 {
		if a := <-answers; a != "+OK" {
			t.Errorf("what has waited: %s", a)
		}
	}
	next.dial().talk([][2]string{{"EXISTS k c", ":1"}, {"EXISTS k d", ":1"}, {"EXISTS k a", ":0"}})
}
