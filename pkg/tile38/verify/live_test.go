package verify

import (
	"context"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"evenkeel/pkg/tile38"
)

// realServer starts the server that TILE38_SERVER names, and returns its address.
func realServer(t testing.TB) string {
	t.Helper()
	bin := os.Getenv("TILE38_SERVER")
	if bin == "" {
		t.Skip("TILE38_SERVER does not name a Tile38 server")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(bin, "-h", "127.0.0.1", "-p", port, "-d", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	deadline := time.Now().Add(10 * time.Second)
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
			return addr
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen on %s: %v", bin, addr, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func dial(t testing.TB, addr string) *tile38.Conn {
	t.Helper()
	c, err := tile38.Dial(context.Background(), tile38.Options{Addr: addr, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// do sends commands, all of which must succeed.
func do(t testing.TB, c *tile38.Conn, cmds ...[]string) {
	t.Helper()
	for len(cmds) > 0 {
		n := min(len(cmds), 500)
		if err := c.Send(cmds[:n]...); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if _, err := c.Receive(1 << 20); err != nil {
				t.Fatalf("%q: %v", cmds[i], err)
			}
		}
		cmds = cmds[n:]
	}
}

func live(t testing.TB, addr string) *LiveSource {
	t.Helper()
	return liveWith(t, LiveOptions{Options: tile38.Options{Addr: addr}})
}

func liveWith(t testing.TB, o LiveOptions) *LiveSource {
	t.Helper()
	l, err := Live(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func scan(t testing.TB, s Source, key, from string) []Object {
	t.Helper()
	var objects []Object
	if err := s.Scan(context.Background(), key, from, func(o Object) bool {
		objects = append(objects, o)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return objects
}
