package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write testdata/run-help.txt")

// patience bounds every wait for an event.
const patience = time.Minute

// TestHelp: the flags, their meaning and their defaults.
func TestHelp(t *testing.T) {
	var out bytes.Buffer
	cmd := root()
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"run", "--help"})
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "run-help.txt")
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("`sidecar run --help` has changed; if it is right: go test ./cmd/sidecar -run TestHelp -update\n%s", out.String())
	}
}

// refusal is what `sidecar run` with these flags says; it must not start.
func refusal(t *testing.T, args ...string) string {
	t.Helper()
	cmd := root()
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	cmd.SetArgs(append([]string{"run", "--data-dir", filepath.Join(t.TempDir(), "data")}, args...))
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // if it starts, it ends at once
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestRefusedFlags: a value that makes no sense is refused by the flag's name
// before anything is touched.
func TestRefusedFlags(t *testing.T) {
	for _, f := range []struct{ flag, value string }{
		{"listen", "9851"}, {"listen", "nonsense"}, {"probe-listen", "host"}, {"admin-listen", "1.2.3.4"},
		{"follow", "host"}, {"follow", "host:port"}, {"follow", "host:0"}, {"follow", ":9851"}, {"follow", "host:70000"},
		{"data-dir", ""}, {"max-lag", "0s"}, {"max-lag", "-1s"}, {"max-lag", "5"}, {"drain-timeout", "0s"}, {"drain-timeout", "x"},
		{"read-slice", "0s"}, {"read-slice", "-1ms"}, {"compaction-cpu", "0"}, {"compaction-cpu", "101"},
		{"segment-size", "0"}, {"segment-size", "many"}, {"segment-size", "-1mb"}, {"max-pending", "0"}, {"max-pending", "x"},
		{"metrics-collections", "0"}, {"metrics-collections", "-2"}, {"log-level", "loud"}, {"log-format", "xml"},
		{"appendfsync", "sometimes"}, {"aofshrink-min-size", "x"}, {"aofshrink-growth", "-1"}, {"repl-backlog-size", "x"},
		{"aofshrink-check-interval", "0"}, {"aofshrink-cooldown", "x"}, {"compaction-rate", "0"}, {"compaction-rate", "fast"},
		{"max-args", "0"}, {"max-args", "-1"}, {"max-bulk", "0"}, {"max-inline", "0"}, {"max-command", "-5"}, {"max-connections", "0"},
		{"max-pipeline", "0"}, {"max-output", "0"}, {"max-output", "-1"}, {"max-json-depth", "0"}, {"max-points", "-1"},
		{"idle-timeout", "-1s"}, {"write-timeout", "0s"}, {"max-points", "x"}, {"max-http-header", "0"}, {"max-websocket-message", "-1"},
		{"http-header-timeout", "0s"}, {"http-transport", "maybe"}, {"unix-socket-mode", "rwx"}, {"unix-socket-mode", "1777"},
		{"max-follower-log", "0"}, {"max-follower-log", "x"}, {"compaction-turn-wait", "0s"}, {"compaction-turns", "perhaps"},
		{"min-replicas-to-write", "-1"}, {"min-replicas-to-write", "x"}, {"min-replicas-timeout", "0s"},
	} {
		said := refusal(t, "--"+f.flag+"="+f.value)
		if !strings.Contains(said, "--"+f.flag) || f.value != "" && !strings.Contains(said, f.value) {
			t.Errorf("--%s=%s: %q, want the flag and the value in it", f.flag, f.value, said)
		}
	}
	if said := refusal(t, "--max-json-depth=999999"); !strings.Contains(said, "max JSON depth") {
		t.Errorf("too deep: %q", said)
	}
	for _, args := range [][]string{{"--nosuch"}, {"extra"}} {
		if said := refusal(t, args...); !strings.Contains(said, strings.Trim(args[0], "-")) {
			t.Errorf("%v: %q", args, said)
		}
	}
}

// TestAllFaultsAtOnce: nobody has to mend one flag after the other.
func TestAllFaultsAtOnce(t *testing.T) {
	said := refusal(t,
		"--listen=x", "--probe-listen=y", "--admin-listen=z", "--follow=nobody", "--log-level=loud", "--log-format=xml", "--max-lag=0s",
		"--drain-timeout=0s", "--compaction-cpu=500", "--segment-size=x", "--max-pending=x", "--read-slice=0s", "--metrics-collections=-7",
		"--appendfsync=x", "--aofshrink-growth=x", "--max-args=0", "--max-points=0", "--write-timeout=-1s")
	if lines := strings.Split(said, "\n"); len(lines) != 18 {
		t.Errorf("%d faults, want 18:\n%s", len(lines), said)
	}
}

// TestOutputFollowsBulk: what can be set can be read back, unless told
// otherwise.
func TestOutputFollowsBulk(t *testing.T) {
	for _, c := range []struct {
		args []string
		want int64
	}{
		{nil, 513 << 20}, {[]string{"--max-bulk=1000"}, 1000 + 1<<20}, {[]string{"--max-bulk=1000", "--max-output=77"}, 77},
	} {
		var cfg config
		set := pflag.NewFlagSet("run", pflag.ContinueOnError)
		cfg.flags(set)
		if err := set.Parse(c.args); err != nil {
			t.Fatal(err)
		}
		if err := cfg.validate(); err != nil {
			t.Fatal(err)
		}
		if cfg.proxy.MaxOutput != c.want {
			t.Errorf("%v: largest reply %d, want %d", c.args, cfg.proxy.MaxOutput, c.want)
		}
	}
}

// process is a `sidecar run` within the test.
type process struct {
	t                   *testing.T
	out                 *syncBuffer
	client, probe, admn string
	stop                func()
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

var bannerLines = regexp.MustCompile(`clients  (\S+)\n\s+probes   http://([^/]+)/.*\n\s+admin    http://([^/]+)/`)

// start runs it on free ports and waits for its banner.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, out: &syncBuffer{}}
	cmd := root()
	cmd.SetOut(p.out)
	cmd.SetErr(p.out)
	cmd.SetArgs(append([]string{
		"run", "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
	}, args...))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("%v: %v", args, err)
			}
		case <-time.After(patience):
			t.Errorf("%v: still running", args)
		}
	})
	t.Cleanup(p.stop)
	p.until("the banner", func() bool { return bannerLines.MatchString(p.out.String()) })
	m := bannerLines.FindStringSubmatch(p.out.String())
	p.client, p.probe, p.admn = m[1], m[2], m[3]
	return p
}

