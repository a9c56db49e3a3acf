package node

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
	"evenkeel/pkg/proxy"
)

var (
	lengths = regexp.MustCompile(`Content-Length: (\d+)`)
	native  = regexp.MustCompile(`(?m)^\$(\d+) `)
)

// exchange sends text on a connection of its own and returns everything that
// comes until the end, which the client begins if half. Times and right lengths
// are taken out.
func (s *server) exchange(text string, half bool) string {
	s.t.Helper()
	c := s.dial()
	c.raw(text)
	if tcp, ok := c.Conn.(*net.TCPConn); ok && half {
		if err := tcp.CloseWrite(); err != nil {
			s.t.Fatal(err)
		}
	}
	b, err := io.ReadAll(c.r)
	if err != nil {
		s.t.Fatalf("%q: %v after %q", text, err, b)
	}
	got := string(b)
	if head, body, ok := strings.Cut(got, "\r\n\r\n"); ok {
		if m := lengths.FindStringSubmatch(head); len(m) == 2 && m[1] == strconv.Itoa(len(body)) {
			got = strings.Replace(got, m[0], "Content-Length: <right>", 1)
		}
	}
	return elapsed.ReplaceAllString(got, "")
}

const (
	upgrade  = "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
	upgraded = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)

func get(path string, header ...string) string {
	return "GET " + path + " HTTP/1.1\r\n" + strings.Join(header, "") + "\r\n"
}

// httpAnswer is an HTTP answer.
func httpAnswer(status, kind, body string) string {
	return "HTTP/1.1 " + status + "\r\nConnection: close\r\nContent-Type: " + kind +
		"\r\nContent-Length: <right>\r\nAccess-Control-Allow-Origin: *\r\n\r\n" + body
}

func ok(body string) string {
	return httpAnswer("200 OK", "application/json; charset=utf-8", body+"\r\n")
}

func refused(text string) string { return ok(`{"ok":false,"err":"` + text + `"}`) }

// TestHTTP: one request, one answer, the end.
func TestHTTP(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	s.seen.take()
	for _, tc := range []struct{ send, want string }{
		{get("/ping"), ok(`{"ok":true,"ping":"pong"}`)},
		{get("/set+k+a+point+1+2"), ok(`{"ok":true}`)},
		{get("/get+k+a+point") + "SET k never POINT 1 1\r\n", ok(`{"ok":true,"point":{"lat":1,"lon":2}}`)},
		{get("/get+k+never"), refused("id not found")},
		{"POST /set+k+b+ HTTP/1.1\r\nContent-Length: 9\r\n\r\npoint 1 2", ok(`{"ok":true}`)},
		{get("/scan+k+count"), ok(`{"ok":true,"count":2,"cursor":0}`)},
		{get("/output+resp"), ok("+OK\r\n")},
		{get("/quit"), ""},
		{get("/auth+x"), refused("invalid password")}, // with a password it is not known
		{get("/nosuch+x?y"), refused("unknown command 'nosuch'")},
		{get("/ping?x"), refused("unknown command 'ping'")},
		{get("/?ping"), refused("unknown command ''")},
		{get("/ping+?x"), ok(`{"ok":true,"ping":"?x"}`)},
		{get("/ping", "Authorization: nonsense\r\n"), ok(`{"ok":true,"ping":"pong"}`)},
		{get("/get+k+c", "Authorization: nonsense\r\n"), refused("id not found")},
		{get("/viewer"), httpAnswer("404 Not Found", "text/html", "<h1>404 Not Found</h1>\n")},
		{get("/viewer/index.html?x"), httpAnswer("404 Not Found", "text/html", "<h1>404 Not Found</h1>\n")},
		{get("/viewer/../x"), httpAnswer("404 Not Found", "text/html", "<h1>404 Not Found</h1>\n")},
		{get("/viewer/"), strings.Replace(httpAnswer("307 Redirect", "text/html", "<h1>307 Redirect</h1>\n"), "\r\n\r\n", "\r\nLocation: /viewer\r\n\r\n", 1)},
		{get("/viewer+a"), refused("unknown command 'viewer'")},
	} {
		if got := s.exchange(tc.send, false); got != tc.want {
			t.Errorf("%q:\n got %q\nwant %q", tc.send, got, tc.want)
		}
	}
	if got := s.seen.take(); !strings.HasPrefix(got, "ping set get get! set scan output quit auth! other! other! other! ping ping get! other!") {
		t.Errorf("observed %q", got)
	}
	// The connection of a preflight goes on.
	got := s.exchange("OPTIONS /x HTTP/1.1\r\nOrigin: y\r\n\r\n"+"OPTIONS * HTTP/1.0\r\n\r\n", true)
	const preflight = "HTTP/1.1 204 No Content\r\nConnection: close\r\nAccess-Control-Allow-Origin: *\r\n" +
		"Access-Control-Allow-Headers: *, Authorization\r\nAccess-Control-Allow-Methods: POST, GET, OPTIONS\r\n\r\n"
	if got != preflight+preflight {
		t.Errorf("preflight: %q", got)
	}
}

