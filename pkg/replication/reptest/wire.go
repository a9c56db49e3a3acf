package reptest

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// Fault is what happens to the bytes that one connection receives.
type Fault struct {
	// CutAfter ends the connection when this many bytes have come; 0: never.
	CutAfter int64
	// Flip inverts a bit of this byte, counted from 1; 0: of none.
	Flip int64
}

// Network dials over loopback with faults. It counts what came through.
type Network struct {
	// Resolve returns the address to dial instead of the one that is asked for.
	Resolve func() string

	mu     sync.Mutex
	faults []Fault       // of the next connections, one after the other
	stall  chan struct{} // nothing is read until it is closed; nil: it is

	Received atomic.Int64 // bytes
	Dialed   atomic.Int64 // connections made
}

// Inject gives the next connections their faults; later ones have none.
func (n *Network) Inject(faults ...Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = append(n.faults, faults...)
}

// Stall lets nothing come through any more, on any connection, until Resume.
func (n *Network) Stall() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stall = make(chan struct{})
}

// Resume ends Stall.
func (n *Network) Resume() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.stall)
	n.stall = nil
}

// Dial is for follower.Options.
func (n *Network) Dial(ctx context.Context, addr string) (net.Conn, error) {
	if n.Resolve != nil {
		addr = n.Resolve()
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	n.Dialed.Add(1)
	n.mu.Lock()
	defer n.mu.Unlock()
	w := &wire{Conn: conn, net: n}
	if len(n.faults) > 0 {
		w.fault, n.faults = n.faults[0], n.faults[1:]
	}
	return w, nil
}

// wire is one connection.
type wire struct {
	net.Conn
	net   *Network
	fault Fault
	got   int64
}

func (w *wire) Read(p []byte) (int, error) {
	w.net.mu.Lock()
	stall := w.net.stall
	w.net.mu.Unlock()
	if stall != nil {
		<-stall
	}
	if limit := w.fault.CutAfter; limit > 0 {
		if w.got >= limit {
			w.Close()
			return 0, syscall.ECONNRESET
		}
		p = p[:min(int64(len(p)), limit-w.got)]
	}
	n, err := w.Conn.Read(p)
	if at := w.fault.Flip - 1 - w.got; w.fault.Flip > 0 && at >= 0 && at < int64(n) {
		p[at] ^= 0x10
	}
	w.got += int64(n)
	w.net.Received.Add(int64(n))
	return n, err
}
