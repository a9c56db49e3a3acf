package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"evenkeel/pkg/resp"
)

const (
	get     = "GET /hijack HTTP/1.1\r\nHost: x\r\n\r\n"
	upgrade = "GET /hijack HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

// What is no command is told only to those whose last command was RESP or a
// plain line; limits are told in the words of the transport.
func TestErrorsOfOtherTransports(t *testing.T) {
	f := start(t, Options{Limits: resp.Limits{MaxBulk: 50, MaxHeader: 50}})
	for _, tc := range []struct{ send, want string }{
		{"$x PING\r\n", ""},
		{"PING\r\n$x PING\r\n", "+PONG\r\n-Protocol error: invalid message\r\n"},
		{"$4 PING\r\n$x PING\r\n", "+PONG\r\n"},
		{"$4 PING\r\n*x\r\n", "+PONG\r\n"},
		{"$4 PING\r\nPING\r\n*x\r\n", "+PONG\r\n+PONG\r\n-Protocol error: invalid multibulk length\r\n"},
		{"PUT / HTTP/1.1\r\n\r\n", ""},
		{"PING\r\nPUT / HTTP/1.1\r\n\r\n", "+PONG\r\n-invalid HTTP request\r\n"},
		{"GET / HTTP/1.1\r\n\r\n", ""},
		{"PING\r\nGET / HTTP/1.1\r\n\r\n", "+PONG\r\n"},
		{"$51 PING\r\n", "$90 {\"ok\":false,\"err\":\"Protocol error: invalid bulk length: 51 bytes, at most 50 are allowed\"}\r\n"},
		{"POST / HTTP/1.1\r\nContent-Length: 51\r\n\r\n", "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n" +
			"Content-Type: application/json; charset=utf-8\r\nContent-Length: 87\r\nAccess-Control-Allow-Origin: *\r\n\r\n" +
			"{\"ok\":false,\"err\":\"Protocol error: too large body: 51 bytes, at most 50 are allowed\"}\r\n"},
	} {
		c := f.dial()
		c.send(tc.send)
		c.wantEnd(tc.want)
	}
	c := f.dial()
	c.send("GET / HTTP/1.1\r\nX: " + strings.Repeat("y", 100))
	if got := c.wantCut(); !strings.HasPrefix(got, "HTTP/1.1 431 ") {
		t.Errorf("a large head: %q", got)
	}
	f.closedFor(ClosedProtocol, 12)
	f.eventually("connections counted by transport", func() bool {
		n := f.Stats().Transports
		return n[resp.Inline] == 3 && n[resp.Native] == 3 && n[resp.RESP] == 0 && n[resp.HTTP] == 0
	})
}

// A hijacker learns the form of its command and gets what follows: commands
// from all but WebSockets, messages from those.
func TestHijackedTransports(t *testing.T) {
	f := start(t, Options{})
	f.toy.hijack = func(_ context.Context, h Hijacked) error {
		for {
			cmd, err := h.Reader.Next()
			if err != nil {
				if errors.Is(err, io.EOF) {
					return nil
				}
				return err
			}
			if err := h.Conn.SetWriteDeadline(time.Time{}); err != nil {
				return err
			}
			out := h.AppendReply(nil, []byte(":1\r\n"))
			out = h.AppendMessage(out, []byte(cmd.Kind.String()+strings.Join(cmd.Args, ",")))
			if _, err := h.Conn.Write(out); err != nil {
				return err
			}
			if err := h.Conn.SetWriteDeadline(time.Unix(1, 0)); err != nil { // as if this push were long ago
				return err
			}
			if cmd.Args[0] == "END" {
				return nil
			}
		}
	}
	const mask = "\x00\x00\x00\x00"
	for _, tc := range []struct{ send, want string }{
		{"HIJACK\r\nA b\r\n$3 END\r\n", "+OK\r\n:1\r\n$9\r\ninlineA,b\r\n:1\r\n$9\r\nnativeEND\r\n"},
		{"$6 HIJACK\r\nA b\r\n$3 END\r\n", "+OK\r\n$4 :1\r\n\r\n$9 inlineA,b\r\n$4 :1\r\n\r\n$9 nativeEND\r\n"},
		{get + "A b\r\nEND\r\n", "+OK\r\n"},
		{upgrade + "\x81\x83" + mask + "A b" + "\x89\x82" + mask + "hi" + "\x82\x83" + mask + "END",
			"+OK\r\n\x81\x04:1\r\n\x81\x0cwebsocketA,b\x8a\x02hi\x81\x04:1\r\n\x81\x0cwebsocketEND"},
		{upgrade + "\x88\x82" + mask + "\x03\xe8", "+OK\r\n\x88\x02\x03\xe8"},
		{upgrade + "END\r\n", "+OK\r\n\x88\x17\x03\xeareserved bits are set"},
	} {
		c := f.dial()
		c.send(tc.send)
		if got := c.wantCut(); got != tc.want {
			t.Errorf("%q: %q, want %q", tc.send, got, tc.want)
		}
	}
	f.closedFor(ClosedByHijack, 6)
	if n := f.Stats().Transports; n[resp.Inline] != 1 || n[resp.Native] != 1 || n[resp.HTTP] != 1 || n[resp.WebSocket] != 3 {
		t.Errorf("counted %v", n)
	}
}

// A client that trickles the head of a request is cut off; one that is slow
// with anything else is not.
func TestHeaderTimeout(t *testing.T) {
	f := start(t, Options{HeaderTimeout: 100 * time.Millisecond})
	quiet, body, slow := f.dial(), f.dial(), f.dial()
	quiet.send("*1\r\n$4\r\nPI")
	body.send("POST /ping+ HTTP/1.1\r\nContent-Length: 1\r\n\r\n")
	slow.send("GET /ping HTTP/1.1\r\n")
	go func() {
		for {
			if _, err := io.WriteString(slow, "A: b\r\n"); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	if got := slow.wantCut(); got != "" {
		t.Errorf("got %q", got)
	}
	f.closedFor(ClosedHeader, 1)
	quiet.send("NG\r\n")
	quiet.want("+PONG\r\n")
	body.send("a")
	body.want("$1\r\na\r\n")
}

// One server serves several listeners, a unix socket among them, and closes
// them all.
func TestSeveralListeners(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	unix, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Logger: slog.New(slog.DiscardHandler)}, newToy())
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(t.Context(), tcp, unix) }()
	for _, ln := range []net.Listener{tcp, unix} {
		nc, err := net.Dial(ln.Addr().Network(), ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(nc, "PING\r\nQUIT\r\n"); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(nc); string(got) != "+PONG\r\n+OK\r\n" {
			t.Errorf("%v: %q, %v", ln.Addr(), got, err)
		}
		_ = nc.Close()
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	for _, ln := range []net.Listener{tcp, unix} {
		if nc, err := net.Dial(ln.Addr().Network(), ln.Addr().String()); err == nil {
			t.Errorf("%v still accepts", ln.Addr())
			_ = nc.Close()
		}
	}
	// One that fails ends the server, too.
	if s, err = New(Options{Logger: slog.New(slog.DiscardHandler)}, newToy()); err != nil {
		t.Fatal(err)
	}
	var lns []net.Listener
	for range 2 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		lns = append(lns, ln)
	}
	go func() { served <- s.Serve(t.Context(), lns...) }()
	f := &fixture{Server: s, t: t}
	f.eventually("serving", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.used })
	_ = lns[1].Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Errorf("ended with %v", err)
	}
}
