package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type readiness []string // the reasons against it

func (r readiness) Ready() (bool, []string) { return len(r) == 0, r }

type unexplained struct{}

func (unexplained) Ready() (bool, []string) { return false, nil }

type status struct{ value any }

func (s status) Status() any { return s.value }

func TestProbe(t *testing.T) {
	late := readiness{"follower: 3.2 s behind (max 1 s)", "log not writable: disk full"}
	tests := []struct {
		name, method, url, accept string
		ready                     Readiness
		status                    int
		body                      string
	}{
		{"alive", "GET", "/livez", "", late, 200, "ok\n"},
		{"alive, JSON", "GET", "/livez?format=json", "", late, 200, `{"live":true}` + "\n"},
		{"ready", "GET", "/readyz", "*/*", readiness{}, 200, "ok\n"},
		{"ready, JSON", "GET", "/readyz", "application/json", readiness{}, 200, `{"ready":true,"reasons":[]}` + "\n"},
		{"late", "GET", "/readyz", "", late, 503, "not ready: follower: 3.2 s behind (max 1 s); log not writable: disk full\n"},
		{"late, JSON", "GET", "/readyz", "text/html, application/json;q=0.9", late, 503,
			`{"ready":false,"reasons":["follower: 3.2 s behind (max 1 s)","log not writable: disk full"]}` + "\n"},
		{"text is asked for", "GET", "/readyz?format=text", "application/json", readiness{}, 200, "ok\n"},
		{"JSON is refused", "GET", "/readyz", "application/json;q=0", readiness{}, 200, "ok\n"},
		{"no reason", "GET", "/readyz", "", unexplained{}, 503, "not ready: no reason was given\n"},
		{"metrics", "GET", "/metrics", "", late, 200, "numbers"},
		{"other method", "POST", "/readyz", "", late, 405, "Method Not Allowed\n"},
		{"other path", "GET", "/debug/pprof/", "", late, 404, "404 page not found\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			numbers := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "numbers") })
			req := httptest.NewRequest(tt.method, tt.url, nil)
			if tt.accept != "" {
				req.Header.Set("Accept", tt.accept)
			}
			w := httptest.NewRecorder()
			Probe(tt.ready, numbers).ServeHTTP(w, req)
			if w.Code != tt.status || w.Body.String() != tt.body {
				t.Errorf("%d %q, want %d %q", w.Code, w.Body, tt.status, tt.body)
			}
		})
	}
	w := httptest.NewRecorder()
	Probe(late, nil).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 404 {
		t.Errorf("/metrics without metrics: %d", w.Code)
	}
}

// serve runs h on a real socket until the test ends.
func serve(t *testing.T, h http.Handler, o ServeOptions) (addr string, stop func() error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, ln, h, o) }()
	stopped := false
	stop = func() error {
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() {
		if !stopped {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
	})
	return ln.Addr().String(), stop
}

// get asks for a path, by a Host of choice, and returns status and body.
func get(t *testing.T, addr, host, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host, req.Close = host, true
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestAdmin(t *testing.T) {
	addr, _ := serve(t, Admin(status{map[string]int{"objects": 5}}), ServeOptions{})
	if code, body := get(t, addr, "", "/"); code != 200 || !strings.Contains(body, "/status") {
		t.Errorf("index: %d %q", code, body)
	}
	code, body := get(t, addr, "localhost:1", "/status")
	var got map[string]int
	if err := json.Unmarshal([]byte(body), &got); err != nil || code != 200 || got["objects"] != 5 {
		t.Errorf("status: %d %q, %v", code, body, err)
	}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap?debug=1", "/debug/pprof/cmdline", "/debug/pprof/symbol"} {
		if code, _ := get(t, addr, "", path); code != 200 {
			t.Errorf("%s: %d", path, code)
		}
	}
	if code, _ := get(t, addr, "", "/nosuch"); code != 404 {
		t.Errorf("an unknown path: %d", code)
	}
	for _, host := range []string{"evil.example", "evil.example:9849", "127.0.0.1.evil.example", "10.0.0.1"} {
		if code, body := get(t, addr, host, "/status"); code != 403 {
			t.Errorf("Host %s: %d %q, want 403", host, code, body)
		}
	}
	for _, host := range []string{"127.0.0.1", "127.9.9.9:80", "[::1]:9849", "[::1]", "localhost"} {
		if code, body := get(t, addr, host, "/status"); code != 200 {
			t.Errorf("Host %s: %d %q, want 200", host, code, body)
		}
	}
}