func (p *process) until(what string, ok func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("waited for %s:\n%s", what, p.out)
		}
	}
}

// talk opens a connection, sends text and reads n lines.
func (p *process) talk(text string, n int) (lines []string, conn net.Conn) {
	p.t.Helper()
	conn, err := net.Dial("tcp", p.client)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		p.t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(conn, text) }() // a refusal may come before all is sent
	r := bufio.NewReader(conn)
	for range n {
		line, err := r.ReadString('\n')
		if err != nil {
			line += fmt.Sprintf("<%v>", err)
		}
		lines = append(lines, strings.TrimRight(line, "\r\n"))
	}
	return lines, conn
}

func (p *process) get(url string) string {
	p.t.Helper()
	c := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + url)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

// TestLimitsHold: each limit has a clear error, and what is within it passes.
func TestLimitsHold(t *testing.T) {
	object := func(json string) string {
		return fmt.Sprintf("*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\na\r\n$6\r\nOBJECT\r\n$%d\r\n%s\r\n", len(json), json)
	}
	nested := func(n int) string {
		return object(`{"type":"Point","coordinates":[1,1],"x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + "}")
	}
	polygon := func(n int) string {
		return `{"type":"LineString","coordinates":[` + strings.TrimSuffix(strings.Repeat("[1,2],", n), ",") + "]}"
	}
	p := start(t, "--max-args=20", "--max-bulk=5000", "--max-inline=5000", "--max-command=9000", "--max-connections=40",
		"--max-output=3000", "--max-json-depth=8", "--max-points=100", "--max-pipeline=4", "--max-http-header=100",
		"--max-websocket-message=100", "--http-header-timeout=300ms")
	bulk := func(n int) string { return fmt.Sprintf("*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n", n, strings.Repeat("x", n)) }
	for _, c := range []struct{ name, send, want string }{
		{"arguments", "*20\r\n$4\r\nPING\r\n" + strings.Repeat("$1\r\nx\r\n", 19), "$1"},
		{"too many arguments", "*21\r\n", "-Protocol error: invalid multibulk length: 21 arguments, at most 20 are allowed"},
		{"bulk", bulk(2000), "$2000"},
		{"too large bulk", "*2\r\n$4\r\nECHO\r\n$5001\r\n", "-Protocol error: invalid bulk length"},
		{"inline", "ECHO " + strings.Repeat("x", 2000) + "\r\n", "$2000"},
		{"too long inline", strings.Repeat("x", 6000), "-Protocol error: too big inline request"},
		{"too large command", "*4\r\n$4\r\nECHO\r\n" + strings.Repeat("$4000\r\n"+strings.Repeat("x", 4000)+"\r\n", 3), "-Protocol error: "},
		{"too long native", "$5001 PING", "$94 {\"ok\":false,\"err\":\"Protocol error: invalid bulk length: 5001 bytes, at most 5000 are allowed\"}"},
		{"HTTP body", "POST / HTTP/1.1\r\nContent-Length: 2000\r\n\r\nping " + strings.Repeat("x", 1995), "HTTP/1.1 200 OK"},
		{"too large HTTP body", "POST / HTTP/1.1\r\nContent-Length: 5001\r\n\r\n", "HTTP/1.1 413 Content Too Large"},
		{"too large HTTP head", "GET /ping HTTP/1.1\r\nX: " + strings.Repeat("x", 110), "HTTP/1.1 431 Request Header Fields Too Large"},
		{"unfinished HTTP head", "GET /ping HTTP/1.1\r\nX: ", "<EOF>"},
		{"points", object(polygon(100)), "+OK"},
		{"too many points", object(polygon(101)), "-ERR too many points: 101, the limit is 100"},
		{"nesting", nested(7), "+OK"},
		{"too deep", nested(8), "-ERR JSON"},
		{"too large reply", "SET k b STRING " + strings.Repeat("x", 3500) + "\r\nGET k b\r\n", "+OK"},
	} {
		lines, _ := p.talk(c.send, 1)
		if !strings.HasPrefix(lines[0], c.want) {
			t.Errorf("%s: %.200q, want %q…", c.name, lines[0], c.want)
		}
	}
	if lines, _ := p.talk("GET k b\r\nPING\r\n", 2); !strings.Contains(lines[0], "the reply is too large") || lines[1] != "+PONG" {
		t.Errorf("too large a reply: %q", lines)
	}
	if lines, _ := p.talk(strings.Repeat("PING\r\n", 50), 50); strings.Join(lines, "") != strings.Repeat("+PONG", 50) {
		t.Errorf("a pipeline longer than --max-pipeline: %q", lines)
	}
	var conns []net.Conn
	var last []string
	for range 45 {
		lines, conn := p.talk("PING\r\n", 1)
		conns, last = append(conns, conn), lines
	}
	if last[0] != "-ERR max number of clients reached" {
		t.Errorf("one connection too many: %q", last)
	}
	for _, c := range conns {
		_ = c.Close()
	}
}

// TestNoHTTP: it is refused, and SERVER says so; everything else goes on.
func TestNoHTTP(t *testing.T) {
	p := start(t, "--http-transport=false")
	if lines, _ := p.talk("PING\r\nGET /ping HTTP/1.1\r\n\r\n", 2); lines[0] != "+PONG" || lines[1] != "<EOF>" {
		t.Errorf("HTTP: %q", lines)
	}
	if lines, _ := p.talk("$6 SERVER\r\n", 1); !strings.Contains(lines[0], `"http_transport":false`) {
		t.Errorf("SERVER: %q", lines)
	}
}

// TestFlagsTakeEffect: flags that no end-to-end test covers.
func TestFlagsTakeEffect(t *testing.T) {
	p := start(t, "--requirepass=pw", "--leaderauth=la", "--appendfsync=always", "--aofshrink-growth=70", "--aofshrink-cooldown=3m", "--compaction-rate=32MB", "--repl-backlog-size=1mb",
		"--idle-timeout=300ms", "--log-format=json", "--log-level=debug", "--metrics-collections=1", "--segment-size=1kb", "--max-lag=7s",
		"--compaction-cpu=100", "--read-slice=1us", "--max-pending=1mb", "--write-timeout=5s")
	lines, _ := p.talk("GET k a\r\nAUTH pw\r\nCONFIG GET leaderauth\r\n", 7)
	if got := strings.Join(lines, " "); got != "-ERR authentication required +OK *2 $10 leaderauth $2 la" {
		t.Errorf("with a password: %s", got)
	}
	for name, want := range map[string]string{"appendfsync": "always", "aofshrink-growth": "70", "aofshrink-cooldown": "3m0s", "compaction-rate": "32mb", "repl-backlog-size": "1mb"} {
		if lines, _ := p.talk("AUTH pw\r\nCONFIG GET "+name+"\r\n", 6); lines[5] != want {
			t.Errorf("CONFIG GET %s: %q, want %s", name, lines, want)
		}
	}
	var sets strings.Builder
	for i := range 100 {
		fmt.Fprintf(&sets, "SET k%d id%d POINT 1 1\r\n", i%3, i)
	}
	_, idle := p.talk("AUTH pw\r\n"+sets.String(), 101)
	// --read-slice: each search is long enough for a snapshot, and right.
	if lines, _ := p.talk("AUTH pw\r\nSCAN k0 COUNT\r\n", 2); lines[1] != ":34" {
		t.Errorf("SCAN: %q", lines)
	}
	if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("an idle connection: %v", err)
	}
	var st struct {
		Log struct{ Segments int }
	}
	if err := json.Unmarshal([]byte(p.get(p.admn+"/status")), &st); err != nil || st.Log.Segments < 2 {
		t.Errorf("%v: %d segments of 1 kb", err, st.Log.Segments)
	}
	page := p.get(p.probe + "/metrics")
	if n := strings.Count(page, "\ntile38_collection_objects{"); n != 2 { // one of its own, and the rest
		t.Errorf("%d collections have metrics:\n%s", n, page)
	}
	p.stop()
	for _, line := range strings.Split(p.out.String(), "\n") {
		if strings.Contains(line, `"msg"`) && !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
	said := p.out.String()
	if !strings.Contains(said, `"level":"DEBUG"`) || strings.Contains(said, `"pw"`) || strings.Contains(said, "=la") {
		t.Errorf("logged:\n%s", said)
	}
	quiet := start(t, "--log-level=error")
	quiet.stop()
	if strings.Contains(quiet.out.String(), "level=") {
		t.Errorf("--log-level=error logs:\n%s", quiet.out)
	}
}
