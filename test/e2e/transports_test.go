package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

var elapsed = regexp.MustCompile(`,"elapsed":"[^"]*"`)

// web sends one request and returns the status and the body without its time.
func (s *server) web(method, path, password, body string) (code int, answer string, header http.Header) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if password != "" {
		req.Header.Set("Authorization", password)
	}
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Timeout: patience, Transport: tr}).Do(req)
	if err != nil {
		return 0, err.Error(), nil
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, elapsed.ReplaceAllString(strings.TrimSpace(string(b)), ""), resp.Header
}

const (
	objectA = `{"ok":true,"object":{"type":"Point","coordinates":[2,1]}}`
	locked  = `{"ok":false,"err":"authentication required"}`
)

// TestHTTP: commands by GET and POST, with and without a password, and tiles.
func TestHTTP(t *testing.T) {
	t.Parallel()
	for _, password := range []string{"", "secret"} {
		s := start(t, t.TempDir(), "--requirepass", password)
		for _, c := range []struct{ method, path, body, want string }{
			{"POST", "/", "SET fleet a POINT 1 2", `{"ok":true}`},
			{"GET", "/get+fleet+a", "", objectA},
			{"GET", "/get%20fleet%20a", "", objectA},
			{"POST", "/", "get fleet a", objectA},
			{"GET", "/nope", "", `{"ok":false,"err":"unknown command 'nope'"}`},
		} {
			code, got, header := s.web(c.method, c.path, password, c.body)
			if code != 200 || got != c.want || header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%s %s %s: %d %s %v, want %s", c.method, c.path, c.body, code, got, header, c.want)
			}
			if password == "" {
				continue
			}
			if code, got, _ := s.web(c.method, c.path, "", c.body); code != 200 || got != locked {
				t.Errorf("%s %s without a password: %d %s", c.method, c.path, code, got)
			}
			if code, got, _ := s.web(c.method, c.path, "wrong", c.body); code != 200 || got != `{"ok":false,"err":"invalid password"}` {
				t.Errorf("%s %s with a wrong password: %d %s", c.method, c.path, code, got)
			}
		}
		code, tile, header := s.web("GET", "/fleet/0/0/0.mvt", password, "")
		if code != 200 || header.Get("Content-Type") != "application/vnd.mapbox-vector-tile" || !strings.Contains(tile, "\x06tile38") {
			t.Errorf("a tile: %d %v %q", code, header, tile)
		}
		if code, _, _ := s.web("GET", "/healthz", "", ""); code != 200 {
			t.Errorf("/healthz: %d", code)
		}
	}
}

// TestNoHTTP: with --http-transport=false what speaks HTTP is hung up on, and
// everything else works.
func TestNoHTTP(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	s := start(t, t.TempDir(), "--http-transport=false", "--unix-socket", socket)
	s.words("SET fleet a POINT 1 2")
	for _, head := range []string{
		"GET /get+fleet+a HTTP/1.1\r\n", "POST / HTTP/1.1\r\nContent-Length: 11\r\n", "OPTIONS / HTTP/1.1\r\n",
		"GET /fleet/0/0/0.mvt HTTP/1.1\r\n", upgrade("/get+fleet+a"),
	} {
		c := s.dial()
		mustSend(t, c, head+"Host: x\r\n\r\n")
		if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
			t.Errorf("%q: %q (%v)", head, b, err)
		}
	}
	native(t, s)
	overUnix(t, s, socket)
}

// TestNativeAndUnix: the native protocol, and a unix socket, which is gone
// after the end.
func TestNativeAndUnix(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	s := start(t, t.TempDir(), "--unix-socket", socket)
	s.words("SET fleet a POINT 1 2")
	native(t, s)
	overUnix(t, s, socket)
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(patience))
	mustSend(t, c, "GET /get+fleet+a HTTP/1.1\r\nHost: x\r\n\r\n")
	if b, err := io.ReadAll(c); err != nil || !strings.Contains(elapsed.ReplaceAllString(string(b), ""), objectA) {
		t.Errorf("HTTP over the socket: %q (%v)", b, err)
	}
	s.stop()
	if _, err := net.Dial("unix", socket); err == nil {
		t.Error("somebody listens on the socket after the end")
	}
}

