package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/redcon"
	"go.uber.org/goleak"

	"evenkeel/pkg/resp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of the tests.
const patience = time.Minute

// toy is a backend with a few commands that show what the proxy does.
type toy struct {
	executed atomic.Int64
	batches  atomic.Int64
	open     atomic.Int64  // sessions
	entered  chan struct{} // WAIT has begun
	release  chan struct{} // lets WAIT end
	hijack   func(ctx context.Context, h Hijacked) error
}

func newToy() *toy {
	return &toy{entered: make(chan struct{}, 100), release: make(chan struct{})}
}

type toySession struct {
	*toy
	conn *Conn
	json bool
}

func (b *toy) Open(c *Conn) Session {
	b.open.Add(1)
	return &toySession{toy: b, conn: c}
}

func (s *toySession) Close() { s.open.Add(-1) }

func (s *toySession) AppendError(out []byte, text string) []byte {
	if s.json {
		return redcon.AppendBulkString(out, fmt.Sprintf(`{"ok":false,"err":%q}`, text))
	}
	return redcon.AppendError(out, text)
}

func (s *toySession) Do(ctx context.Context, cmds []resp.Command, out []byte) ([]byte, Verdict) {
	s.batches.Add(1)
	for i, c := range cmds {
		s.executed.Add(1)
		arg := ""
		if len(c.Args) > 1 {
			arg = c.Args[1]
		}
		switch strings.ToUpper(c.Args[0]) {
		case "PING":
			if len(c.Args) > 1 {
				out = redcon.AppendBulkString(out, arg)
			} else {
				out = redcon.AppendString(out, "PONG")
			}
		case "OUTPUT":
			s.json = true
			out = redcon.AppendBulkString(out, `{"ok":true}`)
		case "QUIT":
			return redcon.AppendString(out, "OK"), Verdict{Done: i + 1, Close: true}
		case "BIG": // a reply of so many bytes
			n, _ := strconv.Atoi(arg)
			out = redcon.AppendBulk(out, make([]byte, n))
			if int64(len(out)) > s.conn.BatchOutput() {
				return out, Verdict{Done: i + 1}
			}
		case "WAIT": // until the test or the context ends it
			s.entered <- struct{}{}
			select {
			case <-s.release:
				out = redcon.AppendString(out, "DONE")
			case <-ctx.Done():
				out = redcon.AppendError(out, "ended")
			}
		case "PANIC":
			panic("as asked")
		case "HIJACK":
			return redcon.AppendString(out, "OK"), Verdict{Done: i + 1, Hijack: s.hijack}
		default:
			out = redcon.AppendError(out, "ERR unknown command '"+c.Args[0]+"'")
		}
	}
	return out, Verdict{}
}

type fixture struct {
	*Server
	t      *testing.T
	toy    *toy
	addr   string
	served chan error
}

// start serves a toy until the test ends, when everything must be gone.
func start(t *testing.T, opts Options) *fixture {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, opts, ln)
}

func startOn(t *testing.T, opts Options, ln net.Listener) *fixture {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	f := &fixture{t: t, toy: newToy(), addr: ln.Addr().String(), served: make(chan error, 1)}
	var err error
	if f.Server, err = New(opts, f.toy); err != nil {
		t.Fatal(err)
	}
	go func() { f.served <- f.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = f.Shutdown(ctx) // tests that care look at it themselves
		select {
		case <-f.served:
		case <-ctx.Done():
			t.Error("Serve did not return")
		}
		if n := f.Stats().Current; n != 0 {
			t.Errorf("%d connections are left", n)
		}
		if n := f.toy.open.Load(); n != 0 {
			t.Errorf("%d sessions are left open", n)
		}
	})
	return f
}

type client struct {
	t *testing.T
	*net.TCPConn
	r *bufio.Reader
}

func (f *fixture) dial() *client {
	f.t.Helper()
	nc, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		f.t.Fatal(err)
	}
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		f.t.Fatalf("dialled a %T", nc)
	}
	return &client{f.t, tcp, bufio.NewReader(nc)}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

// want reads exactly this.
func (c *client) want(s string) {
	c.t.Helper()
	got := make([]byte, len(s))
	if n, err := io.ReadFull(c.r, got); err != nil || string(got) != s {
		c.t.Fatalf("got %q, %v; want %q", got[:n], err, s)
	}
}

// wantEnd reads exactly this and the end of the stream.
func (c *client) wantEnd(s string) {
	c.t.Helper()
	if got, err := io.ReadAll(c.r); err != nil || string(got) != s {
		c.t.Fatalf("got %q, %v; want %q and the end", got, err, s)
	}
}

// wantCut reads until the connection ends in any way and returns what came.
func (c *client) wantCut() string {
	c.t.Helper()
	got, err := io.ReadAll(c.r)
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		c.t.Fatalf("the connection was not ended, got %d bytes", len(got))
	}
	return string(got)
}

// eventually waits until cond holds.
func (f *fixture) eventually(what string, cond func() bool) {
	f.t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("never happened: %s; %+v", what, f.Stats())
		}
	}
}

func (f *fixture) closedFor(why CloseReason, n int64) {
	f.t.Helper()
	f.eventually(fmt.Sprintf("%d closed for %v", n, why), func() bool { return f.Stats().Closed[why] == n })
}

func (f *fixture) entered() {
	f.t.Helper()
	select {
	case <-f.toy.entered:
	case <-time.After(patience):
		f.t.Fatal("no command is being carried out")
	}
}
