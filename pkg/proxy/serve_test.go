package proxy

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"evenkeel/pkg/resp"
)

const ping = "*1\r\n$4\r\nPING\r\n"

// What Tile38 answers to broken requests; where the answer depends on the
// commands of the engine the toy stands in.
func TestConversations(t *testing.T) {
	f := start(t, Options{})
	const unbalanced = "-Protocol error: unbalanced quotes in request\r\n"
	for _, tc := range []struct{ send, want string }{
		// Nothing is said to a client that has not sent a command yet.
		{"*x\r\n", ""},
		{"*-1\r\n", ""},
		{"*1\r\n+PING\r\n", ""},
		{"*1\r\n$x\r\nPING\r\n", ""},
		{"*1\r\n$3\r\nPING\r\n", ""},
		{"*1\n$4\r\nPING\r\n", ""},
		{"*0\r\n\r\n*x\r\nPING\r\n", ""},
		{"SET fleet \"unclosed POINT\r\n", ""},
		{"GET 'a'b\r\n", ""},
		{"GET a\"b\"\r\n", ""},
		{ping + "*1\r\n:5\r\n", "+PONG\r\n-Protocol error: expected '$', got ':'\r\n"},
		{ping + "*1\r\n\n", "+PONG\r\n-Protocol error: expected '$', got ' '\r\n"},
		{ping + "*1\r\n$x\r\nPING\r\n", "+PONG\r\n-Protocol error: invalid bulk length\r\n"},
		{"NOSUCH\r\n*x\r\n", "-ERR unknown command 'NOSUCH'\r\n-Protocol error: invalid multibulk length\r\n"},
		{"PING\r\nGET 'x\r\nPING\r\n", "+PONG\r\n" + unbalanced},
		{"PING\nGET j {\"type\":\"Point\"}\r\n", "+PONG\r\n" + unbalanced},
		{"OUTPUT json\r\n*1\r\n$x\r\nPING\r\n",
			"$11\r\n{\"ok\":true}\r\n$56\r\n{\"ok\":false,\"err\":\"Protocol error: invalid bulk length\"}\r\n"},
		{"OUTPUT json\r\nGET 'x\r\n",
			"$11\r\n{\"ok\":true}\r\n$65\r\n{\"ok\":false,\"err\":\"Protocol error: unbalanced quotes in request\"}\r\n"},
		{"QUIT\r\n", "+OK\r\n"},
		{"PING\r\nquit\r\nPING\r\n", "+PONG\r\n+OK\r\n"},
		{ping + "*2\r\n$4\r\nPING\r\n$1\r\na\r\nPING b\r\n" + ping + "QUIT\r\n", "+PONG\r\n$1\r\na\r\n$1\r\nb\r\n+PONG\r\n+OK\r\n"},
		{"*0\r\n\r\nPING\r\nQUIT\n", "+PONG\r\n+OK\r\n"},
		// Limits are always told.
		{"*1000000000\r\n$3\r\nGET\r\n",
			"-Protocol error: invalid multibulk length: 1000000000 arguments, at most 1048576 are allowed\r\n"},
		{"*2\r\n$3\r\nGET\r\n$536870913\r\n",
			"-Protocol error: invalid bulk length: 536870913 bytes, at most 536870912 are allowed\r\n"},
	} {
		c := f.dial()
		c.send(tc.send)
		c.wantEnd(tc.want)
	}
}

// The error must arrive although the client goes on sending.
func TestErrorArrivesBeforeTheEnd(t *testing.T) {
	f := start(t, Options{})
	for range 20 {
		c := f.dial()
		c.send(ping + "*2\r\n$3\r\nSET\r\n$600000000\r\n" + strings.Repeat("x", 300_000))
		c.wantEnd("+PONG\r\n-Protocol error: invalid bulk length: 600000000 bytes, at most 536870912 are allowed\r\n")
		_ = c.Close()
	}
	f.closedFor(ClosedProtocol, 20)
	if n := f.Stats().ProtocolErrors; n != 20 {
		t.Errorf("%d protocol errors", n)
	}
}

