package bridge_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"evenkeel/pkg/tile38"
	"evenkeel/pkg/tile38/bridge"
	"evenkeel/pkg/tile38/verify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for an event.
const patience = 2 * time.Minute

// pair is a leader, a follower and the bridge between them. Both links go through
// wires that can be cut.
type pair struct {
	t                *testing.T
	real             bool
	Leader, Follower *server
	up, down         *wire // to the leader; to the bridge
	Bridge           *bridge.Bridge
	opt              bridge.Options
	stopBridge       func()
	prepare          func(*bridge.Bridge) // before it runs
	beat             *tile38.Heartbeat

	mu     sync.Mutex
	events []bridge.Event
}

// each runs a test on what is played and on the real server.
func each(t *testing.T, test func(t *testing.T, p *pair)) {
	t.Helper()
	for name, genuine := range map[string]bool{"played": false, "real": true} {
		t.Run(name, func(t *testing.T) { test(t, newPair(t, genuine)) })
	}
}

// server starts another server of the same kind.
func (p *pair) server() *server { return newServer(p.t, p.real) }

func newPair(t *testing.T, genuine bool) *pair {
	t.Helper()
	p := &pair{t: t, real: genuine, Leader: newServer(t, genuine), Follower: newServer(t, genuine), beat: tile38.NewHeartbeat("", "pod-0")}
	p.up, p.down = newWire(t, p.Leader.Addr), newWire(t, "")
	p.opt = bridge.Options{
		Leader: p.up.Addr, Engine: p.Follower.Addr, Dir: p.Follower.Dir,
		BackoffMin: 5 * time.Millisecond, BackoffMax: 100 * time.Millisecond, PollInterval: 50 * time.Millisecond,
		RedialInterval: 300 * time.Millisecond,
		Logger:         slog.New(slog.NewTextHandler(t.Output(), nil)),
		OnEvent: func(e bridge.Event) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.events = append(p.events, e)
		},
	}
	return p
}

// start lets the bridge run, and the follower follow it.
func (p *pair) start() {
	p.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	p.opt.Listener = ln
	p.down.Target(ln.Addr().String())
	if p.Bridge, err = bridge.New(p.opt); err != nil {
		p.t.Fatal(err)
	}
	if p.prepare != nil {
		p.prepare(p.Bridge)
	}
	ctx, cancel := context.WithCancel(p.t.Context())
	ended := make(chan error, 1)
	b := p.Bridge
	go func() { ended <- b.Run(ctx) }()
	var once sync.Once
	p.stopBridge = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				p.t.Errorf("Run: %v", err)
			}
		})
	}
	p.t.Cleanup(p.stopBridge)
}

// follow tells the follower whom to follow.
func (p *pair) follow() {
	p.t.Helper()
	host, port, _ := net.SplitHostPort(p.down.Addr)
	p.Follower.Do("FOLLOW " + host + " " + port)
}

// heartbeat writes one to the leader.
func (p *pair) heartbeat() {
	p.t.Helper()
	if _, err := p.Leader.Try(p.beat.Command(time.Now())...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pair) until(what string, ok func() bool) {
	p.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			_, reasons := p.Bridge.Ready(0)
			p.t.Fatalf("waited %s for %s; %+v; %q", patience, what, p.Bridge.Status(), reasons)
		}
	}
}

// equal waits until the bridge is ready and proves that both sides have the same.
func (p *pair) equal() {
	p.t.Helper()
	size := p.Leader.Server().AOFSize
	p.until("the follower to have all", func() bool {
		ok, _ := p.Bridge.Ready(0)
		at, known := p.Bridge.Delivered()
		return ok && known && at >= size
	})
	live := func(addr string) *verify.LiveSource {
		l, err := verify.Live(verify.LiveOptions{Options: tile38.Options{Addr: addr}, Rate: 1 << 20})
		if err != nil {
			p.t.Fatal(err)
		}
		p.t.Cleanup(l.Close)
		return l
	}
	n := 0
	// A Tile38 that restarts begins times to live anew, so they may be longer.
	sum, err := verify.Compare(p.t.Context(), live(p.Leader.Addr), live(p.Follower.Addr), verify.Options{Tolerance: time.Minute},
		func(d verify.Difference) error {
			if n++; n < 5 {
				p.t.Errorf("%s %s: %s: want %+v, have %+v", d.Key, d.ID, d.Why, d.Want, d.Have)
			}
			return nil
		})
	if err != nil || n > 0 {
		p.t.Fatalf("%d differences of %d, %v; %+v", n, sum.Objects, err, p.Bridge.Status())
	}
}

// count returns how many events of a kind there were.
func (p *pair) count(kind bridge.EventKind) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// wire is a TCP proxy that can be cut.
type wire struct {
	Addr string
	ln   net.Listener

	mu     sync.Mutex
	target string
	conns  map[net.Conn]bool
	cutAt  atomic.Int64 // bytes from the target after which all is cut; 0: never
	passed atomic.Int64 // bytes from the target
	slow   atomic.Int64 // nanoseconds of a pause before each piece from the target
	wg     sync.WaitGroup
}

func newWire(t *testing.T, target string) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Addr: ln.Addr().String(), ln: ln, target: target, conns: map[net.Conn]bool{}}
	w.wg.Go(w.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		w.Cut()
		w.wg.Wait()
	})
	return w
}

func (w *wire) accept() {
	for {
		in, err := w.ln.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		target := w.target
		w.mu.Unlock()
		out, err := net.Dial("tcp", target)
		if err != nil {
			_ = in.Close()
			continue
		}
		w.mu.Lock()
		w.conns[in], w.conns[out] = true, true
		w.mu.Unlock()
		done := func() {
			_, _ = in.Close(), out.Close()
			w.mu.Lock()
			delete(w.conns, in)
			delete(w.conns, out)
			w.mu.Unlock()
		}
		w.wg.Go(func() { _, _ = io.Copy(out, in); done() })
		w.wg.Go(func() { w.back(in, out); done() })
	}
}

// back carries what the target says.
func (w *wire) back(in, out net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		size := len(buf)
		if w.slow.Load() > 0 {
			size = 1 << 10
			time.Sleep(time.Duration(w.slow.Load()))
		}
		n, err := out.Read(buf[:size])
		if err != nil {
			return
		}
		part := buf[:n]
		at := w.passed.Add(int64(n))
		if cut := w.cutAt.Load(); cut > 0 && at >= cut {
			part = part[:max(0, int64(n)-(at-cut))]
			w.cutAt.Store(0)
			_, _ = in.Write(part)
			return
		}
		if _, err := in.Write(part); err != nil {
			return
		}
	}
}

// Target says where new connections lead.
func (w *wire) Target(addr string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.target = addr
}

// Cut ends all connections.
func (w *wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		_ = c.Close()
	}
}
