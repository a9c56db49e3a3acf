package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"evenkeel/internal/testkit/certs"
	"evenkeel/pkg/proxy"
	"evenkeel/pkg/resp"
	"evenkeel/pkg/tile38"
	"evenkeel/pkg/tlsfile"
)

// echo is an engine that answers each command with its own name and the words,
// and remembers them.
type echo struct {
	addr string
	mu   sync.Mutex
	got  []string
	size atomic.Int64 // aof_size
}

func newEcho(t testing.TB, name string) *echo {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{addr: ln.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
			wg.Go(func() {
				e.serve(nc, name)
				stop()
				_ = nc.Close()
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); cancel(); wg.Wait() })
	return e
}

func (e *echo) serve(nc net.Conn, name string) {
	rd := resp.NewReader(bufio.NewReader(nc), resp.Limits{})
	for {
		cmd, err := rd.Next()
		if err != nil {
			return
		}
		line := strings.Join(cmd.Args, " ")
		answer := string(cmd.Kind.Wrap([]byte("+"+name+" "+line+"\r\n"), 0))
		if cmd.Kind == resp.WebSocket {
			answer = cmd.Web.Handshake + answer
		}
		if cmd.Args[0] == "server" {
			answer = array("id", "x", "aof_size", fmt.Sprint(e.size.Load()))
		} else {
			e.mu.Lock()
			e.got = append(e.got, line)
			e.mu.Unlock()
		}
		if _, err := io.WriteString(nc, answer); err != nil || cmd.Kind >= resp.HTTP {
			return
		}
	}
}

// pod is a proxy of a pod that follows.
func pod(t testing.TB, o Options) (f *fixture, here, leader *echo, route *atomic.Pointer[Route]) {
	t.Helper()
	here, leader = newEcho(t, "here"), newEcho(t, "leader")
	route = &atomic.Pointer[Route]{}
	route.Store(&Route{Following: true, Leader: leader.addr, Fit: true})
	o.Engine, o.Route = here.addr, func() Route { return *route.Load() }
	return start(t, o, proxy.Options{}), here, leader, route
}

func TestRoutes(t *testing.T) {
	f, here, leader, route := pod(t, Options{})
	client := dial(t, f.addr)
	ask := func(in string, want ...string) {
		t.Helper()
		client.send(in)
		for _, w := range want {
			client.want("+" + w + "\r\n")
		}
	}
	// The order of the replies is that of the commands, wherever they go.
	ask("GET k a\r\nSET k a POINT 1 2\r\nSET k b POINT 1 2\r\nGET k b\r\nSERVER\r\nEVAL x 0\r\nnonsense\r\nTIMEOUT 1 DEL k a\r\nTIMEOUT 1 GET k a\r\n",
		"here GET k a", "leader SET k a POINT 1 2", "leader SET k b POINT 1 2", "here GET k b", "here SERVER", "leader EVAL x 0",
		"here nonsense", "leader TIMEOUT 1 DEL k a", "here TIMEOUT 1 GET k a")
	large := strings.Repeat("x", 100_000)
	ask("PING\r\n"+array("SET", "k", "c", "STRING", large)+"PING\r\n", "here PING", "leader SET k c STRING "+large, "here PING")

	route.Store(&Route{Following: true, Leader: leader.addr})
	ask("GET k a\r\nPING\r\n", "leader GET k a", "here PING")
	route.Store(&Route{Following: true, Fit: true}) // nobody knows where the leader is
	ask("SET k a POINT 1 2\r\nGET k a\r\n", "here SET k a POINT 1 2", "here GET k a")
	route.Store(&Route{}) // it has become the leader
	ask("SET k a POINT 1 2\r\nGET k a\r\n", "here SET k a POINT 1 2", "here GET k a")
	if s := f.b.Stats(); s.Forwarded != 5 || s.LeaderReads != 1 {
		t.Errorf("%+v", s)
	}

	// Another leader, and state that is said to each.
	other := newEcho(t, "other")
	route.Store(&Route{Following: true, Leader: other.addr, Fit: true})
	ask("AUTH secret\r\nSET k a POINT 1 2\r\nGET k a\r\n", "here AUTH secret", "other SET k a POINT 1 2", "here GET k a")
	ask("OUTPUT resp\r\nSET k b POINT 1 2\r\nGET k a\r\n", "here OUTPUT resp", "other SET k b POINT 1 2", "here GET k a")
	other.mu.Lock()
	defer other.mu.Unlock()
	want := "AUTH secret,SET k a POINT 1 2,AUTH secret,OUTPUT resp,SET k b POINT 1 2"
	if got := strings.Join(other.got, ","); got != want {
		t.Errorf("the other leader got %s\nwant %s", got, want)
	}
	here.mu.Lock()
	defer here.mu.Unlock()
	if got := strings.Join(here.got, ","); strings.Count(got, "AUTH") != 1 {
		t.Errorf("the engine here got %s", got)
	}
}

