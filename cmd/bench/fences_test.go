package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"evenkeel/internal/load"
)

// fake is a server that tells everybody of every SET: those who have sent
// SUBSCRIBE or WITHIN, and the last webhook.
type fake struct {
	mu        sync.Mutex
	listeners []net.Conn
	endpoint  string
	mute      bool // it tells nobody

	conns  []net.Conn
	joined sync.WaitGroup
	sets   atomic.Int64
	defs   atomic.Int64
}

func (f *fake) listen(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.joined.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, c)
			f.mu.Unlock()
			f.joined.Go(func() { f.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		f.mu.Lock()
		for _, c := range f.conns {
			_ = c.Close()
		}
		f.mu.Unlock()
		f.joined.Wait()
		http.DefaultClient.CloseIdleConnections()
	})
	return ln.Addr().String()
}

func (f *fake) serve(nc net.Conn) {
	c := load.NewConn(nc)
	for {
		args, err := c.Strings()
		if err != nil {
			return
		}
		f.command(nc, args)
		_, _ = io.WriteString(nc, "+OK\r\n")
	}
}

func (f *fake) command(c net.Conn, args []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch args[0] {
	case "SUBSCRIBE", "WITHIN":
		f.listeners = append(f.listeners, c)
	case "SETHOOK":
		f.endpoint = args[2]
		f.defs.Add(1)
	case "SETCHAN":
		f.defs.Add(1)
	case "SET":
		f.sets.Add(1)
		if f.mute {
			return
		}
		for _, l := range f.listeners {
			_, _ = io.WriteString(l, "*3\r\n$7\r\nmessage\r\n$3\r\nall\r\n$2\r\n{}\r\n")
		}
		if f.endpoint != "" {
			if r, err := http.Post(f.endpoint, "application/json", strings.NewReader("{}")); err == nil {
				_ = r.Body.Close()
			}
		}
	}
}

// fenceBench is a bench of small size and a server that is not started.
func fenceBench(t *testing.T, f *fake) (*bench, *server) {
	t.Helper()
	o := small
	o.fences, o.bound = true, 10*time.Second
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = null.Close() })
	b := &bench{o: o, say: newProgress(null), report: newReport(o)}
	b.report.Servers = []string{"fake"}
	return b, &server{name: "fake", addr: f.listen(t)}
}

// value is the number that the only row has.
func value(t *testing.T, r *report) float64 {
	t.Helper()
	if len(r.Rows) != 1 {
		t.Fatalf("%d rows", len(r.Rows))
	}
	return r.Rows[0].Values["fake"]
}

func TestEvents(t *testing.T) {
	for name, stage := range map[string]func(*bench, context.Context, *server) error{
		"channel": (*bench).channelEvents, "live": (*bench).liveEvents, "webhooks": (*bench).webhookEvents,
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{}
			b, s := fenceBench(t, f)
			if err := stage(b, t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if v := value(t, b.report); v <= 0 {
				t.Errorf("%v messages/s of %d SETs", v, f.sets.Load())
			}
		})
	}
}

// Nobody sends further ahead than the window when nothing arrives, and the
// stage ends in time all the same.
func TestEventsAreHeldUp(t *testing.T) {
	f := &fake{mute: true}
	b, s := fenceBench(t, f)
	if err := b.channelEvents(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if v := value(t, b.report); v != 0 || f.sets.Load() == 0 || f.sets.Load() > eventWindow {
		t.Errorf("%v messages/s, %d SETs; want none, and 1 to %d", v, f.sets.Load(), eventWindow)
	}
}

// A listener that is cut off is an error, not a low number.
func TestLostListener(t *testing.T) {
	f := &fake{mute: true}
	b, s := fenceBench(t, f)
	b.o.duration = time.Minute
	cut := make(chan struct{})
	go func() {
		defer close(cut)
		for range 10_000 {
			f.mu.Lock()
			for _, c := range f.listeners {
				_ = c.Close()
			}
			n := len(f.listeners)
			f.mu.Unlock()
			if n == eventListeners {
				return
			}
			time.Sleep(time.Millisecond) // there is no event to wait for: the fake serves others
		}
	}()
	if err := b.liveEvents(t.Context(), s); err == nil {
		t.Error("no error")
	}
	<-cut
}

// Defining ends at the bound, and what is reached is known.
func TestBound(t *testing.T) {
	f := &fake{}
	b, s := fenceBench(t, f)
	w := &watcherKinds[0]
	define := func(buf []byte, i int) []byte { return w.define(buf, i, 1000) }
	n, took, err := b.sendAll(t.Context(), s, 1000, time.Minute, define)
	if err != nil || n != 1000 || took <= 0 || f.defs.Load() != 1000 {
		t.Errorf("%d in %v, %v; the server has %d", n, took, err, f.defs.Load())
	}
	n, took, err = b.sendAll(t.Context(), s, 1<<40, 20*time.Millisecond, define)
	if err != nil || n == 0 || n != int(f.defs.Load())-1000 || took > 10*time.Second {
		t.Errorf("%d in %v, %v; the server has %d more", n, took, err, f.defs.Load()-1000)
	}
}

// What is far is out of every object's reach, and what is near is not.
func TestFenceData(t *testing.T) {
	parse := func(words []string, from int) (lat, lon float64) {
		t.Helper()
		if _, err := fmt.Sscan(words[from]+" "+words[from+1], &lat, &lon); err != nil {
			t.Fatalf("%q: %v", words, err)
		}
		return lat, lon
	}
	words := func(b []byte) []string { // of a command
		var w []string
		for i, line := range strings.Split(string(b), "\r\n") {
			if i > 0 && i%2 == 0 {
				w = append(w, line)
			}
		}
		return w
	}
	for i := range 1000 {
		lat, lon := parse(words(opMove.Request(nil, i, 500)), 4)
		if lat < -60.1 || lat > 70.1 || lon < -180 || lon > 180 {
			t.Fatalf("object at %v, %v", lat, lon)
		}
		lat2, lon2 := parse(words(opMove.Request(nil, i+500, 500)), 4)
		if lat == lat2 || max(lat-lat2, lat2-lat, lon-lon2, lon2-lon) > 0.11 {
			t.Fatalf("object moved from %v, %v to %v, %v", lat, lon, lat2, lon2)
		}
		for _, w := range watcherKinds {
			def := words(w.define(nil, i, 1000))
			lat, _ := parse(def, len(def)-3)
			if south := lat - radiusOf(1000)/111e3; w.near == (south > 70.1) {
				t.Fatalf("%s: %q reaches down to %v", w.name, def, south)
			}
		}
	}
}

// Every stage of --fences has a name of its own, as its rows have.
func TestFenceStages(t *testing.T) {
	b, _ := fenceBench(t, &fake{})
	seen := map[string]bool{}
	for _, st := range b.stages() {
		if seen[st.name] {
			t.Errorf("two stages are called %q", st.name)
		}
		seen[st.name] = true
	}
	if want := 3 + len(watcherKinds)*len(fenceCounts) + 3; len(seen) != want {
		t.Errorf("%d stages, want %d", len(seen), want)
	}
	var table strings.Builder
	if err := b.report.writeTable(&table); err != nil || !strings.HasPrefix(table.String(), "1000 objects that move; 3 connections, 7 requests in flight") {
		t.Errorf("%v:\n%s", err, &table)
	}
	if _, err := os.Stat(filepath.Join(b.o.dir, "fake")); err == nil {
		t.Error("a server was started")
	}
}
