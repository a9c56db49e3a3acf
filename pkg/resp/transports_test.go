package resp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

const upgrade = "GET /ping HTTP/1.1\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

// masked is a client's frame.
func masked(first byte, payload string) string {
	f := frame{mask: [4]byte{'a', 'b', 'c', 'd'}}
	head := frameHead(first&0x0f, len(payload))
	head[0] = first
	head[1] |= maskBit
	return string(f.unmask(append(head, f.mask[:]...), []byte(payload)))
}

// ended shows how a stream ended: with the text of an error of the protocol.
func ended(err error) string {
	var bad *ProtocolError
	switch {
	case errors.As(err, &bad) && bad.Raw != "":
		first, _, _ := strings.Cut(bad.Raw, "\r\n")
		return "raw " + first
	case errors.As(err, &bad) && bad.Quiet:
		return "quiet"
	case errors.As(err, &bad):
		return bad.Text
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "half"
	case errors.Is(err, io.EOF):
		return ""
	}
	return err.Error()
}

// checkStreams reads each stream whole and byte by byte; want is the commands,
// their kinds in front, and how it ended.
func checkStreams(t *testing.T, lim Limits, cases [][2]string) {
	t.Helper()
	for _, tc := range cases {
		for name, src := range map[string]io.Reader{
			"whole": strings.NewReader(tc[0]), "bytes": iotest.OneByteReader(strings.NewReader(tc[0])),
		} {
			got, err := readAll(src, lim)
			if all := strings.TrimSpace(strings.Join(append(got, ended(err)), " ")); all != tc[1] {
				t.Errorf("%s %.300q:\n got %s\nwant %s", name, tc[0], all, tc[1])
			}
		}
	}
}

func native(line string) string { return fmt.Sprintf("$%d %s\r\n", len(line), line) }

func TestNative(t *testing.T) {
	lim := Limits{MaxArgs: 5, MaxBulk: 40, MaxCommand: 60}
	invalid := "Protocol error: invalid message"
	checkStreams(t, lim, [][2]string{
		{"$4 PING\r\n$04 PING\r\nPING a\r\n" + array("A"), `2["PING"] 2["PING"] 1["PING" "a"] 0["A"]`},
		{"$0 \r\n$3    \r\n$6  a  b \r\n", `2["a" "b"]`},
		{"$9 PING a\r\nb\r\n", `2["PING" "a\r\nb"]`},
		{"$10 PING 'a b'\r\n", `2["PING" "'a" "b'"]`},
		{native(`PING {"a": {} }`), `2["PING" "{\"a\": {} }"]`},
		{native(`SET k a STRING "b c"`), `2["SET" "k" "a" "STRING" "b c"]`},
		{native(`set k a string """`), `2["set" "k" "a" "string" "\""]`},
		{native(`set k a string "`), `2["set" "k" "a" "string" ""]`},
		{"$12 PING \"a b\"\r\n", "half"},
		{"$10 PING \"a b\"\r\n", `2["PING" "\"a" "b\""]`},
		{"$x PING\r\n", invalid}, {"$ PING\r\n", invalid}, {"$-1 PING\r\n", invalid}, {"$4  PING\r\n", invalid}, {"$4 PINGxx\r\n", invalid},
		{"$4PING\r\n", "half"}, {"$4\r\nPING\r\n", "half"}, {"$4 PI", "half"}, {"$" + strings.Repeat("1", 40), invalid},
		{"$41 PING\r\n", `raw $90 {"ok":false,"err":"Protocol error: invalid bulk length: 41 bytes, at most 40 are allowed"}`},
		{"$99999999999999999999 PING\r\n", `raw $105 {"ok":false,"err":"Protocol error: invalid bulk length: 72057594037927936 bytes, at most 40 are allowed"}`},
		{"$11 a b c d e f\r\n", `raw $97 {"ok":false,"err":"Protocol error: invalid multibulk length: 6 arguments, at most 5 are allowed"}`},
	})
}