func TestSplitCommands(t *testing.T) {
	f := start(t, Options{})
	c := f.dial()
	for _, part := range []string{"*", "1\r", "\n$4\r\n", "PI", "NG\r\n"} {
		c.send(part)
		time.Sleep(5 * time.Millisecond) // so that it goes out, and is read, on its own
	}
	c.want("+PONG\r\n")
	c.send("PI")
	c.send("NG 1\r\nPING 2\r\n")
	c.want("$1\r\n1\r\n$1\r\n2\r\n")
}

// A pipeline longer than a batch, whose replies are long, keeps its order; a
// session that leaves batches early is called again with the rest.
func TestLongPipeline(t *testing.T) {
	f := start(t, Options{MaxPipeline: 7, BatchOutput: 1000})
	c := f.dial()
	var in, want strings.Builder
	for i := range 2000 {
		if i%5 == 0 {
			fmt.Fprintf(&in, "BIG %d\r\n", i)
			fmt.Fprintf(&want, "$%d\r\n%s\r\n", i, make([]byte, i))
		} else {
			fmt.Fprintf(&in, "PING %d\r\n", i)
			fmt.Fprintf(&want, "$%d\r\n%d\r\n", len(fmt.Sprint(i)), i)
		}
	}
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(c, in.String())
		sent <- err
	}()
	c.want(want.String())
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if n := f.toy.executed.Load(); n != 2000 {
		t.Errorf("%d commands were carried out", n)
	}
	if n := f.Stats(); n.Commands != 2000 || n.BytesIn != int64(in.Len()) {
		t.Errorf("%+v", n)
	}
	f.eventually("all replies counted", func() bool { return f.Stats().BytesOut == int64(want.Len()) })
}

// counted counts the calls that reach the sockets of a listener.
type counted struct {
	net.Listener
	reads, writes atomic.Int64
}

type countedConn struct {
	*net.TCPConn
	l *counted
}

func (l *counted) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if tcp, ok := nc.(*net.TCPConn); ok {
		return countedConn{tcp, l}, nil
	}
	return nil, err
}

func (c countedConn) Read(p []byte) (int, error) {
	c.l.reads.Add(1)
	return c.TCPConn.Read(p)
}

func (c countedConn) Write(p []byte) (int, error) {
	c.l.writes.Add(1)
	return c.TCPConn.Write(p)
}

func TestOneReadAndOneWrite(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &counted{Listener: ln}
	f := startOn(t, Options{}, l)
	c := f.dial()
	for range 2 { // the first read of a connection is a small one
		c.send(strings.Repeat(ping, 100))
		c.want(strings.Repeat("+PONG\r\n", 100))
	}
	for _, n := range []int{1, 16, 200} {
		reads, writes := l.reads.Load(), l.writes.Load()
		for range 10 {
			c.send(strings.Repeat(ping, n))
			c.want(strings.Repeat("+PONG\r\n", n))
		}
		// The read that waits now may have begun or not.
		if r, w := l.reads.Load()-reads, l.writes.Load()-writes; r < 9 || r > 11 || w != 10 {
			t.Errorf("pipeline %d: %d reads and %d writes for 10 batches", n, r, w)
		}
	}
}

func TestPanicEndsOneConnection(t *testing.T) {
	f := start(t, Options{})
	other := f.dial()
	other.send("PING\n")
	other.want("+PONG\r\n")
	c := f.dial()
	c.send("PING\nPANIC\n")
	c.wantCut()
	f.closedFor(ClosedPanic, 1)
	if n := f.Stats().Panics; n != 1 {
		t.Errorf("%d panics", n)
	}
	other.send("PING\n")
	other.want("+PONG\r\n")
}

