package follower_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/follower"
	"evenkeel/pkg/replication"
	"evenkeel/pkg/replication/reptest"
	"evenkeel/pkg/resp"
)

// A leader that is not what a follower needs: the error says what is wrong, and
// the follower tries again.
func TestWrongLeaders(t *testing.T) {
	epoch := strings.Repeat("ab", 20)
	digest := strings.Repeat("0", 32)
	for _, tt := range []struct {
		name, answer, text string
	}{
		{"stock Tile38", "-ERR unknown command 'REPLICATE'\r\n", "the leader is not an Evenkeel"},
		{"password wanted", "-ERR authentication required\r\n", "authentication required"},
		{"itself", "+CONTINUE " + epoch + " 0 ID me\r\n", "a server cannot follow itself"},
		{"itself, said by the leader", "-ERR a server cannot follow itself\r\n", "a server cannot follow itself"},
		{"continues elsewhere", "+CONTINUE " + epoch + " 77\r\n", "protocol error"},
		{"no protocol", "HTTP/1.1 400 Bad Request\r\n", "protocol error"},
		{"endless line", strings.Repeat("x", 5000), "line of more than"},
		{"hangs up", "", "EOF"},
		{"base that is cut", "+FULL " + epoch + " 0 0 " + digest + " 100\r\nabc", "unexpected EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &pair{t: t, FDir: t.TempDir()}
			p.options.ID = "me"
			p.Server = fakeLeader(t, func(conn net.Conn) { _, _ = io.WriteString(conn, tt.answer) })
			p.Net.Resolve = func() string { return p.Server.Addr }
			p.startFollower()
			p.until("tried again", func() bool { return p.Net.Dialed.Load() >= 3 })
			st := p.Follower.Status()
			if !strings.Contains(st.LastError, tt.text) || !strings.Contains(st.LastError, "leader:9851") {
				t.Errorf("error %q, want %q in it", st.LastError, tt.text)
			}
			if ok, why := p.Follower.Ready(0); ok || len(why) == 0 {
				t.Errorf("ready %v, %q", ok, why)
			}
			p.stopFollower()
		})
	}
}

// fakeLeader reads one command a connection and leaves the answer to play.
func fakeLeader(t *testing.T, play func(conn net.Conn)) *reptest.Server {
	t.Helper()
	return reptest.Listen(t, func(_ context.Context, conn net.Conn, _ io.Reader, _ replication.Hello) error {
		play(conn)
		return nil
	})
}

// A leader that says nothing any more is left.
func TestStalledLeader(t *testing.T) {
	p := &pair{t: t, FDir: t.TempDir()}
	p.options.ReadTimeout = 50 * time.Millisecond
	p.Server = reptest.Listen(t, func(_ context.Context, conn net.Conn, r io.Reader, h replication.Hello) error {
		a := replication.Answer{Epoch: h.Position.Epoch, Start: aof.Mark{Offset: h.Position.Offset}, End: h.Position.Offset, Now: 1}
		if _, err := conn.Write(a.Append(nil)); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, r) // takes acknowledgements and is silent
		return err
	})
	p.Net.Resolve = func() string { return p.Server.Addr }
	p.startFollower()
	p.until("left", func() bool { return p.Follower.Status().Reconnects >= 2 })
	if st := p.Follower.Status(); !strings.Contains(st.LastError, follower.ErrStalled.Error()) {
		t.Errorf("error %q", st.LastError)
	}
	p.stopFollower()
}

func TestAuth(t *testing.T) {
	p := newPair(t)
	p.Server.Protect("secret")
	p.write("a", 3)
	p.options.Auth = "wrong"
	p.startFollower()
	p.until("refused", func() bool {
		return strings.Contains(p.Follower.Status().LastError, "the leader refused the password: invalid password")
	})
	p.stopFollower()
	p.options.Auth = "secret"
	p.startFollower()
	p.converge()
}

func TestFollowsItself(t *testing.T) {
	p := newPair(t)
	p.options.ID = "leader"
	p.startFollower()
	p.until("refused", func() bool {
		return strings.Contains(p.Follower.Status().LastError, replication.ErrSelf.Error())
	})
	if st := p.Leader.Stats(); st.Refused == 0 || st.Continues+st.Fulls != 0 {
		t.Errorf("leader: %+v", st)
	}
}

// The end of the context ends Run, whatever it is waiting for.
func TestRunEnds(t *testing.T) {
	silent := fakeLeader(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	for name, dial := range map[string]func(ctx context.Context, addr string) (net.Conn, error){
		"in dial": func(ctx context.Context, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() },
		"in handshake": func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", silent.Addr)
		},
		"in back-off": func(context.Context, string) (net.Conn, error) { return nil, errors.New("no route") },
	} {
		t.Run(name, func(t *testing.T) {
			n := reptest.Open(t, t.TempDir(), follower.ErrDiverged)
			f, err := follower.New(follower.Options{Leader: "l:1", Store: n, Dial: dial, BackoffMin: time.Hour, BackoffMax: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
			defer cancel()
			began := time.Now()
			if err := f.Run(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > patience {
				t.Errorf("%v after %s", err, time.Since(began))
			}
		})
	}
}

// Back-off doubles up to its limit and has jitter: it is not measured in time
// here but in how often a leader that refuses is asked.
func TestBackoffBounds(t *testing.T) {
	n := reptest.Open(t, t.TempDir(), follower.ErrDiverged)
	var dials []time.Time
	f, err := follower.New(follower.Options{
		Leader: "l:1", Store: n, BackoffMin: 20 * time.Millisecond, BackoffMax: 80 * time.Millisecond,
		Dial: func(context.Context, string) (net.Conn, error) {
			dials = append(dials, time.Now())
			return nil, errors.New("no route")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 600*time.Millisecond)
	defer cancel()
	if err := f.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	// At least half of 20, 40, 80, 80 … ms lies between two of them.
	if len(dials) < 4 || len(dials) > 18 {
		t.Fatalf("%d attempts in 600 ms", len(dials))
	}
	for i, least := range []int64{10, 20, 40, 40} {
		if i+1 < len(dials) && dials[i+1].Sub(dials[i]).Milliseconds() < least {
			t.Errorf("attempt %d came after %s", i+1, dials[i+1].Sub(dials[i]))
		}
	}
}

func TestOptions(t *testing.T) {
	bad := follower.Options{
		Leader: "nohost", Auth: "a\nb", ID: "a b", IPAddress: "x y", ListeningPort: 70000, DialTimeout: -1, AnswerTimeout: -1,
		HeartbeatInterval: -1, ReadTimeout: -1, AckInterval: -1, BackoffMin: 2, BackoffMax: 1, MaxLag: -1, MaxBatch: -1,
	}
	_, err := follower.New(bad)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"host:port", "line end", "server id", "listening port", "no store", "dial timeout", "answer timeout",
		"heartbeat", "read timeout", "ack interval", "back-off", "max lag", "largest batch"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

// What a follower says first, byte for byte.
func TestHelloOnTheWire(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n := reptest.Open(t, t.TempDir(), follower.ErrDiverged)
	n.Write(t, "SET", "a", "b")
	f, err := follower.New(follower.Options{Leader: l.Addr().String(), Store: n, ID: "me", ListeningPort: 7})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	cmd, err := resp.NewReader(bufio.NewReader(conn), resp.Limits{}).Next()
	if err != nil {
		t.Fatal(err)
	}
	pos, digest := n.Position()
	want := "REPLICATE 1 " + pos.Epoch + " 27 " + digest.String() + " LISTENING-PORT 7 ID me"
	if got := strings.Join(cmd.Args, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run returned %v", err)
	}
}
