package proxy

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"evenkeel/pkg/resp"
)

// Commands being carried out, and whole ones behind them, are answered; idle
// connections and half a command are ended.
func TestDrain(t *testing.T) {
	f := start(t, Options{MaxPipeline: 1})
	idle, half, busy := f.dial(), f.dial(), f.dial()
	idle.send("PING\n")
	idle.want("+PONG\r\n")
	half.send("PING\n*2\r\n$4\r\nPI")
	half.want("+PONG\r\n")
	busy.send("WAIT\nPING a\nPING b\nPI")
	f.entered()

	done := make(chan error, 1)
	go func() { done <- f.Shutdown(context.Background()) }()
	idle.wantEnd("")
	half.wantEnd("")
	_, _ = idle.Close(), half.Close()
	f.closedFor(ClosedDrain, 2)
	if nc, err := net.Dial("tcp", f.addr); err == nil {
		_ = nc.Close()
		t.Error("connections are still accepted")
	}
	select {
	case err := <-done:
		t.Fatalf("shutdown ended with a command in flight: %v", err)
	case f.toy.release <- struct{}{}:
	}
	busy.wantEnd("+DONE\r\n$1\r\na\r\n$1\r\nb\r\n")
	_ = busy.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	f.closedFor(ClosedDrain, 3)
	if err := f.Serve(context.Background(), mustListen(t)); !errors.Is(err, ErrServed) {
		t.Errorf("served again: %v", err)
	}
}

// A connection that was accepted just before the drain began, and registered
// just behind it, is woken by nobody.
func TestAcceptedTooLateToBeWoken(t *testing.T) {
	s, err := New(Options{}, newToy())
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	defer near.Close()
	giveUp := time.AfterFunc(time.Second, func() { _ = far.Close() })
	defer giveUp.Stop()
	s.drain()
	c := newConn(s, near)
	defer c.cancel()
	if why, err := c.run(); why != ClosedDrain || err != nil {
		t.Errorf("ended for %v, %v", why, err)
	}
}

func mustListen(t *testing.T) net.Listener {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func TestDrainIsBounded(t *testing.T) {
	f := start(t, Options{})
	busy, stalled := f.dial(), f.dial()
	busy.send("WAIT\n")
	f.entered()
	stalled.send(strings.Repeat("BIG 1000000\n", 100))
	f.eventually("a blocked reply", func() bool { return f.Stats().BytesOut > 0 })
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := f.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shutdown: %v", err)
	}
	if took := time.Since(began); took > cutGrace {
		t.Errorf("shutdown took %v", took)
	}
	busy.wantCut()
	stalled.wantCut()
	f.closedFor(ClosedCut, 2)
}

// The end of Serve's context drains too, for at most DrainTimeout.
func TestContextEndsServe(t *testing.T) {
	for _, stuck := range []bool{false, true} {
		b := newToy()
		s, err := New(Options{DrainTimeout: 100 * time.Millisecond}, b)
		if err != nil {
			t.Fatal(err)
		}
		ln := mustListen(t)
		ctx, cancel := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx, ln) }()
		f := &fixture{Server: s, t: t, toy: b, addr: ln.Addr().String()}
		c := f.dial()
		c.send("WAIT\n")
		f.entered()
		cancel()
		if stuck {
			c.wantCut()
		} else {
			b.release <- struct{}{}
			c.wantEnd("+DONE\r\n")
			_ = c.Close()
		}
		select {
		case err := <-served:
			if (err != nil) != stuck {
				t.Errorf("stuck %v: %v", stuck, err)
			}
		case <-time.After(patience):
			t.Fatal("Serve did not return")
		}
		if n := b.open.Load(); n != 0 {
			t.Errorf("%d sessions are left open", n)
		}
	}
}

// A session that ignores its context delays Serve by cutGrace at most.
func TestSessionThatNeverEnds(t *testing.T) {
	stop, in := make(chan struct{}), make(chan struct{})
	s, err := New(Options{DrainTimeout: 50 * time.Millisecond}, deaf{in, stop})
	if err != nil {
		t.Fatal(err)
	}
	ln := mustListen(t)
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), ln) }()
	f := &fixture{Server: s, t: t, addr: ln.Addr().String()}
	f.dial().send("PING\n")
	<-in
	if err := s.Shutdown(context.Background()); err == nil {
		t.Error("shutdown reports success")
	}
	if err := <-served; err == nil || !strings.Contains(err.Error(), "1 sessions did not end") {
		t.Errorf("Serve: %v", err)
	}
	close(stop)
}

type deaf struct{ in, stop chan struct{} }

func (d deaf) Open(*Conn) Session { return d }
func (d deaf) Do(_ context.Context, _ []resp.Command, out []byte) ([]byte, Verdict) {
	close(d.in)
	<-d.stop
	return out, Verdict{}
}
func (d deaf) AppendError(out []byte, _ string) []byte { return out }
func (d deaf) Close()                                  {}

func TestShutdownBeforeServe(t *testing.T) {
	s, err := New(Options{}, newToy())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := s.Serve(context.Background(), mustListen(t)); !errors.Is(err, ErrServed) {
		t.Error(err)
	}
}

// A listener that fails ends the server, with its error.
func TestListenerFails(t *testing.T) {
	ln := mustListen(t)
	s, err := New(Options{}, newToy())
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), ln) }()
	_ = ln.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// flaky fails a few times before it accepts.
type flaky struct {
	net.Listener
	fail int
}

func (l *flaky) Accept() (net.Conn, error) {
	if l.fail > 0 {
		l.fail--
		return nil, errors.New("too many open files")
	}
	return l.Listener.Accept()
}

func TestAcceptIsTriedAgain(t *testing.T) {
	f := startOn(t, Options{}, &flaky{mustListen(t), 3})
	c := f.dial()
	c.send("PING\n")
	c.want("+PONG\r\n")
}

// Clients that come, go, and are shut down at any moment.
func TestShutdownUnderLoad(t *testing.T) {
	f := start(t, Options{MaxConns: 20})
	stop := make(chan struct{})
	ended := make(chan struct{})
	for range 4 {
		go func() {
			defer func() { ended <- struct{}{} }()
			for {
				select {
				case <-stop:
					return
				default:
				}
				nc, err := net.Dial("tcp", f.addr)
				if err != nil {
					return
				}
				if _, err = nc.Write([]byte("PING 1\nPING 2\n")); err == nil {
					_, _ = nc.Read(make([]byte, 100))
				}
				_ = nc.Close()
			}
		}()
	}
	f.eventually("load", func() bool { return f.Stats().Commands > 500 })
	if err := f.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	close(stop)
	for range 4 {
		<-ended
	}
	st := f.Stats()
	var closed int64
	for _, n := range st.Closed {
		closed += n
	}
	if closed != st.Total || st.Current != 0 {
		t.Errorf("%+v", st)
	}
}
