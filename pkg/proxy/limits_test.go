package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"evenkeel/pkg/resp"
)

func TestMaxConns(t *testing.T) {
	f := start(t, Options{MaxConns: 2})
	a, b := f.dial(), f.dial()
	for _, c := range []*client{a, b} {
		c.send("PING\n")
		c.want("+PONG\r\n")
	}
	for range 3 {
		c := f.dial()
		c.send("PING\n") // unread when it is closed: the message must still arrive
		c.wantEnd("-ERR max number of clients reached\r\n")
	}
	if n := f.Stats(); n.Rejected != 3 || n.Total != 2 || n.Current != 2 {
		t.Errorf("%+v", n)
	}
	_ = a.Close()
	f.closedFor(ClosedByClient, 1)
	f.eventually("room", func() bool { return f.Stats().Current == 1 })
	c := f.dial()
	c.send("PING\n")
	c.want("+PONG\r\n")
	f.SetMaxConns(3)
	d := f.dial()
	d.send("PING\n")
	d.want("+PONG\r\n")
}

func TestRefuse(t *testing.T) {
	var refuse atomic.Bool
	refuse.Store(true)
	f := start(t, Options{Refuse: func(remote net.Addr) string {
		if host, _, err := net.SplitHostPort(remote.String()); err != nil || host != "127.0.0.1" {
			t.Errorf("asked about %v", remote)
		}
		if refuse.Load() {
			return "-DENIED no\r\n"
		}
		return ""
	}})
	c := f.dial()
	c.send("PING\n")
	c.wantEnd("-DENIED no\r\n")
	if n := f.Stats(); n.Refused != 1 || n.Rejected != 0 || n.Total != 0 {
		t.Errorf("%+v", n)
	}
	refuse.Store(false)
	c = f.dial()
	c.send("PING\n")
	c.want("+PONG\r\n")
}

func TestLimitsOfTheConfiguration(t *testing.T) {
	f := start(t, Options{Limits: resp.Limits{MaxArgs: 2, MaxBulk: 10, MaxInline: 12, MaxCommand: 30}})
	for send, want := range map[string]string{
		"*3\r\n":                          "invalid multibulk length: 3 arguments, at most 2 are allowed",
		"*1\r\n$11\r\n":                   "invalid bulk length: 11 bytes, at most 10 are allowed",
		"*2\r\n$9\r\n123456789\r\n$9\r\n": "too big request: 34 bytes or more, at most 30 are allowed",
		"PING 12345678\n":                 "too big inline request: at most 12 bytes are allowed",
	} {
		c := f.dial()
		c.send("PING\n" + send)
		c.wantEnd("+PONG\r\n-Protocol error: " + want + "\r\n")
	}
}

func TestReplyOverTheOutputLimit(t *testing.T) {
	f := start(t, Options{MaxOutput: 1000})
	c := f.dial()
	c.send("BIG 991\nPING\n") // 6 + 991 + 2 and 7 bytes: together over the limit
	c.wantEnd("-output limit exceeded: a reply of 1006 bytes, at most 1000 are allowed\r\n")
	f.closedFor(ClosedOutput, 1)
	c = f.dial()
	c.send("BIG 991\n")
	c.want("$991\r\n")
}

// A client that takes nothing is not served further, and is cut in the end.
func TestStalledReader(t *testing.T) {
	const reply = 1 << 20
	f := start(t, Options{WriteTimeout: 300 * time.Millisecond})
	c := f.dial()
	if err := c.SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	pipeline := strings.Repeat(fmt.Sprintf("BIG %d\n", reply), 1000)
	if _, err := io.WriteString(c, pipeline); err != nil {
		t.Fatal(err)
	}
	f.closedFor(ClosedStalled, 1)
	// What was carried out is in the sockets' buffers (a few MiB) or was the last.
	if n := f.toy.executed.Load(); n > 30 {
		t.Errorf("%d replies of 1 MiB were made for a client that takes none", n)
	}
	c.wantCut()
	next := f.dial()
	next.send("PING\n")
	next.want("+PONG\r\n")
}

