package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"evenkeel/pkg/proxy"
	"evenkeel/pkg/resp"
)

// Everything that a client sends arrives as it is, and so does what comes back.
func TestPasses(t *testing.T) {
	long := strings.Repeat("z", 300_000)
	for _, c := range []struct {
		name, in, out string
		kind          resp.Kind
	}{
		{"resp", array("GET", "k", "id"), "$2\r\nab\r\n", resp.RESP},
		{"plain", "PING\r\n", "+PONG\r\n", resp.Inline},
		{"pipeline", strings.Repeat("PING\n", 3000), strings.Repeat("+PONG\r\n", 3000), resp.Inline},
		{"large", array("SET", "k", "id", "STRING", long), "$300000\r\n" + long + "\r\n", resp.RESP},
		{"native", "$4 PING\r\n", "$7 +PONG\r\n\r\n", resp.Native},
		{"http", "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nbody", resp.HTTP},
		{"post", "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nPING", "HTTP/1.1 200 OK\r\n\r\n\x00\xff", resp.HTTP},
		{"websocket", "GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n\x81\x84\x00\x00\x00\x00PING",
			"HTTP/1.1 101 x\r\n\r\n\x81\x07+PONG\r\n", resp.WebSocket},
		{"malformed", "PING\r\n*x\r\n\xff\x00", "+PONG\r\n-Protocol error: invalid multibulk length\r\n", resp.Inline},
		{"binary", "\x16\x03\x01\x00\n", "-ERR unknown\r\n", resp.Inline},
		{"live", array("NEARBY", "k", "FENCE", "POINT", "1", "1", "9"), "+OK\r\n" + strings.Repeat("$2\r\n{}\r\n", 1000), resp.RESP},
		{"aof", "AOF 0\r\n", "+OK\r\n" + strings.Repeat(array("SET", "k", "id", "POINT", "1", "2"), 5000), resp.Inline},
		{"two replies", "PING\r\n", "+PONG\r\n+PONG\r\n:nonsense", resp.Inline},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			engine := newScript(t)
			f := start(t, Options{Engine: engine.addr}, proxy.Options{})
			client := dial(t, f.addr)
			go func() { _, _ = io.WriteString(client, c.in) }()
			e := engine.next()
			// The end of an answer is not before the end of what it answers.
			e.want(c.in)
			go func() { _, _ = io.WriteString(e, c.out) }()
			client.want(c.out)
			client.closeWrite()
			e.wantEnd("")
			_ = e.Close()
			client.wantEnd("")
			f.eventually("counted", func() bool { return f.Stats().Transports[c.kind] == 1 })
			f.eventually("closed", func() bool { return f.Stats().Closed[proxy.ClosedByClient] == 1 })
		})
	}
}

// A client may send far more than anybody's buffers hold before it reads.
func TestLongPipeline(t *testing.T) {
	const n = 200_000
	engine := newScript(t)
	var mu sync.Mutex
	seen := map[string]int{}
	f := start(t, Options{Engine: engine.addr, MaxPending: 1000, Observe: func(name string, _ time.Duration, failed bool) {
		mu.Lock()
		defer mu.Unlock()
		seen[fmt.Sprint(name, failed)]++
	}}, proxy.Options{})
	client := dial(t, f.addr)
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(client, strings.Repeat(array("GET", "k", "id")+"PING\n", n/2))
		sent <- err
	}()
	e := engine.next()
	go func() {
		rd := resp.NewReader(e.Conn, resp.Limits{})
		for {
			cmd, err := rd.Next()
			if err != nil {
				return
			}
			answer := "+PONG\r\n"
			if cmd.Args[0] == "GET" {
				answer = "-ERR not found\r\n"
			}
			if _, err := io.WriteString(e, answer); err != nil {
				return
			}
		}
	}()
	client.want(strings.Repeat("-ERR not found\r\n+PONG\r\n", n/2))
	if err := <-sent; err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if seen["gettrue"] != n/2 || seen["pingfalse"] != n/2 || len(seen) != 2 {
		t.Errorf("observed: %v", seen)
	}
	if got := f.Stats().Commands; got != n {
		t.Errorf("%d commands, want %d", got, n)
	}
}

// Neither side can make the proxy hold more than buffers.
func TestBackpressure(t *testing.T) {
	engine := newScript(t)
	f := start(t, Options{Engine: engine.addr}, proxy.Options{WriteTimeout: 300 * time.Millisecond})
	client := dial(t, f.addr)
	client.send(array("SCAN", "k"))
	e := engine.next()
	e.want(array("SCAN", "k"))
	// An engine that sends for ever to a client that does not read is held up, until
	// the client has had its time.
	piece := "$65536\r\n" + strings.Repeat("x", 65536) + "\r\n"
	sent := 0
	for {
		n, err := io.WriteString(e, piece)
		sent += n
		if err != nil {
			break
		}
	}
	if sent > 64<<20 {
		t.Errorf("took %d bytes for a client that does not read", sent)
	}
	f.eventually("stalled", func() bool { return f.Stats().Closed[proxy.ClosedStalled] == 1 })
}

