package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// patience bounds every wait; nothing here takes nearly as long.
const patience = 60 * time.Second

// server is a running sidecar.
type server struct {
	t     *testing.T
	cmd   *exec.Cmd
	dir   string
	addr  string // clients
	probe string
	admin string
	log   *syncBuffer
	ended chan struct{} // closed when the process has ended
	err   error         // of Wait, after ended
	rdb   *redis.Client
}

// syncBuffer collects what a process prints.
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

// command prepares `sidecar run` on free ports.
func command(dir string, args ...string) *exec.Cmd {
	all := append([]string{
		"run", "--data-dir", dir,
		"--listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
	}, args...)
	cmd := exec.Command(binary, all...)
	// A test that is killed takes its servers along.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// start runs a sidecar and waits until it serves. Later args override earlier
// ones.
func start(t *testing.T, dir string, args ...string) *server {
	t.Helper()
	s := launch(t, dir, args...)
	s.waitFor("a banner", func() bool { return s.addr != "" })
	s.connect()
	return s
}

// connect makes the server's client.
func (s *server) connect() {
	s.rdb = redis.NewClient(&redis.Options{
		Addr: s.addr, Protocol: 2, DisableIdentity: true, MaxRetries: -1, PoolSize: 20,
		ReadTimeout: patience, WriteTimeout: patience,
	})
	s.t.Cleanup(func() { _ = s.rdb.Close() })
}

// launch runs a sidecar without waiting.
func launch(t *testing.T, dir string, args ...string) *server {
	t.Helper()
	return launched(t, dir, command(dir, args...))
}

// launched runs a command that is a sidecar.
func launched(t *testing.T, dir string, cmd *exec.Cmd) *server {
	t.Helper()
	s := &server{t: t, dir: dir, log: &syncBuffer{}, ended: make(chan struct{}), cmd: cmd}
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("sidecar in %s printed:\n%s", dir, s.log)
		}
	})
	return s
}

var bannerLines = regexp.MustCompile(`clients  (\S+)\n\s+probes   http://([^/]+)/\S* .*\n\s+admin    http://([^/]+)/`)

// waitFor polls the banner, or another condition, until it holds or the process
// ends.
func (s *server) waitFor(what string, ok func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		if m := bannerLines.FindStringSubmatch(s.log.String()); m != nil && s.addr == "" {
			s.addr, s.probe, s.admin = m[1], m[2], m[3]
		}
		if ok() {
			return
		}
		select {
		case <-s.ended:
			if !ok() {
				s.t.Fatalf("waiting for %s: the process has ended: %v\n%s", what, s.err, s.log)
			}
			return
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("waited %s for %s\n%s", patience, what, s.log)
		}
	}
}

// stop ends the process with SIGTERM and expects exit status 0.
func (s *server) stop() {
	s.t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatalf("still running %s after SIGTERM\n%s", patience, s.log)
	}
	if s.err != nil {
		s.t.Fatalf("after SIGTERM: %v\n%s", s.err, s.log)
	}
}

// kill ends the process with SIGKILL.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.ended
}

// do sends a command and fails the test on an error.
func (s *server) do(args ...any) any {
	s.t.Helper()
	v, err := s.rdb.Do(context.Background(), args...).Result()
	if err != nil {
		s.t.Fatalf("%v: %v", args, err)
	}
	return v
}

// words sends a command given as one line.
func (s *server) words(line string) any {
	s.t.Helper()
	var args []any
	for _, w := range strings.Fields(line) {
		args = append(args, w)
	}
	return s.do(args...)
}

// said carries a command out and returns OK, or its error.
func (s *server) said(line string) string {
	var args []any
	for _, w := range strings.Fields(line) {
		args = append(args, w)
	}
	if err := s.rdb.Do(context.Background(), args...).Err(); err != nil {
		return err.Error()
	}
	return "OK"
}

// signal sends the process a signal.
func (s *server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// fill sets n points in collection key, in pipelines.
func (s *server) fill(key string, n int) {
	s.t.Helper()
	ctx := context.Background()
	for i := 0; i < n; {
		p := s.rdb.Pipeline()
		for ; i < n && p.Len() < 500; i++ {
			p.Do(ctx, "SET", key, fmt.Sprintf("p%07d", i), "FIELD", "n", i, "POINT", float64(i%1700)/10-85, float64(i%3500)/10-175)
		}
		if _, err := p.Exec(ctx); err != nil {
			s.t.Fatal(err)
		}
	}
}

// status is the part of /status that the tests look at.
type status struct {
	Ready    bool
	NotReady []string `json:"not_ready"`
	Epoch    string
	Offset   int64
	Digest   string
	Follower *struct {
		State           string
		Offset          int64
		CaughtUp        bool  `json:"caught_up"`
		Reconnects      int64 `json:"reconnects"`
		FullResyncs     int64 `json:"full_resyncs"`
		RangeResyncs    int64 `json:"range_resyncs"`
		ContinueResyncs int64 `json:"continue_resyncs"`
		BytesReceived   int64 `json:"bytes_received"`
		DigestEqual     bool  `json:"digest_equal"`
	}
	Log map[string]any
}

func (s *server) status() status {
	s.t.Helper()
	_, body := get(s.t, "http://"+s.admin+"/status")
	var st status
	if err := json.Unmarshal([]byte(body), &st); err != nil {
		s.t.Fatalf("/status: %v\n%s", err, body)
	}
	return st
}

// get fetches a page.
func get(t *testing.T, url string) (code int, body string) {
	t.Helper()
	c := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// level waits until the follower stands where the leader does, in the same
// state.
func level(t *testing.T, leader, follower *server) {
	t.Helper()
	want := leader.status()
	follower.waitFor(fmt.Sprintf("offset %d and digest %s", want.Offset, want.Digest), func() bool {
		st := follower.status()
		return st.Offset == want.Offset && st.Digest == want.Digest && st.Ready
	})
}

// dial opens a plain connection.
func (s *server) dial() net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

func mustWrite(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
