package upstream

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"evenkeel/pkg/proxy"
	"evenkeel/pkg/resp"
)

const upgrade = "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"

// seen collects what Options.Observe is told.
type seen struct {
	mu  sync.Mutex
	all []string
}

func (s *seen) observe(name string, took time.Duration, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if took < 0 || took > patience {
		name += " after " + took.String()
	}
	s.all = append(s.all, fmt.Sprint(name, " ", failed))
}

func (s *seen) list() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.all, ",")
}

// Requests go where their commands go, however they are cut.
func TestRouteHTTP(t *testing.T) {
	head := "Host: x\r\nX: " + strings.Repeat("y", 3000) + "\r\n\r\n"
	post := func(path, body string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nContent-Length: %d\r\n%s%s", path, len(body), head, body)
	}
	large := strings.Repeat("z", 3<<20)
	for _, c := range []struct {
		name, in, want string
		unfit          bool
		kind           resp.Kind
	}{
		{name: "read", in: "GET /get+fleet+t1 HTTP/1.1\r\n" + head, want: "here get fleet t1"},
		{name: "write", in: "GET /SeT+fleet+t1+point+33+-115 HTTP/1.1\r\n" + head, want: "leader SeT fleet t1 point 33 -115"},
		{name: "in the body", in: post("/", "set fleet t1 point 1 2"), want: "leader set fleet t1 point 1 2"},
		{name: "half in the body", in: post("/timeout+1+s", "et fleet t1 point 1 2"), want: "leader timeout 1 set fleet t1 point 1 2"},
		{name: "large", in: post("/set+", "fleet t1 string "+large), want: "leader set fleet t1 string " + large},
		{name: "empty body", in: post("/del+fleet+t1", ""), want: "leader del fleet t1"},
		{name: "unfit", in: post("/get", " fleet t1"), want: "leader get fleet t1", unfit: true},
		{name: "tile", in: "GET /fleet/0/0/0.mvt?limit=9 HTTP/1.1\r\n" + head, want: "leader fleet/0/0/0.mvt?limit=9", unfit: true},
		{name: "server", in: "GET /config+get+x HTTP/1.1\r\n" + head, want: "here config get x", unfit: true},
		{name: "unknown", in: "GET /nonsense HTTP/1.1\r\n" + head, want: "here nonsense", unfit: true},
		{name: "websocket", in: "GET /set+k+a+point+1+2 HTTP/1.1\r\n" + upgrade + head, want: "leader set k a point 1 2", kind: resp.WebSocket},
		{name: "websocket read", in: "GET /get+k+a HTTP/1.1\r\n" + upgrade + head, want: "here get k a", kind: resp.WebSocket},
	} {
		for _, size := range []int{1, 100, 5000, 1 << 30} {
			if size == 1 && len(c.in) > 1<<20 {
				continue
			}
			t.Run(fmt.Sprint(c.name, " in pieces of ", size), func(t *testing.T) {
				t.Parallel()
				var observed seen
				f, _, leader, route := pod(t, Options{Observe: observed.observe})
				route.Store(&Route{Following: true, Leader: leader.addr, Fit: !c.unfit})
				client := dial(t, f.addr)
				go func() {
					for in := c.in; in != ""; {
						n := min(size, len(in))
						if _, err := io.WriteString(client, in[:n]); err != nil {
							return
						}
						in = in[n:]
					}
				}()
				kind := max(c.kind, resp.HTTP)
				want := string(kind.Wrap([]byte("+"+c.want+"\r\n"), 0))
				if kind == resp.WebSocket {
					client.want("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
				}
				client.wantEnd(want)
				if s := f.Stats(); s.Transports[kind] != 1 || s.Commands != 1 {
					t.Errorf("%+v", s)
				}
				f.eventually("observed", func() bool { return observed.list() != "" })
				if got := observed.list(); strings.Contains(got, ",") || strings.Contains(got, "after") {
					t.Errorf("observed %s", got)
				}
			})
		}
	}
}

// What is behind commands is answered behind them, in the form that the connection
// has chosen, and a request waits for what its connection has written.
func TestHTTPBehindCommands(t *testing.T) {
	f, here, leader, _ := pod(t, Options{ReadYourWritesTimeout: 50 * time.Millisecond})
	leader.size.Store(10)
	c := dial(t, f.addr)
	c.send("AUTH x\r\nSET k a POINT 1 2\r\nGET /get+k+a HTTP/1.1\r\n\r\n")
	c.want("+here AUTH x\r\n+leader SET k a POINT 1 2\r\n")
	c.wantEnd(string(resp.HTTP.Wrap([]byte("+leader get k a\r\n"), 0)))
	leader.mu.Lock()
	defer leader.mu.Unlock()
	if got := strings.Join(leader.got, ","); got != "AUTH x,SET k a POINT 1 2,AUTH x,OUTPUT resp,get k a" && got != "AUTH x,SET k a POINT 1 2,get k a" {
		t.Errorf("the leader got %s", got)
	}
	here.mu.Lock()
	defer here.mu.Unlock()
	if got := strings.Join(here.got, ","); got != "AUTH x" {
		t.Errorf("the engine here got %s", got)
	}
}

// A leader that is away is said over HTTP, and so is one that was lost with a write
// under way; one that closes without a word is believed.
func TestHTTPLeaderLost(t *testing.T) {
	var observed seen
	f, _, _, route := pod(t, Options{ConnectWait: 50 * time.Millisecond, Observe: observed.observe})
	leader := newScript(t)
	route.Store(&Route{Following: true, Leader: leader.addr, Fit: true})
	const set = "GET /set+k+a+point+1+2 HTTP/1.1\r\n\r\n"
	answer := func(c *peer) string {
		t.Helper()
		got, err := io.ReadAll(c.r)
		if err != nil {
			t.Fatal(err)
		}
		return string(got)
	}
	c := dial(t, f.addr)
	c.send(set)
	l := leader.next()
	l.want(set)
	_ = l.Close()
	leader.next() // is it there?
	if got := answer(c); got != "" {
		t.Errorf("got %q of a leader that is there", got)
	}
	c = dial(t, f.addr)
	c.send(set)
	l = leader.next()
	l.want(set)
	leader.stop()
	_ = l.Close()
	if got := answer(c); !strings.HasPrefix(got, "HTTP/1.1 502 ") || !strings.Contains(got, "may or may not") || !strings.HasSuffix(got, "}\r\n") {
		t.Errorf("got %q of a leader that was lost", got)
	}
	c = dial(t, f.addr)
	c.send(set)
	if got := answer(c); !strings.HasPrefix(got, "HTTP/1.1 502 ") || strings.Contains(got, "may or may not") {
		t.Errorf("got %q of a leader that is away", got)
	}
	if got := observed.list(); got != "" {
		t.Errorf("observed %s", got)
	}
}

func TestHTTPObserved(t *testing.T) {
	engine := newScript(t)
	var observed seen
	f := start(t, Options{Engine: engine.addr, Observe: observed.observe}, proxy.Options{})
	for _, c := range []struct{ in, out, want string }{
		{"GET /get+k+a", "HTTP/1.1 200 OK\r\nX: y\r\n\r\n{\"ok\":true}\r\n", "get false"},
		{"GET /get+k+b", "HTTP/1.1 200 OK\r\nX: y\r\n\r\n{\"ok\":false,\"err\":\"x\"}\r\n", "get true"},
		{"GET /nonsense", "HTTP/1.1 200 OK\r\n\r\n-ERR unknown\r\n", "other true"},
		{"GET /k/0/0/0.pbf", "HTTP/1.1 404 Not Found\r\n\r\n", "other true"},
	} {
		client := dial(t, f.addr)
		client.send(c.in + " HTTP/1.1\r\n\r\n")
		e := engine.next()
		e.want(c.in + " HTTP/1.1\r\n\r\n")
		e.send(c.out)
		_ = e.Close()
		client.wantEnd(c.out)
		f.eventually("observed", func() bool { return observed.list() != "" })
		if got := observed.list(); got != c.want {
			t.Errorf("%s: observed %s, want %s", c.in, got, c.want)
		}
		observed.all = nil
	}
}

// What is not understood passes to the engine here, as it is.
func TestHTTPOpaque(t *testing.T) {
	for name, in := range map[string]string{
		"method": "PUT /set+k+a+point+1+2 HTTP/1.1\r\n\r\n", "no path": "GET / HTTP/1.1\r\n\r\n", "path": "GET x HTTP/1.1\r\n\r\n",
		"escapes": "GET /set%zz HTTP/1.1\r\n\r\n", "length": "POST /set HTTP/1.1\r\nContent-Length: x\r\n\r\n",
		"long head": "GET /set+k+a+point+1+2 HTTP/1.1\r\nX: " + strings.Repeat("x", 2000) + "\r\n\r\n",
		"long line": "GET /" + strings.Repeat("x", 1200), "plain": "GET k " + strings.Repeat("x", 600) + "\r\n",
		"options": "OPTIONS / HTTP/1.1\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			here, leader := newScript(t), newEcho(t, "leader")
			f := start(t, Options{Engine: here.addr, MaxHead: 1000,
				Route: func() Route { return Route{Following: true, Leader: leader.addr, Fit: true} }}, proxy.Options{})
			c := dial(t, f.addr)
			c.send(in)
			e := here.next()
			e.want(in)
			e.send("\x00\xff")
			_ = e.Close()
			c.wantEnd("\x00\xff")
			if len(leader.got) != 0 {
				t.Errorf("the leader got %q", leader.got)
			}
		})
	}
}

