package node

import (
	"context"
	"crypto/md5" //nolint:gosec // what AOFMD5 is to be compared with
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func sum(b string) string {
	h := md5.Sum([]byte(b)) //nolint:gosec // see above
	return hex.EncodeToString(h[:])
}

// history is what a log of these commands holds as Tile38 sees it.
func history(c *client, n int) string {
	var all strings.Builder
	for i := range n {
		line := fmt.Sprintf("SET k id%d STRING %s", i, strings.Repeat("v", i+1))
		if got := c.do(line); got != "+OK" {
			c.t.Fatalf("%s: %s", line, got)
		}
		all.WriteString(encode(line))
	}
	return all.String()
}

// TestAOFMD5: the checksum of the commands alone, before and after a
// compaction.
func TestAOFMD5(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	c := s.dial()
	check := func(all string) {
		t.Helper()
		size := len(all)
		for _, r := range [][2]int{{0, 0}, {0, 1}, {0, size}, {7, 100}, {size - 1, 1}, {size / 2, size - size/2}, {size, 0}} {
			want := "+" + sum(all[r[0]:r[0]+r[1]])
			if got := c.do(fmt.Sprintf("AOFMD5 %d %d", r[0], r[1])); got != want {
				t.Errorf("AOFMD5 %d %d: %s, want %s", r[0], r[1], got, want)
			}
		}
		for _, r := range []string{fmt.Sprintf("0 %d", size+1), fmt.Sprintf("%d 1", size), fmt.Sprintf("%d 5", size+100), "5 9223372036854775807", "9223372036854775807 9223372036854775807"} {
			if got := c.do("AOFMD5 " + r); got != "-EOF" {
				t.Errorf("AOFMD5 %s: %s", r, got)
			}
		}
	}
	check(preface + history(c, 50))
	c.talk([][2]string{
		{"AOFMD5", "-ERR wrong number of arguments for 'aofmd5' command"}, {"AOFMD5 1", "-ERR wrong number of arguments for 'aofmd5' command"},
		{"AOFMD5 x 1", "-ERR invalid argument 'x'"}, {"AOFMD5 0 -1", "-ERR invalid argument '-1'"}, {"AOFMD5 -1 0", "-ERR invalid argument '-1'"},
	})
	js := s.dial()
	js.talk([][2]string{
		{"OUTPUT json", `{"ok":true}`}, {"AOFMD5 0 0", `{"ok":true,"md5":"` + sum("") + `"}`}, {"AOFMD5 0 999999", `{"ok":false,"err":"EOF"}`},
	})
	s.shrink(c)
	size := int(s.log.PayloadSize())
	stream := s.dial()
	stream.talk([][2]string{{"AOF 0", "+OK"}})
	all := make([]byte, size)
	if _, err := io.ReadFull(stream.r, all); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(all), "#") {
		t.Errorf("annotation lines are streamed: %.300q", all)
	}
	check(preface + string(all))
}

// TestStockFollower: who says that it is a follower of Tile38's kind and begins
// anew gets an empty state first; who goes on, or is none, does not. Positions
// count alike for all.
func TestStockFollower(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	all := preface + history(s.dial(), 5)
	if got := s.node.fileSize(); got != int64(len(all)) {
		t.Errorf("aof_size %d, want %d", got, len(all))
	}
	for _, tt := range []struct {
		hello string
		from  int
		want  string
	}{
		{"", 0, all[len(preface):]},
		{"", len(preface), all[len(preface):]},
		{"REPLCONF listening-port 1234", 0, all},
		{"REPLCONF listening-port 1234", 3, all[3:]},
		{"REPLCONF listening-port 1234", len(preface), all[len(preface):]},
		{"REPLCONF listening-port 1234", len(all) - 10, all[len(all)-10:]},
	} {
		c := s.dial()
		if tt.hello != "" {
			c.talk([][2]string{{tt.hello, "+OK"}})
		}
		c.talk([][2]string{{fmt.Sprintf("AOF %d", tt.from), "+OK"}})
		got := make([]byte, len(tt.want))
		if n, err := io.ReadFull(c.r, got); err != nil || string(got) != tt.want {
			t.Errorf("%q, AOF %d: %v, %q, want %q", tt.hello, tt.from, err, got[:n], tt.want)
		}
	}
}

// shrink compacts and waits for the end.
func (s *server) shrink(c *client) {
	s.t.Helper()
	before := s.shrinker.Stats().OK
	if got := c.do("AOFSHRINK"); got != "+OK" {
		s.t.Fatalf("AOFSHRINK: %s", got)
	}
	until(s.t, "the compaction", func() bool { st := s.shrinker.Stats(); return st.OK > before && !st.Running })
}