// A client that is slow but takes something gets everything, and meanwhile no
// more is carried out than it can take.
func TestSlowReader(t *testing.T) {
	for replies, reply := range map[int]int{40: 1 << 20, 1: 64 << 20} {
		t.Run(fmt.Sprintf("%d of %d", replies, reply), func(t *testing.T) {
			f := start(t, Options{WriteTimeout: 500 * time.Millisecond})
			c := f.dial()
			if err := c.SetReadBuffer(64 << 10); err != nil {
				t.Fatal(err)
			}
			c.send(strings.Repeat(fmt.Sprintf("BIG %d\n", reply), replies))
			each := reply + len(fmt.Sprintf("$%d\r\n\r\n", reply))
			f.readSlowly(c, replies*each, each)
			c.send("PING\n")
			c.want("+PONG\r\n")
		})
	}
}

// readSlowly takes longer than WriteTimeout in all, but not for any piece.
func (f *fixture) readSlowly(c *client, size, each int) {
	f.t.Helper()
	began := time.Now()
	buf := make([]byte, 256<<10)
	for got := 0; got < size; {
		n, err := c.Read(buf[:min(len(buf), size-got)])
		if err != nil {
			f.t.Fatalf("after %d of %d bytes: %v", got, size, err)
		}
		got += n
		if ahead := int(f.toy.executed.Load()) - got/each; ahead > 25 {
			f.t.Fatalf("%d replies ahead of the client", ahead)
		}
		if time.Since(began) < 1200*time.Millisecond {
			time.Sleep(5 * time.Millisecond)
		}
	}
}

func TestIdleTimeout(t *testing.T) {
	f := start(t, Options{})
	idle, half, busy := f.dial(), f.dial(), f.dial()
	half.send("*2\r\n$4\r\nPI")
	busy.send("WAIT\n")
	f.entered()
	f.eventually("three connections", func() bool { return f.Stats().Current == 3 })
	f.SetIdleTimeout(100 * time.Millisecond)
	idle.wantCut()
	half.wantCut()
	f.closedFor(ClosedIdle, 2)
	if n := f.Stats().Current; n != 1 { // carrying out a command is not idleness
		t.Errorf("%d connections", n)
	}
	f.SetIdleTimeout(0)
	f.toy.release <- struct{}{}
	busy.want("+DONE\r\n")
	if f.Stats().Closed[ClosedIdle] != 2 {
		t.Error("a connection was ended with the timeout off")
	}
}

// Clients that go away in any way are nothing to tell the operator.
func TestResets(t *testing.T) {
	var logged bytes.Buffer // written under the handler's lock, read behind Shutdown
	f := start(t, Options{Logger: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelInfo}))})
	reset := func(c *client) {
		if err := c.SetLinger(0); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	mid := f.dial()
	mid.send("*2\r\n$4\r\nPI")
	f.eventually("received", func() bool { return f.Stats().BytesIn == 10 })
	reset(mid)
	f.closedFor(ClosedByReset, 1)

	reply := f.dial()
	reply.send("BIG 100000000\n")
	if _, err := io.ReadFull(reply, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	reset(reply)
	f.closedFor(ClosedByReset, 2)

	end := f.dial()
	end.send("PING\n*2\r\n$4\r\nPI")
	if err := end.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	end.wantEnd("+PONG\r\n")
	f.closedFor(ClosedMidCommand, 1)

	// Half-closed, as netcat leaves it: everything is answered first.
	nc := f.dial()
	nc.send("PING\nBIG 1000000\nPING\n")
	if err := nc.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	nc.wantEnd("+PONG\r\n$1000000\r\n" + string(make([]byte, 1000000)) + "\r\n+PONG\r\n")
	f.closedFor(ClosedByClient, 1)
	if err := f.Shutdown(context.Background()); err != nil || logged.Len() > 0 {
		t.Errorf("%v, logged: %s", err, &logged)
	}
}

func TestKeepAliveIsSet(t *testing.T) {
	f := start(t, Options{KeepAlive: -1})
	f.dial()
	f.eventually("one connection", func() bool { return f.Stats().Current == 1 })
	f.SetKeepAlive(100 * time.Second)
	f.dial()
	f.eventually("two connections", func() bool { return f.Stats().Current == 2 })
	var got []int
	f.Each(func(c *Conn) { got = append(got, keepAliveOf(t, c.conn())) })
	if len(got) != 2 || got[0] != 0 || got[1] != 100 {
		t.Errorf("keep-alive after %v seconds", got)
	}
}
