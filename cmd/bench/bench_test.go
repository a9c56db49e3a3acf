package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/redcon"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers every command until the test ends; the nth (from 1) first waits
// for stall(n).
func serve(t *testing.T, commands *atomic.Int64, stall func(n int64)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := redcon.NewServer("", func(c redcon.Conn, cmd redcon.Command) {
		n := commands.Add(1)
		if stall != nil {
			stall(n)
		}
		switch string(cmd.Args[0]) {
		case "FAIL":
			c.WriteError("ERR no")
		case "GET":
			c.WriteArray(2)
			c.WriteBulkString("a")
			c.WriteNull()
		default:
			c.WriteString("OK")
		}
	}, nil, nil)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return ln.Addr().String()
}

var small = options{points: 1000, rounds: 2, conns: 3, pipeline: 7, duration: 20 * time.Millisecond, phase: time.Second, rate: 2000}

func TestLoadWritesEveryObjectEveryRound(t *testing.T) {
	var commands atomic.Int64
	var last atomic.Int64
	addr := serve(t, &commands, nil)
	took, err := load(t.Context(), addr, small, func(done, of int) {
		if of == 2000 {
			last.Store(max(last.Load(), int64(done)))
		}
	})
	if err != nil || took <= 0 || commands.Load() != 2000 {
		t.Errorf("%d commands in %v, %v; want 2000", commands.Load(), took, err)
	}
	if last.Load() == 0 {
		t.Error("no progress was told")
	}
}

func TestThroughput(t *testing.T) {
	var commands atomic.Int64
	addr := serve(t, &commands, nil)
	rate, err := throughput(t.Context(), addr, small, opGet, 5)
	if err != nil || rate <= 0 || commands.Load()%5 != 0 {
		t.Errorf("%v requests/s, %d commands, %v", rate, commands.Load(), err)
	}
	bad := op{"FAIL", func(b []byte, _, _ int) []byte { return appendCommand(b, "FAIL") }}
	if _, err := throughput(t.Context(), addr, small, bad, 1); !errors.As(err, new(replyError)) {
		t.Errorf("error replies: %v", err)
	}
}

// A server that stalls is charged for the requests that had to wait, though
// they were sent late or not answered for long.
func TestOpenLoopChargesStalls(t *testing.T) {
	const stall = 100 * time.Millisecond
	var commands atomic.Int64
	addr := serve(t, &commands, func(n int64) {
		if n >= 50 && n < 50+openConns { // every connection once
			time.Sleep(stall)
		}
	})
	s := &stream{op: opSet, addr: addr}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := s.run(ctx, small); err != nil {
		t.Fatal(err)
	}
	all, part := new(host).left(s.between(began, time.Now()))
	if part != 1 {
		t.Errorf("%v of the requests count", part)
	}
	if n := int64(len(all)); n != commands.Load() || n < 200 {
		t.Fatalf("%d latencies of %d commands", n, commands.Load())
	}
	// 2,000 requests a second: about 200 of them were meant for the stall.
	if p := quantile(all, 75); p < stall/10 {
		t.Errorf("the 75th percentile is %v: the requests behind the stall were forgotten", p)
	}
	if longest := quantile(all, 100); longest < stall*9/10 {
		t.Errorf("the longest took %v", longest)
	}
}

func TestOpenLoopReportsLostConnections(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	s := &stream{op: opSet, addr: ln.Addr().String()}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.run(ctx, small); err == nil || ctx.Err() != nil {
		t.Errorf("error %v, context %v", err, ctx.Err())
	}
	_ = ln.Close()
	<-done
}

