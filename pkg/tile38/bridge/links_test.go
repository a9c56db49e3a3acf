package bridge_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"evenkeel/internal/testkit"
	"evenkeel/pkg/tile38/bridge"
)

// TestCuts: either link is cut at many bytes, and each end is the same.
func TestCuts(t *testing.T) { each(t, testCuts) }

func testCuts(t *testing.T, p *pair) {
	p.Leader.Fill("k", 0, 300)
	p.start()
	p.follow()
	p.equal()
	for i := range 24 {
		p.heartbeat()
		w := p.up
		if i%3 > 0 {
			w = p.down
		}
		w.cutAt.Store(w.passed.Load() + 1 + rand.Int64N(20_000))
		p.Leader.Fill("k", 100+i, 300)
		p.Leader.Do(fmt.Sprintf("DEL k o%d", i), "PUBLISH c m", fmt.Sprintf("SET ttl %d EX 100 POINT 1 1", i))
		if i%5 == 4 {
			p.equal()
		}
	}
	p.equal()
	if st := p.Bridge.Status(); st.Resumes.Full+st.Resumes.Difference > 0 {
		t.Errorf("%+v", st.Resumes)
	}
}

// TestSecondConnection: a new connection of the follower takes the place of one
// that hangs.
func TestSecondConnection(t *testing.T) { each(t, testSecondConnection) }

func testSecondConnection(t *testing.T, p *pair) {
	p.Leader.Fill("k", 0, 300)
	p.start()
	p.follow()
	p.equal()
	conn, err := net.Dial("tcp", p.opt.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(testkit.Command("AOF", "0")); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, conn); err != nil { // until the real one is back
		t.Errorf("the connection that hangs: %v", err)
	}
	p.Leader.Fill("k", 100, 300)
	p.equal()
}

// TestSlowFollower: what the follower does not take is left with the leader.
func TestSlowFollower(t *testing.T) { each(t, testSlowFollower) }

func testSlowFollower(t *testing.T, p *pair) {
	p.opt.Ahead, p.opt.Keep = 256<<10, 128<<10
	p.start()
	p.follow()
	p.Leader.Fill("k", 0, 10)
	p.equal()
	p.down.slow.Store(int64(2 * time.Millisecond))
	read, sent := p.up.passed.Load(), p.Bridge.Status().BytesSent
	p.Leader.Fill("k", 0, 30_000) // 2.4 MB at half a MB a second
	most := int64(0)
	for range 50 {
		got, gone := p.up.passed.Load()-read, p.Bridge.Status().BytesSent-sent
		most = max(most, got-gone)
		time.Sleep(10 * time.Millisecond)
	}
	// Beside the ring there are the buffers of a stream and of three sockets.
	if most > 256<<10+6<<20 {
		t.Errorf("%d bytes are held", most)
	}
	if ok, _ := p.Bridge.Ready(0); ok && p.Bridge.Status().LagBytes > 0 && p.Bridge.Status().LagSeconds > 10 {
		t.Error("ready, though late")
	}
	p.down.slow.Store(0)
	p.equal()
	if st := p.Bridge.Status(); st.Resumes != (bridge.Resumes{Fresh: 1}) {
		t.Errorf("%+v", st.Resumes)
	}
}

// TestWaitFor: after it, the follower has what the leader had.
func TestWaitFor(t *testing.T) { each(t, testWaitFor) }

func testWaitFor(t *testing.T, p *pair) {
	p.opt.PollInterval = time.Hour // nobody else asks
	p.Leader.Fill("k", 0, 300)
	p.heartbeat()
	p.start()
	p.follow()
	p.until("the follower to begin", func() bool { return p.Bridge.Status().Resumes.Fresh == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var took time.Duration
	for i := range 300 {
		id := fmt.Sprint("w", i)
		p.Leader.Do("SET k " + id + " POINT 1 1")
		offset := p.Leader.Server().AOFSize
		began := time.Now()
		if err := p.Bridge.WaitFor(ctx, offset); err != nil {
			t.Fatal(err)
		}
		took += time.Since(began)
		if _, err := p.Follower.Try("GET", "k", id, "POINT"); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		if at, ok := p.Bridge.Delivered(); !ok || at < offset {
			t.Fatalf("delivered %d, %v; waited for %d", at, ok, offset)
		}
	}
	t.Logf("%s each", took/300)
	short, end := context.WithTimeout(ctx, 50*time.Millisecond)
	defer end()
	if err := p.Bridge.WaitFor(short, p.Leader.Server().AOFSize+1000); err == nil {
		t.Error("what was never written is there")
	}
	before := p.Leader.Server().AOFSize
	p.shrinkWith(p.heartbeat, func() {})
	p.Leader.Do("SET k behind POINT 1 1")
	if err := p.Bridge.WaitFor(ctx, before); err != nil {
		t.Error(err)
	}
}