// A head must not take for ever, however it trickles; what follows it may.
func TestHeaderTimeout(t *testing.T) {
	engine := newScript(t)
	f := start(t, Options{Engine: engine.addr}, proxy.Options{HeaderTimeout: 200 * time.Millisecond})
	slow, body, whole := dial(t, f.addr), dial(t, f.addr), dial(t, f.addr)
	body.send("POST /get HTTP/1.1\r\nContent-Length: 4\r\n\r\n")
	whole.send("GET /get+k+a HTTP/1.1\r\n\r\n")
	e := engine.next()
	e.want("GET /get+k+a HTTP/1.1\r\n\r\n")
	slow.send("GET /get+k+a HTTP/1.1\r\n")
	go func() {
		for {
			if _, err := io.WriteString(slow, "X: y\r\n"); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	_, _ = io.ReadAll(slow.r) // its end, in good order or not
	f.eventually("closed", func() bool { return f.Stats().Closed[proxy.ClosedHeader] == 1 })
	body.send(" k a")
	engine.next().want("POST /get HTTP/1.1\r\nContent-Length: 4\r\n\r\n k a")
	e.send("HTTP/1.1 200 OK\r\n\r\nx")
	_ = e.Close()
	whole.wantEnd("HTTP/1.1 200 OK\r\n\r\nx")
}

// A client that goes in the middle of a head is passed on as it is.
func TestHTTPHalf(t *testing.T) {
	engine := newScript(t)
	f := start(t, Options{Engine: engine.addr}, proxy.Options{})
	c := dial(t, f.addr)
	c.send("PING\r\n")
	e := engine.next()
	e.want("PING\r\n")
	e.send("+PONG\r\n")
	c.want("+PONG\r\n")
	c.send("GET /get HTTP/1.1\r\nX")
	c.closeWrite()
	e.wantEnd("GET /get HTTP/1.1\r\nX")
	_ = e.Close()
	c.wantEnd("")
	f.eventually("closed", func() bool { return f.Stats().Closed[proxy.ClosedMidCommand] == 1 })
}

// The native protocol is told apart, routed and answered in its form.
func TestRouteNative(t *testing.T) {
	var observed seen
	f, here, leader, route := pod(t, Options{ConnectWait: 50 * time.Millisecond, Observe: observed.observe})
	msg := func(text string) string { return fmt.Sprintf("$%d %s\r\n", len(text), text) }
	reply := func(text string) string { return string(resp.Native.Wrap([]byte("+"+text+"\r\n"), 0)) }
	c := dial(t, f.addr)
	c.send(msg("SET k a POINT 1 2") + msg("GET k a") + msg("SET k b STRING "+strings.Repeat("x", 100_000)) + msg("PING"))
	c.want(reply("leader SET k a POINT 1 2") + reply("here GET k a") + reply("leader SET k b STRING "+strings.Repeat("x", 100_000)) + reply("here PING"))
	// A plain line on a link that is made for it alone is answered as the others.
	next := newEcho(t, "next")
	route.Store(&Route{Following: true, Leader: next.addr, Fit: true})
	c.send("DEL k a\r\n" + msg("DEL k b"))
	c.want("+next DEL k a\r\n" + reply("next DEL k b"))
	next.mu.Lock()
	if got := strings.Join(next.got, ","); got != "OUTPUT json,DEL k a,DEL k b" {
		t.Errorf("the leader got %s", got)
	}
	next.mu.Unlock()
	if got := observed.list(); got != "set false,get false,set false,ping false,del false,del false" {
		t.Errorf("observed %s", got)
	}
	if n := f.b.Stats().Opaque; n != 0 || len(here.got) != 2 || len(leader.got) != 2 {
		t.Errorf("%d are opaque; %q %q", n, here.got, leader.got)
	}
	gone := newScript(t)
	gone.stop()
	route.Store(&Route{Following: true, Leader: gone.addr, Fit: true})
	c.send(msg("DEL k c") + msg("PING"))
	line, err := c.r.ReadString('\n')
	var n int
	var first string
	if _, serr := fmt.Sscanf(line, "$%d %s", &n, &first); err != nil || serr != nil || len(line) != len(fmt.Sprintf("$%d ", n))+n+2 || !strings.HasPrefix(first, jsonFailed) {
		t.Errorf("got %q, %v", line, err)
	}
	c.want(reply("here PING"))
}

// Forms that are mixed do not hide from a link what it was not told.
func TestFormsAndState(t *testing.T) {
	f, here, leader, _ := pod(t, Options{Offset: func(context.Context) (int64, error) { return 0, nil },
		WaitFor: func(context.Context, int64) error { return nil }})
	c := dial(t, f.addr)
	c.send("SET k a POINT 1 2\r\nAUTH x\r\n")
	c.want("+leader SET k a POINT 1 2\r\n+here AUTH x\r\n")
	c.send("$7 DEL k a\r\n")
	c.want(string(resp.Native.Wrap([]byte("+leader DEL k a\r\n"), 0)))
	c.send("OUTPUT json\r\nDEL k b\r\n")
	c.want("+here OUTPUT json\r\n+leader DEL k b\r\n")
	for e, want := range map[*echo]string{
		leader: "SET k a POINT 1 2,AUTH x,OUTPUT resp,DEL k a,AUTH x,OUTPUT json,DEL k b", here: "AUTH x,OUTPUT json",
	} {
		e.mu.Lock()
		if got := strings.Join(e.got, ","); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		e.mu.Unlock()
	}
}