// TestHTTPPassword: the header stands for AUTH; pages need none.
func TestHTTPPassword(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	s.dial().talk([][2]string{{"CONFIG SET requirepass p1", "+OK"}})
	right, wrong := "Authorization:  p1 \r\n", "authorization: p2\r\n"
	required := `{"ok":false,"err":"authentication required"}`
	failed := func(body string) string {
		return httpAnswer("500 Internal Server Error", "application/json; charset=utf-8", body+"\r\n")
	}
	for _, tc := range []struct{ send, want string }{
		{get("/get+k+a"), ok(required)},
		{get("/nosuch?x"), ok(required)},
		{get("/get+k+a", wrong), refused("invalid password")},
		{get("/nosuch", wrong), refused("invalid password")},
		{get("/get+k+a", wrong, right), refused("key not found")},
		{get("/get+k+a", right, wrong), refused("invalid password")},
		{get("/get+k+a", "Authorization: Bearer p1\r\n"), refused("invalid password")},
		{get("/ping", wrong), ok(`{"ok":true,"ping":"pong"}`)},
		{get("/healthz"), ok(`{"ok":true}`)},
		{get("/healthz+x"), failed(`{"ok":false,"err":"invalid number of arguments"}`)},
		{get("/auth+p1"), refused("unknown command 'auth'")},
		{get("/viewer", wrong), httpAnswer("404 Not Found", "text/html", "<h1>404 Not Found</h1>\n")},
		{get("/k/0/0/0.mvt"), failed(required)},
		{get("/k/0/0/0.mvt", wrong), failed(`{"ok":false,"err":"invalid password"}`)},
		{get("/get+k+a", upgrade), upgraded + required},
		// As in Tile38 a WebSocket that needs a password gets the answer to AUTH.
		{get("/get+k+a", upgrade, right), upgraded + `{"ok":true}`},
		{get("/auth+p1", upgrade), upgraded + `{"ok":true}`},
		{"$7 AUTH p1\r\n$7 GET k a\r\n", `{"ok":true}{"ok":false,"err":"key not found"}`},
	} {
		got := s.exchange(tc.send, strings.HasPrefix(tc.send, "$"))
		if head, body, found := strings.Cut(got, "\r\n\r\n\x81"); found { // the length of the frame depends on the time it took
			got = head + "\r\n\r\n" + body[1:]
		} else if strings.HasPrefix(tc.send, "$") {
			got = strings.ReplaceAll(native.ReplaceAllString(got, ""), "\r\n", "")
		}
		if got != tc.want {
			t.Errorf("%q:\n got %q\nwant %q", tc.send, got, tc.want)
		}
	}
}

// TestTiles: status and type say whether there is a tile.
func TestTiles(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	s.dial().talk([][2]string{{"SET k a POINT 1 1", "+OK"}})
	for path, head := range map[string]string{
		"/k/0/0/0.mvt": "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/vnd.mapbox-vector-tile\r\nContent-Length: <right>\r\n",
		"/k/0/x/0.pbf": "HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: <right>\r\n",
	} {
		if got := s.exchange(get(path), false); !strings.HasPrefix(got, head) || !strings.HasSuffix(got, "\r\n") {
			t.Errorf("%s: %q", path, got)
		}
	}
	// The output of the connection does not matter.
	if got := s.exchange("PING\r\n"+get("/k/0/x/0.mvt"), false); !strings.Contains(got, `{"ok":false,"err":"invalid argument 'x'"}`) {
		t.Errorf("after RESP: %q", got)
	}
}

// TestWebSocketCommand: the handshake, one frame, the end.
func TestWebSocketCommand(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	for path, want := range map[string]string{
		"/output+resp": "\x81\x05+OK\r\n", "/quit": "", "/": "",
	} {
		if got := s.exchange(get(path, upgrade), false); got != upgraded+want {
			t.Errorf("%s: %q", path, got)
		}
	}
	for path, want := range map[string]string{
		"/ping": `{"ok":true,"ping":"pong"}`, "/ping?x": `{"ok":false,"err":"unknown command 'ping?x'"}`,
		"/viewer": `{"ok":false,"err":"unknown command 'viewer'"}`, "/k/0/0/0.mvt": `{"ok":false,"err":"unknown command 'k/0/0/0.mvt'"}`,
	} {
		got, found := strings.CutPrefix(s.exchange(get(path, upgrade), false), upgraded+"\x81")
		if !found || got[1:] != want {
			t.Errorf("%s: %q", path, got)
		}
	}
}

