package upstream

import (
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"evenkeel/pkg/proxy"
	"evenkeel/pkg/resp"
)

// startTile38 runs the real server, or skips the test.
func startTile38(t testing.TB, addr string) (string, *exec.Cmd) {
	t.Helper()
	bin := os.Getenv("TILE38_SERVER")
	if bin == "" {
		t.Skip("TILE38_SERVER names no tile38-server")
	}
	if addr == "" {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr = ln.Addr().String()
		_ = ln.Close()
	}
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(bin, "-h", "127.0.0.1", "-p", port, "-d", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
	})
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if nc, err := net.Dial("tcp", addr); err == nil {
			_ = nc.Close()
			return addr, cmd
		}
		if time.Now().After(end) {
			t.Fatal("tile38-server does not listen")
		}
	}
}

// TestConformance replays the recorded conversations named by CONFORMANCE
// through a proxy before a real Tile38.
func TestConformance(t *testing.T) {
	dir := os.Getenv("CONFORMANCE")
	if dir == "" {
		t.Skip("CONFORMANCE names no folder with check.py")
	}
	engine, _ := startTile38(t, "")
	f := start(t, Options{Engine: engine}, proxy.Options{})
	args := []string{dir + "/check.py", "--check", f.addr}
	if group := os.Getenv("CONFORMANCE_GROUP"); group != "" {
		args = append(args, group)
	}
	out, err := exec.Command("python3", args...).CombinedOutput()
	if err == nil {
		return
	}
	// A follower tells its leader the port that it listens on itself; the checker
	// knows that of the proxy.
	for _, line := range strings.Split(string(out), "\n") {
		if strings.HasPrefix(line, "FAILED ") && !strings.HasPrefix(line, "FAILED server/follow-catching-up: 48 passed, 2 failed") {
			t.Error(line)
		}
	}
	if !strings.Contains(string(out), " passed, ") || t.Failed() {
		t.Errorf("check.py: %v\n%s", err, out[max(0, len(out)-6000):])
	}
}

// A pod that follows with a real Tile38 behind each proxy: writes go to the
// leader, and a connection reads what it has written.
func TestRealFollower(t *testing.T) {
	leaderEngine, _ := startTile38(t, "")
	engine, _ := startTile38(t, "")
	lead := start(t, Options{Engine: leaderEngine}, proxy.Options{})
	f := start(t, Options{
		Engine: engine, ReadYourWritesTimeout: 5 * time.Second,
		Route: func() Route { return Route{Following: true, Leader: lead.addr, Fit: true} },
	}, proxy.Options{})
	c := dial(t, f.addr)
	host, port, _ := net.SplitHostPort(lead.addr) // replication passes the leader's proxy
	c.send("FOLLOW " + host + " " + port + "\r\n")
	c.want("+OK\r\n")
	c.send("SET fleet first STRING x\r\n")
	c.want("+OK\r\n")
	f.eventually("caught up", func() bool {
		c.send("GET fleet first\r\n")
		line, err := c.r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line != "$1\r\n" {
			return false
		}
		c.want("x\r\n")
		return true
	})
	before := f.b.Stats().LeaderReads
	for i := range 100 {
		id := strconv.Itoa(i)
		c.send("SET fleet a" + id + " STRING " + id + "\r\nGET fleet a" + id + "\r\n")
		c.want("+OK\r\n$" + strconv.Itoa(len(id)) + "\r\n" + id + "\r\n")
	}
	if s := f.b.Stats(); s.LeaderReads != before || s.OwnWriteWaits < 100 {
		t.Errorf("%+v", s)
	}
	if s := lead.Stats(); s.Transports[resp.RESP] == 0 {
		t.Errorf("no replication passed: %+v", s)
	}
}