// A follower may take nothing for as long as it likes.
func TestEndless(t *testing.T) {
	engine := newScript(t)
	f := start(t, Options{Engine: engine.addr}, proxy.Options{WriteTimeout: 50 * time.Millisecond, IdleTimeout: 50 * time.Millisecond})
	client := dial(t, f.addr)
	client.send("AOF 0\r\n")
	e := engine.next()
	e.want("AOF 0\r\n")
	const size = 32 << 20
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(e, "+OK\r\n"+strings.Repeat("x", size))
		sent <- err
	}()
	client.want("+OK\r\n")
	time.Sleep(500 * time.Millisecond) // ten times what others have
	client.want(strings.Repeat("x", size))
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestIdle(t *testing.T) {
	engine := newScript(t)
	f := start(t, Options{Engine: engine.addr}, proxy.Options{IdleTimeout: 100 * time.Millisecond})
	silent, waits, live := dial(t, f.addr), dial(t, f.addr), dial(t, f.addr)
	waits.send("EVAL slow 0\r\n")
	w := engine.next()
	w.want("EVAL slow 0\r\n")
	live.send("SUBSCRIBE c\r\n")
	l := engine.next()
	l.want("SUBSCRIBE c\r\n")
	l.send("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n")
	silent.wantEnd("")
	time.Sleep(300 * time.Millisecond)
	w.send(":1\r\n")
	waits.want(":1\r\n")
	l.send("+pushed\r\n")
	live.want("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n+pushed\r\n")
	waits.wantEnd("")
	f.eventually("idle", func() bool { return f.Stats().Closed[proxy.ClosedIdle] == 2 })
}

// An engine that is not there for a while is waited for.
func TestWaitsForEngine(t *testing.T) {
	engine := newScript(t)
	f := start(t, Options{Engine: engine.addr}, proxy.Options{})
	engine.stop()
	client := dial(t, f.addr)
	client.send("PING\r\n")
	f.eventually("tried", func() bool { return f.b.Stats().DialFailures > 2 })
	engine.listen(engine.addr)
	e := engine.next()
	e.want("PING\r\n")
	e.send("+PONG\r\n")
	client.want("+PONG\r\n")
}

// One that does not come is an error for each command, and the connection stays.
func TestEngineAway(t *testing.T) {
	engine := newScript(t)
	f := start(t, Options{Engine: engine.addr, ConnectWait: 100 * time.Millisecond}, proxy.Options{})
	engine.stop()
	client := dial(t, f.addr)
	large := array("SET", "k", "id", "STRING", strings.Repeat("x", 100_000))
	client.send("PING\r\n" + array("GET", "k", "id") + large + "PING\r\n")
	for range 4 {
		line, err := client.r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "-ERR engine "+engine.addr+": ") {
			t.Fatalf("got %q, %v", line, err)
		}
	}
	if n := f.b.Stats().Refused; n != 4 {
		t.Errorf("%d refused", n)
	}
	engine.listen(engine.addr)
	client.send("GET k id\r\n")
	e := engine.next()
	e.want("GET k id\r\n")
	e.send("$-1\r\n")
	client.want("$-1\r\n")
	for _, c := range []struct{ in, out string }{
		{"$4 PING\r\n", `$`}, {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 502 Bad Gateway\r\n"},
	} {
		engine.stop()
		other := dial(t, f.addr)
		other.send(c.in)
		got, _ := io.ReadAll(other.r)
		if !strings.HasPrefix(string(got), c.out) || !strings.Contains(string(got), `{"ok":false,"err":"engine `) {
			t.Errorf("%q is answered %q", c.in, got)
		}
	}
}

// What is idle when the engine goes stays, with its state said again.
func TestEngineRestarts(t *testing.T) {
	engine := newScript(t)
	f := start(t, Options{Engine: engine.addr}, proxy.Options{})
	client := dial(t, f.addr)
	client.send("AUTH wrong\r\n" + array("AUTH", "secret") + "OUTPUT json\r\nCLIENT LIST\r\nclient setname me\r\n")
	e := engine.next()
	e.want("AUTH wrong\r\n" + array("AUTH", "secret") + "OUTPUT json\r\nCLIENT LIST\r\nclient setname me\r\n")
	e.send("-ERR invalid password\r\n+OK\r\n$11\r\n{\"ok\":true}\r\n$11\r\n{\"ok\":true}\r\n$11\r\n{\"ok\":true}\r\n")
	client.want("-ERR invalid password\r\n+OK\r\n$11\r\n{\"ok\":true}\r\n$11\r\n{\"ok\":true}\r\n$11\r\n{\"ok\":true}\r\n")
	engine.stop()
	_ = e.Close()
	f.eventually("kept", func() bool { return f.b.Stats().Kept == 1 })
	engine.listen(engine.addr)
	client.send("PING\r\n")
	e = engine.next()
	e.want(array("AUTH", "secret") + "OUTPUT json\r\nclient setname me\r\n")
	e.send("+OK\r\n$11\r\n{\"ok\":true}\r\n$11\r\n{\"ok\":true}\r\n")
	e.want("PING\r\n")
	e.send("$27\r\n{\"ok\":true,\"ping\":\"pong\"}..\r\n")
	client.want("$27\r\n{\"ok\":true,\"ping\":\"pong\"}..\r\n")

	// Lost with commands under way: their fate is unknown, and JSON is asked for.
	client.send("PING\r\nPING\r\nPING\r\n")
	e.want("PING\r\nPING\r\nPING\r\n")
	e.send("$2\r\n{}\r\n")
	client.want("$2\r\n{}\r\n")
	engine.stop()
	_ = e.Close()
	got, err := io.ReadAll(client.r)
	if err != nil || strings.Count(string(got), `{"ok":false,"err":"engine `+engine.addr) != 2 ||
		strings.Count(string(got), "may or may not have run") != 2 {
		t.Errorf("got %q, %v", got, err)
	}
	f.eventually("lost", func() bool { return f.Stats().Closed[proxy.ClosedEngineLost] == 1 && f.b.Stats().LostCommands == 2 })
	if n := f.b.Stats().Lost; n != 2 {
		t.Errorf("%d connections were lost, want 2", n)
	}
}

