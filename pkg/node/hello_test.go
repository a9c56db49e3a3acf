package node

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestHello(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	c := s.dial()
	c.talk([][2]string{
		{"HELLO 3", "-ERR unknown command 'HELLO'"}, // as Tile38, until resp3 is switched on
		{"CONFIG SET resp3 yes", "+OK"},
		{"HELLO 4", "-NOPROTO unsupported protocol version"},
		{"HELLO 3 NOPE", "-ERR invalid argument 'NOPE'"},
		{"HELLO 2 SETNAME n", "[server tile38 version 1.37.0 proto :2 id :1 mode standalone role master modules []]"},
		{"CLIENT GETNAME", "n"},
		{"GET no where", "null"},
		{"OUTPUT json", `{"ok":true}`},
		{"HELLO", `{"ok":true,"result":{"server":"tile38","version":"1.37.0","proto":2,"id":1,"mode":"standalone","role":"master"}}`},
		{"OUTPUT resp", "+OK"},
		{"CONFIG SET requirepass secret", "+OK"},
	})
	d := s.dial()
	d.talk([][2]string{
		{"HELLO 2", "-ERR authentication required"},
		{"HELLO 2 AUTH default wrong", "-ERR invalid password"},
		{"GET no where", "-ERR authentication required"},
		{"HELLO 2 AUTH default secret", "[server tile38 version 1.37.0 proto :2 id :2 mode standalone role master modules []]"},
		{"GET no where", "null"},
	})
}

// A client library that begins with HELLO 3 gets along with either answer.
func TestHelloLibrary(t *testing.T) {
	for _, resp3 := range []string{"no", "yes"} {
		t.Run(resp3, func(t *testing.T) {
			s := serve(t, t.TempDir(), config{})
			s.dial().talk([][2]string{{"CONFIG SET resp3 " + resp3, "+OK"}, {"SET k a POINT 1 2", "+OK"}})
			c := redis.NewClient(&redis.Options{Addr: s.addr, Protocol: 3, DisableIdentity: true})
			defer func() { _ = c.Close() }()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if got, err := c.Do(ctx, "GET", "k", "a").Text(); err != nil || got != `{"type":"Point","coordinates":[2,1]}` {
				t.Errorf("GET: %s, %v", got, err)
			}
			if _, err := c.Do(ctx, "GET", "k", "b").Result(); !errors.Is(err, redis.Nil) {
				t.Errorf("GET of nothing: %v", err)
			}
			if got, err := c.Do(ctx, "SCAN", "k", "IDS").Slice(); err != nil || len(got) != 2 {
				t.Errorf("SCAN: %v, %v", got, err)
			}
		})
	}
}

// Version 3, byte for byte.
func TestHelloBytes(t *testing.T) {
	c := serve(t, t.TempDir(), config{}).dial()
	c.talk([][2]string{{"CONFIG SET resp3 yes", "+OK"}})
	c.send("HELLO 3", "GET no where")
	want := "%7\r\n$6\r\nserver\r\n$6\r\ntile38\r\n$7\r\nversion\r\n$6\r\n1.37.0\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:1\r\n" +
		"$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n_\r\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c.r, got); err != nil || string(got) != want {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
}