// A leader that changes while it owes answers gives them; what is not told apart
// stays here.
func TestRouteChanges(t *testing.T) {
	f, here, next, route := pod(t, Options{})
	first := newScript(t)
	route.Store(&Route{Following: true, Leader: first.addr, Fit: true})
	c := dial(t, f.addr)
	c.send("SET k a POINT 1 2\r\n")
	l := first.next()
	l.want("SET k a POINT 1 2\r\n")
	route.Store(&Route{Following: true, Leader: next.addr, Fit: true})
	c.send("SET k b POINT 1 2\r\n")
	f.eventually("received", func() bool { return f.Stats().Commands == 2 })
	l.send("+first\r\n")
	c.want("+first\r\n+leader SET k b POINT 1 2\r\n")
	l.wantEnd("")
	c.send("$4 PING\r\n")
	c.want("$12 +here PING\r\n\r\n")
	here.mu.Lock()
	defer here.mu.Unlock()
	// The link is made for a form that is not the connection's.
	if strings.Join(here.got, ",") != "OUTPUT resp,PING" {
		t.Errorf("the engine here got %q", here.got)
	}
}

func TestRouteOptions(t *testing.T) {
	f, _, _, _ := pod(t, Options{ReadFrom: ReadLeader, LocalWrites: true})
	c := dial(t, f.addr)
	c.send("GET k a\r\nSET k a POINT 1 2\r\nPING\r\n")
	c.want("+leader GET k a\r\n+here SET k a POINT 1 2\r\n+here PING\r\n")

	f, _, leader, route := pod(t, Options{ReadFrom: ReadLocal})
	route.Store(&Route{Following: true, Leader: leader.addr})
	c = dial(t, f.addr)
	c.send("GET k a\r\nSET k a POINT 1 2\r\n")
	c.want("+here GET k a\r\n+leader SET k a POINT 1 2\r\n")
}

// A connection that is called tile38.LocalName is answered here, whatever it asks:
// who compares a follower with its leader must not be answered by the leader.
func TestRouteLocalName(t *testing.T) {
	f, _, leader, route := pod(t, Options{})
	route.Store(&Route{Following: true, Leader: leader.addr}) // not fit
	c := dial(t, f.addr)
	c.send("GET k a\r\n")
	c.want("+leader GET k a\r\n")
	c.send("CLIENT SETNAME " + tile38.LocalName + "\r\n")
	c.want("+here CLIENT SETNAME " + tile38.LocalName + "\r\n")
	c.send("GET k a\r\nSET k a POINT 1 2\r\n")
	c.want("+here GET k a\r\n+here SET k a POINT 1 2\r\n")
	c.send("CLIENT SETNAME other\r\n")
	c.want("+here CLIENT SETNAME other\r\n")
	c.send("GET k a\r\n")
	c.want("+leader GET k a\r\n")
	// In one packet, and with an engine that knows no names.
	c.send("client setname " + tile38.LocalName + "\r\nFLUSHDB\r\n")
	c.want("+here client setname " + tile38.LocalName + "\r\n+here FLUSHDB\r\n")
}

// TestRouteLocalNameRefused: an engine that knows no names does not matter.
func TestRouteLocalNameRefused(t *testing.T) {
	e := newScript(t)
	leader := newEcho(t, "leader")
	f := start(t, Options{Engine: e.addr, Route: func() Route { return Route{Following: true, Leader: leader.addr} }}, proxy.Options{})
	c := dial(t, f.addr)
	c.send("CLIENT SETNAME " + tile38.LocalName + "\r\n")
	l := e.next()
	l.want("CLIENT SETNAME " + tile38.LocalName + "\r\n")
	l.send("-ERR unknown command\r\n")
	c.want("-ERR unknown command\r\n")
	c.send("FLUSHDB\r\n")
	l.want("FLUSHDB\r\n")
	l.send("+OK\r\n")
	c.want("+OK\r\n")
}

