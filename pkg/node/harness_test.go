package node

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/redcon"
	"go.uber.org/goleak"

	"evenkeel/internal/fsx"
	"evenkeel/pkg/aof"
	"evenkeel/pkg/compactor"
	"evenkeel/pkg/hooks"
	"evenkeel/pkg/leader"
	"evenkeel/pkg/proxy"
	"evenkeel/pkg/pubsub"
	"evenkeel/pkg/settings"
	"evenkeel/pkg/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for an event.
const patience = time.Minute

// server is a node with all of its real parts, serving on 127.0.0.1.
type server struct {
	t        testing.TB
	dir      string
	addr     string
	node     *Node
	log      *aof.Log
	store    *store.Store
	settings *settings.Settings
	shrinker *compactor.Compactor
	logged   *syncBuffer
	seen     *observed
	clients  []*client
	stop     func() // ends it in order, after its clients; may be called twice
}

// config is what differs from test to test.
type config struct {
	fs     fsx.FS
	proxy  proxy.Options
	follow string
	change func(o *Options) // the node's options
	slice  time.Duration
	hub    pubsub.Options
	hooks  hooks.Options
}

// observed collects what Options.Observe hears.
type observed struct {
	mu   sync.Mutex
	list []string // "name" or "name!" when it failed
}

func (o *observed) note(name string, _ time.Duration, failed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if failed {
		name += "!"
	}
	o.list = append(o.list, name)
}

