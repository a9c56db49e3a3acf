package tile38_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"evenkeel/pkg/tile38"
)

// echo answers each command with a line, on connections that it counts.
type echo struct {
	ln net.Listener

	mu    sync.Mutex
	conns []net.Conn
	mute  bool
}

func newEcho(t *testing.T) *echo {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{ln: ln}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			e.mu.Lock()
			e.conns = append(e.conns, c)
			e.mu.Unlock()
			wg.Go(func() { e.serve(c) })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); e.hangUp(); wg.Wait() })
	return e
}

func (e *echo) serve(c net.Conn) {
	b := make([]byte, 4096)
	for {
		if _, err := c.Read(b); err != nil {
			return
		}
		e.mu.Lock()
		mute := e.mute
		e.mu.Unlock()
		if mute {
			continue
		}
		if _, err := io.WriteString(c, "+hello\r\n"); err != nil {
			return
		}
	}
}

// hangUp ends all connections.
func (e *echo) hangUp() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.conns {
		_ = c.Close()
	}
}

func (e *echo) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.conns)
}

func TestPool(t *testing.T) {
	e := newEcho(t)
	p := tile38.NewPool(tile38.Options{Timeout: 30 * time.Second})
	defer func() { _ = p.Close() }()
	do := func() {
		t.Helper()
		v, err := p.Do(t.Context(), e.ln.Addr().String(), "PING")
		if err != nil || v.String() != "hello" {
			t.Fatalf("got %q, %v", v.String(), err)
		}
	}
	for range 3 {
		do()
	}
	if n := e.count(); n != 1 {
		t.Errorf("%d connections for three commands", n)
	}
	e.hangUp()
	do()
	if n := e.count(); n != 2 {
		t.Errorf("%d connections after one was lost", n)
	}
	e.mu.Lock()
	e.mute = true
	e.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.Do(ctx, e.ln.Addr().String(), "PING"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a server that does not answer: %v", err)
	}
	e.mu.Lock()
	e.mute = false
	e.mu.Unlock()
	do()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := p.Do(t.Context(), e.ln.Addr().String(), "PING"); err == nil {
		t.Error("a closed pool sends")
	}
}

// TestTooLate: an answer that comes after its question was given up is nobody's.
func TestTooLate(t *testing.T) {
	e := newEcho(t)
	e.mute = true
	c, err := tile38.Dial(t.Context(), tile38.Options{Addr: e.ln.Addr().String(), Timeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Do("PING"); err == nil {
		t.Fatal("an answer that was not given")
	}
	e.mu.Lock()
	e.mute = false
	for _, conn := range e.conns {
		_, _ = io.WriteString(conn, "+late\r\n")
	}
	e.mu.Unlock()
	if v, err := c.Do("PING"); err == nil {
		t.Errorf("answered with what was late: %q", v.String())
	}
}