// TestAOFStream: from the beginning, from the middle, from the end; and then
// what comes, across a compaction.
func TestAOFStream(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	w := s.dial()
	all := history(w, 30)
	var streams []*client
	var froms []int
	for _, from := range []int{0, len(preface) + 1, len(preface) + len(all)/2, len(preface) + len(all)} {
		c := s.dial()
		c.talk([][2]string{{fmt.Sprintf("AOF %d", from), "+OK"}})
		streams, froms = append(streams, c), append(froms, from)
	}
	expect := func(c *client, want string) {
		t.Helper()
		got := make([]byte, len(want))
		if n, err := io.ReadFull(c.r, got); err != nil || string(got) != want {
			t.Fatalf("%v: %q, want %q", err, got[:n], want)
		}
	}
	for i, c := range streams {
		expect(c, all[max(0, froms[i]-len(preface)):])
	}
	w.do("GET k id1") // not logged
	w.do("DEL k none")
	w.do("SET live a POINT 1 1")
	for _, c := range streams {
		expect(c, encode("SET live a POINT 1 1"))
	}
	s.shrink(w)
	w.send("SET live b POINT 1 1", "PING", "DEL live a")
	for _, c := range streams {
		expect(c, encode("SET live b POINT 1 1", "DEL live a"))
	}
	c := s.dial()
	c.talk([][2]string{
		{"AOF", "-ERR wrong number of arguments for 'aof' command"},
		{"AOF x", "-ERR invalid argument 'x'"}, {"AOF -1", "-ERR invalid argument '-1'"}, {"AOF 1 2", "-ERR wrong number of arguments for 'aof' command"},
		{fmt.Sprintf("AOF %d", s.node.fileSize()+1), "-ERR pos is too big, must be less that the aof_size of leader"},
		{"AOF 9223372036854775807", "-ERR pos is too big, must be less that the aof_size of leader"},
		{"AOF 9223372036854775808", "-ERR invalid argument '9223372036854775808'"},
		{"PING", "+PONG"},
	})
	// It ends when the client says anything, or goes; nothing of the log is kept
	// for it then.
	streams[0].send("PING")
	streams[0].ended()
	streams[1].raw("\r\n")
	streams[1].ended()
	_, _ = streams[2].Close(), streams[3].Close()
	until(t, "the streams to end", func() bool { return s.log.Stats().Tails == 0 })
}

// TestAOFEndsWithTheServer: a stream whose client takes nothing does not hold
// up the shutdown, nor one that waits.
func TestAOFEndsWithTheServer(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	w := s.dial()
	w.send("SET k big STRING " + strings.Repeat("v", 16<<20)) // more than the kernel takes
	w.reply()
	stuck, waiting := s.dial(), s.dial()
	if tcp, ok := stuck.Conn.(*net.TCPConn); !ok || tcp.SetReadBuffer(4096) != nil {
		t.Fatal("the stuck client's buffer cannot be made small")
	}
	stuck.send("AOF 0")
	waiting.talk([][2]string{{fmt.Sprintf("AOF %d", s.node.fileSize()), "+OK"}})
	until(t, "both streams", func() bool { return s.log.Stats().Tails == 2 })
	if got := stuck.reply(); got != "+OK\r\n" {
		t.Fatal(got)
	}
	s.clients = nil // they stay
	began := time.Now()
	s.stop()
	if took := time.Since(began); took > patience/2 {
		t.Errorf("the shutdown took %s", took)
	}
	waiting.ended()
	_, _ = waiting.Close(), stuck.Close()
}

// TestStuckStream: a write that waits for the client ends with the context.
func TestStuckStream(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	history(s.dial(), 3)
	r, err := s.log.PayloadReader(0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	here, there := net.Pipe() // it holds nothing: a write waits for its reader
	defer func() { _ = here.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- streamCommands(ctx, there, "", r, 0) }()
	if _, err := here.Read(make([]byte, 1)); err != nil { // now the write has begun
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("ended by the server: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the stream goes on")
	}
}

// TestSlowStream: a reader for whom alone more of the log is kept than the limit
// is let go.
func TestSlowStream(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	s.log.SetBacklogBytes(-1)
	c := s.dial()
	history(c, 3)
	r, err := s.log.PayloadReader(0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if held := r.Held(); held != 0 {
		t.Errorf("%d bytes are kept for the reader of a log that nobody has compacted", held)
	}
	c.do("AOFSHRINK")
	until(t, "the compaction", func() bool { return r.Held() > 0 })
	here, there := net.Pipe()
	defer func() { _ = here.Close() }()
	if err := streamCommands(t.Context(), there, "", r, r.Held()-1); err == nil || !strings.Contains(err.Error(), "too far behind") {
		t.Errorf("ended with %v", err)
	}
}

// TestAOFWhoseAnswerCannotBeSent: the reader of the log is closed also when the
// stream never begins.
func TestAOFWhoseAnswerCannotBeSent(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	history(s.dial(), 3)
	for range 20 {
		c := s.dial()
		c.send("CLIENT KILL id 0", "AOF 0")
		_ = c.Close()
	}
	until(t, "all readers to be closed", func() bool { return len(s.node.list()) == 1 && s.log.Stats().Tails == 0 })
}
