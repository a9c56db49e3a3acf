package epoll

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = time.Minute

// pair is both ends of a connection.
func pair(t *testing.T, network, addr string) (here, there net.Conn) {
	t.Helper()
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	there, err = net.Dial(network, ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = there.Close() })
	if err := there.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	here, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return here, there
}

func detached(t *testing.T) (*Socket, net.Conn) {
	t.Helper()
	here, there := pair(t, "tcp", "127.0.0.1:0")
	s, err := Detach(here)
	if err != nil {
		t.Fatal(err)
	}
	return s, there
}

func newPoller(t *testing.T) *Poller {
	t.Helper()
	p, err := NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// A connection goes out of the runtime's poller and back, and is the same one.
func TestDetach(t *testing.T) {
	for network, addr := range map[string]string{"tcp": "127.0.0.1:0", "unix": t.TempDir() + "/s"} {
		here, there := pair(t, network, addr)
		s, err := Detach(here)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := here.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: the old connection is not closed: %v", network, err)
		}
		buf := make([]byte, 10)
		if n, err := s.Read(buf); n != 0 || !errors.Is(err, ErrAgain) {
			t.Errorf("%s: read %d, %v", network, n, err)
		}
		if n, err := s.Write([]byte("one")); n != 3 || err != nil {
			t.Errorf("%s: wrote %d, %v", network, n, err)
		}
		back, err := s.Attach()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = back.Close() })
		if _, err := back.Write([]byte("two")); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(there, buf[:6]); err != nil || string(buf[:6]) != "onetwo" {
			t.Errorf("%s: got %q, %v", network, buf[:6], err)
		}
		if err := back.SetReadDeadline(time.Unix(1, 0)); err != nil {
			t.Errorf("%s: it is not in the runtime's poller: %v", network, err)
		}
	}
}

// What is no socket stays as it is.
func TestDetachRefuses(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	if _, err := Detach(tls.Client(here, &tls.Config{})); err == nil { //nolint:gosec // nothing is sent
		t.Error("a connection under TLS was detached")
	}
	if _, err := Detach(here); err == nil {
		t.Error("a pipe was detached")
	}
	if err := here.Close(); err != nil {
		t.Error(err)
	}
	closed, _ := pair(t, "tcp", "127.0.0.1:0")
	_ = closed.Close()
	if _, err := Detach(closed); err == nil {
		t.Error("a closed connection was detached")
	}
}

func TestWriteStops(t *testing.T) {
	s, there := detached(t)
	big := bytes.Repeat([]byte("0123456789"), 10<<20/10)
	n, err := s.Write(big)
	if n == 0 || n == len(big) || !errors.Is(err, ErrAgain) {
		t.Fatalf("wrote %d of %d, %v", n, len(big), err)
	}
	p := newPoller(t)
	if err := p.Add(s, 7, Out); err != nil {
		t.Fatal(err)
	}
	got := make(chan []byte)
	go func() {
		b := make([]byte, len(big))
		_, _ = io.ReadFull(there, b)
		got <- b
	}()
	for n < len(big) {
		ready, err := p.Wait(Forever)
		if err != nil || len(ready) != 1 || ready[0].ID != 7 || ready[0].Events&Out == 0 {
			t.Fatalf("%v, %v", ready, err)
		}
		more, err := s.Write(big[n:])
		if n += more; err != nil && !errors.Is(err, ErrAgain) {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(<-got, big) {
		t.Error("something else arrived")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestPoller(t *testing.T) {
	p := newPoller(t)
	a, farA := detached(t)
	b, farB := detached(t)
	for id, s := range []*Socket{a, b} {
		if err := p.Add(s, int32(id), In); err != nil {
			t.Fatal(err)
		}
	}
	want := func(id int32, e Events) {
		t.Helper()
		ready, err := p.Wait(Forever)
		if err != nil || len(ready) != 1 || ready[0].ID != id || ready[0].Events&e == 0 {
			t.Fatalf("%v, %v; want %d %x", ready, err, id, e)
		}
	}
	_, _ = farB.Write([]byte("x"))
	want(1, In)
	want(1, In) // as long as nobody has read it
	if err := p.Set(b, 1, 0); err != nil {
		t.Fatal(err)
	}
	_, _ = farA.Write([]byte("x"))
	want(0, In)
	// Nobody asks for a reset, it is told all the same.
	if err := farB.(*net.TCPConn).SetLinger(0); err != nil { //nolint:errcheck // pair has dialled it
		t.Fatal(err)
	}
	if err := p.Set(a, 0, 0); err != nil {
		t.Fatal(err)
	}
	_ = farB.Close()
	want(1, Gone)
	if err := p.Remove(b); err != nil {
		t.Fatal(err)
	}
	p.Wake()
	p.Wake()
	if ready, err := p.Wait(Forever); err != nil || len(ready) > 0 {
		t.Errorf("%v, %v after Wake", ready, err)
	}
	buf := make([]byte, 10)
	if n, err := a.Read(buf); n != 1 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
	_ = farA.Close()
	if err := p.Set(a, 0, In); err != nil {
		t.Fatal(err)
	}
	want(0, In)
	if n, err := a.Read(buf); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read %d, %v", n, err)
	}
	n, err := b.Read(buf)
	if n > 0 { // kernels differ in whether the byte goes with the reset
		n, err = b.Read(buf)
	}
	if n > 0 || err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read %d, %v of a connection that was reset", n, err)
	}
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Error(err)
	}
}

// Wake may come at any time, from many.
func TestWake(t *testing.T) {
	p := newPoller(t)
	const n = 1000
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range n {
			p.Wake()
		}
	}()
	for woken := false; !woken; {
		if _, err := p.Wait(Forever); err != nil {
			t.Fatal(err)
		}
		select {
		case <-done:
			woken = true
		default:
			p.Wake() // so that the last one is not waited for in vain
		}
	}
	other, err := NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	other.Wake() // too late, and harmless
}
