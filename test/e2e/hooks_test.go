package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// metric returns the value of a series of /metrics.
func (s *server) metric(series string) float64 {
	s.t.Helper()
	_, body := get(s.t, "http://"+s.probe+"/metrics")
	for line := range strings.Lines(body) {
		if text, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return v
		}
	}
	s.t.Fatalf("/metrics has no %s", series)
	return 0
}

// inside moves the objects into the area of the hooks of these tests, in order.
func (s *server) inside(key string, ids ...string) {
	s.t.Helper()
	for _, id := range ids {
		s.do("SET", key, id, "POINT", 5, 5)
	}
}

// hook defines a webhook that hears of what enters an area of key.
func (s *server) hook(name, url, key string) {
	s.t.Helper()
	s.do("SETHOOK", name, url, "WITHIN", key, "FENCE", "DETECT", "enter", "BOUNDS", 0, 0, 10, 10)
}

// expect waits until the endpoint has taken what is told, and nothing else.
func (e *endpoint) expect(s *server, want string) {
	s.t.Helper()
	s.waitFor("the messages "+want, func() bool { return len(e.ids()) >= len(want) })
	if got := e.ids(); got != want {
		s.t.Errorf("the endpoint has taken %q, want %q", got, want)
	}
}

// TestHooksOutliveKill9 kills the server under load while the endpoint fails
// half of the time: the message of each write that was acknowledged arrives, in
// the order of the writes.
func TestHooksOutliveKill9(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	begun := time.Now()
	half := func() bool { return time.Since(begun)/(120*time.Millisecond)%2 == 1 }
	e.refuse.Store(&half)
	dir := t.TempDir()
	acked := make([]int, 3)
	lives := []int{0} // how many messages had been taken when each life of the server began
	for round := range 3 {
		s := start(t, dir, "--appendfsync", "always")
		if round == 0 {
			for w := range acked {
				s.hook(fmt.Sprintf("h%d", w), e.URL, fmt.Sprintf("w%d", w))
			}
		}
		enterUntilKilled(s, acked)
		lives = append(lives, len(e.messages()))
	}
	s := start(t, dir, "--appendfsync", "always")
	s.waitFor("an empty queue", func() bool { return s.metric("evenkeel_hook_queue_messages") == 0 })
	if e.refused.Load() == 0 {
		t.Error("the endpoint has refused nothing")
	}
	checkPosted(t, e.messages(), lives, acked)
}

// enterUntilKilled lets each writer bring ever new objects into its area and
// kills the server in the middle of it.
func enterUntilKilled(s *server, acked []int) {
	var wg sync.WaitGroup
	var total atomic.Int64
	enough := make(chan struct{})
	for w := range acked {
		wg.Go(func() {
			for s.rdb.Do(context.Background(), "SET", fmt.Sprintf("w%d", w), acked[w], "POINT", 5, 5).Err() == nil {
				acked[w]++
				if total.Add(1) == 300 {
					close(enough)
				}
			}
		})
	}
	<-enough
	s.kill()
	wg.Wait()
}

// checkPosted looks at the messages of each hook. Within a life of the server
// they are in order; one that was not acknowledged may come once for each time
// that it was written. After a kill what was taken last may come again.
func checkPosted(t *testing.T, all []posted, lives, acked []int) {
	t.Helper()
	again := 0
	for w := range acked {
		next := 0 // the first object that has not arrived yet
		for life, from := range lives {
			to := len(all)
			if life+1 < len(lives) {
				to = lives[life+1]
			}
			last := -1
			for _, m := range all[from:to] {
				if m.Hook != fmt.Sprintf("h%d", w) {
					continue
				}
				n, err := strconv.Atoi(m.ID)
				if err != nil || m.Detect != "enter" || m.Key != fmt.Sprintf("w%d", w) {
					t.Fatalf("a message of %s: %+v", m.Hook, m)
				}
				switch {
				case n < last:
					t.Fatalf("h%d in life %d: object %d after %d", w, life, n, last)
				case n > next:
					t.Fatalf("h%d in life %d: object %d, but %d has not arrived", w, life, n, next)
				case n < next:
					again++
				}
				last, next = n, max(next, n+1)
			}
		}
		if next < acked[w] {
			t.Errorf("h%d: %d writes were acknowledged, the messages of %d have arrived", w, acked[w], next)
		}
	}
	t.Logf("%v acknowledged, %d messages, %d of them again", acked, len(all), again)
	if again > len(all)/2 {
		t.Errorf("%d of %d messages came again", again, len(all))
	}
}

