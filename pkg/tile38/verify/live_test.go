package verify

import (
	"context"
	"testing"
	"time"

	"evenkeel/internal/testkit"
	"evenkeel/pkg/tile38"
)

// realServer starts the server that TILE38_SERVER names, and returns its address.
func realServer(t testing.TB) string {
	t.Helper()
	return testkit.NewProcess(t).Address()
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
