package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBanner: it says where everything is and what to try, and it is true.
func TestBanner(t *testing.T) {
	s := start(t, t.TempDir())
	for _, want := range []string{"leader", s.addr, "/readyz", "/metrics", "/status", "try: redis-cli"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the banner does not say %q:\n%s", want, s.log)
		}
	}
	for _, url := range []string{
		"http://" + s.probe + "/readyz", "http://" + s.probe + "/livez",
		"http://" + s.probe + "/metrics", "http://" + s.admin + "/status",
	} {
		if code, body := get(t, url); code != 200 {
			t.Errorf("%s: %d %s", url, code, body)
		}
	}
}

// TestMetrics: what the dashboards ask for is there and moves.
func TestMetrics(t *testing.T) {
	l := start(t, t.TempDir(), "--appendfsync", "always")
	l.fill("fleet", 1000)
	l.words("AOFSHRINK")
	l.waitFor("the end of the compaction", func() bool { return strings.Contains(l.log.String(), "compaction done") })
	_, body := get(t, "http://"+l.probe+"/metrics")
	for _, want := range []string{
		`evenkeel_command_duration_seconds_count{command="set"} 1000`,
		"evenkeel_compactions_total{result=\"ok\"} 1",
		"evenkeel_log_writable 1", "tile38_aof_size_bytes ", "tile38_collection_objects{col=\"fleet\"} 1000",
		"process_resident_memory_bytes", "go_gc_duration_seconds",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics has no %q", want)
		}
	}
	if strings.Contains(body, "evenkeel_log_fsync_duration_seconds_count 0\n") {
		t.Error("no sync was counted")
	}
	if t.Failed() {
		t.Log(body)
	}
}

// TestNotReadyFollower: a follower without a leader says so and does not
// answer reads.
func TestNotReadyFollower(t *testing.T) {
	f := start(t, t.TempDir(), "--follow", "127.0.0.1:1", "--read-from", "local")
	code, body := get(t, "http://"+f.probe+"/readyz")
	if code != 503 || !strings.Contains(body, "follower") {
		t.Errorf("/readyz: %d %s", code, body)
	}
	if code, _ := get(t, "http://"+f.probe+"/livez"); code != 200 {
		t.Errorf("/livez: %d", code)
	}
	err := f.rdb.Do(context.Background(), "GET", "k", "a").Err()
	if err == nil || err.Error() != "ERR catching up to leader" {
		t.Errorf("GET: %v", err)
	}
}

// TestCompactsByItself: size floor and growth, set live, and kept.
func TestCompactsByItself(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, "--aofshrink-min-size", "0")
	for range 4 {
		s.fill("fleet", 1000)
	}
	before := logBytes(t, dir)
	s.words("CONFIG SET aofshrink-check-interval 200ms")
	s.words("CONFIG SET aofshrink-min-size 100kb")
	s.words("CONFIG SET aofshrink-growth 50")
	s.words("CONFIG REWRITE")
	s.waitFor("a compaction by itself", func() bool { return strings.Contains(s.log.String(), "compaction done") })
	if !strings.Contains(s.log.String(), "origin=auto") {
		t.Error("it was not the policy that compacted")
	}
	s.words("CONFIG SET repl-backlog-size 0")
	s.waitFor("the old segments to go", func() bool { return logBytes(t, dir) < before/2 })
	s.stop()
	s = start(t, dir)
	got, _ := s.words("CONFIG GET aofshrink-min-size").([]any)
	if len(got) != 2 || got[1] != "100kb" {
		t.Errorf("after a restart aofshrink-min-size is %v", got)
	}
	if n := s.words("SCAN fleet COUNT"); n != int64(1000) {
		t.Errorf("SCAN fleet COUNT = %v", n)
	}
}

// logBytes adds up the files of the log.
func logBytes(t *testing.T, dir string) (n int64) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.aof"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if st, err := os.Stat(name); err == nil {
			n += st.Size()
		}
	}
	return n
}