// TestNativeCommands: the envelope goes with the form of each command, the
// output with the connection.
func TestNativeCommands(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	for _, tc := range []struct{ send, want string }{
		{"$4 PING\r\nPING\r\n$4 nope\r\n$17 SET k a POINT 1 1\r\n$12 SET k b HASH\r\n",
			`$N {"ok":true,"ping":"pong"}|$N|{"ok":true,"ping":"pong"}|$N {"ok":false,"err":"unknown command 'nope'"}|$N {"ok":true}|$N {"ok":false,"err":"invalid number of arguments"}|`},
		{"PING\r\n$4 PING\r\n$17 SET k a POINT 1 1\r\nSET k a\r\n", "+PONG|$N +PONG||$N +OK||-ERR wrong number of arguments for 'set' command|"},
		{"$11 OUTPUT resp\r\n$13 GET k a POINT\r\nOUTPUT json\r\n$4 PING\r\n", `$N +OK||$N *2|$N|1|$N|1||$N|{"ok":true}|$N {"ok":true,"ping":"pong"}|`},
		{"$4 QUIT\r\n$4 PING\r\n", ""},
		{"PING\r\n$4 QUIT\r\n$4 PING\r\n", "+PONG|+OK|"},
		{"$2 \"\"\r\n", `$N {"ok":false,"err":"unknown command '\"\"'"}|`},
		// A command without a name, over anything but HTTP.
		{"*1\r\n$0\r\n\r\nPING\r\n", "HTTP/1.1 500 Bad Request|Connection: close||+PONG|"},
		{"OUTPUT json\r\n\"\" x\r\n", `$N|{"ok":true}|HTTP/1.1 500 Bad Request|Connection: close||`},
	} {
		got := s.exchange(tc.send, true)
		got = regexp.MustCompile(`\$\d+( |\r\n)`).ReplaceAllString(got, "$$N$1")
		if got = strings.ReplaceAll(got, "\r\n", "|"); got != tc.want {
			t.Errorf("%q:\n got %s\nwant %s", tc.send, got, tc.want)
		}
	}
	s.dial().talk([][2]string{{"SCAN k COUNT", ":1"}})
}

// TestEnvelopeOfLateErrors: what the log or the size of a reply turns into an
// error later is in the envelope, too.
func TestEnvelopeOfLateErrors(t *testing.T) {
	s := serve(t, t.TempDir(), config{proxy: proxy.Options{MaxOutput: 200}})
	c := s.dial()
	for i := range 20 {
		c.do(fmt.Sprintf("SET k id%d STRING value", i))
	}
	if got := s.exchange(get("/scan+k"), false); !strings.HasPrefix(got, ok(`{"ok":false,"err":"the reply is too large`)[:150]) {
		t.Errorf("too large: %q", got)
	}
	disk := fsxtest.New(fsx.OS{})
	s = serve(t, t.TempDir(), config{fs: disk})
	disk.FailOp(fsxtest.OpWrite, syscall.ENOSPC)
	for _, tc := range []struct{ send, head string }{
		{get("/set+k+a+point+1+1"), ok(`{"ok":false,"err":"`)},
		{get("/set+k+a+point+1+1", upgrade), upgraded + "\x81"},
		{"$17 SET k a POINT 1 1\r\n", "$"},
	} {
		got := s.exchange(tc.send, strings.HasPrefix(tc.send, "$"))
		if !strings.HasPrefix(got, strings.TrimSuffix(tc.head, "\r\n")) || strings.Count(got, `{"ok":false,"err":"`) != 1 {
			t.Errorf("%q: %q", tc.send, got)
		}
	}
	// Each answer of a mixed pipeline is disowned in its own form.
	c = s.dial()
	c.raw("SET k b POINT 1 1\r\n$17 SET k a POINT 1 1\r\nPING\r\n")
	for i, head := range []string{"-ERR ", "$", "+PONG"} {
		if got, err := c.r.ReadString('\n'); err != nil || !strings.HasPrefix(got, head) || head == "$" && !strings.Contains(got, " -ERR ") {
			t.Errorf("answer %d of a mixed pipeline: %q, %v", i, got, err)
		}
		if head == "$" {
			if end, err := c.r.ReadString('\n'); end != "\r\n" {
				t.Errorf("%q, %v", end, err)
			}
		}
	}
	disk.FailOp(fsxtest.OpWrite, nil)
}

// TestStreamsOverOtherTransports: AOF is sent as it is.
func TestStreamsOverOtherTransports(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	s.dial().talk([][2]string{{"SET k a POINT 1 1", "+OK"}})
	want := "+OK\r\n" + encode("SET k a POINT 1 1")
	for send, head := range map[string]string{"$5 AOF 0\r\n": "", get("/aof+0"): "", get("/aof+0", upgrade): upgraded} {
		c := s.dial()
		c.raw(send)
		got := make([]byte, len(head+want))
		if _, err := io.ReadFull(c.r, got); err != nil || string(got) != head+want {
			t.Errorf("%q: %q, %v", send, got, err)
		}
		_ = c.Close()
	}
}