// native asks in Tile38's own protocol, with a live fence at the end.
func native(t *testing.T, s *server) {
	t.Helper()
	w := s.wire()
	ask := func(line string) { mustSend(t, w.Conn, fmt.Sprintf("$%d %s\r\n", len(line), line)) }
	next := func() string {
		var n int
		if _, err := fmt.Fscanf(w.r, "$%d ", &n); err != nil {
			t.Fatal(err)
		}
		text := make([]byte, n+2)
		if _, err := io.ReadFull(w.r, text); err != nil {
			t.Fatal(err)
		}
		return elapsed.ReplaceAllString(string(text[:n]), "")
	}
	ask("GET fleet a")
	if got := next(); got != objectA {
		t.Errorf("native GET: %s", got)
	}
	ask("WITHIN fleet FENCE DETECT enter BOUNDS 10 10 20 20")
	if got := next(); !strings.Contains(got, `{"ok":true,"live":true}`) {
		t.Errorf("native fence: %s", got)
	}
	s.words("SET fleet n POINT 15 15")
	if got := next(); !strings.Contains(got, `"detect":"enter"`) || !strings.Contains(got, `"id":"n"`) {
		t.Errorf("native message: %s", got)
	}
	s.words("DEL fleet n")
}

func overUnix(t *testing.T, s *server, socket string) {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, Protocol: 2, DisableIdentity: true, MaxRetries: -1})
	defer func() { _ = rdb.Close() }()
	ctx := context.Background()
	if err := rdb.Do(ctx, "SET", "fleet", "u", "STRING", "over unix").Err(); err != nil {
		t.Fatal(err)
	}
	if got := s.words("GET fleet u"); got != "over unix" {
		t.Errorf("GET = %v", got)
	}
}

// upgrade is the head of a WebSocket handshake but for Host.
func upgrade(path string) string {
	return "GET " + path + " HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
}

// Operations of WebSocket frames.
const (
	wsText  = 1
	wsClose = 8
	wsPing  = 9
	wsPong  = 10
)

// socket is the client's end of a WebSocket.
type socket struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

// websocket shakes hands for a path.
func (s *server) websocket(path, password string) *socket {
	s.t.Helper()
	c := s.dial()
	head := upgrade(path) + "Host: x\r\n"
	if password != "" {
		head += "Authorization: " + password + "\r\n"
	}
	mustSend(s.t, c, head+"\r\n")
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = resp.Body.Close()
	// The answer to the key of RFC 6455's example.
	if resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		s.t.Fatalf("the handshake is answered with %s %v", resp.Status, resp.Header)
	}
	return &socket{s.t, c, r}
}

// frame sends a masked frame of up to 125 bytes.
func (w *socket) frame(op byte, payload string) {
	w.t.Helper()
	mask := [4]byte{1, 2, 3, 4}
	b := []byte{0x80 | op, 0x80 | byte(len(payload)), mask[0], mask[1], mask[2], mask[3]}
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	mustSend(w.t, w.Conn, string(b))
}

// next reads a frame.
func (w *socket) next() (op byte, payload string) {
	w.t.Helper()
	var head [2]byte
	w.full(head[:])
	n := uint64(head[1])
	if longer := map[uint64]int{126: 2, 127: 8}[n]; longer > 0 {
		n = 0
		b := make([]byte, longer)
		w.full(b)
		for _, digit := range b {
			n = n<<8 | uint64(digit)
		}
	}
	text := make([]byte, n)
	w.full(text)
	return head[0] & 0xf, string(text)
}

func (w *socket) full(b []byte) {
	w.t.Helper()
	if _, err := io.ReadFull(w.r, b); err != nil {
		w.t.Fatal(err)
	}
}