func (o *observed) take() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := strings.Join(o.list, " ")
	o.list = nil
	return s
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// serve starts a server on a directory.
func serve(t testing.TB, dir string, c config) *server {
	t.Helper()
	if c.fs == nil {
		c.fs = fsx.OS{}
	}
	s := &server{t: t, dir: dir, logged: &syncBuffer{}, seen: &observed{}}
	logger := slog.New(slog.NewTextHandler(s.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	s.log, err = aof.Open(aof.Options{FS: c.fs, Dir: dir, Fsync: aof.FsyncNo, Logger: logger})
	must(err)
	s.store, err = store.Open(context.Background(), store.Options{Log: s.log, ReadSlice: c.slice, CompactCPU: 100, Logger: logger})
	must(err)
	s.settings, err = settings.Load(c.fs, dir)
	must(err)
	s.shrinker, err = compactor.New(compactor.Options{Target: target{s}})
	must(err)
	lead, err := leader.New(leader.Options{Log: s.log, ID: s.settings.ServerID(), HeartbeatInterval: 20 * time.Millisecond, Logger: logger})
	must(err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	s.addr = ln.Addr().String()
	_, port, _ := net.SplitHostPort(s.addr)
	p, _ := strconv.Atoi(port)
	hub, err := pubsub.NewHub(c.hub)
	must(err)
	c.hooks.FS, c.hooks.Dir, c.hooks.Fsync, c.hooks.Local, c.hooks.Logger = c.fs, filepath.Join(dir, "hooks"), aof.FsyncNo, hub, logger
	queue, err := hooks.Open(c.hooks)
	must(err)
	o := Options{
		Store: s.store, Log: s.log, Compactor: s.shrinker, Leader: lead, Hub: hub, Hooks: queue, Settings: s.settings,
		Observe: s.seen.note, Follow: c.follow, ListenPort: p, Logger: logger,
	}
	if c.change != nil {
		c.change(&o)
	}
	s.node = New(o)
	c.proxy.Logger, c.proxy.DrainTimeout = logger, patience
	front, err := proxy.New(c.proxy, s.node)
	must(err)
	s.node.Attach(front)
	must(queue.Start())

	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	run := func(what string, f func() error) {
		parts.Go(func() {
			if err := f(); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	run("compactor", func() error { return s.shrinker.Run(ctx) })
	run("node", func() error { s.node.Run(ctx); return nil })
	run("proxy", func() error { return front.Serve(context.WithoutCancel(ctx), ln) })
	s.stop = sync.OnceFunc(func() {
		for _, c := range s.clients {
			_ = c.Close()
		}
		bounded, stop := context.WithTimeout(context.Background(), patience)
		defer stop()
		if err := errors.Join(front.Shutdown(bounded), lead.Close()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		cancel()
		parts.Wait()
		if err := queue.Stop(bounded); err != nil {
			t.Errorf("stop the queue of hooks: %v", err)
		}
		if tails := s.log.Stats().Tails; tails != 0 {
			t.Errorf("%d readers of the log were not closed", tails)
		}
		if err := s.log.Close(bounded); err != nil {
			t.Errorf("close the log: %v", err)
		}
	})
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("log of %s:\n%s", s.addr, s.logged)
		}
	})
	return s
}

// target is the store as the compactor sees it; nothing happens by itself.
type target struct{ s *server }

func (target) Facts() compactor.Facts { return compactor.Facts{FreeBytes: -1} }

func (t target) Compact(ctx context.Context) (compactor.Result, error) {
	c, err := t.s.store.Compact(ctx)
	return compactor.Result{Objects: c.Objects}, err
}

// client is one connection.
type client struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func (s *server) dial() *client {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	c := &client{t: s.t, Conn: conn, r: bufio.NewReader(conn)}
	s.clients = append(s.clients, c)
	return c
}

func (c *client) raw(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// encode makes RESP of lines of words; "" in a line is an empty word.
func encode(lines ...string) string {
	var b []byte
	for _, line := range lines {
		words := strings.Fields(line)
		b = redcon.AppendArray(b, len(words))
		for _, w := range words {
			if w == `""` {
				w = ""
			}
			b = redcon.AppendBulkString(b, w)
		}
	}
	return string(b)
}

// send sends commands in one write.
func (c *client) send(lines ...string) {
	c.t.Helper()
	c.raw(encode(lines...))
}

// reply reads one answer, as it is on the wire.
func (c *client) reply() string {
	c.t.Helper()
	text, err := readReply(c.r)
	if err != nil {
		c.t.Fatalf("reply: %v after %q", err, text)
	}
	return text
}

func readReply(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return line, err
	}
	n, _ := strconv.Atoi(strings.TrimSuffix(line[1:], "\r\n"))
	switch line[0] {
	case '$':
		if n < 0 {
			return line, nil
		}
		b := make([]byte, n+2)
		_, err = io.ReadFull(r, b)
		return line + string(b), err
	case '*':
		for range n {
			var e string
			if e, err = readReply(r); err != nil {
				return line + e, err
			}
			line += e
		}
	}
	return line, nil
}

// do sends a command and returns what it says: the content of a bulk string,
// other answers without their line end, arrays with spaces between.
func (c *client) do(line string) string {
	c.t.Helper()
	c.send(line)
	return say(c.reply())
}

var elapsed = regexp.MustCompile(`,"elapsed":"[^"]*"`)

// say makes an answer readable.
func say(answer string) string {
	n, v := redcon.ReadNextRESP([]byte(answer))
	if n == 0 {
		return answer
	}
	switch v.Type {
	case redcon.Array:
		var all []string
		v.ForEach(func(e redcon.RESP) bool {
			all = append(all, say(string(e.Raw)))
			return true
		})
		return "[" + strings.Join(all, " ") + "]"
	case redcon.Bulk:
		if v.Data == nil {
			return "null"
		}
		return elapsed.ReplaceAllString(string(v.Data), "")
	case redcon.Integer:
		return ":" + string(v.Data)
	}
	return string(v.Raw[:len(v.Raw)-2])
}

// ended waits for the end of the connection and fails if something else comes.
func (c *client) ended() {
	c.t.Helper()
	b, err := c.r.ReadByte()
	if err == nil {
		c.t.Fatalf("the connection goes on with %q", b)
	}
	var to net.Error
	if errors.As(err, &to) && to.Timeout() {
		c.t.Fatal("the connection is still open")
	}
}

// until polls for what happens in the background.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", patience, what)
		}
		time.Sleep(time.Millisecond)
	}
}

// talk plays a conversation: steps of a command and what is said.
func (c *client) talk(steps [][2]string) {
	c.t.Helper()
	for _, s := range steps {
		if got := c.do(s[0]); got != s[1] {
			c.t.Errorf("%s: %s, want %s", s[0], got, s[1])
		}
	}
}