func TestKill(t *testing.T) {
	f := start(t, Options{})
	idle, busy := f.dial(), f.dial()
	idle.send("PING\n")
	idle.want("+PONG\r\n")
	busy.send("WAIT\n")
	f.entered()
	n := 0
	f.Each(func(c *Conn) {
		n++
		if c.ID() < 1 || c.Opened().IsZero() || c.LastCommand().Before(c.Opened()) || c.Session() == nil {
			t.Errorf("connection %d, opened %v, last command %v", c.ID(), c.Opened(), c.LastCommand())
		}
		if a := c.RemoteAddr().String(); a != idle.LocalAddr().String() && a != busy.LocalAddr().String() {
			t.Errorf("client %s", a)
		}
		if c.LocalAddr().String() != f.addr {
			t.Errorf("address %s", c.LocalAddr())
		}
		c.Kill()
		c.Kill()
	})
	if n != 2 {
		t.Errorf("%d connections", n)
	}
	for _, c := range []*client{idle, busy} {
		if got := c.wantCut(); got != "" {
			t.Errorf("got %q", got)
		}
	}
	f.closedFor(ClosedKilled, 2)
}

// Idle connections, which have been active, hold little.
func TestIdleConnectionsAreSmall(t *testing.T) {
	const conns, most = 400, raceFactor * 8 << 10
	f := start(t, Options{})
	memory := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapInuse + m.StackInuse)
	}
	clients := make([]*client, conns)
	before := memory()
	for i := range clients {
		clients[i] = f.dial()
		clients[i].send(strings.Repeat("PING "+strings.Repeat("x", 500)+"\n", 20) + "BIG 300000\n")
		clients[i].want(strings.Repeat("$500\r\n"+strings.Repeat("x", 500)+"\r\n", 20) + "$300000\r\n")
		if _, err := clients[i].r.Discard(300_002); err != nil {
			t.Fatal(err)
		}
		clients[i].r = nil
	}
	each := 0
	f.eventually("small connections", func() bool {
		each = (memory() - before) / conns
		return each < most
	})
	t.Logf("%d bytes for an idle connection, its client's end included", each)
	if n := f.Stats().Current; n != conns {
		t.Errorf("%d connections", n)
	}
}

func TestHalfSentCommandHoldsItsBytes(t *testing.T) {
	f := start(t, Options{})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const half = "*3\r\n$3\r\nSET\r\n$400000000\r\nabc"
	for range 50 {
		f.dial().send(half)
	}
	f.eventually("all bytes read", func() bool { return f.Stats().BytesIn == 50*int64(len(half)) })
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 50*32<<10 {
		t.Errorf("%d bytes allocated", n)
	}
	if f.toy.executed.Load() != 0 {
		t.Error("something was carried out")
	}
}

func TestObserve(t *testing.T) {
	type event struct {
		what string
		n    int
		why  CloseReason
	}
	events := make(chan event, 10)
	f := start(t, Options{Observe: Observe{
		Opened: func(*Conn) { events <- event{what: "opened"} },
		Batch:  func(_ *Conn, n int, _ time.Duration) { events <- event{what: "batch", n: n} },
		Closed: func(_ *Conn, why CloseReason) { events <- event{what: "closed", why: why} },
	}})
	c := f.dial()
	c.send("PING 1\nPING 2\nQUIT\nPING 3\n")
	c.wantEnd("$1\r\n1\r\n$1\r\n2\r\n+OK\r\n")
	_ = c.Close()
	for _, want := range []event{{what: "opened"}, {what: "batch", n: 3}, {what: "closed", why: ClosedByCommand}} {
		if got := <-events; got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

func TestOptionsValidate(t *testing.T) {
	_, err := New(Options{MaxConns: -1, MaxOutput: -1, IdleTimeout: -1, Limits: resp.Limits{MaxBulk: -1}}, newToy())
	for _, name := range []string{"MaxConns", "MaxOutput", "IdleTimeout", "MaxBulk"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
	for r := range numReasons {
		if r.String() == "" || r.String() == "unknown" {
			t.Errorf("reason %d has no name", r)
		}
	}
}
