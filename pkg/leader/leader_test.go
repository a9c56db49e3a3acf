package leader_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/leader"
	"evenkeel/pkg/replication"
	"evenkeel/pkg/replication/reptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long an event may take before a test gives up.
const patience = time.Minute

var errDiverged = errors.New("diverged")

// stage is a leader on a real log, with streams over connections of the test.
type stage struct {
	t      *testing.T
	node   *reptest.Node
	leader *leader.Leader
	ended  chan error // what each Serve returned
}

func newStage(t *testing.T, opt leader.Options) *stage {
	t.Helper()
	s := &stage{t: t, node: reptest.Open(t, t.TempDir(), errDiverged), ended: make(chan error, 16)}
	opt.Log = s.node.Log
	if opt.ID == "" {
		opt.ID = "L"
	}
	var err error
	if s.leader, err = leader.New(opt); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.close() })
	return s
}

// client is a follower's end of a connection.
type client struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

// connect serves one more follower over a pipe.
func (s *stage) connect(ctx context.Context, h replication.Hello) *client {
	return s.connectBy(ctx, h, func(conn net.Conn) net.Conn { return conn })
}

// connectBy is connect with something around the leader's end.
func (s *stage) connectBy(ctx context.Context, h replication.Hello, wrap func(net.Conn) net.Conn) *client {
	here, there := net.Pipe()
	h.Version = replication.Version
	go func() { s.ended <- s.leader.Serve(ctx, wrap(there), there, h) }()
	s.t.Cleanup(func() { here.Close() })
	if err := here.SetDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	return &client{t: s.t, conn: here, r: bufio.NewReader(here)}
}

// line reads a line without its end.
func (c *client) line() string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("read a line: %v after %q", err, line)
	}
	return strings.TrimSuffix(line, "\r\n")
}

func (c *client) answer() replication.Answer {
	c.t.Helper()
	a, err := replication.ParseAnswer(c.line())
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

// drain takes what comes and keeps nothing, until the connection ends.
func (c *client) drain() {
	go func() { _, _ = io.Copy(io.Discard, c.r) }()
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Fatal(err)
	}
}

func (s *stage) close() {
	s.t.Helper()
	if err := s.leader.Close(); err != nil {
		s.t.Error(err)
	}
}

// end waits for the Serve that ends next.
func (s *stage) end() error {
	s.t.Helper()
	select {
	case err := <-s.ended:
		return err
	case <-time.After(patience):
		s.t.Fatal("Serve goes on")
		return nil
	}
}

