package bridge_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"evenkeel/pkg/tile38/bridge"
)

// TestEmptyLeader: a leader that lost all is not believed, unless it is to be.
func TestEmptyLeader(t *testing.T) { each(t, testEmptyLeader) }

func testEmptyLeader(t *testing.T, p *pair) {
	p.Leader.Fill("k", 0, 1000)
	p.Leader.Do("SETCHAN c NEARBY k FENCE POINT 1 1 100")
	p.start()
	p.follow()
	p.equal()
	other := p.server()
	p.up.Target(other.Addr)
	p.Leader.Kill()
	p.Leader = other
	p.until("the leader to be refused", func() bool { return p.count(bridge.EventRefused) > 1 })
	p.heartbeat()
	if ok, reasons := p.Bridge.Ready(0); ok || !strings.Contains(strings.Join(reasons, " "), bridge.ErrEmptyLeader.Error()) {
		t.Errorf("ready: %q", reasons)
	}
	if st := p.Bridge.Status(); !strings.Contains(st.LastError, "none of the follower's collections") {
		t.Errorf("%+v", st)
	}
	if n := p.Follower.Server().Counts.Objects; n != 1000 {
		t.Fatalf("the follower has %d objects", n)
	}
	p.stopBridge()
	p.opt.AcceptEmptyLeader = true
	p.start()
	p.equal()
	if n := p.Follower.Server().Counts; n.Objects != 1 || n.Hooks != 0 {
		t.Errorf("the follower has %+v", n)
	}
}

// TestOtherLeader: the leader's name means another one with other data; the
// follower gets the difference.
func TestOtherLeader(t *testing.T) { each(t, testOtherLeader) }

func testOtherLeader(t *testing.T, p *pair) {
	p.Leader.Fill("k", 0, 3000)
	p.Leader.Fill("gone", 0, 50)
	p.Leader.Do("SETHOOK h http://127.0.0.1:1/x NEARBY hk FENCE POINT 1 1 100", "SETCHAN c NEARBY k FENCE POINT 1 1 100",
		"SET t a EX 500 STRING x", "SET t b STRING y")
	p.start()
	p.follow()
	p.equal()
	other := p.server()
	other.Fill("k", 100, 3000)
	other.Fill("more", 0, 10)
	other.Do("SETHOOK h http://127.0.0.1:1/y NEARBY hk FENCE POINT 2 2 100", "SETCHAN d NEARBY k FENCE POINT 1 1 100",
		"SET t a STRING x", "SET t b EX 700 STRING y", "SET k o200 FIELD g 5 FIELD f 9 POINT 1 2", "JSET j a b.c 5", "PDEL k o30*")
	old := p.Leader
	p.up.Target(other.Addr) // the old one lives on
	p.Leader = other
	p.until("the other leader to be followed", func() bool { return p.Bridge.Status().Resumes.Difference == 1 })
	p.equal()
	if st := p.Bridge.Status(); st.Resumes.Full > 0 || st.DifferenceCommands > 500 || st.FollowerConnects != 1 {
		t.Errorf("%+v, %d commands, %d connections", st.Resumes, st.DifferenceCommands, st.FollowerConnects)
	}
	old.Do("SET k wrong POINT 1 1")
	p.Leader.Fill("k", 0, 10)
	p.equal()
}

// TestNoLeader: who follows somebody itself, or is the follower, is no leader.
func TestDifferenceCut(t *testing.T) { each(t, testDifferenceCut) }

// testDifferenceCut: a difference that anything ends on its way is looked for again.
func testDifferenceCut(t *testing.T, p *pair) {
	p.Leader.Fill("k", 0, 500)
	p.heartbeat()
	p.start()
	p.follow()
	p.equal()
	other := p.server()
	other.Fill("k", 1, 8000)
	p.down.slow.Store(int64(2 * time.Millisecond))
	p.up.Target(other.Addr)
	p.Leader = other
	sent := p.Bridge.Status().BytesSent
	some := func() bool { return p.Bridge.Status().BytesSent > sent+50_000 }
	p.until("a part of the difference", some)
	p.down.Cut() // the follower's link
	sent = p.Bridge.Status().BytesSent
	p.until("another part", some)
	p.stopBridge() // the sidecar
	p.start()
	sent = 0
	p.until("another part", some)
	p.up.Cut() // the leader's link
	p.Leader.Do("DEL k o4")
	p.down.slow.Store(0)
	p.equal()
	if st := p.Bridge.Status(); st.Resumes.Difference != 1 || st.Resumes.Full+st.Resumes.FoundByLog+st.Resumes.Fresh > 0 {
		t.Errorf("%+v", st.Resumes)
	}
}

func TestNoLeader(t *testing.T) { each(t, testNoLeader) }

func testNoLeader(t *testing.T, p *pair) {
	third := p.server()
	host, port, _ := net.SplitHostPort(third.Addr)
	p.Leader.Do("FOLLOW " + host + " " + port)
	p.start()
	p.follow()
	p.until("the leader to be refused", func() bool {
		return strings.Contains(p.Bridge.Status().LastError, bridge.ErrChained.Error())
	})
	p.up.Target(p.Follower.Addr)
	p.up.Cut()
	p.until("itself to be refused", func() bool {
		e := p.Bridge.Status().LastError
		return strings.Contains(e, "itself") || strings.Contains(e, bridge.ErrChained.Error())
	})
	if ok, _ := p.Bridge.Ready(0); ok {
		t.Error("ready")
	}
	third.Fill("k", 0, 10)
	p.Leader = third
	p.up.Target(third.Addr)
	p.equal()
}

// TestAuth: passwords on both sides.
func TestAuth(t *testing.T) { each(t, testAuth) }

func testAuth(_ *testing.T, p *pair) {
	p.Leader.Fill("k", 0, 100)
	p.Leader.Do("CONFIG SET requirepass secret")
	p.Follower.Do("CONFIG SET leaderauth whatever")
	p.start()
	p.follow()
	p.until("the leader to refuse", func() bool { return strings.Contains(p.Bridge.Status().LastError, "auth") })
	p.stopBridge()
	p.opt.LeaderAuth = "secret"
	p.start()
	p.until("the follower to be level", func() bool { ok, _ := p.Bridge.Ready(0); return ok })
	p.Follower.Do("CONFIG SET requirepass other")
	p.stopBridge()
	p.opt.EngineAuth = "other"
	p.start()
	p.until("the follower to be level", func() bool { ok, _ := p.Bridge.Ready(0); return ok })
	p.Leader.Do("AUTH secret", "CONFIG SET requirepass ")
}

// TestAnnounce: the leader shows where others reach the follower.
func TestAnnounce(t *testing.T) { each(t, testAnnounce) }

func testAnnounce(t *testing.T, p *pair) {
	p.opt.Announce = ":7777" // the host is that of the connection
	p.Leader.Fill("k", 0, 10)
	p.start()
	p.follow()
	p.until("the follower to be level", func() bool { ok, _ := p.Bridge.Ready(0); return ok })
	info, err := p.Leader.Try("INFO", "replication")
	if err != nil || !strings.Contains(info, "ip=127.0.0.1,port=7777") {
		t.Errorf("%v: %s", err, info)
	}
}
