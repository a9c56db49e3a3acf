package resp

import (
	"bytes"
	"strings"
	"testing"
)

func TestReadHead(t *testing.T) {
	const upgrade = "Upgrade: websocket\r\nSec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n"
	for _, c := range []struct {
		in            string
		command       string
		body          int
		http, ok, bad bool
	}{
		{in: "GET /get+k%20a HTTP/1.1\r\n\r\n", command: "get k a", http: true, ok: true},
		{in: "POST /x HTTP/1.1\r\nA: b\r\ncontent-length: 12\r\n\r\nbody", command: "x", body: 12, http: true, ok: true},
		{in: "GET /x HTTP/1.1\r\nContent-Length: 12\r\n" + upgrade + "\r\n", command: "x", http: true, ok: true},
		{in: "GET /x HTTP/1.1\r\nA: b\r\n\r", http: true},
		{in: "GET /x HTTP/1.1\r\n", http: true},
		{in: "GET /x HTTP/1.1\r"},
		{in: "GET x\r\n\r\n"},
		{in: "DEL /x HTTP/1.1\r\n\r\n"},
		{in: "PUT /x HTTP/1.1\r\n\r\n", http: true, bad: true},
		{in: "GET x HTTP/1.1\r\n\r\n", http: true, bad: true},
		{in: "GET /%zz HTTP/1.1\r\n\r\n", http: true, bad: true},
		{in: "POST /x HTTP/1.1\r\nContent-Length: -1\r\n\r\n", http: true, bad: true},
		{in: "POST /x HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", http: true, bad: true},
	} {
		h, http, ok, err := ReadHead([]byte(c.in), Limits{})
		size := 0
		if c.ok {
			size = strings.Index(c.in, "\r\n\r\n") + 4
		}
		if http != c.http || ok != c.ok || (err != nil) != c.bad || h.Command != c.command || h.Body != c.body || h.Size != size ||
			c.ok && (h.Handshake != "") != strings.Contains(c.in, upgrade) {
			t.Errorf("%q: %+v, http %v, ok %v, %v", c.in, h, http, ok, err)
		}
	}
}

// FuzzReadHead compares with Reader: what is a request to one is to the other.
func FuzzReadHead(f *testing.F) {
	f.Add([]byte("POST /set+k HTTP/1.1\r\nContent-Length: 3\r\n\r\n a "))
	f.Add([]byte("GET /get+k+a HTTP/1.0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, http, ok, err := ReadHead(b, Limits{})
		if len(b) == 0 || b[0] == '*' || b[0] == '$' || b[0] == '\r' || b[0] == '\n' || b[0] == ' ' {
			return
		}
		cmd, rerr := NewReader(bytes.NewReader(b), Limits{}).Next()
		if rerr == nil && (cmd.Kind >= HTTP) != ok {
			t.Errorf("%q: http %v, ok %v, %v; a reader has %+v", b, http, ok, err, cmd)
		}
		if rerr == nil && ok && cmd.Size != h.Size+h.Body {
			t.Errorf("%q: %d and %d bytes; a reader has %d", b, h.Size, h.Body, cmd.Size)
		}
	})
}
