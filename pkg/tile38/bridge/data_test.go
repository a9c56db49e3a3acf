package bridge_test

import (
	"fmt"
	"testing"
	"time"

	"evenkeel/pkg/tile38"
	"evenkeel/pkg/tile38/bridge"
)

func TestHooksAndTTLs(t *testing.T) { each(t, testHooksAndTTLs) }

// testHooksAndTTLs: what ends by itself ends on both sides, and hooks and channels are
// the leader's, through a stream and through a difference.
func testHooksAndTTLs(t *testing.T, p *pair) {
	write := func(n int) {
		p.Leader.Do(
			fmt.Sprintf("SETHOOK h%d http://127.0.0.1:1/x META a b NEARBY hk FENCE POINT 1 1 100", n),
			fmt.Sprintf("SETCHAN c%d WITHIN hk FENCE DETECT enter BOUNDS 1 1 2 2", n),
			fmt.Sprintf("SETHOOK short%d http://127.0.0.1:1/x EX 1 NEARBY hk FENCE POINT 1 1 100", n),
			fmt.Sprintf("SET t a%d EX 1 POINT 1 1", n), fmt.Sprintf("SET t b%d EX 900 STRING x", n),
			fmt.Sprintf("SET t c%d POINT 1 1", n), fmt.Sprintf("EXPIRE t c%d 800", n), fmt.Sprintf("SET t d%d EX 50 POINT 2 2", n),
			fmt.Sprintf("PERSIST t d%d", n), fmt.Sprintf("SET t e%d FIELD f 1 BOUNDS 1 1 2 2", n), fmt.Sprintf("JSET t j%d a.b 5", n),
			fmt.Sprintf("SET r%d a POINT 1 1", n), fmt.Sprintf("RENAME r%d renamed%d", n, n), fmt.Sprintf("SET u%d a POINT 1 1", n), fmt.Sprintf("DROP u%d", n),
		)
	}
	write(1)
	p.start()
	p.follow()
	p.equal()
	write(2)
	p.equal()
	p.stopBridge()
	p.Leader.Do("DELHOOK h1", "DELCHAN c2", "PDEL t c*", "PERSIST t b1")
	write(3)
	p.shrink() // no heartbeat: only a difference helps
	write(4)
	p.start()
	p.equal()
	gone := func(s *server) bool { return s.Server().Counts.Hooks == 6 }
	p.until("what is over to end", func() bool { return gone(p.Leader) && gone(p.Follower) })
	time.Sleep(time.Second) // either side looks for what is over now and then
	p.equal()
	if st := p.Bridge.Status(); st.Resumes != (bridge.Resumes{Difference: 1}) {
		t.Errorf("%+v", st.Resumes)
	}
}

func TestLastResort(t *testing.T) { each(t, testLastResort) }

// testLastResort: a follower that does not become equal is emptied.
func testLastResort(t *testing.T, p *pair) {
	p.Leader.Fill("k", 0, 500)
	p.start()
	p.follow()
	p.equal()
	p.stopBridge()
	p.Leader.Do("DROP k")
	p.Leader.Fill("other", 0, 500)
	p.prepare = (*bridge.Bridge).EmptyFollower
	p.start()
	p.equal()
	if st := p.Bridge.Status(); st.Resumes != (bridge.Resumes{Full: 1}) || p.count(bridge.EventFull) != 1 {
		t.Errorf("%+v", st.Resumes)
	}
	p.Leader.Fill("other", 100, 500)
	p.equal()
}

func TestPlainLeader(t *testing.T) { each(t, testPlainLeader) }

// testPlainLeader: without heartbeats, traffic alone shows where to go on.
func testPlainLeader(t *testing.T, p *pair) {
	p.Leader.Fill("k", 0, 15_000)
	p.start()
	p.follow()
	p.equal()
	p.shrinkWith(func() { p.Leader.Fill("live", 0, 3000) }, func() {})
	p.until("the leader's new file to be followed", func() bool {
		r := p.Bridge.Status().Resumes
		return r.Found+r.Difference > 0
	})
	p.Leader.Fill("live", 1000, 3000)
	p.equal()
	p.Follower.Kill()
	p.Leader.Fill("live", 2000, 3000)
	p.Follower.Start()
	p.equal()
	p.stopBridge()
	p.Leader.Fill("live", 2500, 3000)
	p.start()
	p.equal()
	if st := p.Bridge.Status(); st.Resumes != (bridge.Resumes{FoundByLog: 1}) {
		t.Errorf("%+v", st.Resumes)
	}
}

func TestForeignWrites(t *testing.T) { each(t, testForeignWrites) }

// testForeignWrites: a follower that was written to is made equal again.
func testForeignWrites(t *testing.T, p *pair) {
	p.Leader.Fill("k", 0, 500)
	p.heartbeat()
	p.start()
	p.follow()
	p.equal()
	p.Follower.Do("FOLLOW no one", "SET k o5 POINT 77 77", "SET ghost a POINT 1 1", "DEL k o6")
	p.heartbeat()
	p.Leader.Fill("k", 100, 10)
	p.follow()
	p.until("the difference", func() bool { return p.Bridge.Status().Resumes.Difference == 1 })
	p.equal()
	// One that leaves no trace but in the counts.
	p.Follower.Do("FOLLOW no one")
	if _, err := p.Follower.Try("del", "k", "o7"); err != nil {
		t.Fatal(err)
	}
	p.follow()
	p.until("the difference", func() bool { return p.Bridge.Status().Resumes.Difference == 2 })
	p.equal()
}

func TestMessages(t *testing.T) { each(t, testMessages) }

// testMessages: what is published on the leader is published on the follower, and is
// nowhere in the way.
func testMessages(t *testing.T, p *pair) {
	p.Leader.Fill("k", 0, 300)
	p.heartbeat()
	p.start()
	p.follow()
	p.equal()
	c, err := tile38.Dial(t.Context(), tile38.Options{Addr: p.Follower.Addr, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Do("SUBSCRIBE", "c"); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		p.Leader.Do(fmt.Sprintf("PUBLISH c m%d", i), fmt.Sprintf("SET k o%d POINT 5 5", i))
	}
	for i := range 50 {
		a, err := c.Receive(1000)
		if err != nil || len(a.Items) != 3 || a.Items[2].Text != fmt.Sprint("m", i) {
			t.Fatalf("message %d: %+v, %v", i, a, err)
		}
	}
	p.equal()
	p.up.Cut()
	p.Leader.Fill("k", 10, 10)
	p.equal()
	if st := p.Bridge.Status(); st.Resumes != (bridge.Resumes{Fresh: 1, Continued: 1}) {
		t.Errorf("%+v: %s", st.Resumes, st.LastError)
	}
}