// TestHookEndpointComesLater: what happens before anybody listens arrives when
// somebody does, across a restart, once.
func TestHookEndpointComesLater(t *testing.T) {
	t.Parallel()
	fd, addr := reserve(t)
	dir := t.TempDir()
	s := start(t, dir)
	s.hook("later", "http://"+addr, "k")
	s.inside("k", "a", "b")
	s.waitFor("a failed attempt", func() bool { return s.metric("evenkeel_hook_attempts_failed_total") > 0 })
	s.stop()
	s = start(t, dir)
	s.inside("k", "c")
	e := &endpoint{}
	serveOn(t, fd, e)
	e.expect(s, "enter a, enter b, enter c")
	s.stop() // which writes down what has been taken
	s = start(t, dir)
	s.inside("k", "d")
	e.expect(s, "enter a, enter b, enter c, enter d")
}

// reserve returns a socket that has an address and refuses connections.
func reserve(t *testing.T) (fd int, addr string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	in, ok := name.(*syscall.SockaddrInet4)
	if !ok {
		t.Fatalf("the socket's address is %v", name)
	}
	return fd, fmt.Sprintf("127.0.0.1:%d", in.Port)
}

// serveOn begins to listen on what reserve has returned.
func serveOn(t *testing.T, fd int, h http.Handler) {
	t.Helper()
	if err := syscall.Listen(fd, 16); err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "endpoint")
	l, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	_ = file.Close() // the listener has a copy
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: h, ReadHeaderTimeout: patience}}
	srv.Start()
	t.Cleanup(srv.Close)
}

// TestStopWithHangingEndpoint: SIGTERM ends a server whose endpoint does not
// answer in time, and the message arrives after the next start.
func TestStopWithHangingEndpoint(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}, 8), make(chan struct{})
	hang := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		entered <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(hang.Close)
	dir := t.TempDir()
	s := start(t, dir, "--hook-timeout", "10m")
	s.hook("hangs", hang.URL, "k")
	s.inside("k", "a")
	<-entered
	begun := time.Now()
	s.stop()
	if took := time.Since(begun); took > 9*time.Second {
		t.Errorf("the shutdown took %s", took)
	}
	s = start(t, dir)
	<-entered
	close(release)
	s.waitFor("an empty queue", func() bool { return s.metric("evenkeel_hook_queue_messages") == 0 })
	if n := s.metric("evenkeel_hook_messages_delivered_total"); n != 1 {
		t.Errorf("%v messages delivered, want 1", n)
	}
}

// TestHookIsRemoved: what waits for a hook that is deleted, by whatever means,
// is dropped, and does not come when the name is used again.
func TestHookIsRemoved(t *testing.T) {
	for _, by := range []string{"DELHOOK h", "PDELHOOK h*", "FLUSHDB"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			e := newEndpoint(t)
			e.down(true)
			dir := t.TempDir()
			s := start(t, dir, "--appendfsync", "always")
			s.hook("h", e.URL, "k")
			s.inside("k", "a", "b")
			if n := s.metric("evenkeel_hook_queue_messages"); n != 2 {
				t.Errorf("%v messages wait, want 2", n)
			}
			s.words(by)
			if n := s.metric("evenkeel_hook_queue_messages"); n != 0 {
				t.Errorf("%v messages wait after %s", n, by)
			}
			s.kill() // a removal that was acknowledged holds
			s = start(t, dir)
			if hooks, ok := s.words("HOOKS *").([]any); !ok || len(hooks) != 0 {
				t.Errorf("HOOKS * = %v", hooks)
			}
			e.down(false)
			s.hook("h", e.URL, "k")
			s.inside("k", "c")
			e.expect(s, "enter c")
		})
	}
}

// TestHookIsRedefined: what waits goes to the endpoint that the hook has now.
func TestHookIsRedefined(t *testing.T) {
	t.Parallel()
	from, to := newEndpoint(t), newEndpoint(t)
	from.down(true)
	s := start(t, t.TempDir())
	s.hook("h", from.URL, "k")
	s.inside("k", "a", "b")
	s.waitFor("a failed attempt", func() bool { return from.refused.Load() > 0 })
	s.hook("h", to.URL, "k")
	s.inside("k", "c")
	to.expect(s, "enter a, enter b, enter c")
	if got := from.ids(); got != "" {
		t.Errorf("the old endpoint has taken %q", got)
	}
}

// TestLeaderAloneDelivers: a follower posts nothing, and after FOLLOW no one
// what happens from then on.
func TestLeaderAloneDelivers(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	l := start(t, t.TempDir())
	dir := t.TempDir()
	f := start(t, dir, "--follow", l.addr)
	l.hook("h", e.URL, "k")
	l.inside("k", "a", "b")
	level(t, l, f)
	e.expect(l, "enter a, enter b")
	if n := f.metric("evenkeel_hook_queue_messages"); n != 0 {
		t.Errorf("%v messages wait at the follower", n)
	}
	l.kill()
	f.words("FOLLOW no one")
	f.inside("k", "b", "c") // b is there already
	e.expect(f, "enter a, enter b, enter c")

	// And a leader that becomes a follower stops.
	e.down(true)
	f.inside("k", "d")
	f.waitFor("a failed attempt", func() bool { return e.refused.Load() > 0 })
	l2 := start(t, t.TempDir())
	host, port, _ := strings.Cut(l2.addr, ":")
	f.do("FOLLOW", host, port)
	level(t, l2, f) // which has no hooks
	e.down(false)
	if n := f.metric("evenkeel_hook_queue_messages"); n != 0 {
		t.Errorf("%v messages wait at the new follower", n)
	}
	l2.hook("h", e.URL, "k")
	l2.inside("k", "e")
	e.expect(l2, "enter a, enter b, enter c, enter e")
}

