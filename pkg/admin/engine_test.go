package admin

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestProbeEngine: what a kubelet would have asked a Tile38 itself, and nothing else.
func TestProbeEngine(t *testing.T) {
	var asked []string
	engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		if r.URL.Path == "/healthz" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	addr := strings.TrimPrefix(engine.URL, "http://")
	probe := ProbeEngine(Probe(readiness{}, nil), addr)
	try := func(path string, want int) {
		t.Helper()
		w := httptest.NewRecorder()
		probe.ServeHTTP(w, httptest.NewRequest("GET", path, nil).WithContext(t.Context()))
		if w.Code != want {
			t.Errorf("%s: %d %s, want %d", path, w.Code, w.Body, want)
		}
	}
	try("/enginez", 200)
	try("/enginez/ping", 200)
	try("/enginez/server", 200)
	try("/enginez/healthz", 500)
	try("/enginez/flushdb", 404)
	try("/livez", 200)
	if got := strings.Join(asked, " "); got != "/ping /server /healthz" {
		t.Errorf("it was asked %s", got)
	}
	engine.Close()
	try("/enginez", 503)
	try("/enginez/ping", 503)
	try("/livez", 200)
	// One that hangs is one that can be connected to, as for a tcpSocket probe.
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skipf("the address was taken meanwhile: %v", err)
	}
	defer ln.Close()
	try("/enginez", 200)
}