// A Tile38 that is killed and comes back.
func TestRealRestart(t *testing.T) {
	engine, cmd := startTile38(t, "")
	f := start(t, Options{Engine: engine, ConnectWait: patience}, proxy.Options{})
	c := dial(t, f.addr)
	c.send("OUTPUT json\r\n")
	if _, err := c.r.ReadString('}'); err != nil {
		t.Fatal(err)
	}
	c.want("\r\n")
	live := dial(t, f.addr)
	live.send("SUBSCRIBE c\r\n")
	live.want("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	live.wantEnd("") // what is live has no second life
	f.eventually("kept", func() bool { return f.b.Stats().Kept == 1 })
	c.send("PING\r\n") // waits for it
	startTile38(t, engine)
	if line, err := c.r.ReadString('}'); err != nil || !strings.Contains(line, `"ping":"pong"`) {
		t.Errorf("got %q, %v", line, err)
	}
}

// Requests over HTTP and WebSocket and native messages on a pod that follows, with
// a real Tile38 behind each proxy.
func TestRealTransports(t *testing.T) {
	leaderEngine, _ := startTile38(t, "")
	engine, _ := startTile38(t, "")
	lead := start(t, Options{Engine: leaderEngine}, proxy.Options{})
	f := start(t, Options{
		Engine: engine, ReadYourWritesTimeout: 5 * time.Second,
		Route: func() Route { return Route{Following: true, Leader: lead.addr, Fit: true} },
	}, proxy.Options{})
	follow := dial(t, f.addr)
	host, port, _ := net.SplitHostPort(lead.addr)
	follow.send("FOLLOW " + host + " " + port + "\r\n")
	follow.want("+OK\r\n")
	ask := func(in string) string {
		t.Helper()
		c := dial(t, f.addr)
		c.send(in)
		got, err := io.ReadAll(c.r)
		if err != nil {
			t.Fatal(err)
		}
		return string(got)
	}
	const ok = `{"ok":true,`
	for _, in := range []string{
		"GET /set+fleet+web+point+33+-115 HTTP/1.1\r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length: 31\r\n\r\nset fleet posted point 33 -115 ",
		"GET /set+fleet+socket+point+33+-115 HTTP/1.1\r\n" + upgrade + "\r\n",
	} {
		if got := ask(in); !strings.Contains(got, ok) {
			t.Errorf("%.40q: %q", in, got)
		}
	}
	for _, id := range []string{"web", "posted", "socket"} {
		f.eventually(id, func() bool {
			return strings.Contains(ask("GET /get+fleet+"+id+" HTTP/1.1\r\n\r\n"), `"coordinates":[-115,33]`)
		})
	}
	if s := f.b.Stats(); s.Forwarded != 3 || s.LeaderReads != 0 {
		t.Errorf("%+v", s)
	}

	// Native messages and plain lines on one connection: it reads what it has written.
	c := dial(t, f.addr)
	line := func(in string) string {
		t.Helper()
		c.send(in)
		got, err := c.r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for i := range 50 {
		id := "n" + strconv.Itoa(100+i)
		if got := line("$27 set fleet " + id + " point 33 10 \r\n"); !strings.Contains(got, ok) {
			t.Fatalf("set: %q", got)
		}
		if got := line("$14 get fleet " + id + "\r\n"); !strings.Contains(got, `"coordinates"`) {
			t.Fatalf("get: %q", got)
		}
		if got := line("del fleet " + id + "\r\n"); !strings.HasPrefix(got, "$") {
			t.Fatalf("del: %q", got)
		}
		if got, err := c.r.ReadString('\n'); err != nil || !strings.HasPrefix(got, ok) {
			t.Fatalf("del: %q, %v", got, err)
		}
	}
	if s := f.b.Stats(); s.Forwarded != 103 {
		t.Errorf("%+v", s)
	}
}

// Whatever small commands a client sends, a real Tile38 answers over the shared
// connection as it would over another one, and does not end it.
func TestRealShared(t *testing.T) {
	engine, _ := startTile38(t, "")
	alone, _ := startTile38(t, "")
	f := startSharing(t, Options{Engine: engine}, proxy.Options{})
	c, direct := f.guest(), dial(t, alone)
	rnd := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // not a secret
	words := []string{
		"", "k", "id", "POINT", "1", "2", "OBJECT", "{}", `{"type":"Point","coordinates":[1,2]}`, "FIELD", "speed", "STRING", "EX", "100", "NX", "XX",
		"WITHFIELDS", "\x00", "\r\n", "$3\r\n", "*1\r\n$4\r\nPING\r\n", "\xff\xfe", "GET", " ", "\"", "BOUNDS", "HASH", "7", "-1", "nan", strings.Repeat("x", 1000),
	}
	forms := [][]string{
		{"SET", "k", "id", "POINT", "33", "-115"}, {"SET", "k", "id", "STRING", "text"}, {"SET", "k", "id", "FIELD", "speed", "5", "POINT", "1", "2"},
		{"GET", "k", "id"}, {"FSET", "k", "id", "speed", "9"}, {"FGET", "k", "id", "speed"}, {"EXISTS", "k", "id"}, {"TYPE", "k"},
	}
	for n := range 3000 {
		var args []string
		if n%2 == 0 {
			args = slices.Clone(forms[rnd.IntN(len(forms))])
			if rnd.IntN(2) == 0 {
				args[1+rnd.IntN(len(args)-1)] = words[rnd.IntN(len(words))]
			}
		} else {
			args = []string{smallCommands[rnd.IntN(len(smallCommands))]}
			for range rnd.IntN(6) {
				args = append(args, words[rnd.IntN(len(words))])
			}
		}
		got, want := c.reply(args), direct.reply(args)
		// How much of a TTL is left depends on when it is asked for.
		if got != want && !strings.EqualFold(args[0], "ttl") {
			t.Fatalf("%q: %q; directly %q", args, got, want)
		}
	}
	if s := f.b.Stats(); s.Guests != 1 || s.Lost != 0 || s.Dials != 1 {
		t.Errorf("%+v", s)
	}
}

// reply is what is answered to a command.
func (p *peer) reply(args []string) string {
	p.t.Helper()
	p.send(array(args...))
	var all []byte
	for rep := (replies{}); ; {
		b, err := p.r.ReadByte()
		if err != nil {
			p.t.Fatalf("%q: got %q, %v", args, all, err)
		}
		all = append(all, b)
		if _, whole, ok := rep.next([]byte{b}); !ok {
			p.t.Fatalf("%q: got %q", args, all)
		} else if whole {
			return string(all)
		}
	}
}
