package load

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
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
	s := &Stream{To: Server{Addr: addr}, Op: Set("fleet"), Rate: 2000, Points: 1000}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	all, part := new(Host).Left(s.Between(began, time.Now()))
	if part != 1 {
		t.Errorf("%v of the requests count", part)
	}
	if n := int64(len(all)); n != commands.Load() || n < 200 {
		t.Fatalf("%d latencies of %d commands", n, commands.Load())
	}
	// 2,000 requests a second: about 200 of them were meant for the stall.
	if p := Quantile(all, 75); p < stall/10 {
		t.Errorf("the 75th percentile is %v: the requests behind the stall were forgotten", p)
	}
	if longest := Quantile(all, 100); longest < stall*9/10 {
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
	s := &Stream{To: Server{Addr: ln.Addr().String()}, Op: Set("fleet"), Rate: 2000, Points: 1000}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Run(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("error %v, context %v", err, ctx.Err())
	}
	_ = ln.Close()
	<-done
}

func TestWire(t *testing.T) {
	if got := string(AppendCommand(nil, "SET", "a", "")); got != "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$0\r\n\r\n" {
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
		c := NewConn(client)
		if err := c.Skip(); err != nil {
			t.Errorf("%q: skip: %v", reply, err)
		}
		got, err := c.Strings()
		if err != nil || strings.Join(got, "|") != want {
			t.Errorf("%q: %q, %v; want %q", reply, got, err, want)
		}
		if err := c.Skip(); !errors.Is(err, io.EOF) {
			t.Errorf("%q: after the end: %v", reply, err)
		}
		_ = c.Close()
	}
}

func TestQuantile(t *testing.T) {
	var all []time.Duration
	for i := 200; i > 0; i-- {
		all = append(all, time.Duration(i))
	}
	for percent, want := range map[int]time.Duration{1: 2, 50: 100, 99: 198, 100: 200} {
		if got := Quantile(all, percent); got != want {
			t.Errorf("%d %%: %d, want %d", percent, got, want)
		}
	}
	if got := Quantile(nil, 99); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

func TestRequestsAreTheSameEveryTime(t *testing.T) {
	for _, what := range []Op{Set("fleet"), Get("fleet"), Nearby("fleet"), Within("fleet"), Intersects("fleet")} {
		if a, b := what.Request(nil, 5, 100), what.Request(nil, 5, 100); !bytes.Equal(a, b) || !bytes.Contains(a, []byte("fleet")) {
			t.Errorf("%s: %q and %q", what.Name, a, b)
		}
	}
}

// TestStolen: the share of a time is that between two looks.
func TestStolen(t *testing.T) {
	now, err := readStolen()
	if err != nil || now.all <= 0 || now.steal < 0 || now.steal > now.all {
		t.Errorf("%+v, %v", now, err)
	}
	later := stolen{all: now.all + 400, steal: now.steal + 8}
	if got := later.since(now); got != 2 {
		t.Errorf("%v %% of 400 ticks with 8 stolen", got)
	}
	if got := now.since(now); got != 0 {
		t.Errorf("%v %% of no time", got)
	}
}

// TestAway: requests of a time when the machine was not ours do not count.
func TestAway(t *testing.T) {
	began := time.Now()
	at := func(seconds float64) time.Time { return began.Add(time.Duration(seconds * float64(time.Second))) }
	samples := []Sample{{at(0.5), 1}, {at(1.5), 2}, {at(2.1), 3}, {at(3.5), 4}}
	h := &Host{}
	h.took(span{at(1), at(2.3)})
	got, part := h.Left(samples)
	if !slices.Equal(got, []time.Duration{1, 4}) || part != 0.5 {
		t.Errorf("left %v, part %v", got, part)
	}
	if got, part := h.Left(nil); got != nil || part != 0 {
		t.Errorf("of nothing %v, part %v", got, part)
	}
}

func TestFillWritesEveryObjectEveryRound(t *testing.T) {
	var commands atomic.Int64
	var last atomic.Int64
	addr := serve(t, &commands, nil)
	err := Fill(t.Context(), Server{Addr: addr}, Filling{Key: "fleet", Points: 1000, Rounds: 2, Conns: 3, Pipeline: 7}, func(done, of int) {
		if of == 2000 {
			last.Store(max(last.Load(), int64(done)))
		}
	})
	if err != nil || commands.Load() != 2000 {
		t.Errorf("%d commands, %v; want 2000", commands.Load(), err)
	}
	if last.Load() == 0 {
		t.Error("no progress was told")
	}
}

func TestThroughput(t *testing.T) {
	var commands atomic.Int64
	addr := serve(t, &commands, nil)
	closed := func(op Op, inFlight int) Closed {
		return Closed{Op: op, Points: 1000, Conns: 3, InFlight: inFlight, Duration: 20 * time.Millisecond}
	}
	rate, err := closed(Get("fleet"), 5).Run(t.Context(), Server{Addr: addr})
	if err != nil || rate <= 0 || commands.Load()%5 != 0 {
		t.Errorf("%v requests/s, %d commands, %v", rate, commands.Load(), err)
	}
	bad := Op{Name: "FAIL", Request: func(b []byte, _, _ int) []byte { return AppendCommand(b, "FAIL") }}
	if _, err := closed(bad, 1).Run(t.Context(), Server{Addr: addr}); !errors.As(err, new(ReplyError)) {
		t.Errorf("error replies: %v", err)
	}
}