// TestExpiry: objects go when their time is over, on the follower too, which
// logs nothing of its own.
func TestExpiry(t *testing.T) {
	l := start(t, t.TempDir())
	f := start(t, t.TempDir(), "--follow", l.addr)
	l.words("SET k a EX 0.5 POINT 1 1")
	l.words("SET k b POINT 1 1")
	begun := time.Now()
	l.waitFor("k a to go", func() bool { return l.words("EXISTS k a") == int64(0) })
	if took := time.Since(begun); took < 400*time.Millisecond {
		t.Errorf("half a second of life lasted %s", took)
	}
	level(t, l, f)
	if n := f.words("EXISTS k a"); n != int64(0) {
		t.Error("the follower still has k a")
	}
}

// TestSlowSearchDoesNotHoldUpWriters: writes go on during searches that take
// long, and those see one state.
func TestSlowSearchDoesNotHoldUpWriters(t *testing.T) {
	s := start(t, t.TempDir())
	s.fill("fleet", 60_000)
	ctx := context.Background()
	done := make(chan error, 1)
	go func() {
		for range 10 {
			n, err := s.rdb.Do(ctx, "SCAN", "fleet", "WHERE", "n * 2 + 1 > -1", "COUNT").Int64()
			if err != nil || n < 60_000 {
				done <- err
				return
			}
		}
		done <- nil
	}()
	writes := 0
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			if writes < 100 {
				t.Errorf("%d writes during ten long searches", writes)
			}
			return
		default:
			s.do("SET", "fleet", "w", "POINT", writes%80, 1)
			writes++
		}
	}
}

// TestAdoptsTile38Log: a plain appendonly.aof becomes the base, torn or not.
func TestAdoptsTile38Log(t *testing.T) {
	dir := t.TempDir()
	whole := "*6\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\na\r\n$5\r\nPOINT\r\n$1\r\n1\r\n$1\r\n2\r\n" +
		"*8\r\n$3\r\nset\r\n$1\r\nk\r\n$1\r\nb\r\n$2\r\nex\r\n$4\r\n1000\r\n$5\r\npoint\r\n$1\r\n1\r\n$1\r\n2\r\n" +
		"*9\r\n$7\r\nSETCHAN\r\n$2\r\nch\r\n$6\r\nNEARBY\r\n$1\r\nk\r\n$5\r\nFENCE\r\n$5\r\nPOINT\r\n$1\r\n1\r\n$1\r\n1\r\n$1\r\n1\r\n"
	torn := "*6\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\nlost\r\n$5\r\nPO"
	mustWrite(t, filepath.Join(dir, "appendonly.aof"), []byte(whole+torn))
	s := start(t, dir)
	if !strings.Contains(s.log.String(), "adopted") || !strings.Contains(s.log.String(), "kept_in") {
		t.Errorf("it does not say what it adopted and cut:\n%s", s.log)
	}
	if n := s.words("SCAN k COUNT"); n != int64(2) {
		t.Errorf("SCAN k COUNT = %v, want 2", n)
	}
	cut, err := filepath.Glob(filepath.Join(dir, "*.cut-*"))
	if err != nil || len(cut) != 1 {
		t.Fatalf("the cut bytes are kept in %v (%v)", cut, err)
	}
	if b, err := os.ReadFile(cut[0]); err != nil || string(b) != torn {
		t.Errorf("kept %q (%v), want %q", b, err, torn)
	}
	s.words("SET k c POINT 3 3")
	want := s.status().Digest
	for range 2 { // once as adopted, once compacted
		s.stop()
		s = start(t, dir)
		if got := s.status().Digest; got != want {
			t.Errorf("digest %s, want %s", got, want)
		}
		if chans, _ := s.words("CHANS *").([]any); len(chans) != 1 {
			t.Errorf("CHANS * = %v", chans)
		}
		s.words("AOFSHRINK")
		s.waitFor("the end of the compaction", func() bool { return strings.Contains(s.log.String(), "compaction done") })
	}
}