func TestWire(t *testing.T) {
	if got := string(appendCommand(nil, "SET", "a", "")); got != "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$0\r\n\r\n" {
		t.Errorf("command %q", got)
	}
	for reply, want := range map[string]string{
		"+OK\r\n": "OK", ":7\r\n": "7", "$3\r\nabc\r\n": "abc", "$-1\r\n": "", "*0\r\n": "",
		"*3\r\n$1\r\na\r\n*1\r\n:5\r\n$-1\r\n": "a|5|",
	} {
		client, server := net.Pipe()
		go func() {
			_, _ = io.WriteString(server, reply+reply)
			_ = server.Close()
		}()
		c := newConn(client)
		if err := c.skip(); err != nil {
			t.Errorf("%q: skip: %v", reply, err)
		}
		got, err := c.strings()
		if err != nil || strings.Join(got, "|") != want {
			t.Errorf("%q: %q, %v; want %q", reply, got, err, want)
		}
		if err := c.skip(); !errors.Is(err, io.EOF) {
			t.Errorf("%q: after the end: %v", reply, err)
		}
		c.close()
	}
}

func TestQuantile(t *testing.T) {
	var all []time.Duration
	for i := 200; i > 0; i-- {
		all = append(all, time.Duration(i))
	}
	for percent, want := range map[int]time.Duration{1: 2, 50: 100, 99: 198, 100: 200} {
		if got := quantile(all, percent); got != want {
			t.Errorf("%d %%: %d, want %d", percent, got, want)
		}
	}
	if got := quantile(nil, 99); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

func TestReport(t *testing.T) {
	r := newReport(small)
	r.Servers = []string{"sidecar", "tile38"}
	ours, theirs := &server{name: "sidecar"}, &server{name: "tile38"}
	r.add(row{Name: "load", Unit: "s", Target: "<= 0.6"}, ours, 5)
	r.add(row{Name: "load", Unit: "s", Target: "<= 0.6"}, theirs, 10)
	r.add(row{Name: "rate", Target: ">= 2", MoreIsBetter: true}, ours, 150)
	r.add(row{Name: "rate", Target: ">= 2", MoreIsBetter: true}, theirs, 100)
	r.add(row{Name: "p99", Own: "<= 1.1"}, ours, 1.05)
	var table, js strings.Builder
	if err := errors.Join(r.writeTable(&table), r.writeJSON(&js)); err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]string{{"load", "5.00", "10.0", "s", "0.50", "<=", "0.6", "met"}, {"rate", "150", "100", "1.50", ">=", "2", "MISSED"}, {"p99", "1.05", "-", "<=", "1.1", "met"}} {
		found := false
		for line := range strings.Lines(table.String()) {
			found = found || strings.Join(strings.Fields(line), " ") == strings.Join(want, " ")
		}
		if !found {
			t.Errorf("no line %q in\n%s", want, &table)
		}
	}
	r.Busy, r.CPUs = 1.5, 2
	var warned strings.Builder
	if err := r.writeTable(&warned); err != nil || !strings.Contains(warned.String(), "load average 1.5") {
		t.Errorf("no warning of a busy machine, %v:\n%s", err, &warned)
	}
	var back report
	if err := json.Unmarshal([]byte(js.String()), &back); err != nil || len(back.Rows) != 3 || *back.Rows[0].Ratio != 0.5 || !*back.Rows[0].Met {
		t.Errorf("%v:\n%s", err, &js)
	}
}

func TestRequestsAreTheSameEveryTime(t *testing.T) {
	for _, what := range []op{opSet, opGet, opNearby, opWithin, opIntersects} {
		if a, b := what.request(nil, 5, 100), what.request(nil, 5, 100); !bytes.Equal(a, b) || !bytes.Contains(a, []byte(collectionName)) {
			t.Errorf("%s: %q and %q", what.name, a, b)
		}
	}
}

func TestBadFlags(t *testing.T) {
	for want, args := range map[string][]string{
		"no server":             {},
		"--points must be":      {"--tile38", "x", "--points", "0"},
		"unexpected argument":   {"--tile38", "x", "more"},
		"--rate 200000 is more": {"--tile38", "x", "--rate", "200000"},
		"start tile38":          {"--tile38", t.TempDir() + "/nothing", "--dir", t.TempDir()},
	} {
		if err := run(t.Context(), args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}