func TestHTTP(t *testing.T) {
	lim := Limits{MaxArgs: 5, MaxBulk: 40, MaxInline: 100, MaxCommand: 400, MaxHeader: 120}
	bad, end := "invalid HTTP request", " HTTP/1.1\r\n\r\n"
	post := func(header, body string) string { return "POST / HTTP/1.1\r\n" + header + "\r\n" + body }
	checkStreams(t, lim, [][2]string{
		{"GET /ping" + end, `3["ping"]`},
		{"GET /ping HTTP/0.x\r\nHost: x\r\n\r\nPING\r\n", `3["ping"] 1["PING"]`},
		{"\r\nGET /ping" + end, `3["ping"]`},
		{"GET /get+k%20%C5%BE+%2B" + end, `3["get" "k" "ž" "+"]`},
		{"GET //ping+?x=1&y" + end, `3["/ping" "?x=1&y"]`},
		{"GET /set+k+a+string+%22b+c%22" + end, `3["set" "k" "a" "string" "b c"]`},
		{"GET /ping+{+b}+c" + end, `3["ping" "{ b} c"]`},
		{"GET / HTTP/1.1\r\n\r\n", "quiet"}, {"GET /%20+" + end, "quiet"},
		{"OPTIONS *" + end + "PING\r\n", `3[""] 1["PING"]`},
		{"OPTIONS * HTTP/1.1\r\nContent-Length: 6\r\n\r\nPING\r\nPING\r\n", `3[""] 1["PING"]`},
		{"OPTIONS * HTTP/1.1\r\nContent-Length: x\r\n\r\n", `3[""]`},
		{"PUT /ping" + end, bad}, {"PING x" + end, bad}, {"GET ping" + end, bad}, {"GET /a b" + end, bad}, {"GET" + end, bad},
		{"GET  /a" + end, bad}, {"GET /%zz" + end, bad}, {"GET /%4" + end, bad}, {"OPTIONS /a b" + end, bad}, {"GET / HTTP/a b\r\n\r\n", bad},
		{"GET /ping HTTP/1.1\r\nHost: x\r\n", "half"}, {"GET /ping HTTP/1.1\r\nHost: x\n\n", "half"},
		{"HEAD /ping HTTP/1.1\r\n", `1["HEAD" "/ping" "HTTP/1.1"]`}, {"get /ping HTTP/1.1\r\n", `1["get" "/ping" "HTTP/1.1"]`},
		{"GET a HTTP/2\r\nGET a HTTP/1.10\r\nGET a http/1.1\r\nGET a HTTP/1.1 x\r\n",
			`1["GET" "a" "HTTP/2"] 1["GET" "a" "HTTP/1.10"] 1["GET" "a" "http/1.1"] 1["GET" "a" "HTTP/1.1" "x"]`},

		{post("content-length:4\r\n", "pingPING\r\n"), `3["ping"] 1["PING"]`},
		{post("Content-Length: 6\r\nContent-Length: 4\r\n", "ping"), `3["ping"]`},
		{post("Content-Length :4\r\n", ""), "quiet"}, {post(" Content-Length:4\r\n", ""), "quiet"}, {post("", ""), "quiet"},
		{post("Content-Length: 4\r\n", "pin"), "half"},
		{"POST /get+k+ HTTP/1.1\r\nContent-Length: 2\r\n\r\nab", `3["get" "k" "ab"]`},
		{"GET /get+k+ HTTP/1.1\r\nContent-Length: 2\r\n\r\nab", `3["get" "k" "ab"]`},
		{post("Content-Length: 11\r\n", "ping a\r\nb%2"), `3["ping" "a\r\nb%2"]`},
		{post("Content-Length: x\r\n", ""), `strconv.ParseUint: parsing "x": invalid syntax`},
		{post("Content-Length: -1\r\n", ""), `strconv.ParseUint: parsing "-1": invalid syntax`},
		{post("Content-Length: 41\r\n", ""), "raw HTTP/1.1 413 Content Too Large"},
		{post("Content-Length: 18446744073709551615\r\n", ""), "raw HTTP/1.1 413 Content Too Large"},
		{"GET /a+b+c+d+e+f" + end, "raw HTTP/1.1 413 Content Too Large"},
		{post("X: "+strings.Repeat("y", 118)+"\r\n", ""), "raw HTTP/1.1 431 Request Header Fields Too Large"},
		{post("X: "+strings.Repeat("y", 1000), ""), "raw HTTP/1.1 431 Request Header Fields Too Large"},
		{post("Content-Length: 4\r\nX: "+strings.Repeat("y", 92)+"\r\n", "ping"), `3["ping"]`},
		{"GET /" + strings.Repeat("x", 100) + end, "Protocol error: too big inline request: at most 100 bytes are allowed"},
	})
}

