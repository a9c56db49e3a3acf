package e2e

import (
	"io"
	"net"
	"sync"
	"testing"
)

// relay passes connections on to another address, and can cut them all.
type relay struct {
	l    net.Listener
	to   string
	wg   sync.WaitGroup
	mu   sync.Mutex
	open map[net.Conn]bool
	down bool
	n    int // connections taken
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{l: l, to: to, open: map[net.Conn]bool{}}
	r.wg.Go(r.accept)
	t.Cleanup(func() {
		_ = l.Close()
		r.cut()
		r.wg.Wait()
	})
	return r
}

func (r *relay) addr() string { return r.l.Addr().String() }

func (r *relay) accept() {
	for {
		c, err := r.l.Accept()
		if err != nil {
			return
		}
		if !r.keep(c) {
			_ = c.Close()
			continue
		}
		r.mu.Lock()
		r.n++
		r.mu.Unlock()
		up, err := net.Dial("tcp", r.to)
		if err != nil || !r.keep(up) {
			_ = c.Close()
			continue
		}
		r.wg.Go(func() { r.copy(up, c) })
		r.wg.Go(func() { r.copy(c, up) })
	}
}

func (r *relay) keep(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return false
	}
	r.open[c] = true
	return true
}

func (r *relay) copy(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
	_ = from.Close()
}

// accepted is how many connections there have been.
func (r *relay) accepted() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

// cut ends every connection and takes no new one until heal.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = true
	for c := range r.open {
		_ = c.Close()
	}
	clear(r.open)
}

func (r *relay) heal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = false
}
