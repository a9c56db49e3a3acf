package node

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"evenkeel/pkg/proxy"
	"evenkeel/pkg/pubsub"
)

func TestSubscribe(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	a, c := s.dial(), s.dial()
	c.talk([][2]string{
		{"SUBSCRIBE", "-ERR wrong number of arguments for 'subscribe' command"},
		{"UNSUBSCRIBE x", "-ERR unknown command 'UNSUBSCRIBE'"},
		{"SUBSCRIBE news", "[subscribe news :1]"},
	})
	a.talk([][2]string{
		{"PUBLISH news hello", ":1"}, {"PUBLISH News hello", ":0"}, {"PUBLISH news", "-ERR wrong number of arguments for 'publish' command"},
		{"OUTPUT json", `{"ok":true}`}, {"PUBLISH news again", `{"ok":true,"published":1}`}, {"OUTPUT resp", "+OK"},
	})
	heard := func(want ...string) {
		t.Helper()
		for _, w := range want {
			if got := say(c.reply()); got != w {
				t.Errorf("heard %s, want %s", got, w)
			}
		}
	}
	heard("[message news hello]", "[message news again]")
	c.talk([][2]string{
		{"psubscribe ne*", "[psubscribe ne* :2]"},
		{"GET a b", "-ERR only (P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / QUIT allowed in this context"},
		{"PING", "[PONG ]"}, {"PING x y", "[PONG x]"},
	})
	a.talk([][2]string{{"PUBLISH news both", ":2"}})
	heard("[message news both]", "[pmessage ne* news both]")
	c.talk([][2]string{{"UNSUBSCRIBE never", "[unsubscribe never :2]"}, {"PUNSUBSCRIBE ne*", "[punsubscribe ne* :1]"}})
	// Commands behind a SUBSCRIBE in one write are not lost.
	c.send("SUBSCRIBE a b", "PING z", "QUIT", "PING never")
	heard("[subscribe a :2]", "[subscribe b :3]", "[PONG z]", "+OK")
	c.ended()
	until(t, "nobody to listen", func() bool { return a.do("PUBLISH news gone") == ":0" })
}

func TestSubscribeJSON(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	a, c := s.dial(), s.dial()
	c.talk([][2]string{
		{"OUTPUT json", `{"ok":true}`},
		{"SUBSCRIBE c", `{"ok":true,"command":"subscribe","channel":"c","num":1}`},
		{"PING", `{"ok":true,"ping":"pong"}`},
		{"OUTPUT resp", `{"ok":false,"err":"only (P)SUBSCRIBE / (P)UNSUBSCRIBE / PING / QUIT allowed in this context"}`},
	})
	for _, m := range [][2]string{{"5", "5"}, {`{"a":1}`, `{"a":1}`}, {"nul", `"nul"`}, {"<>&", `"<>&"`}, {"\xff", "\"\ufffd\""}} {
		a.send("PUBLISH c " + m[0])
		if got, want := say(a.reply()), ":1"; got != want {
			t.Fatalf("PUBLISH: %s", got)
		}
		if got := say(c.reply()); got != m[1] && !(m[0] == "\xff" && got == `"\ufffd"`) {
			t.Errorf("published %q, heard %s, want %s", m[0], got, m[1])
		}
	}
	c.talk([][2]string{{"QUIT", `{"ok":true}`}})
	c.ended()
}

// A client library hears pushes of version 3.
func TestSubscribeLibrary(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	a := s.dial()
	a.talk([][2]string{{"CONFIG SET resp3 yes", "+OK"}})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, protocol := range []int{2, 3} {
		c := redis.NewClient(&redis.Options{Addr: s.addr, Protocol: protocol, DisableIdentity: true})
		sub := c.PSubscribe(ctx, "ch*")
		if _, err := sub.Receive(ctx); err != nil {
			t.Fatal(err)
		}
		if got := a.do("PUBLISH ch1 hello"); got != ":1" {
			t.Fatalf("PUBLISH: %s", got)
		}
		m, err := sub.ReceiveMessage(ctx)
		if err != nil || m.Channel != "ch1" || m.Pattern != "ch*" || m.Payload != "hello" {
			t.Errorf("RESP%d: heard %v, %v", protocol, m, err)
		}
		if protocol == 3 { // in version 2 Tile38's PONG is no word that this library knows
			if err := sub.Ping(ctx); err != nil {
				t.Errorf("ping: %v", err)
			}
			if _, err := sub.Receive(ctx); err != nil {
				t.Errorf("pong: %v", err)
			}
		}
		if err := sub.Close(); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		until(t, "nobody to listen", func() bool { return a.do("PUBLISH ch1 gone") == ":0" })
	}
}

// A subscriber that takes nothing is disconnected when too much waits for it,
// while it is being written to; who publishes is not held up.
func TestSlowSubscriber(t *testing.T) {
	s := serve(t, t.TempDir(), config{hub: pubsub.Options{MaxBytes: 1 << 20}, proxy: proxy.Options{WriteTimeout: patience}})
	slow, a := s.dial(), s.dial()
	slow.talk([][2]string{{"SUBSCRIBE c", "[subscribe c :1]"}})
	text := strings.Repeat("x", 100_000)
	until(t, "the subscriber to be given up", func() bool { return a.do("PUBLISH c "+text) == ":0" })
	until(t, "the log to say so", func() bool {
		log := s.logged.String()
		return strings.Contains(log, "does not take its messages") && strings.Contains(log, "subscriber")
	})
	until(t, "the connection to be gone", func() bool { return !strings.Contains(a.do("CLIENT LIST"), "addr="+slow.LocalAddr().String()) })
}

func TestMonitor(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	m, c := s.dial(), s.dial()
	m.talk([][2]string{{"MONITOR x", "-ERR wrong number of arguments for 'monitor' command"}, {"MONITOR", "+OK"}})
	from := c.LocalAddr().String()
	for _, step := range []struct{ send, shown string }{
		{"SET k a POINT 1 1", `"SET" "k" "a" "POINT" "1" "1"`},
		{"get k \"\x01\xc3\xa9", `"get" "k" "\"\x01é"`},
		{"SET k", ""}, {"NOSUCH", ""}, {"PING", ""}, {"ECHO a", ""}, {"AUTH x", ""}, {"CONFIG GET keepalive", ""}, {"CLIENT LIST", ""},
		{"SET k a POINT x y", `"SET" "k" "a" "POINT" "x" "y"`},
		{"NEARBY k POINT 1", ""},
		{"TIMEOUT 1 GET k a", `"GET" "k" "a"`}, {"TIMEOUT x GET k a", ""},
		{"READONLY yes", `"READONLY" "yes"`}, {"SET k a POINT 1 1", ""}, {"READONLY no", `"READONLY" "no"`},
		{"SERVER foo", `"SERVER" "foo"`}, {"PUBLISH a b", `"PUBLISH" "a" "b"`}, {"OUTPUT json", `"OUTPUT" "json"`},
		{"SET k", ""}, {"SET k b POINT 2 2", `"SET" "k" "b" "POINT" "2" "2"`},
	} {
		c.do(step.send)
		if step.shown == "" {
			continue // the next one that is shown would come too late
		}
		got := fmt.Sprint(say(m.reply()))
		_, got, _ = strings.Cut(got, " ")
		if want := "[0 " + from + "] " + step.shown; got != want {
			t.Errorf("%s: shown %s, want %s", step.send, got, want)
		}
	}
	m.talk([][2]string{{"QUIT", "+OK"}})
	m.ended()
	until(t, "the monitor to be forgotten", func() bool { return s.node.monitors.n.Load() == 0 })
}
