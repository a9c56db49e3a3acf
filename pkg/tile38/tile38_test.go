package tile38

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/redcon"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func cmd(args ...string) []byte {
	b := redcon.AppendArray(nil, len(args))
	for _, a := range args {
		b = redcon.AppendBulkString(b, a)
	}
	return b
}

// play serves connections, each with the pieces that play returns after a command.
func play(t *testing.T, answer func(cmd string) string) func() (*Conn, error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serve(conn, answer)
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return func() (*Conn, error) {
		return Dial(t.Context(), Options{Addr: ln.Addr().String(), Timeout: 2 * time.Second})
	}
}

// serve answers one connection, until the other side ends it.
func serve(conn net.Conn, answer func(cmd string) string) {
	defer func() { _ = conn.Close() }()
	var have []byte
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		have = append(have, buf[:n]...)
		for {
			n, v := redcon.ReadNextRESP(have)
			if n == 0 {
				break
			}
			var words []string
			v.ForEach(func(w redcon.RESP) bool { words = append(words, string(w.Data)); return true })
			have = have[n:]
			if _, err := io.WriteString(conn, answer(strings.Join(words, " "))); err != nil {
				return
			}
		}
	}
}

// TestAnswers: what servers say, and what it means.
func TestAnswers(t *testing.T) {
	says := ""
	dial := play(t, func(string) string { return says })
	c, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	says = string(cmd("id", "x", "aof_size", "77", "following", "a:1", "num_objects", "3", "num_hooks", "2"))
	s, err := c.Server()
	want := Server{ID: "x", Following: "a:1", AOFSize: 77, Counts: Counts{Objects: 3, Hooks: 2}}
	if err != nil || s != want {
		t.Errorf("%+v, %v; want %+v", s, err, want)
	}
	for _, bad := range []string{string(cmd("aof_size", "-1")), string(cmd("aof_size", "x")), "-ERR authentication required\r\n"} {
		says = bad
		if _, err := c.Server(); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for text, yes := range map[string]bool{"-ERR unknown command 'replicate'\r\n": false, "-ERR wrong number of arguments\r\n": true} {
		says = text
		if got, err := c.Replicates(); err != nil || got != yes {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for text, yes := range map[string]bool{"+9f9d51bc70ef21ca5c14f307980a29d8\r\n": true, "+d41d8cd98f00b204e9800998ecf8427e\r\n": false, "-EOF\r\n": false} {
		says = text
		if got, err := c.Equal(0, []byte("bob")); err != nil || got != yes {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	says = strings.Repeat("x", maxAnswer+1) + "\r\n"
	if _, err := c.Server(); err == nil || !strings.Contains(err.Error(), "no end") {
		t.Errorf("an endless answer: %v", err)
	}
}

// pieces makes a stream that gets data in pieces.
func pieces(t *testing.T, data []byte, size int) *Stream {
	t.Helper()
	here, there := net.Pipe()
	t.Cleanup(func() { _, _ = here.Close(), there.Close() })
	go func() {
		for len(data) > 0 {
			n := min(size, len(data))
			if _, err := there.Write(data[:n]); err != nil {
				return
			}
			data = data[n:]
		}
		_ = there.Close()
	}()
	c, err := Dial(context.Background(), Options{Dial: func(context.Context, string) (net.Conn, error) { return here, nil }})
	if err != nil {
		t.Fatal(err)
	}
	return newStream(c, 100)
}

// TestStream: commands whole, at their places, however they come; zero bytes
// between them count and are passed over; a limit is kept.
func TestStream(t *testing.T) {
	var data, want []byte
	for i := range 300 {
		b := cmd("SET", "k", fmt.Sprint(i), "STRING", strings.Repeat("v\x00", rand.IntN(300)))
		if i == 77 {
			b = cmd("SET", "k", "big", "STRING", strings.Repeat("w", 3*streamBuffer))
		}
		data, want = append(data, b...), append(want, b...)
		if i%50 == 3 {
			data = append(data, 0, 0, 0)
		}
	}
	for _, size := range []int{1, 7, 1000, 1 << 20} {
		s := pieces(t, data, size)
		limit := int64(100 + len(data)/2)
		var got []byte
		over := 0
		for {
			b, err := s.Next(limit)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if s.Pos() > limit {
				over++
				limit = NoLimit
			}
			if b == nil {
				limit = NoLimit
			}
			if len(b) > 0 && !bytes.Equal(b, data[s.Pos()-100-int64(len(b)):s.Pos()-100]) {
				t.Fatalf("pieces of %d: not what is at %d", size, s.Pos())
			}
			got = append(got, b...)
		}
		if !bytes.Equal(got, want) || s.Pos() != 100+int64(len(data)) || over > 1 {
			t.Errorf("pieces of %d: %d bytes up to %d, want %d up to %d", size, len(got), s.Pos(), len(want), 100+len(data))
		}
	}
}

// TestStreamMessages: messages come by themselves, in their order, and count nowhere.
func TestStreamMessages(t *testing.T) {
	set := func(i int) []byte { return cmd("SET", "k", fmt.Sprint(i), "STRING", "*3\r\n$7\r\nPUBLISH") }
	var data, file []byte
	for i := range 100 {
		if i%7 == 3 {
			data = append(data, bytes.Repeat(cmd("PUBLISH", "c", fmt.Sprint(i)), 1+i%3)...)
		}
		data, file = append(data, set(i)...), append(file, set(i)...)
	}
	for _, size := range []int{1, 10, 100, 1 << 20} {
		s := pieces(t, data, size)
		tail := NewTail("id", 100, 1<<20)
		var all []byte
		for {
			b, err := s.Next(NoLimit)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Split(b, func(raw []byte) bool { return IsMessage(raw) == IsMessage(b) }); err != nil {
				t.Fatal(err)
			}
			all = append(all, b...)
			tail.Add(b, s.Pos())
		}
		if !bytes.Equal(all, data) || s.Pos() != 100+int64(len(file)) || !bytes.Equal(tail.buf, file) {
			t.Errorf("pieces of %d: %d bytes, up to %d, tail of %d; want %d up to %d", size, len(all), s.Pos(), tail.Len(), len(data), 100+len(file))
		}
		var u unpublisher
		var got []byte
		for rest := data[9:]; len(rest) > 0; {
			n := min(size, len(rest))
			got, rest = append(got, u.feed(rest[:n])...), rest[n:]
		}
		if got = append(got, u.held...); !bytes.Equal(got, file[9:]) {
			t.Errorf("pieces of %d: %d bytes of the file, want %d", size, len(got), len(file)-9)
		}
	}
}

// TestStreamFaults: what is no command ends the stream and takes no memory.
func TestStreamFaults(t *testing.T) {
	for data, want := range map[string]error{
		"PING\r\n": ErrFormat, "*1\r\n+x\r\n": ErrFormat, "*1\r\n$3\r\nabcde": ErrFormat, "*1\r\n$99999999999\r\n": ErrFormat,
		"*\r\n": ErrFormat, "*1\r\n$5\r\nab": io.EOF, "*1x": ErrFormat, "*1\rx": ErrFormat, "": io.EOF,
		"*2\r\n$3\r\nGET\r\n$400000000\r\nx": io.EOF,
	} {
		s := pieces(t, []byte(data), 3)
		if _, err := s.Next(NoLimit); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", data, err, want)
		}
		if len(s.buf) > streamBuffer {
			t.Errorf("%q: %d bytes held", data, len(s.buf))
		}
	}
	s := pieces(t, cmd("SET", strings.Repeat("x", 1000)), 10)
	s.MaxCommand = 500
	if _, err := s.Next(NoLimit); !errors.Is(err, ErrFormat) {
		t.Errorf("a command over the limit: %v", err)
	}
}

// TestTail: the last whole commands, never more than its size, and where they end.
func TestTail(t *testing.T) {
	tail := NewTail("id", 50, 1000)
	var all []byte
	pos := int64(50)
	for i := range 500 {
		b := cmd("SET", fmt.Sprint(i), strings.Repeat("v", rand.IntN(200)))
		if i == 250 {
			b = cmd("SET", "big", strings.Repeat("w", 5000))
		}
		if i%3 == 0 {
			b = append(b, cmd("DEL", "x")...)
		}
		all, pos = append(all, b...), pos+int64(len(b))
		tail.Add(b, pos)
		if tail.Pos() != pos || tail.Len() > 1000 || !bytes.HasSuffix(all, tail.buf) || tail.ends[len(tail.ends)-1] != len(tail.buf) {
			t.Fatalf("%d: %d bytes at %d, want at %d", i, tail.Len(), tail.Pos(), pos)
		}
		if (i < 250 || i > 270) && i > 20 && tail.Len() < 700 {
			t.Fatalf("%d: only %d bytes", i, tail.Len())
		}
	}
	for i, e := range tail.ends[:len(tail.ends)-1] {
		if next, _, err := command(tail.buf, e); err != nil || next != tail.ends[i+1] {
			t.Fatalf("command %d: %d, %v", i, next, err)
		}
	}
	tail.Add(cmd("PING"), pos+100) // zero bytes in between
	if tail.Len() != len(cmd("PING")) || tail.Pos() != pos+100 {
		t.Errorf("behind a gap: %d bytes at %d", tail.Len(), tail.Pos())
	}
}

// TestFind: where a tail is found, and where it is not.
func TestFind(t *testing.T) {
	set := func(n int, verb string) (b []byte) {
		for range n {
			b = append(b, cmd(verb, "k", fmt.Sprint(rand.IntN(1000)), "POINT", fmt.Sprint(rand.Float64()), "1")...)
		}
		return b
	}
	old, before, live, after := set(500, "SET"), set(1200, "set"), set(100, "SET"), set(400, "SET")
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	few, many := set(5, "SET"), set(25000, "set")
	for _, tt := range []struct {
		name      string
		had, file []byte
		at        int // -1: not found
	}{
		{"behind the dump", join(old, live), join(before, live, after), len(before) + len(live)},
		{"nothing behind it", join(old, live), join(before, live), len(before) + len(live)},
		{"far from the end", join(old, live), join(many, live, set(20000, "SET")), len(many) + len(live)},
		{"all that is kept", set(3000, "SET"), nil, -2},
		{"quiet", join(old, live), before, -1},
		{"too few", join(old, few), join(before, few, after), -1},
		{"nothing alike", join(old, live), join(before, after), -1},
		{"something in between", join(old, live), join(before, few, live, after), -1},
		{"twice", join(old, live), join(before, live, after, before, live), -1},
		{"repeats itself", join(old, live, live), join(before, live, live, after), -1},
		{"larger than the window", join(old, live), join(before, live, set(60000, "SET")), -1},
	} {
		tail := NewTail("id", 0, 0)
		tail.Add(tt.had, int64(len(tt.had)))
		if tt.at == -2 { // of the tail all that is kept is met; what is before it is unknown
			tt.file = join(before, set(10, "SET"), tail.buf, after)
			tt.at = len(tt.file) - len(after)
		}
		file := tt.file
		dial := play(t, func(c string) string {
			var from int
			_, _ = fmt.Sscanf(c, "aof %d", &from)
			// A message comes between two commands, here before the last one.
			at := max(from, bytes.LastIndexByte(file, '*'))
			return "+OK\r\n" + string(file[from:at]) + string(cmd("PUBLISH", "c", "m")) + string(file[at:])
		})
		found, read, err := tail.Find(int64(len(file)), 2<<20, dial)
		switch {
		case tt.at < 0 && !errors.Is(err, ErrNotFound):
			t.Errorf("%s: %+v, %v", tt.name, found, err)
		case tt.at >= 0 && (err != nil || found.Pos() != int64(tt.at) || !bytes.HasSuffix(tt.had, found.buf) || found.Len() < minBytes):
			t.Errorf("%s: %+v, %v; want %d", tt.name, found, err, tt.at)
		case (tt.name == "quiet" || tt.name == "nothing alike") && read > firstWindow:
			t.Errorf("%s: %d bytes read", tt.name, read)
		case read > 5<<20:
			t.Errorf("%s: %d bytes read", tt.name, read)
		}
	}
}

// FuzzCommand: whatever the bytes are, and however many of them have come.
func FuzzCommand(f *testing.F) {
	f.Add([]byte("*2\r\n$3\r\nSET\r\n$1\r\nx\r\n"), uint8(5))
	f.Add([]byte("*0\r\n"), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, cut uint8) {
		next, need, err := command(b, 0)
		if err == nil && next == 0 && need <= len(b) || next > len(b) || next < 0 {
			t.Fatalf("%d of %d bytes, need %d", next, len(b), need)
		}
		part := b[:min(int(cut), len(b))]
		n, _, perr := command(part, 0)
		if n > 0 && n != next || perr != nil && err == nil {
			t.Fatalf("part %d, %v; whole %d, %v", n, perr, next, err)
		}
	})
}
