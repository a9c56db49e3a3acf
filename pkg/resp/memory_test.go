package resp

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"unsafe"
)

// What is announced costs nothing; only what is received does.
func TestAnnouncedLengthsCostNothing(t *testing.T) {
	for _, in := range []string{
		"*1000000000\r\n$3\r\nGET\r\n",                                 // refused
		"*1048576\r\n$3\r\nGET\r\n",                                    // allowed, incomplete
		"*1\r\n$536870912\r\nabc",                                      // allowed, incomplete
		"*1\r\n$536870913\r\nabc",                                      // refused
		"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000000\r\n",                 // allowed, incomplete
		"$536870912 PING",                                              // allowed, incomplete
		"$1000000000 PING",                                             // refused
		"POST / HTTP/1.1\r\nContent-Length: 536870912\r\n\r\nping",     // allowed, incomplete
		"POST / HTTP/1.1\r\nContent-Length: 1000000000000\r\n\r\nping", // refused
		upgrade + "\x81\xff\x00\x00\x00\x00\x00\x0f\xff\xffabcdxyz",    // allowed, incomplete
		upgrade + "\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xffabcdxyz",    // refused
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r := NewReader(strings.NewReader(in), Limits{})
		_, err := r.Next()
		if strings.HasPrefix(in, upgrade) {
			_, err = r.Next()
		}
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%q is a command", in)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
			t.Errorf("%q allocated %d bytes", in, n)
		}
	}
}

// watched feeds a reader in pieces and watches its buffer.
type watched struct {
	t        *testing.T
	r        *Reader
	src      io.Reader
	received int
	moved    int
	last     *byte
}

func (w *watched) Read(p []byte) (int, error) {
	if buf := unsafe.SliceData(w.r.buf); buf != w.last {
		w.moved += w.r.end - w.r.start
		w.last = buf
	}
	if size, most := len(w.r.buf), max(activeBuffer, 3*w.received); size > most {
		w.t.Fatalf("buffer of %d bytes when %d were received", size, w.received)
	}
	n, err := w.src.Read(p[:min(len(p), 1400)])
	w.received += n
	return n, err
}

func TestBufferFollowsWhatIsReceived(t *testing.T) {
	const size = 20 << 20
	value := strings.Repeat("0123456789abcdef", size/16)
	many := make([]string, 200_000)
	for i := range many {
		many[i] = "argument"
	}
	for name, in := range map[string]string{
		"one value": array("SET", "k", "STRING", value), "many arguments": array(many...),
		"line": strings.Repeat("word ", 200_000) + "\n",
	} {
		w := &watched{t: t, src: strings.NewReader(in + array("PING"))}
		w.r = NewReader(w, Limits{})
		cmds, err := w.r.Batch(nil, 10)
		if err != nil || cmds[0].Size != len(in) {
			t.Fatal(name, len(cmds), err)
		}
		if name == "one value" && cmds[0].Args[3] != value {
			t.Fatal("the value is damaged")
		}
		if w.moved > 2*w.received+activeBuffer {
			t.Errorf("%s: %d bytes moved for %d received", name, w.moved, w.received)
		}
		// Such commands take the buffer with them.
		if n := len(w.r.buf); n > activeBuffer {
			t.Errorf("%s: a buffer of %d bytes is kept", name, n)
		}
		if len(cmds) == 1 {
			if cmds, err = w.r.Batch(nil, 10); err != nil {
				t.Fatal(err)
			}
		}
		if last := cmds[len(cmds)-1]; last.Args[0] != "PING" {
			t.Errorf("%s: %q follows", name, last.Args)
		}
		if _, err := w.r.Next(); !errors.Is(err, io.EOF) {
			t.Error(name, err)
		}
		if cap(w.r.args) > keepEntries || cap(w.r.part.words) > keepEntries {
			t.Errorf("%s: room for %d arguments is kept", name, cap(w.r.args))
		}
	}
}

// A large command in the middle of a pipeline comes alone, so that the ones
// before it can still be unread.
func TestLargeCommandInPipeline(t *testing.T) {
	for _, large := range []string{
		array("SET", strings.Repeat("x", handOver)),
		"SET " + strings.Repeat("x", handOver) + "\n",
	} {
		largeInPipeline(t, large)
	}
}