// An engine that is there and ends a connection means it.
func TestEngineCloses(t *testing.T) {
	engine := newScript(t)
	f := start(t, Options{Engine: engine.addr}, proxy.Options{})
	for _, in := range []string{"QUIT\r\nPING\r\n", "PING\r\n", "*1\r\n$-1\r\n", "GET / HTTP/1.1\r\n\r\n"} {
		client := dial(t, f.addr)
		client.send(in)
		e := engine.next()
		e.want(in)
		e.send("+OK\r\n")
		_ = e.Close()
		client.wantEnd("+OK\r\n")
		for len(engine.conns) > 0 { // those that look whether it is there
			_ = (<-engine.conns).Close()
		}
	}
	f.eventually("ended", func() bool { return f.Stats().Closed[proxy.ClosedByEngine] == 4 })
	if n := f.b.Stats().Lost; n != 0 {
		t.Errorf("%d connections were lost", n)
	}
}

// A shutdown lets all be answered that has been received.
func TestDrain(t *testing.T) {
	engine := newScript(t)
	f := start(t, Options{Engine: engine.addr}, proxy.Options{})
	idle, busy, live := dial(t, f.addr), dial(t, f.addr), dial(t, f.addr)
	busy.send(strings.Repeat("PING\n", 2000))
	b := engine.next()
	b.want(strings.Repeat("PING\n", 2000))
	live.send("MONITOR\r\n")
	l := engine.next()
	l.want("MONITOR\r\n")
	l.send("+OK\r\n")
	live.want("+OK\r\n")
	ended := make(chan error, 1)
	go func() { ended <- f.Shutdown(context.Background()) }()
	idle.wantEnd("")
	live.wantEnd("")
	b.send(strings.Repeat("+PONG\r\n", 2000))
	busy.wantEnd(strings.Repeat("+PONG\r\n", 2000))
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := f.Stats().Closed[proxy.ClosedDrain]; n != 3 {
		t.Errorf("%d drained", n)
	}
}

// A cut ends sessions whatever they are waiting for.
func TestCut(t *testing.T) {
	engine := newScript(t)
	f := start(t, Options{Engine: engine.addr, ConnectWait: time.Minute}, proxy.Options{DrainTimeout: 100 * time.Millisecond})
	owed, full := dial(t, f.addr), dial(t, f.addr)
	owed.send("PING\r\n")
	engine.next().want("PING\r\n")
	go func() { _, _ = io.WriteString(full, "SET k id STRING "+strings.Repeat("x", 64<<20)) }()
	engine.next()
	f.eventually("held up", func() bool {
		before := f.Stats().BytesIn
		time.Sleep(100 * time.Millisecond)
		return before > 1<<20 && f.Stats().BytesIn == before
	})
	engine.stop()
	dials := dial(t, f.addr)
	dials.send("PING\r\n")
	f.eventually("tried", func() bool { return f.b.Stats().DialFailures > 0 })
	_ = f.Shutdown(context.Background()) // it or Serve says so
	if s := f.Stats(); s.Current != 0 || s.Closed[proxy.ClosedCut] != 3 {
		t.Errorf("%+v", s)
	}
}

func TestOptions(t *testing.T) {
	_, err := New(Options{Engine: "nowhere", ReadFrom: "x", MaxPending: -1, Offset: func(context.Context) (int64, error) { return 0, nil }})
	for _, name := range []string{"Engine", "ReadFrom", "MaxPending", "WaitFor"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not complained about: %v", name, err)
		}
	}
	if _, err := proxy.NewRaw(proxy.Options{MaxConns: -1}, nil); err == nil {
		t.Error("faulty options make a server")
	}
	b, err := New(Options{Engine: "127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Ping(context.Background()); err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("nobody answers: %v", err)
	}
}