func TestHTTPHeaders(t *testing.T) {
	for head, want := range map[string]Request{
		"":                        {},
		"Authorization: a b \r\n": {Authorization: "a b"},
		"authorization:\tx\r\n":   {Authorization: "x"},
		"Authorization: a\r\nAUTHORIZATION: b:c\r\n":                                  {Authorization: "b:c"},
		"Authorization x\r\nProxy-Authorization: y\r\n":                               {},
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n":                         {},
		"Upgrade: websocket\r\nSec-WebSocket-Key: a\r\nSec-WebSocket-Version: 12\r\n": {},
	} {
		cmd, err := NewReader(strings.NewReader("GET /ping HTTP/1.1\r\n"+head+"\r\n"), Limits{}).Next()
		if err != nil || cmd.Kind != HTTP || cmd.Web == nil || *cmd.Web != want {
			t.Errorf("%q: %v %+v, %v", head, cmd.Kind, cmd.Web, err)
		}
	}
	cmd, err := NewReader(strings.NewReader(upgrade), Limits{}).Next()
	if err != nil || cmd.Kind != WebSocket || !strings.Contains(cmd.Web.Handshake, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n") {
		t.Errorf("%v %+v, %v", cmd.Kind, cmd.Web, err)
	}
	_, err = NewReader(strings.NewReader(strings.Replace(upgrade, "/ping", "/", 1)), Limits{}).Next()
	if got := ended(err); got != "raw HTTP/1.1 101 Switching Protocols" {
		t.Error("no command: " + got)
	}
}

func TestNoHTTP(t *testing.T) {
	checkStreams(t, Limits{NoHTTP: true}, [][2]string{
		{"PING\r\nGET /ping HTTP/1.1\r\n\r\n", `1["PING"] quiet`}, {upgrade, "quiet"}, {"OPTIONS * HTTP/1.1\r\n\r\n", "quiet"},
		{"$4 PING\r\n", `2["PING"]`},
	})
}

func TestWebSocketMessages(t *testing.T) {
	lim := Limits{MaxMessage: 130}
	long := strings.Repeat("x", 125)
	for _, tc := range []struct{ in, want, wrote string }{
		{masked(0x81, "PING a"), `4["PING" "a"]`, ""},
		{masked(0x82, "SUBSCRIBE b") + masked(0x81, "") + masked(0x81, "QUIT"), `4["SUBSCRIBE" "b"] 4["QUIT"]`, ""},
		{masked(0x01, "PI") + masked(0x89, "hi") + masked(0x00, "") + masked(0x80, "NG"), `4["PING"]`, "\x8a\x02hi"},
		{masked(0x8a, "") + masked(0x81, "PING "+long), `4["PING" "` + long + `"]`, ""},
		{masked(0x81, "PING *1\r\n"), `4["PING" "*1\r\n"]`, ""},
		{masked(0x88, "\x03\xe8bye") + masked(0x81, "PING"), "", "\x88\x05\x03\xe8bye"},
		{masked(0x81, "PING")[:5], "half", ""},
		{"PING\r\n", "quiet", "\x88\x17\x03\xeareserved bits are set"},
		{"\x81\x01x", "quiet", "\x88\x16\x03\xeaframe without a mask"},
		{masked(0xc1, "x"), "quiet", "\x88\x17\x03\xeareserved bits are set"},
		{masked(0x83, "x"), "quiet", "\x88\x10\x03\xeaunknown opcode"},
		{masked(0x80, "x"), "quiet", "\x88\x15\x03\xeaframes out of order"},
		{masked(0x01, "x") + masked(0x81, "y"), "quiet", "\x88\x15\x03\xeaframes out of order"},
		{masked(0x09, "x"), "quiet", "\x88\x16\x03\xeabroken control frame"},
		{masked(0x81, "PING "+long+"x"), "quiet", "\x88\x30\x03\xf1too big message: at most 130 bytes are allowed"},
		{masked(0x01, long) + masked(0x80, "123456"), "quiet", "\x88\x30\x03\xf1too big message: at most 130 bytes are allowed"},
	} {
		for name, src := range map[string]io.Reader{
			"whole": strings.NewReader(upgrade + tc.in), "bytes": iotest.OneByteReader(strings.NewReader(upgrade + tc.in)),
		} {
			var wrote bytes.Buffer
			r := NewReader(src, lim)
			r.Respond(&wrote)
			got, err := drainReader(r)
			want := strings.TrimSpace(`4["ping"] ` + tc.want)
			if all := strings.TrimSpace(strings.Join(append(got, ended(err)), " ")); all != want || wrote.String() != tc.wrote {
				t.Errorf("%s %.100q:\n got %s %q\nwant %s %q", name, tc.in, all, wrote.String(), want, tc.wrote)
			}
		}
	}
}

