package node

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"evenkeel/pkg/upstream"
)

// lease is a fence that a test holds.
type lease struct {
	lost  atomic.Bool
	asked atomic.Int64
	hook  func(n int64) // of the n-th question
}

func (l *lease) fence() error {
	if n := l.asked.Add(1); l.hook != nil {
		l.hook(n)
	}
	if l.lost.Load() {
		return errors.New("the lease is over")
	}
	return nil
}

// options are those of a node whose clients want what the leader has, and nothing older.
func (l *lease) options(o *Options) {
	o.Fence, o.Forward = l.fence, &Forward{ReadFrom: upstream.ReadLeader, Timeout: time.Millisecond}
}

// TestFence: a leader whose lease is over neither begins a write nor gives away what
// it has read.
func TestFence(t *testing.T) {
	l := &lease{}
	s := serve(t, t.TempDir(), config{change: l.options})
	c := s.dial()
	c.talk([][2]string{{"SET k a POINT 1 1", "+OK"}, {"GET k a POINT", "[1 1]"}})
	if n := l.asked.Load(); n != 3 {
		t.Errorf("asked %d times for a write and a read", n)
	}
	before := l.asked.Load()
	var lines []string
	for range 100 {
		lines = append(lines, "GET k a POINT")
	}
	c.send(lines...)
	for range lines {
		c.reply()
	}
	if n := l.asked.Load() - before; n > 50 {
		t.Errorf("asked %d times for a pipeline", n)
	}
	offset := s.log.Position().Offset
	l.lost.Store(true)
	const gone = "-ERR not the leader any more: the lease is over"
	c.talk([][2]string{
		{"SET k b POINT 1 1", "-ERR not the leader: the lease is over"}, {"EVAL return(1) 0", "-ERR not the leader: the lease is over"},
		{"PUBLISH c m", "-ERR not the leader: the lease is over"}, {"FLUSHDB", "-ERR not the leader: the lease is over"},
		{"GET k a POINT", gone}, {"GET k nosuch", gone}, {"SCAN k", gone}, {"EVALRO return(1) 0", gone}, {"TIMEOUT 1 GET k a", gone}, {"TIMEOUT 1 EVALRO return(1) 0", gone},
		{"PING", "+PONG"}, {"CONFIG GET keepalive", "[keepalive 300]"}, {"NOSUCH", "-ERR unknown command 'NOSUCH'"},
		{"OUTPUT json", `{"ok":true}`}, {"GET k a", `{"ok":false,"err":"not the leader any more: the lease is over"}`}, {"OUTPUT resp", "+OK"},
		{"FORWARD FROM x", "[follower " + s.settings.ServerID() + "]"},
	})
	if s.log.Position().Offset != offset {
		t.Error("something was written")
	}
	h := s.dial()
	h.raw("GET /GET+k+a HTTP/1.1\r\n\r\n")
	if b := make([]byte, 4096); true {
		n, _ := h.Read(b)
		if text := string(b[:n]); !strings.Contains(text, "\r\n\r\n{\"ok\":false,\"err\":\"not the leader any more: the lease is over\"") {
			t.Errorf("HTTP: %q", text)
		}
	}
	l.lost.Store(false)
	s.dial().talk([][2]string{{"GET k a POINT", "[1 1]"}, {"SET k b POINT 1 1", "+OK"}})
}

// TestFenceBehindTheWrite: a lease that ends while a write is carried out turns its
// answer into one that says so; so does one that is won again meanwhile.
func TestFenceBehindTheWrite(t *testing.T) {
	const text = "-ERR written here, but this node is not the leader any more: %: the write may or may not last"
	for _, tt := range []struct {
		name, want string
		meanwhile  func(s *server, l *lease)
	}{
		{"lost", "the lease is over", func(_ *server, l *lease) { l.lost.Store(true) }},
		{"lost and won", errDeposed.Error(), func(s *server, _ *lease) {
			s.node.Undecided("for a moment")
			if err := s.node.Lead(t.Context()); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := &lease{}
			s := serve(t, t.TempDir(), config{change: l.options})
			// Before a commit is through: the log asks for the messages of webhooks to be safe.
			var once atomic.Bool
			c := s.dial()
			c.do("SET k a STRING old")
			s.log.BeforeWrite(func() error {
				if !once.Swap(true) {
					tt.meanwhile(s, l)
				}
				return nil
			})
			if tt.name == "lost and won" { // that begins an epoch, which waits for the log
				s.log.BeforeWrite(func() error { return nil })
				l.hook = func(n int64) {
					if n == 4 && !once.Swap(true) { // behind the write
						go tt.meanwhile(s, l)
						until(t, "the role to be won again", func() bool { return s.node.role.leads() && s.node.role.term.Load() > 2*termStep })
					}
				}
				c.send("GET k a", "SET k a STRING new")
				if got := say(c.reply()); got != "-ERR not the leader any more: "+tt.want {
					t.Errorf("read: %s", got)
				}
			} else {
				c.send("SET k a STRING new")
			}
			if got, want := say(c.reply()), strings.ReplaceAll(text, "%", tt.want); got != want {
				t.Errorf("write: %s, want %s", got, want)
			}
			l.lost.Store(false)
			c.talk([][2]string{{"GET k a", "new"}})
		})
	}
}

// TestFencedWritesGoToTheLeader: where commands are forwarded, a write that a fenced
// leader has not begun goes to who leads instead.
func TestFencedWritesGoToTheLeader(t *testing.T) {
	l := &lease{}
	a := serve(t, t.TempDir(), config{change: func(o *Options) {
		given(Forward{Timeout: patience})(o)
		o.Fence = l.fence
	}})
	b := serve(t, t.TempDir(), config{change: given(Forward{Timeout: patience})})
	a.leads()
	b.follows(a)
	level(t, a, b)
	l.lost.Store(true)
	ca, cb := a.dial(), b.dial()
	ca.send("SET k a STRING a", "EVAL return(tile38.call('SET','k','c','STRING','c')) 0")
	cb.send("SET k b STRING b")
	until(t, "the writes to wait", func() bool { return a.node.Forwarding().Waiting == 1 && b.node.Forwarding().Waiting == 1 })
	b.leads()
	a.follows(b)
	for _, r := range []string{ca.reply(), ca.reply(), cb.reply()} {
		if r != "+OK\r\n" && r != "$2\r\nOK\r\n" {
			t.Errorf("%q", r)
		}
	}
	b.dial().talk([][2]string{{"SCAN k COUNT", ":3"}})
}
