package proxy

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"evenkeel/internal/epoll"
)

// keeper is a backend whose session detaches its connection, and lets the test
// have it.
type keeper struct {
	owed  bool
	conns chan *kept
}

// kept is a detached connection. Its session goes on when back is sent to.
type kept struct {
	*epoll.Socket
	r    *Raw
	ctx  context.Context //nolint:containedctx // the test looks at it
	back chan struct{}
}

func (k *keeper) OpenRaw(*Conn) RawSession { return k }
func (k *keeper) Idle() bool               { return !k.owed }

func (k *keeper) Serve(ctx context.Context, r *Raw) (CloseReason, error) {
	for {
		sock, err := r.Detach()
		if err != nil {
			return ClosedByReset, err
		}
		c := &kept{sock, r, ctx, make(chan struct{})}
		k.conns <- c
		<-c.back
		if err := r.Attach(sock); err != nil {
			return ClosedByReset, err
		}
		if r.Draining() {
			return ClosedDrain, nil
		}
		buf := make([]byte, 100)
		n, err := r.NetConn().Read(buf)
		if Woken(err) {
			r.Rest()
			return ClosedDrain, nil
		}
		if err != nil {
			return ClosedByClient, err
		}
		if _, err := r.Write(buf[:n]); err != nil {
			return ClosedByReset, err
		}
	}
}

// startKeeper serves until the test ends; end shuts down.
func startKeeper(t *testing.T, o Options, owed bool) (f *fixture, k *keeper, end func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k = &keeper{owed: owed, conns: make(chan *kept, 10)}
	o.Logger = slog.New(slog.DiscardHandler)
	s, err := NewRaw(o, k)
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() { _ = s.Serve(context.Background(), ln) })
	end = sync.OnceFunc(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		served.Wait()
	})
	t.Cleanup(end)
	return &fixture{Server: s, t: t, addr: ln.Addr().String()}, k, end
}

func TestDetach(t *testing.T) {
	f, k, _ := startKeeper(t, Options{}, false)
	c := f.dial()
	d := <-k.conns
	if _, err := d.Write([]byte("one")); err != nil {
		t.Fatal(err)
	}
	d.r.Sent(3, false)
	c.want("one")
	c.send("two")
	d.back <- struct{}{} // it is read by the runtime again, and goes back
	c.want("two")
	d = <-k.conns
	if st := f.Stats(); st.BytesOut != 6 {
		t.Errorf("%d bytes out", st.BytesOut)
	}
	// A wake that comes while it is detached is told, and meets the next read if nobody
	// has listened.
	d.r.Wake()
	d.back <- struct{}{}
	c.wantEnd("")
	f.closedFor(ClosedDrain, 1)
}

// Whoever ends a detached connection says so by its context; what was asked for
// happens when it comes back.
func TestDetachedEnds(t *testing.T) {
	f, k, _ := startKeeper(t, Options{IdleTimeout: 40 * time.Millisecond, WriteTimeout: 40 * time.Millisecond}, false)
	for _, why := range []CloseReason{ClosedIdle, ClosedStalled, ClosedKilled} {
		c := f.dial()
		d := <-k.conns
		switch why {
		case ClosedStalled:
			d.r.Sent(0, true)
		case ClosedKilled:
			f.SetIdleTimeout(0)
			f.Each(func(c *Conn) { c.Kill() })
		}
		select {
		case <-d.ctx.Done():
		case <-time.After(patience):
			t.Fatalf("%v: the session is not told", why)
		}
		if _, err := d.Write([]byte("x")); err != nil {
			t.Errorf("%v: the socket was closed under the session: %v", why, err)
		}
		d.back <- struct{}{}
		f.closedFor(why, 1)
		_ = c.Close()
	}
}

// A client that takes what it is sent, at whatever pace, is not stuck.
func TestDetachedProgress(t *testing.T) {
	f, k, _ := startKeeper(t, Options{WriteTimeout: 10 * time.Second}, true)
	f.dial()
	d := <-k.conns
	d.r.Sent(0, true)
	since := d.r.writing.Load()
	if since == 0 {
		t.Error("nothing waits")
	}
	d.r.Sent(0, true)
	if now := d.r.writing.Load(); now != since {
		t.Errorf("nothing was sent, and it counts from %d instead of %d", now, since)
	}
	d.r.Sent(1, true)
	if now := d.r.writing.Load(); now <= since {
		t.Errorf("something was sent, and it counts from %d, before it from %d", now, since)
	}
	d.r.Sent(1, false)
	if now := d.r.writing.Load(); now != 0 {
		t.Errorf("all was sent, and it counts from %d", now)
	}
	close(d.back)
}

// A drain is told while the connection is detached.
func TestDetachedDrain(t *testing.T) {
	f, k, end := startKeeper(t, Options{}, false)
	c := f.dial()
	d := <-k.conns
	ended := make(chan struct{})
	go func() { defer close(ended); end() }()
	select {
	case <-d.r.Woken():
	case <-time.After(patience):
		t.Fatal("nobody tells the session")
	}
	d.back <- struct{}{}
	<-ended
	c.wantEnd("")
	f.closedFor(ClosedDrain, 1)
}
