package rig

import (
	"net"
	"sync"
	"time"
)

// eager is a connection that takes whatever is written at once, as a socket with
// a large buffer does, and sends it when the other side takes it. Writers may
// hold a mutex meanwhile; waiting with one would stop the time.
type eager struct {
	net.Conn

	mu     sync.Mutex
	buf    []byte
	err    error // of sending
	closed bool
	wake   chan struct{} // holds one
}

// newEager returns c with a buffer; pumps runs what sends.
func newEager(c net.Conn, pumps *sync.WaitGroup) *eager {
	e := &eager{Conn: c, wake: make(chan struct{}, 1)}
	pumps.Go(e.send)
	return e
}

// Write takes b.
func (e *eager) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		return 0, net.ErrClosed
	case e.err != nil:
		return 0, e.err
	}
	e.buf = append(e.buf, b...)
	e.ring()
	return len(b), nil
}

func (e *eager) ring() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// send sends what was written, also what was written before Close.
func (e *eager) send() {
	defer e.Conn.Close()
	for range e.wake {
		e.mu.Lock()
		b, closed := e.buf, e.closed
		e.buf = nil
		e.mu.Unlock()
		_, err := e.Conn.Write(b)
		if err != nil {
			e.mu.Lock()
			e.err = err
			e.mu.Unlock()
		}
		if closed {
			return
		}
	}
}

// SetReadDeadline bounds reads.
func (e *eager) SetReadDeadline(t time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return net.ErrClosed
	}
	return e.Conn.SetReadDeadline(t)
}

// Close ends reads at once, and the connection when all has been sent.
func (e *eager) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.closed = true
		_ = e.Conn.SetReadDeadline(time.Unix(1, 0)) // a pipe has deadlines
		e.ring()
	}
	return nil
}
