package upstream

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"evenkeel/pkg/proxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of the tests.
const patience = time.Minute

// fixture is a proxy before an engine.
type fixture struct {
	*proxy.Server
	t    testing.TB
	b    *Backend
	addr string
}

// start serves until the test ends, when nothing may be left.
func start(t testing.TB, o Options, po proxy.Options) *fixture {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	o.Logger, po.Logger = quiet, quiet
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, o, po, ln)
}

func startOn(t testing.TB, o Options, po proxy.Options, ln net.Listener) *fixture {
	t.Helper()
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := proxy.NewRaw(po, b)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{Server: srv, t: t, b: b, addr: ln.Addr().String()}
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = srv.Shutdown(ctx) // tests that care look at it themselves
		select {
		case <-served:
		case <-time.After(patience):
			t.Error("Serve did not return")
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if n := b.Stats().Links; n != 0 {
			t.Errorf("%d links are left", n)
		}
	})
	return f
}

// eventually waits until cond holds.
func (f *fixture) eventually(what string, cond func() bool) {
	f.t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("never happened: %s; %+v %+v", what, f.Stats(), f.b.Stats())
		}
	}
}

// peer is an end of a connection in a test.
type peer struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func newPeer(t testing.TB, nc net.Conn) *peer {
	t.Helper()
	t.Cleanup(func() { _ = nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &peer{t, nc, bufio.NewReader(nc)}
}

func dial(t testing.TB, addr string) *peer {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return newPeer(t, nc)
}

func (p *peer) send(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p, s); err != nil {
		p.t.Fatal(err)
	}
}

// want reads exactly this.
func (p *peer) want(s string) {
	p.t.Helper()
	got := make([]byte, len(s))
	if n, err := io.ReadFull(p.r, got); err != nil || string(got) != s {
		p.t.Fatalf("got %d bytes, %.300q, %v; want %d, %.300q", n, got[:n], err, len(s), s)
	}
}

// wantEnd reads exactly this and the end of the stream.
func (p *peer) wantEnd(s string) {
	p.t.Helper()
	if got, err := io.ReadAll(p.r); err != nil || string(got) != s {
		p.t.Fatalf("got %q, %v; want %q and the end", got, err, s)
	}
}

func (p *peer) closeWrite() {
	p.t.Helper()
	half, ok := p.Conn.(interface{ CloseWrite() error })
	if !ok {
		p.t.Fatalf("%T cannot be closed by half", p.Conn)
	}
	if err := half.CloseWrite(); err != nil {
		p.t.Fatal(err)
	}
}

// script is an engine whose replies a test writes byte by byte.
type script struct {
	t     testing.TB
	addr  string
	mu    sync.Mutex
	ln    net.Listener
	conns chan net.Conn
	wg    sync.WaitGroup
}

func newScript(t testing.TB) *script {
	t.Helper()
	s := &script{t: t, conns: make(chan net.Conn, 1000)}
	s.listen("127.0.0.1:0")
	t.Cleanup(s.stop)
	return s
}

func (s *script) listen(addr string) {
	s.t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	s.ln, s.addr = ln, ln.Addr().String()
	s.mu.Unlock()
	s.wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			s.conns <- nc
		}
	})
}

// stop takes no more connections; those that are there stay.
func (s *script) stop() {
	s.mu.Lock()
	_ = s.ln.Close()
	s.mu.Unlock()
	s.wg.Wait()
}

// next is the next connection that comes.
func (s *script) next() *peer {
	s.t.Helper()
	select {
	case nc := <-s.conns:
		return newPeer(s.t, nc)
	case <-time.After(patience):
		s.t.Fatal("no connection came")
		return nil
	}
}