// TestAdoptedHooks: the webhooks of a log that Tile38 has written fire.
func TestAdoptedHooks(t *testing.T) {
	t.Parallel()
	corpus := os.Getenv("EVENKEEL_CONFORMANCE")
	if corpus == "" {
		t.Skip("SKIPPED: EVENKEEL_CONFORMANCE does not name the folder of recorded conversations and logs")
	}
	for _, name := range []string{"plain", "shrunk"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEndpoint(t)
			recorded, err := os.ReadFile(filepath.Join(corpus, "aof", name+".aof"))
			if err != nil {
				t.Fatal(err)
			}
			was, is := "http://127.0.0.1:9/hook", e.URL+"/hook"
			bulk := func(s string) []byte { return fmt.Appendf(nil, "$%d\r\n%s\r\n", len(s), s) }
			if !bytes.Contains(recorded, bulk(was)) {
				t.Fatalf("the log has no hook to %s", was)
			}
			dir := t.TempDir()
			mustWrite(t, filepath.Join(dir, "appendonly.aof"), bytes.ReplaceAll(recorded, bulk(was), bulk(is)))
			s := start(t, dir)
			s.words("SET quiet adopted POINT 5 5")
			e.expect(s, "inside adopted")
			if m := e.messages()[0]; m.Hook != "hook:web" || m.Command != "set" || m.Meta["b"] != "two words" {
				t.Errorf("the message is %+v", m)
			}
			s.words("AOFSHRINK")
			s.waitFor("the end of the compaction", func() bool { return strings.Contains(s.log.String(), "compaction done") })
			s.stop()
			s = start(t, dir)
			s.words("FSET quiet adopted speed 3")
			e.expect(s, "inside adopted, inside adopted")
		})
	}
}

// TestHookQueueDiskFull: without room for messages writes get an error; what
// was acknowledged arrives once there is room.
func TestHookQueueDiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	folder := filepath.Join(dir, "hooks")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("SKIPPED: cannot mount a small filesystem (%v): run as root to test a full disk", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(folder, syscall.MNT_DETACH) })
	ballast := filepath.Join(folder, "ballast")
	mustWrite(t, ballast, make([]byte, 700<<10))
	e := newEndpoint(t)
	e.down(true)
	s := start(t, dir, "--appendfsync", "always")
	s.hook("h", e.URL, "k")
	text := strings.Repeat("x", 20_000)
	acked, failed := 0, error(nil)
	for i := 0; i < 100 && failed == nil; i++ {
		failed = s.rdb.Do(context.Background(), "SET", "k", i, "FIELD", "text", text, "POINT", 5, 5).Err()
		if failed == nil {
			acked++
		}
	}
	if failed == nil || !strings.Contains(failed.Error(), "no space left") || acked < 5 {
		t.Fatalf("after %d writes of 20 kB: %v", acked, failed)
	}
	if n := s.words("EXISTS k 0"); n != int64(1) {
		t.Error("a read fails while the disk is full")
	}
	err := s.rdb.Do(context.Background(), "SET", "k", "refused", "POINT", 5, 5).Err()
	if err == nil || s.words("EXISTS k refused") != int64(0) {
		t.Errorf("a write while messages cannot be kept: %v, and it is carried out", err)
	}
	if code, body := get(t, "http://"+s.probe+"/readyz"); code != 503 || !strings.Contains(body, "no space left") {
		t.Errorf("/readyz: %d %s", code, body)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.waitFor("writes to work again", func() bool {
		return s.rdb.Do(context.Background(), "SET", "k", "room", "POINT", 5, 5).Err() == nil
	})
	s.kill()
	s = start(t, dir)
	e.down(false)
	s.waitFor("an empty queue", func() bool { return s.metric("evenkeel_hook_queue_messages") == 0 })
	got := "," + strings.NewReplacer("enter ", "", " ", "").Replace(e.ids()) + ","
	for i := range acked {
		if !strings.Contains(got, fmt.Sprintf(",%d,", i)) {
			t.Errorf("the write of %d was acknowledged, its message has not arrived", i)
		}
	}
	if !strings.Contains(got, ",room,") {
		t.Errorf("the message of the last write has not arrived: %s", got)
	}
}