func (s *stage) until(what string, cond func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// here is a hello of somebody who has everything.
func (s *stage) here() replication.Hello {
	pos, digest := s.node.Position()
	return replication.Hello{Position: pos, Digest: digest, ID: "F", ListeningPort: 5}
}

func TestContinue(t *testing.T) {
	s := newStage(t, leader.Options{HeartbeatInterval: time.Hour})
	s.node.Write(t, "SET", "a", "1")
	h := s.here()
	s.node.Append(t, 5_000_000_000_000, "SET", "b", "2") // a time of its own: a batch of its own
	s.node.Write(t, "SET", "b", "3")
	pos := s.node.Log.Position()
	c := s.connect(context.Background(), h)
	a := c.answer()
	if a.Kind != replication.Continue || a.Epoch != pos.Epoch || a.Start.Offset != h.Position.Offset || a.End != pos.Offset || a.LeaderID != "L" || a.Now == 0 {
		t.Fatalf("answer %+v", a)
	}
	frames := replication.NewBatchReader(c.r, a.Start.Offset, 0)
	beat, err := frames.Next()
	if err != nil || !beat.Heartbeat || beat.Offset != pos.Offset || beat.Digest != s.node.Log.Last().Digest {
		t.Fatalf("first %+v, %v; want a heartbeat at the log's end", beat, err)
	}
	var got strings.Builder
	for end := int64(0); end < pos.Offset; {
		f, err := frames.Next()
		if err != nil {
			t.Fatal(err)
		}
		got.Write(f.Payload)
		end = f.Offset
	}
	want := "*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n2\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n3\r\n"
	if got.String() != want {
		t.Errorf("got %q", got.String())
	}
	c.send(string(replication.Report{Kind: replication.ReportAck, Offset: 12, Synced: 7}.Append(nil)))
	c.send("*2\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n") // not known, skipped
	s.until("acknowledged", func() bool {
		f := s.leader.Followers()[0]
		return f.Acked == 12 && f.SentOffset == pos.Offset
	})
	f := s.leader.Followers()[0]
	if f.Synced != 7 || f.LagBytes != pos.Offset-12 || f.ID != "F" || f.ListeningPort != 5 || f.FullResync {
		t.Errorf("follower %+v", f)
	}
	c.conn.Close()
	if err := s.end(); err != nil {
		t.Errorf("Serve returned %v", err)
	}
	if st := s.leader.Stats(); st.Followers != 0 || st.Continues != 1 || st.Fulls != 0 || st.Ended[leader.ReasonHungUp] != 1 ||
		st.BytesSent < pos.Offset-h.Position.Offset || st.BaseBytes != 0 {
		t.Errorf("stats %+v", st)
	}
}

// Why a leader sends everything: it is asked to, or cannot do otherwise.
func TestFull(t *testing.T) {
	s := newStage(t, leader.Options{HeartbeatInterval: time.Hour})
	for range 10 {
		s.node.Write(t, "SET", "a", "1")
	}
	s.node.Compact(t)
	s.node.Write(t, "SET", "b", "2")
	good := s.here()
	for name, change := range map[string]func(*replication.Hello){
		"asked":        func(h *replication.Hello) { h.Position = aof.Position{}; h.Digest = aof.Digest{} },
		"other epoch":  func(h *replication.Hello) { h.Position.Epoch = strings.Repeat("0", 40) },
		"other digest": func(h *replication.Hello) { h.Digest.Lo++ },
		"ahead":        func(h *replication.Hello) { h.Position.Offset += 27 },
		"in a batch":   func(h *replication.Hello) { h.Position.Offset -= 3 },
	} {
		t.Run(name, func(t *testing.T) {
			h := good
			change(&h)
			fulls := s.leader.Stats().Fulls
			c := s.connect(context.Background(), h)
			a := c.answer()
			if a.Kind != replication.Full || a.Size <= 0 || a.Start.Offset != 270 || a.Start.Time == 0 || a.Epoch != good.Position.Epoch {
				t.Fatalf("answer %+v", a)
			}
			base := make([]byte, a.Size)
			if _, err := io.ReadFull(c.r, base); err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(base), "*3\r\n$3\r\nSET\r\n$1\r\na\r\n") {
				t.Errorf("base %.60q", base)
			}
			frames := replication.NewBatchReader(c.r, a.Start.Offset, 0)
			for {
				f, err := frames.Next()
				if err != nil {
					t.Fatal(err)
				}
				if !f.Heartbeat {
					if f.Offset != good.Position.Offset || f.Digest != good.Digest {
						t.Errorf("batch %+v", f)
					}
					break
				}
			}
			c.conn.Close()
			if err := s.end(); err != nil {
				t.Errorf("Serve returned %v", err)
			}
			if st := s.leader.Stats(); st.Fulls != fulls+1 || st.BaseBytes != a.Size*(fulls+1) {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

func TestHeartbeats(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_123)
	s := newStage(t, leader.Options{HeartbeatInterval: 5 * time.Millisecond, Now: func() time.Time { return now }})
	s.node.Write(t, "SET", "a", "1")
	h := s.here()
	c := s.connect(context.Background(), h)
	a := c.answer()
	frames := replication.NewBatchReader(c.r, a.Start.Offset, 0)
	for range 4 {
		f, err := frames.Next()
		want := aof.Mark{Offset: h.Position.Offset, Time: now.UnixMilli(), Digest: h.Digest}
		if err != nil || !f.Heartbeat || f.Mark != want {
			t.Fatalf("got %+v, %v; want a heartbeat of %+v", f, err, want)
		}
	}
}

// A follower that takes nothing is cut, however much there is for it.
func TestSlowFollower(t *testing.T) {
	s := newStage(t, leader.Options{WriteTimeout: 30 * time.Millisecond})
	h := s.here()
	for range 8 {
		s.node.Write(t, "SET", "a", strings.Repeat("x", 1<<20))
	}
	c := s.connect(context.Background(), h)
	c.answer()
	if err := s.end(); !errors.Is(err, leader.ErrSlow) || !strings.Contains(err.Error(), "took nothing for 30ms") {
		t.Errorf("Serve returned %v", err)
	}
	if n := s.leader.Stats().Ended[leader.ReasonSlow]; n != 1 {
		t.Errorf("%d cut as slow", n)
	}
}

// stingyConn runs into the write deadline each time, but not before some bytes
// have gone.
type stingyConn struct{ net.Conn }

func (c stingyConn) Write(p []byte) (int, error) {
	const most = 1000
	if len(p) <= most {
		return c.Conn.Write(p)
	}
	n, err := c.Conn.Write(p[:most])
	if err == nil {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// A follower that takes a little each time is not cut, though a chunk takes it
// far longer than the timeout.
func TestSlowButSteadyFollower(t *testing.T) {
	s := newStage(t, leader.Options{HeartbeatInterval: time.Hour})
	h := s.here()
	s.node.Write(t, "SET", "a", strings.Repeat("x", 200<<10))
	c := s.connectBy(context.Background(), h, func(conn net.Conn) net.Conn { return stingyConn{conn} })
	a := c.answer()
	frames := replication.NewBatchReader(c.r, a.Start.Offset, 0)
	for {
		f, err := frames.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !f.Heartbeat {
			break
		}
	}
	if n := s.leader.Stats().Ended[leader.ReasonSlow]; n != 0 {
		t.Errorf("%d cut as slow", n)
	}
}

func TestSilentFollower(t *testing.T) {
	s := newStage(t, leader.Options{AckTimeout: 30 * time.Millisecond})
	c := s.connect(context.Background(), s.here())
	c.drain()
	if err := s.end(); !errors.Is(err, leader.ErrSilent) {
		t.Errorf("Serve returned %v", err)
	}
	if n := s.leader.Stats().Ended[leader.ReasonSilent]; n != 1 {
		t.Errorf("%d cut as silent", n)
	}
}

func TestFollowerTalksNonsense(t *testing.T) {
	for name, say := range map[string]string{
		"other command":             "*2\r\n$3\r\nGET\r\n$1\r\na\r\n",
		"bad ack":                   "*4\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$1\r\nx\r\n$1\r\n0\r\n",
		"ack of what is not there":  "*4\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$12\r\n100000000000\r\n$1\r\n0\r\n",
		"sync of what is not there": "*4\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$1\r\n0\r\n$12\r\n100000000000\r\n",
		"no command":                "*1000000000\r\n",
		"large":                     "*1\r\n$100000000\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, leader.Options{})
			c := s.connect(context.Background(), s.here())
			c.answer()
			c.drain()
			c.send(say)
			if err := s.end(); !errors.Is(err, replication.ErrProtocol) {
				t.Errorf("Serve returned %v", err)
			}
			if n := s.leader.Stats().Ended[leader.ReasonProtocol]; n != 1 {
				t.Errorf("stats %+v", s.leader.Stats())
			}
		})
	}
}

func TestRefused(t *testing.T) {
	s := newStage(t, leader.Options{MaxFollowers: 1})
	refused := func(want string, is error) {
		t.Helper()
		h := s.here()
		if errors.Is(is, replication.ErrSelf) {
			h.ID = "L"
		}
		c := s.connect(context.Background(), h)
		if got := c.line(); got != "-ERR "+want {
			t.Errorf("answer %q, want %q", got, want)
		}
		if err := s.end(); !errors.Is(err, is) {
			t.Errorf("Serve returned %v, want %v", err, is)
		}
		if _, err := c.r.ReadByte(); err != io.EOF {
			t.Errorf("the connection goes on: %v", err)
		}
	}
	refused("a server cannot follow itself", replication.ErrSelf)
	s.connect(context.Background(), s.here()).answer()
	refused("too many followers: 1 are connected", leader.ErrTooMany)
	s.close()
	if err := s.end(); !errors.Is(err, leader.ErrClosed) {
		t.Errorf("the first follower ended with %v", err)
	}
	refused("the leader is closed", leader.ErrClosed)
	if st := s.leader.Stats(); st.Refused != 3 || st.Ended[leader.ReasonStopped] != 1 || st.Followers != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestContextEnds(t *testing.T) {
	s := newStage(t, leader.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	c := s.connect(ctx, s.here())
	c.answer()
	cancel()
	if err := s.end(); !errors.Is(err, context.Canceled) {
		t.Errorf("Serve returned %v", err)
	}
	if n := s.leader.Stats().Ended[leader.ReasonStopped]; n != 1 {
		t.Errorf("stats %+v", s.leader.Stats())
	}
}

// A log that cannot be read is said to the follower, and counted as what it is.
func TestLogFails(t *testing.T) {
	s := newStage(t, leader.Options{})
	h := s.here()
	streaming := s.connect(context.Background(), h)
	streaming.answer()
	streaming.drain()
	s.node.Close(t)
	if err := s.end(); !errors.Is(err, aof.ErrClosed) {
		t.Errorf("the stream ended with %v", err)
	}
	c := s.connect(context.Background(), h)
	if got := c.line(); !strings.HasPrefix(got, "-ERR log: ") || !strings.Contains(got, "closed") {
		t.Errorf("answer %q", got)
	}
	if err := s.end(); !errors.Is(err, aof.ErrClosed) {
		t.Errorf("Serve returned %v", err)
	}
	if n := s.leader.Stats().Ended[leader.ReasonLog]; n != 2 {
		t.Errorf("stats %+v", s.leader.Stats())
	}
}

func TestOptions(t *testing.T) {
	_, err := leader.New(leader.Options{ID: "a b", HeartbeatInterval: -1, WriteTimeout: -1, AckTimeout: -1, MaxFollowers: -1})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"no log", "server id", "heartbeat interval", "write timeout", "ack timeout", "max followers"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}