// TestWebSocketFence: a live fence on a WebSocket tells what enters, answers
// pings, and ends with a close.
func TestWebSocketFence(t *testing.T) {
	t.Parallel()
	for _, password := range []string{"", "secret"} {
		s := start(t, t.TempDir())
		if password != "" {
			s.words("CONFIG SET requirepass " + password)
			s.do("AUTH", password)
			w := s.websocket("/within+fleet+fence+detect+enter+bounds+0+0+10+10", "")
			if op, text := w.next(); op != wsText || elapsed.ReplaceAllString(text, "") != locked {
				t.Errorf("without a password: %d %s", op, text)
			}
			// With it, the answer to it is all that comes.
			w = s.websocket("/within+fleet+fence+detect+enter+bounds+0+0+10+10", password)
			if op, text := w.next(); op != wsText || elapsed.ReplaceAllString(text, "") != `{"ok":true}` {
				t.Errorf("with the password: %d %s", op, text)
			}
			continue
		}
		w := s.websocket("/within+fleet+fence+detect+enter+bounds+0+0+10+10", "")
		if op, text := w.next(); op != wsText || !strings.Contains(text, `{"ok":true,"live":true}`) {
			t.Fatalf("the fence is answered with %d %s", op, text)
		}
		for i := range 3 {
			s.do("SET", "fleet", i, "FIELD", "text", strings.Repeat("x", 40_000*i), "POINT", 5, 5)
			op, text := w.next()
			if op != wsText || !strings.Contains(text, fmt.Sprintf(`"id":"%d"`, i)) || !strings.Contains(text, `"detect":"enter"`) {
				t.Errorf("message %d: %d %.300s", i, op, text)
			}
		}
		w.frame(wsPing, "still there?")
		if op, text := w.next(); op != wsPong || text != "still there?" {
			t.Errorf("a ping is answered with %d %q", op, text)
		}
		w.frame(wsClose, "\x03\xe8bye")
		if op, text := w.next(); op != wsClose || !strings.HasPrefix(text, "\x03\xe8") {
			t.Errorf("a close is answered with %d %q", op, text)
		}
		if b, err := io.ReadAll(w.r); err != nil || len(b) > 0 {
			t.Errorf("after the close: %q (%v)", b, err)
		}
		s.waitFor("no listeners", func() bool { return s.metric("evenkeel_listeners") == 0 })
	}
}

// TestRESP3: off unless asked for; then go-redis speaks it with its HELLO, and
// messages are pushes.
func TestRESP3(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, on := range []bool{false, true} {
		s := start(t, t.TempDir(), "--http-transport=false")
		w := s.wire()
		if !on {
			w.ask("HELLO 3", "-ERR unknown command 'HELLO'")
			continue
		}
		s.words("CONFIG SET resp3 yes")
		w.send("HELLO 3")
		if got := w.next(); !strings.HasPrefix(got, "% ") || !strings.Contains(got, "proto :3") {
			t.Errorf("HELLO 3: %s", got)
		}
		w.ask("SUBSCRIBE ch", "> subscribe ch :1")
		w.ask("PING", "+PONG")
		rdb := redis.NewClient(&redis.Options{Addr: s.addr, Protocol: 3, MaxRetries: -1, ReadTimeout: patience})
		t.Cleanup(func() { _ = rdb.Close() })
		sub := rdb.Subscribe(ctx, "ch")
		t.Cleanup(func() { _ = sub.Close() })
		if _, err := sub.Receive(ctx); err != nil {
			t.Fatal(err)
		}
		if n, err := rdb.Publish(ctx, "ch", "hello").Result(); err != nil || n != 2 {
			t.Errorf("PUBLISH = %d (%v), want 2", n, err)
		}
		if got := w.next(); got != "> message ch hello" {
			t.Errorf("the push is %s", got)
		}
		if m, err := sub.ReceiveMessage(ctx); err != nil || m.Channel != "ch" || m.Payload != "hello" {
			t.Errorf("go-redis has got %v (%v)", m, err)
		}
		if err := rdb.Do(ctx, "SET", "k", "a", "POINT", 1, 1).Err(); err != nil {
			t.Error(err)
		}
	}
}

// TestClientHabits: what libraries for Tile38 do that a person with a terminal
// does not.
func TestClientHabits(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	// Two words of a command sent as one.
	w := s.wire()
	for _, c := range [][2]string{
		{"CONFIG SET", "+OK"}, {"CONFIG get", "* keepalive 123"}, {"CONFIG REWRITE", "+OK"},
	} {
		args := map[string][]string{"CONFIG SET": {"keepalive", "123"}, "CONFIG get": {"keepalive"}}[c[0]]
		w.sendArgs(append([]string{c[0]}, args...)...)
		if got := w.next(); got != c[1] {
			t.Errorf("%q %v: %s, want %s", c[0], args, got, c[1])
		}
	}
	// In JSON, QUIT is not answered: libraries wait for the end and would take an
	// answer for something else's.
	for output, want := range map[string]string{"resp": "+OK\r\n", "json": ""} {
		w := s.wire()
		w.send("OUTPUT " + output)
		w.next()
		w.send("QUIT")
		if b, err := io.ReadAll(w.r); err != nil || string(b) != want {
			t.Errorf("QUIT with OUTPUT %s: %q (%v), want %q", output, b, err, want)
		}
	}
}