func drainReader(r *Reader) ([]string, error) {
	var out []string
	for {
		cmds, err := r.Batch(nil, 3)
		for _, c := range cmds {
			out = append(out, fmt.Sprintf("%d%q", c.Kind, c.Args))
		}
		if err != nil {
			return out, err
		}
	}
}

// A message that is never finished, but kept open by pings, ends.
func TestWebSocketPingsWithinMessage(t *testing.T) {
	r := NewReader(io.MultiReader(strings.NewReader(upgrade+masked(0x01, "x")), &loop{data: []byte(masked(0x89, "")), at: 0}), Limits{MaxMessage: 100})
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	_, err := r.Next()
	var bad *ProtocolError
	if !errors.As(err, &bad) || len(r.buf) > activeBuffer {
		t.Errorf("%v, a buffer of %d bytes", err, len(r.buf))
	}
}

// What was unread is read again, the handshake and messages too.
func TestUnreadOtherTransports(t *testing.T) {
	for _, in := range []string{
		"A\r\n$1 B\r\nGET /c HTTP/1.1\r\n\r\n",
		"A\r\n$1 B\r\n" + upgrade,
	} {
		r := NewReader(strings.NewReader(in), Limits{})
		first, err := r.Batch(nil, 10)
		if err != nil || len(first) != 3 {
			t.Fatal(len(first), err)
		}
		want := fmt.Sprint(first[2].Args, first[2].Kind, *first[2].Web)
		r.Unread(1)
		again, err := r.Batch(nil, 10)
		if err != nil || len(again) != 1 || fmt.Sprint(again[0].Args, again[0].Kind, *again[0].Web) != want {
			t.Errorf("%q: %v, %v", in, again, err)
		}
	}
	r := NewReader(strings.NewReader(upgrade+masked(0x01, "A ")+masked(0x80, "b")+masked(0x81, "C")), Limits{})
	for _, limit := range []int{1, 10} {
		if _, err := r.Batch(nil, limit); err != nil {
			t.Fatal(err)
		}
	}
	r.Unread(2 - 1)
	if cmd, err := r.Next(); err != nil || cmd.Args[0] != "C" {
		t.Errorf("%v, %v", cmd, err)
	}
}