// A read waits for what its connection has written through the leader.
func TestReadYourWrites(t *testing.T) {
	for _, how := range []string{"given", "asked"} {
		t.Run(how, func(t *testing.T) {
			o := Options{ReadYourWritesTimeout: 150 * time.Millisecond}
			waits := make(chan int64, 10)
			arrived := make(chan struct{})
			if how == "given" {
				o.Offset = func(context.Context) (int64, error) { return 77, nil }
				o.WaitFor = func(ctx context.Context, offset int64) error {
					waits <- offset
					select {
					case <-arrived:
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				}
			}
			f, here, leader, _ := pod(t, o)
			leader.size.Store(77)
			here.size.Store(70)
			c := dial(t, f.addr)
			c.send("SET k a POINT 1 2\r\nGET k a\r\nGET k b\r\nPING\r\n")
			// In vain: the leader has it for certain. Only the first of a pipeline waits.
			c.want("+leader SET k a POINT 1 2\r\n+leader GET k a\r\n+leader GET k b\r\n+here PING\r\n")
			if s := f.b.Stats(); s.OwnWriteWaits != 1 || s.OwnWriteMisses != 1 || s.LeaderReads != 2 {
				t.Errorf("%+v", s)
			}
			here.size.Store(77)
			close(arrived)
			f.eventually("reads here again", func() bool {
				c.send("GET k a\r\n")
				line, err := c.r.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				return line == "+here GET k a\r\n"
			})
			if how == "given" {
				if offset := <-waits; offset != 77 {
					t.Errorf("waited for %d", offset)
				}
			}
			n := f.b.Stats().OwnWriteWaits
			c.send("GET k a\r\n")
			c.want("+here GET k a\r\n")
			if f.b.Stats().OwnWriteWaits != n {
				t.Error("waits again without a write")
			}
			other := dial(t, f.addr) // has written nothing
			other.send("GET k a\r\n")
			other.want("+here GET k a\r\n")
		})
	}
}

// A leader that is lost with a write under way: nobody knows.
func TestLeaderLost(t *testing.T) {
	f, _, _, route := pod(t, Options{ConnectWait: 50 * time.Millisecond})
	leader := newScript(t)
	route.Store(&Route{Following: true, Leader: leader.addr, Fit: true})
	c := dial(t, f.addr)
	c.send("SET k a POINT 1 2\r\n")
	l := leader.next()
	l.want("SET k a POINT 1 2\r\n")
	leader.stop()
	_ = l.Close()
	got, _ := io.ReadAll(c.r)
	if !strings.HasPrefix(string(got), "-ERR leader "+leader.addr) || !strings.Contains(string(got), "may or may not") {
		t.Errorf("got %q", got)
	}
	// One that is away leaves reads alone.
	c = dial(t, f.addr)
	c.send("SET k a POINT 1 2\r\nPING\r\n")
	line, err := c.r.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "-ERR leader "+leader.addr) {
		t.Errorf("got %q, %v", line, err)
	}
	c.want("+here PING\r\n")
}

// TLS on both sides: the client's and that of a leader, whose proxy it is too.
func TestTLS(t *testing.T) {
	files := tlsfile.Files(certs.New(t, "ca").Issue(t.TempDir(), "pod"))
	client, err := tlsfile.NewClient(files, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	secure := func() net.Listener {
		config, err := tlsfile.Server(tlsfile.Files{Cert: files.Cert, Key: files.Key}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ln, err := tls.Listen("tcp", "127.0.0.1:0", config)
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
	leader, here := newEcho(t, "leader"), newEcho(t, "here")
	lead := startOn(t, Options{Engine: leader.addr}, proxy.Options{}, secure())
	f := startOn(t, Options{Engine: here.addr, DialLeader: client.Dial, Offset: func(context.Context) (int64, error) { return 0, nil },
		WaitFor: func(context.Context, int64) error { return nil },
		Route:   func() Route { return Route{Following: true, Leader: lead.addr, Fit: true} }}, proxy.Options{}, secure())
	nc, err := client.Dial(context.Background(), f.addr)
	if err != nil {
		t.Fatal(err)
	}
	c := newPeer(t, nc)
	large := strings.Repeat("x", 1<<20)
	go func() {
		_, _ = io.WriteString(c, "GET k a\r\nPING\r\n"+array("SET", "k", "a", "STRING", large)+"GET k b\r\n")
	}()
	c.want("+here GET k a\r\n+here PING\r\n+leader SET k a STRING " + large + "\r\n+here GET k b\r\n")
	c.closeWrite()
	c.wantEnd("")

	// A client that does not begin with a handshake is not waited for.
	f = startOn(t, Options{Engine: here.addr}, proxy.Options{HeaderTimeout: 200 * time.Millisecond}, secure())
	dial(t, f.addr).wantEnd("")
	f.eventually("no handshake", func() bool { return f.Stats().Closed[proxy.ClosedHandshake] == 1 })
}
