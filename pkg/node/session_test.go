package node

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
	"evenkeel/pkg/proxy"
	"evenkeel/pkg/settings"
)

// TestPipelines: answers come in order whatever a pipeline mixes, and what
// stands behind the end of a connection is not carried out.
func TestPipelines(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	for _, c := range []struct {
		name  string
		lines []string
		want  []string
		ends  bool
	}{
		{
			name: "reads, writes, errors",
			lines: []string{
				"SET k a POINT 1 1", "SET k b", "GET k a POINT", "nosuch", "DEL k a", "GET k a", "PING", "SET k a POINT 2 2",
				"SET k c STRING x", "TIMEOUT 5 SCAN k COUNT", "CONFIG GET keepalive", "OUTPUT json", "GET k c", "SET k d", "OUTPUT resp", "EXISTS k c",
			},
			want: []string{
				"+OK", "-ERR wrong number of arguments for 'set' command", "[1 1]", "-ERR unknown command 'nosuch'", ":1", "null", "+PONG", "+OK",
				"+OK", ":2", "[keepalive 300]", `{"ok":true}`, `{"ok":true,"object":"x"}`, `{"ok":false,"err":"invalid number of arguments"}`, "+OK", ":1",
			},
		},
		{
			name:  "QUIT",
			lines: []string{"SET q a POINT 1 1", "QUIT", "SET q b POINT 1 1", "PING"},
			want:  []string{"+OK", "+OK"}, ends: true,
		},
		{name: "what came before QUIT", lines: []string{"KEYS q", "SCAN q IDS"}, want: []string{"[q]", "[:0 [a]]"}},
		{
			name:  "REPLICATE that is refused",
			lines: []string{"SET q c POINT 1 1", "REPLICATE x", "EXISTS q c"},
			want:  []string{"+OK", "-ERR " + "*", ":1"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := s.dial()
			conn.send(c.lines...)
			for i, want := range c.want {
				got := say(conn.reply())
				if pre, open := strings.CutSuffix(want, "*"); open && strings.HasPrefix(got, pre) {
					continue
				}
				if got != want {
					t.Errorf("%s: %s, want %s", c.lines[i], got, want)
				}
			}
			if c.ends {
				conn.ended()
				return
			}
			conn.talk([][2]string{{"PING", "+PONG"}})
		})
	}
	// A stream in the middle: the answers before it, then the log.
	conn := s.dial()
	first := encode("SET k a POINT 1 1")
	conn.send("PING", "SET k late POINT 1 1", "EXISTS k late", "AOF 0", "PING", "DEL k late")
	for _, want := range []string{"+PONG", "+OK", ":1", "+OK"} {
		if got := say(conn.reply()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := conn.reply(); got != first {
		t.Errorf("the stream begins with %q, want %q", got, first)
	}
	_ = conn.Close()
	s.dial().talk([][2]string{{"EXISTS k late", ":1"}})
}

// TestLongPipeline: much more than one batch, of all kinds.
func TestLongPipeline(t *testing.T) {
	s := serve(t, t.TempDir(), config{proxy: proxy.Options{MaxPipeline: 16, BatchOutput: 1000}})
	c := s.dial()
	var lines []string
	for i := range 500 {
		lines = append(lines, fmt.Sprintf("SET k id%d STRING %d", i, i), fmt.Sprintf("GET k id%d", i), "ECHO "+strings.Repeat("y", i%60))
	}
	go func() { _, _ = c.Write([]byte(encode(lines...))) }()
	for i := range 500 {
		if set, get, echo := say(c.reply()), say(c.reply()), say(c.reply()); set != "+OK" || get != fmt.Sprint(i) ||
			(i%60 > 0 && echo != strings.Repeat("y", i%60)) {
			t.Fatalf("%d: %s %s %s", i, set, get, echo)
		}
	}
	c.talk([][2]string{{"SCAN k COUNT", ":500"}})
}

// TestDiskFails: when the log cannot be written, every write of the pipeline
// gets the error and every read its answer; and it recovers by itself.
func TestDiskFails(t *testing.T) {
	for _, output := range []string{"resp", "json"} {
		t.Run(output, func(t *testing.T) {
			dir := t.TempDir()
			disk := fsxtest.New(fsx.OS{})
			s := serve(t, dir, config{fs: disk})
			c := s.dial()
			c.do("OUTPUT " + output)
			c.do("SET k a POINT 1 1")
			s.seen.take()
			disk.FailOp(fsxtest.OpWrite, syscall.ENOSPC)
			lines := []string{
				"PING", "SET k b STRING x", "GET k a POINT", "SET k", "DEL k a", "EXISTS k a", "GET k b", "nosuch", "ECHO x", "FSET k b n 1",
			}
			ok := []string{"PING", "GET k a POINT", "EXISTS k a", "GET k b", "ECHO x"}
			c.send(lines...)
			for _, line := range lines {
				got := say(c.reply())
				isError := strings.HasPrefix(got, "-") || strings.HasPrefix(got, `{"ok":false`)
				gone := line == "EXISTS k a" // an error in JSON: the DEL before it is in memory
				if isError == slices.Contains(ok, line) && (!gone || output == "resp") {
					t.Errorf("%s: %s", line, got)
				}
				if w := strings.Fields(line)[0]; (w == "SET" && line != "SET k" || w == "DEL" || w == "FSET") && !strings.Contains(got, "no space left on device") {
					t.Errorf("%s: %s, want the disk's error", line, got)
				}
			}
			seen := s.seen.take()
			if n := strings.Count(seen, "set!"); n != 3 { // two SET, one FSET
				t.Errorf("observed %s", seen)
			}
			if ok, why := s.node.Ready(); ok || !strings.Contains(strings.Join(why, " "), "no space left on device") {
				t.Errorf("ready: %v %v", ok, why)
			}
			// Now they are refused at once; reads go on.
			for line, want := range map[string]bool{"SET k c POINT 1 1": false, "SCAN k IDS": true, "PING": true} {
				got := c.do(line)
				if good := !strings.HasPrefix(got, "-") && !strings.HasPrefix(got, `{"ok":false`); good != want {
					t.Errorf("%s: %s", line, got)
				}
			}
			disk.FailOp(fsxtest.OpWrite, nil)
			until(t, "the log to recover", func() bool { ok, _ := s.node.Ready(); return ok })
			if got := c.do("SET k d POINT 1 1"); got != "+OK" && got != `{"ok":true}` {
				t.Errorf("after the failure: %s", got)
			}
			want := s.dial().do("SCAN k IDS")
			s.stop()
			if got := serve(t, dir, config{}).dial().do("SCAN k IDS"); got != want || want != "[:0 [b d]]" {
				t.Errorf("after a restart %s, before %s", got, want)
			}
		})
	}
}

// TestDiskFailsBeforeAStream: the writes in front of an AOF are disowned, the
// stream goes on.
func TestDiskFailsBeforeAStream(t *testing.T) {
	disk := fsxtest.New(fsx.OS{})
	s := serve(t, t.TempDir(), config{fs: disk})
	s.dial().do("SET k a POINT 1 1")
	disk.FailOp(fsxtest.OpWrite, syscall.ENOSPC)
	c := s.dial()
	c.send("SET k b POINT 1 1", "AOF 0")
	if got := say(c.reply()); !strings.Contains(got, "no space left on device") {
		t.Errorf("SET: %s", got)
	}
	for _, want := range []string{"+OK\r\n", encode("SET k a POINT 1 1")} {
		if got := c.reply(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	disk.FailOp(fsxtest.OpWrite, nil)
	if got := c.reply(); got != encode("SET k b POINT 1 1") {
		t.Errorf("after recovery %q", got)
	}
}

// TestMaxOutput: a reply that is too large is a clear error, and the connection
// goes on.
func TestMaxOutput(t *testing.T) {
	s := serve(t, t.TempDir(), config{proxy: proxy.Options{MaxOutput: 64 << 10, BatchOutput: 8 << 10}})
	c := s.dial()
	for i := range 40 {
		c.send(fmt.Sprintf("SET k id%d STRING %s", i, strings.Repeat("v", 4<<10)))
		c.reply()
	}
	c.send("SET k huge STRING " + strings.Repeat("v", 100<<10))
	c.reply()
	js := s.dial()
	js.do("OUTPUT json")
	for _, line := range []string{"SCAN k", "GET k huge", "TIMEOUT 9 SCAN k", "TIMEOUT 9 GET k huge", "SEARCH k"} {
		for _, c := range []*client{c, js} {
			if got := c.do(line); !strings.Contains(got, errTooLarge.JSON) {
				t.Errorf("%s: %.200s", line, got)
			}
			if got := c.do("SCAN k COUNT"); got != ":41" && got != `{"ok":true,"count":41,"cursor":0}` {
				t.Errorf("after %s: %s", line, got)
			}
		}
	}
	// A pipeline whose replies are large together is cut into pieces.
	lines := append(slices.Repeat([]string{"GET k id1"}, 40),
		slices.Repeat([]string{"SET k id2 RETURN OBJECT STRING " + strings.Repeat("w", 4<<10)}, 40)...)
	go func() { _, _ = c.Write([]byte(encode(lines...))) }()
	for range lines {
		if got := say(c.reply()); strings.HasPrefix(got, "-") {
			t.Fatalf("%.100s", got)
		}
	}
}

// TestObserve: each command once, under a name of the table or "other", and
// failed exactly when it is answered with an error.
func TestObserve(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	for _, c := range []struct{ line, resp, json string }{
		{"SET k a STRING x", "set", "set"},
		{"sEt k", "set!", "set!"},
		{"GET k a", "get", "get"},
		{"GET k none", "get", "get!"}, // null, but {"ok":false
		{"GET", "get!", "get!"},
		{"SCAN k", "scan", "scan"},
		{"nosuch", "other!", "other!"},
		{`""`, "other!", "other!"},
		{"sixteen-letters!\xff", "other!", "other!"},
		{"PING", "ping", "ping"},
		{"TIMEOUT 5 SCAN k", "timeout", "timeout"},
		{"TIMEOUT 0 SCAN k", "timeout!", "timeout!"},
		{"TIMEOUT 5 JDEL k none a", "timeout", "timeout!"},
		{"CONFIG GET *", "config", "config"},
		{"CONFIG SET keepalive x", "config!", "config!"},
		{"SET k evil STRING {\"ok\":false}", "set", "set"},
		{"GET k evil", "get", "get"},
		{"SETHOOK x y", "sethook!", "sethook!"},
		{"AOFMD5 0 1", "aofmd5", "aofmd5"},
		{"AOFMD5 0 99999", "aofmd5!", "aofmd5!"},
	} {
		for _, output := range []string{"resp", "json"} {
			conn := s.dial()
			conn.do("OUTPUT " + output)
			s.seen.take()
			conn.send(c.line)
			conn.reply()
			want := c.resp
			if output == "json" {
				want = c.json
			}
			if got := s.seen.take(); got != want {
				t.Errorf("%s in %s: observed %q, want %q", c.line, output, got, want)
			}
			_ = conn.Close()
		}
	}
	names := s.node.CommandNames()
	if !slices.Contains(names, "set") || slices.Contains(names, "SET") || slices.Contains(names, "other") {
		t.Errorf("names %v", names)
	}
	if got := s.node.commands.Load(); got < 40 {
		t.Errorf("%d commands counted", got)
	}
}

// TestIdleSessionsAreSmall: a connection that once sent much keeps nothing.
func TestIdleSessionsAreSmall(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	for i := range 20 {
		c := s.dial()
		c.send(slices.Repeat([]string{fmt.Sprintf("SET k id%d STRING %s", i, strings.Repeat("v", 2000))}, 200)...)
		for range 200 {
			c.reply()
		}
	}
	all := s.node.list()
	if len(all) != 20 {
		t.Fatalf("%d sessions", len(all))
	}
	for _, x := range all {
		if x.batch != nil { // Do returned before the last reply was sent
			t.Errorf("session %d holds a batch for %d writes", x.conn.ID(), cap(x.batch.writes))
		}
	}
	b := s.node.takeBatch(t.Context())
	defer s.node.giveBatch(b)
	for _, w := range b.writes[:cap(b.writes)] {
		if w.Request.Args != nil {
			t.Fatalf("a batch that waits for the next pipeline keeps %.20q alive", w.Request.Args)
		}
	}
}

// TestMaxMemory: SET and FSET are refused over maxmemory, everything else goes
// on, and it ends when there is room.
func TestMaxMemory(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	c, js := s.dial(), s.dial()
	js.do("OUTPUT json")
	oom := "-OOM command not allowed when used memory > 'maxmemory'"
	c.talk([][2]string{
		{"SET k a POINT 1 1", "+OK"}, {"CONFIG SET maxmemory 1", "+OK"},
		{"SET k b POINT 1 1", oom}, {"set k", oom}, {"FSET k a n 1", oom},
		{"JSET d a n 1", "+OK"}, {"EXPIRE k a 100", ":1"}, {"GET k a POINT", "[1 1]"}, {"RENAME k k2", "+OK"},
	})
	js.talk([][2]string{{"SET k b POINT 1 1", `{"ok":false,"err":"OOM command not allowed when used memory > 'maxmemory'"}`}})
	c.send("PING", "SET k b POINT 1 1", "DEL k2 a", "FSET k2 a n 1")
	for _, want := range []string{"+PONG", oom, ":1", oom} {
		if got := say(c.reply()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	c.talk([][2]string{
		{"READONLY yes", "+OK"}, {"SET k b POINT 1 1", "-ERR read only"}, {"READONLY no", "+OK"},
		{"CONFIG SET maxmemory 100gb", "+OK"}, {"SET k b POINT 1 1", "+OK"},
		{"CONFIG SET maxmemory 1", "+OK"}, {"SET k b POINT 1 1", oom}, {`CONFIG SET maxmemory ""`, "+OK"}, {"SET k b POINT 1 1", "+OK"},
	})
}

// TestMemoryIsWatched: the heap grows over the limit while nobody sets it, and
// shrinks below it again.
func TestMemoryIsWatched(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	runtime.GC()
	const room = 64 << 20
	if err := s.settings.Set(settings.MaxMemory, fmt.Sprint(heapBytes()+room)); err != nil {
		t.Fatal(err)
	}
	c := s.dial()
	if got := c.do("SET k a POINT 1 1"); got != "+OK" {
		t.Fatalf("below the limit: %s", got)
	}
	ballast := make([]byte, 2*room)
	until(t, "writes to be refused", func() bool { return strings.HasPrefix(c.do("SET k a POINT 1 1"), "-OOM") })
	runtime.KeepAlive(ballast)
	ballast = nil
	_ = ballast
	until(t, "writes to be taken again", func() bool { return c.do("SET k a POINT 1 1") == "+OK" })
}

// TestConcurrentClients: pipelines of many clients on the same objects, beside
// everything that changes the server.
func TestConcurrentClients(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	var wg sync.WaitGroup
	for i := range 6 {
		c := s.dial()
		wg.Go(func() {
			for j := range 30 {
				if _, err := c.Write([]byte(encode(fmt.Sprintf("SET k id%d POINT 1 %d", i, j), fmt.Sprintf("GET k id%d POINT", i), "SCAN k COUNT", "CLIENT LIST"))); err != nil {
					t.Error(err)
					return
				}
				set, err1 := readReply(c.r)
				get, err2 := readReply(c.r)
				if want := fmt.Sprintf("[1 %d]", j); err1 != nil || err2 != nil || say(set) != "+OK" || say(get) != want {
					t.Errorf("%v %v %q %q, want %s", err1, err2, set, get, want)
					return
				}
				for range 2 {
					if _, err := readReply(c.r); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	c := s.dial()
	for range 10 {
		for _, line := range []string{"CONFIG SET keepalive 60", "GC", "AOFSHRINK", "INFO", "SERVER EXT", "CONFIG REWRITE"} {
			if got := c.do(line); strings.HasPrefix(got, "-") {
				t.Errorf("%s: %s", line, got)
			}
		}
	}
	wg.Wait()
	c.talk([][2]string{{"SCAN k COUNT", ":6"}})
}