// HalfRequest has one odd number for each head that is under way.
func TestHalfRequest(t *testing.T) {
	pr, pw := io.Pipe()
	r := NewReader(pr, Limits{})
	got := make(chan string, 8)
	go func() {
		defer close(got)
		for {
			cmd, err := r.Next()
			if err != nil {
				return
			}
			got <- fmt.Sprint(cmd.Args, r.HalfRequest())
		}
	}()
	say := func(s string) {
		if _, err := io.WriteString(pw, s); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 {
		say("OPTIONS * HTTP/1.1\r\n")
		say("A: b\r\n") // the pipe hands this over when the line before has been looked at
		if n := r.HalfRequest(); n != int64(2*i+1) {
			t.Errorf("within request %d: %d", i, n)
		}
		say("\r\n")
		if s := <-got; s != fmt.Sprint([]string{""}, 2*i+2) {
			t.Error(s)
		}
	}
	say("PING\r\n")
	if s := <-got; s != "[PING] 4" {
		t.Error(s)
	}
	_ = pw.Close()
	<-got
}

func TestEnvelopes(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: "
	long := strings.Repeat("x", 70_000)
	for _, tc := range []struct {
		kind                   Kind
		reply, pushed, message string
	}{
		{RESP, "+OK\r\n", "+OK\r\n", "$5\r\n+OK\r\n\r\n"},
		{Inline, "+OK\r\n", "+OK\r\n", "$5\r\n+OK\r\n\r\n"},
		{Native, "$5 +OK\r\n\r\n", "$5 +OK\r\n\r\n", "$5 +OK\r\n\r\n"},
		{HTTP, head + "7\r\nAccess-Control-Allow-Origin: *\r\n\r\n+OK\r\n\r\n", "", ""},
		{WebSocket, "\x81\x05+OK\r\n", "\x81\x05+OK\r\n", "\x81\x05+OK\r\n"},
	} {
		got := []string{
			string(tc.kind.Wrap([]byte("before+OK\r\n"), len("before"))),
			string(tc.kind.AppendReply([]byte("before"), []byte("+OK\r\n"))),
			string(tc.kind.AppendMessage([]byte("before"), []byte("+OK\r\n"))),
		}
		for i, want := range []string{tc.reply, tc.pushed, tc.message} {
			if got[i] != "before"+want {
				t.Errorf("%v, %d: %q, want %q", tc.kind, i, got[i], want)
			}
		}
	}
	for n, want := range map[int]string{125: "\x81\x7d", 126: "\x81\x7e\x00\x7e", 65535: "\x81\x7e\xff\xff", 65536: "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"} {
		if got := string(WebSocket.Wrap([]byte(long[:n]), 0)); got != want+long[:n] {
			t.Errorf("a frame of %d bytes begins with %q", n, got[:10])
		}
	}
	if got := Kind(99).String() + HTTP.String(); got != "unknownhttp" {
		t.Error(got)
	}
}

// FuzzFrames: no panic, bounded memory, the same in any pieces.
func FuzzFrames(f *testing.F) {
	for _, s := range []string{
		masked(0x81, "PING a"), masked(0x01, "PI") + masked(0x89, "hi") + masked(0x80, "NG"), masked(0x88, ""), "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xffabcd",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := upgrade + string(data)
		var ends [2]string
		for i, src := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in))} {
			var wrote bytes.Buffer
			r := NewReader(src, Limits{MaxMessage: 60})
			r.Respond(&wrote)
			got, err := drainReader(r)
			ends[i] = fmt.Sprintf("%q %v %q", got, err, wrote.String())
			if len(r.buf) > activeBuffer {
				t.Fatalf("a buffer of %d bytes", len(r.buf))
			}
		}
		if ends[0] != ends[1] {
			t.Fatalf("whole: %s\nbytes: %s", ends[0], ends[1])
		}
	})
}

// FuzzHTTP: whatever stands in the head, the request is one command or an error.
func FuzzHTTP(f *testing.F) {
	f.Add("/ping+%20a", "Content-Length: 4\r\nAuthorization: x", "abcd")
	f.Add("/%zz?x=%2", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x", "")
	f.Fuzz(func(t *testing.T, path, head, body string) {
		in := "POST " + path + " HTTP/1.1\r\n" + head + "\r\n\r\n" + body
		r := NewReader(strings.NewReader(in), smallLimits)
		for {
			cmd, err := r.Next()
			if len(r.buf) > activeBuffer {
				t.Fatalf("a buffer of %d bytes", len(r.buf))
			}
			if err != nil {
				return
			}
			if len(cmd.Args) == 0 || cmd.Size > len(in) || cmd.Kind >= HTTP == (cmd.Web == nil) && cmd.Kind != WebSocket {
				t.Fatalf("%q: %+v", in, cmd)
			}
		}
	})
}

// A large command that is put off until the next call is looked at again from
// its beginning.
func TestLargeCommandIsPutOff(t *testing.T) {
	value := strings.Repeat("x", handOver)
	for _, large := range []string{"ECHO " + value + "\r\n", native("ECHO " + value), array("ECHO", value)} {
		r := NewReader(strings.NewReader("A\r\n"+large), Limits{})
		r.buf = make([]byte, 2*handOver) // so that one read takes all
		for _, want := range []int{1, 2} {
			cmds, err := r.Batch(nil, 10)
			if err != nil || len(cmds) != 1 || len(cmds[0].Args) != want {
				t.Errorf("%.10q: %d commands, %v", large, len(cmds), err)
			}
		}
	}
}
