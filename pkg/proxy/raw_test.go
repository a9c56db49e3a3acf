package proxy

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"evenkeel/pkg/resp"
)

// mirror sends back what it gets.
type mirror struct{ busy atomic.Bool }

func (m *mirror) OpenRaw(*Conn) RawSession { return m }

func (m *mirror) Idle() bool { return !m.busy.Load() }

func (m *mirror) Serve(_ context.Context, r *Raw) (CloseReason, error) {
	buf := make([]byte, 1<<16)
	for {
		n, err := r.NetConn().Read(buf)
		switch {
		case Woken(err):
			r.Rest()
			if r.Draining() {
				return ClosedDrain, nil
			}
			continue
		case err != nil:
			return ClosedByClient, err
		}
		r.Received(n, 1)
		r.Transport(resp.Inline)
		if string(buf[:n]) == "panic" {
			panic("as asked")
		}
		if string(buf[:n]) == "flood" {
			for err == nil {
				_, err = r.Write(buf)
			}
			return ClosedByReset, err
		}
		if _, err := r.Write(buf[:n]); err != nil {
			return ClosedByReset, err
		}
	}
}

func TestRaw(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mirror{}
	m.busy.Store(true)
	s, err := NewRaw(Options{
		MaxConns: 4, IdleTimeout: 50 * time.Millisecond, WriteTimeout: 100 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	}, m)
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		if err := s.Serve(context.Background(), ln); err != nil {
			t.Error(err)
		}
	})
	f := &fixture{Server: s, t: t, addr: ln.Addr().String()}
	a, b, c, d := f.dial(), f.dial(), f.dial(), f.dial()
	for _, x := range []*client{a, b, c, d} {
		x.send("ping")
		x.want("ping")
	}
	f.dial().wantEnd(rejection)
	b.send("panic")
	b.wantEnd("")
	f.closedFor(ClosedPanic, 1)
	d.send("flood")
	f.closedFor(ClosedStalled, 1)
	// It is owed something for longer than IdleTimeout.
	a.send("still there")
	a.want("still there")
	var ids []int64
	s.Each(func(c *Conn) { ids = append(ids, c.ID()) })
	if len(ids) != 2 {
		t.Errorf("%d connections are listed", len(ids))
	}
	s.Each(func(c *Conn) {
		if c.ID() == ids[1] {
			c.Kill()
		}
	})
	c.wantCut()
	f.closedFor(ClosedKilled, 1)
	m.busy.Store(false)
	if got, err := io.ReadAll(a.r); err != nil || len(got) > 0 {
		t.Errorf("got %q, %v", got, err)
	}
	f.closedFor(ClosedIdle, 1)
	s.SetIdleTimeout(0)
	e := f.dial()
	e.send("ping")
	e.want("ping")
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	e.wantEnd("")
	served.Wait()
	if st := s.Stats(); st.Transports[resp.Inline] != 5 || st.Closed[ClosedDrain] != 1 || st.BytesIn == 0 || st.BytesOut == 0 {
		t.Errorf("%+v", st)
	}
}