func largeInPipeline(t *testing.T, large string) {
	in := array("A") + array("B") + large + array("C") + large + "D\n"
	r := NewReader(strings.NewReader(in), Limits{})
	r.buf = make([]byte, len(in)+1) // so that one read takes all
	var sizes []int
	for _, want := range []int{2, 2, 2} { // A B, large C, large D
		cmds, err := r.Batch(nil, 10)
		if len(cmds) != want || err != nil {
			t.Fatalf("%d commands, %v, want %d", len(cmds), err, want)
		}
		sizes = append(sizes, cmds[0].Size)
		if cmds[0].Size == len(large) && len(cmds[0].Args) != 2 {
			t.Fatalf("%d words in %.9q", len(cmds[0].Args), large)
		}
		rest := string(r.Buffered())
		r.Unread(1)
		if got := string(r.Buffered()); !strings.HasSuffix(got, rest) || len(got) <= len(rest) {
			t.Fatalf("unread to %d bytes from %d", len(got), len(rest))
		}
		if cmds, err = r.Batch(nil, 1); len(cmds) != 1 || err != nil {
			t.Fatal(err)
		}
	}
	if sizes[1] != len(large) || sizes[2] != len(large) {
		t.Fatal(sizes)
	}
}

func TestReleaseGivesBack(t *testing.T) {
	src := &bytes.Buffer{}
	r := NewReader(src, Limits{MaxInline: 4 * keepBuffer})
	for range 3 {
		for range 40 {
			src.WriteString(array("SET", "key", strings.Repeat("v", 5000)))
		}
		for range 40 {
			if _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := r.Next(); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		r.Release()
		if r.buf != nil || r.args != nil || r.part.words != nil {
			t.Fatal("memory is kept")
		}
		src.WriteString(array("PING"))
		if c, err := r.Next(); err != nil || c.Args[0] != "PING" {
			t.Fatal(c, err)
		}
		if len(r.buf) != idleBuffer {
			t.Fatalf("woke up with %d bytes", len(r.buf))
		}
	}
	src.WriteString("*1\r\n$4\r\nPI")
	if _, err := r.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	r.Release()
	src.WriteString("NG\r\n")
	if c, err := r.Next(); err != nil || c.Args[0] != "PING" {
		t.Fatal(c, err)
	}
}

// A reader that waits does not hold what it has returned.
func TestNothingIsHeldWhileWaiting(t *testing.T) {
	src := strings.NewReader("A b c\nSET k STRING \"" + strings.Repeat("x", 2*keepBuffer) + "\"\n")
	r := NewReader(src, Limits{MaxInline: 4 * keepBuffer})
	for range 2 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(r.buf); n <= keepBuffer {
		t.Fatalf("a buffer of %d bytes shows nothing", n)
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	for _, s := range r.args[:cap(r.args)] {
		if s != "" {
			t.Errorf("%d bytes of an argument are held", len(s))
		}
	}
	if len(r.buf) > activeBuffer {
		t.Errorf("a buffer of %d bytes is held", len(r.buf))
	}
}

// loop repeats its bytes for ever, at most once a read.
type loop struct {
	data []byte
	at   int
}

func (l *loop) Read(p []byte) (int, error) {
	n := copy(p, l.data[l.at:])
	l.at = (l.at + n) % len(l.data)
	return n, nil
}

func TestOneAllocationPerCommand(t *testing.T) {
	for name, tc := range map[string]struct {
		in string
		n  int
	}{
		"array":    {array("SET", "fleet", "truck1", "POINT", "33", "-115"), 1},
		"line":     {"SET fleet truck1 POINT 33 -115\r\n", 1},
		"pipeline": {strings.Repeat(array("GET", "fleet", "truck1"), 16), 16},
	} {
		r := NewReader(&loop{data: []byte(tc.in)}, Limits{})
		var cmds []Command
		for range 2 { // the buffer starts small
			if _, err := r.Batch(nil, 100); err != nil {
				t.Fatal(err)
			}
		}
		got := testing.AllocsPerRun(200, func() {
			var err error
			if cmds, err = r.Batch(cmds[:0], 100); err != nil || len(cmds) != tc.n {
				t.Fatal(len(cmds), err)
			}
		})
		if got != float64(tc.n) {
			t.Errorf("%s: %v allocations for %d commands", name, got, tc.n)
		}
	}
}

func BenchmarkReader(b *testing.B) {
	for name, in := range map[string]string{
		"1":  array("SET", "fleet", "truck1", "POINT", "33", "-115"),
		"16": strings.Repeat(array("SET", "fleet", "truck1", "POINT", "33", "-115"), 16),
	} {
		b.Run(name, func(b *testing.B) {
			r := NewReader(&loop{data: []byte(in)}, Limits{})
			var cmds []Command
			b.ReportAllocs()
			for n := 0; n < b.N; n += len(cmds) {
				var err error
				if cmds, err = r.Batch(cmds[:0], 256); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
