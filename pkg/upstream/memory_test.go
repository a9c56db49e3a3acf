//go:build !race

package upstream

import (
	"io"
	"net"
	"runtime"
	"testing"

	"evenkeel/pkg/proxy"
)

// An idle connection that has been used, with its link, costs less than 15 KB of
// heap and stacks: 10,000 of them 150 MB. The test's own ends are no part of it.
func TestIdleMemory(t *testing.T) {
	const n, limit = 400, 15_000
	engine := newScript(t)
	f := start(t, Options{Engine: engine.addr}, proxy.Options{})
	measure := func() uint64 {
		runtime.GC()
		runtime.GC() // the first one empties the pools, the second one frees what was in them
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	// The ends of the test: as many connections without a proxy between.
	var ends []net.Conn
	t.Cleanup(func() {
		for _, c := range ends {
			_ = c.Close()
		}
	})
	open := func(addr string) {
		t.Helper()
		for range n {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write([]byte("PING\r\n")); err != nil {
				t.Fatal(err)
			}
			e := <-engine.conns
			if _, err := io.ReadFull(e, make([]byte, 6)); err != nil {
				t.Fatal(err)
			}
			if _, err := e.Write([]byte("+PONG\r\n")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, make([]byte, 7)); err != nil {
				t.Fatal(err)
			}
			ends = append(ends, c, e)
		}
	}
	first := measure()
	open(engine.addr)
	second := measure()
	open(f.addr)
	third := measure()
	if links := f.b.Stats().Links; links != n {
		t.Fatalf("%d links", links)
	}
	cost := (int64(third-second) - int64(second-first)) / n
	t.Logf("an idle connection costs %d bytes", cost)
	if cost > limit || cost < 500 {
		t.Errorf("an idle connection costs %d bytes, want less than %d and more than nothing", cost, limit)
	}
}

// A client on a shared connection that is idle costs less than 6 KB: a goroutine
// and no connection of its own.
func TestIdleGuestMemory(t *testing.T) {
	const n, limit = 400, 6_000
	engine := newMimic(t)
	f := startSharing(t, Options{Engine: engine.addr}, proxy.Options{})
	for range 20 { // what the first ones cost for all
		f.guest().ask("GET", "k", "id:100")
	}
	measure := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := measure()
	for range n {
		f.guest().ask("GET", "k", "id:100")
	}
	cost := int64(measure()-before) / n
	t.Logf("an idle client, with the test's end, costs %d bytes", cost)
	if cost > limit+4096 || cost < 500 { // the test has a buffer of 4 KB for each
		t.Errorf("an idle client costs %d bytes, want less than %d and more than nothing", cost, limit+4096)
	}
}