func TestAction(t *testing.T) {
	var got url.Values
	h := Admin(status{1}, Action{Name: "promote", Help: "hand over", Do: func(_ context.Context, v url.Values) (any, error) {
		got = v
		if v.Get("pod") == "" {
			return nil, errors.New("which pod?")
		}
		return map[string]string{"leader": v.Get("pod")}, nil
	}})
	for _, tt := range []struct {
		name, method, url, origin string
		code                      int
		body                      string
	}{
		{"done", "POST", "/promote?pod=b", "", 200, `{"leader":"b"}`},
		{"cannot be done", "POST", "/promote", "", 409, `{"error":"which pod?"}`},
		{"by a link", "GET", "/promote?pod=b", "", 405, ""},
		{"by another page", "POST", "/promote?pod=b", "https://other.example", 403, ""},
		{"is listed", "GET", "/", "", 200, "/promote        hand over (POST)"},
	} {
		got = nil
		req := httptest.NewRequest(tt.method, tt.url, nil)
		if tt.origin != "" {
			req.Header.Set("Origin", tt.origin)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.body) {
			t.Errorf("%s: %d %q, want %d %q", tt.name, w.Code, w.Body, tt.code, tt.body)
		}
		if did := got != nil; did != (tt.method == "POST" && tt.origin == "") {
			t.Errorf("%s: done %v", tt.name, did)
		}
	}
}

func TestStatusThatCannotBeWritten(t *testing.T) {
	w := httptest.NewRecorder()
	Admin(status{math.NaN()}).ServeHTTP(w, httptest.NewRequest("GET", "/status", nil))
	if w.Code != 500 || !strings.Contains(w.Body.String(), "NaN") {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

// slow answers when it is let go, or gives up with its request.
type slow struct{ began, release, gaveUp chan struct{} }

func newSlow() slow {
	return slow{make(chan struct{}, 1), make(chan struct{}), make(chan struct{}, 1)}
}

func (s slow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.began <- struct{}{}
	select {
	case <-s.release:
		_, _ = io.WriteString(w, "done")
	case <-r.Context().Done():
		s.gaveUp <- struct{}{}
	}
}

func TestShutdownWaitsForRunningRequests(t *testing.T) {
	h := newSlow()
	addr, stop := serve(t, h, ServeOptions{})
	answer := make(chan string, 1)
	go func() {
		_, body := get(t, addr, "", "/")
		answer <- body
	}()
	<-h.began
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	for { // the listener closes first
		c, err := net.Dial("tcp", addr)
		if err != nil {
			break
		}
		_ = c.Close()
	}
	close(h.release)
	if body := <-answer; body != "done" {
		t.Errorf("the running request got %q", body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestShutdownCutsOffAfterTheDrainTimeout(t *testing.T) {
	h := newSlow()
	addr, stop := serve(t, h, ServeOptions{DrainTimeout: 20 * time.Millisecond})
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-h.began
	if err := stop(); err != nil {
		t.Error(err)
	}
	select {
	case <-h.gaveUp:
	default:
		t.Error("Serve returned before its handler")
	}
}

func TestLimits(t *testing.T) {
	addr, _ := serve(t, http.NotFoundHandler(), ServeOptions{HeaderTimeout: 30 * time.Millisecond, HeaderBytes: 1 << 10})
	tests := []struct{ name, send, want string }{
		{"a header that never ends", "GET / HTTP/1.1\r\nHost:", ""},
		{"a header that is too large", "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10), "HTTP/1.1 431 "},
	}
	for _, tt := range tests {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, tt.send) // the server may end the connection while we write
		reply, err := io.ReadAll(c)       // or reset it while we read
		if os.IsTimeout(err) {
			t.Errorf("%s: the connection was kept", tt.name)
		}
		if err == nil && !strings.HasPrefix(string(reply), tt.want) {
			t.Errorf("%s: answered %q, want %q", tt.name, reply, tt.want)
		}
		if strings.Contains(string(reply), "404") {
			t.Errorf("%s: reached the handler", tt.name)
		}
		_ = c.Close()
	}
}

func TestServeFails(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	if err := Serve(t.Context(), ln, http.NotFoundHandler(), ServeOptions{}); err == nil || !strings.Contains(err.Error(), ln.Addr().String()) {
		t.Errorf("a closed listener: %v", err)
	}
	err = Serve(t.Context(), ln, http.NotFoundHandler(), ServeOptions{ReadTimeout: -1, HeaderBytes: -1})
	if err == nil || !strings.Contains(err.Error(), "read timeout") || !strings.Contains(err.Error(), "header bytes") {
		t.Errorf("bad options: %v", err)
	}
}
