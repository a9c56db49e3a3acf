package resp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tidwall/redcon"
)

// readAll returns the commands of src, each as its quoted words, and the error
// that ended it.
func readAll(src io.Reader, l Limits) ([]string, error) {
	r := NewReader(src, l)
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

func array(args ...string) string {
	b := redcon.AppendArray(nil, len(args))
	for _, a := range args {
		b = redcon.AppendBulkString(b, a)
	}
	return string(b)
}

func TestCommands(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{array("PING"), `0["PING"]`},
		{array("PING", ""), `0["PING" ""]`},
		{array("", "x"), `0["" "x"]`},
		{array("SET", "k", "a\r\n$1"), `0["SET" "k" "a\r\n$1"]`},
		{"*01\r\n$04\r\nPING\r\n", `0["PING"]`},
		{"*0\r\nPING\r\n", `1["PING"]`},
		{"*\r\n*-\r\n*-0\r\n\r\n\n   \r\nPING\r\n", `1["PING"]`},
		{"*1\r\n$\r\n\r\n", `0[""]`},
		{array("A") + "B c\n" + array("D"), `0["A"] 1["B" "c"] 0["D"]`},

		{"ping   spaced   \r\n", `1["ping" "spaced"]`},
		{"KEYS b\n", `1["KEYS" "b"]`},
		{`SET fleet 'two words' STRING "say \"hi\""` + "\r\n", `1["SET" "fleet" "two words" "STRING" "say \"hi\""]`},
		{`SET fleet esc STRING "a\nb\rc\td\\e\qf"` + "\r\n", `1["SET" "fleet" "esc" "STRING" "a\nb\rc\td\\eqf"]`},
		{`SET fleet sq STRING 'it\'s'` + "\r\n", `1["SET" "fleet" "sq" "STRING" "it's"]`},
		{`SET fleet empty STRING ""` + "\r\n", `1["SET" "fleet" "empty" "STRING" ""]`},
		{"SET u žluť\r\n", `1["SET" "u" "žluť"]`},
		{`SET j OBJECT '{"type":"Point","coordinates":[1,2]}'` + "\r\n", `1["SET" "j" "OBJECT" "{\"type\":\"Point\",\"coordinates\":[1,2]}"]`},
		{`PING a\ b` + "\r\n", `1["PING" "a\\" "b"]`},
		{`''` + "\r\n", `1[""]`},
		{`PING 'a' 'b'  ` + "\n", `1["PING" "a" "b"]`},
		{`PING "a\x41"` + "\r\n", `1["PING" "ax41"]`},
		{"PING\ta\r\r\n", `1["PING\ta\r"]`},
		{"\x00\r\n:5\r\n+P\r\n-x\r\n", `1["\x00"] 1[":5"] 1["+P"] 1["-x"]`},
		{"DEL a HTTP/1.1\r\nSET a HTTP/1.1\r\nGET a 'HTTP/1.1'\r\nGET a HTTP/2\r\nGET a HTTP/1.1 x\r\nGET a HTTP/1.1\n",
			`1["DEL" "a" "HTTP/1.1"] 1["SET" "a" "HTTP/1.1"] 1["GET" "a" "HTTP/1.1"] 1["GET" "a" "HTTP/2"] ` +
				`1["GET" "a" "HTTP/1.1" "x"] 1["GET" "a" "HTTP/1.1"]`},
	} {
		for name, src := range map[string]io.Reader{
			"whole": strings.NewReader(tc.in), "bytes": iotest.OneByteReader(strings.NewReader(tc.in)),
			"with EOF": iotest.DataErrReader(strings.NewReader(tc.in)),
		} {
			got, err := readAll(src, Limits{})
			if s := strings.Join(got, " "); s != tc.want || !errors.Is(err, io.EOF) {
				t.Errorf("%q, %s: %s, %v; want %s, EOF", tc.in, name, s, err, tc.want)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	lim := Limits{MaxArgs: 3, MaxBulk: 10, MaxInline: 12, MaxCommand: 40}
	for _, tc := range []struct {
		in, text string
		limit    bool
	}{
		{"*x\r\n", "invalid multibulk length", false},
		{"*-1\r\n", "invalid multibulk length", false},
		{"*+1\r\n", "invalid multibulk length", false},
		{"*1 \r\n", "invalid multibulk length", false},
		{"*1\n$4\r\nPING\r\n", "invalid multibulk length", false},
		{"*99999999999999999999\r\n", "invalid multibulk length", false},
		{"*" + strings.Repeat("0", 40), "invalid multibulk length", false},
		{"*1\r\n+PING\r\n", "expected '$', got '+'", false},
		{"*1\r\n:5\r\n", "expected '$', got ':'", false},
		{"*1\r\n\xff\r\n", "expected '$', got 'ÿ'", false},
		{"*1\r\n\n", "expected '$', got '\n'", false},
		{"*1\r\n$x\r\nPING\r\n", "invalid bulk length", false},
		{"*1\r\n$3\r\nPING\r\n", "invalid bulk length", false},
		{"*1\r\n$4\nPING\r\n", "invalid bulk length", false},
		{"*1\r\n$-1\r\n", "invalid bulk length", false},
		{"*1\r\n$18446744073709551617\r\n", "invalid bulk length", false},
		{`SET "unclosed P` + "\r\n", "", true}, // over MaxInline: see below
		{`G "uncl P` + "\r\n", "unbalanced quotes in request", false},
		{"GET 'a'b\r\n", "unbalanced quotes in request", false},
		{"GET a\"b\"\r\n", "unbalanced quotes in request", false},
		{"GET 'x\r\n", "unbalanced quotes in request", false},
		{`P "a\"` + "\r\n", "unbalanced quotes in request", false},
		{`P "a\`, "", false}, // incomplete

		{"*4\r\n", "invalid multibulk length: 4 arguments, at most 3 are allowed", true},
		{"*1000000000\r\n$3\r\nGET\r\n", "invalid multibulk length: 1000000000 arguments, at most 3 are allowed", true},
		{"a b c d\n", "invalid multibulk length: 4 arguments, at most 3 are allowed", true},
		{"*1\r\n$11\r\n", "invalid bulk length: 11 bytes, at most 10 are allowed", true},
		{"*3\r\n$10\r\n0123456789\r\n$10\r\n0123456789\r\n$1\r\n", "too big request: 45 bytes or more, at most 40 are allowed", true},
		{"0123456789012\n", "too big inline request: at most 12 bytes are allowed", true},
		{"0123456789012", "too big inline request: at most 12 bytes are allowed", true},
	} {
		for name, src := range map[string]io.Reader{
			"whole": strings.NewReader(tc.in), "bytes": iotest.OneByteReader(strings.NewReader(tc.in)),
		} {
			got, err := readAll(src, lim)
			if len(got) > 0 {
				t.Errorf("%q, %s: commands %s", tc.in, name, got)
			}
			var bad *ProtocolError
			switch {
			case !errors.As(err, &bad):
				if tc.text != "" || !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%q, %s: %v, want %q", tc.in, name, err, tc.text)
				}
			case tc.text != "" && bad.Text != "Protocol error: "+tc.text, bad.Limit != tc.limit, bad.Raw != "":
				t.Errorf("%q, %s: %+v, want %q, limit %v", tc.in, name, bad, tc.text, tc.limit)
			}
		}
	}
}

func TestLimitsAreInclusive(t *testing.T) {
	lim := Limits{MaxArgs: 3, MaxBulk: 10, MaxInline: 12, MaxCommand: 40}
	in := array("a", "b", "c") + array("0123456789") + "012345678901\n" +
		array("0123456789", "12345678") + // 40 bytes
		"a b c\n"
	got, err := readAll(strings.NewReader(in), lim)
	if len(got) != 5 || !errors.Is(err, io.EOF) {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestBatch(t *testing.T) {
	in := array("A") + array("B", "1") + "C\r\n" + array("D") + "*1\r\n$1\r\nE"
	r := NewReader(io.MultiReader(strings.NewReader(in), strings.NewReader("\r\n*1\r\n:1\r\nA\r\n")), Limits{})
	steps := []struct {
		limit int
		want  string
	}{{2, "A B"}, {0, "C"}, {10, "D"}, {10, "E"}}
	for _, s := range steps {
		cmds, err := r.Batch(nil, s.limit)
		var names []string
		for _, c := range cmds {
			names = append(names, c.Args[0])
		}
		if got := strings.Join(names, " "); got != s.want || err != nil {
			t.Fatalf("limit %d: %q, %v; want %q", s.limit, got, err, s.want)
		}
	}
	for range 2 { // final
		if _, err := r.Next(); err == nil || err.Error() != "Protocol error: expected '$', got ':'" {
			t.Fatal(err)
		}
	}
}

func TestCommandsBeforeAnErrorComeFirst(t *testing.T) {
	r := NewReader(strings.NewReader("A\nB\n*x\r\n"), Limits{})
	if cmds, err := r.Batch(nil, 10); len(cmds) != 2 || err != nil {
		t.Fatal(cmds, err)
	}
	if cmds, err := r.Batch(nil, 10); len(cmds) != 0 || err == nil {
		t.Fatal(cmds, err)
	}
}

func TestUnread(t *testing.T) {
	in := "A\r\n" + "\r\n*0\r\n" + array("B", "b") + "C\n" + "*x\r\n"
	r := NewReader(strings.NewReader(in), Limits{})
	cmds, err := r.Batch(nil, 10)
	if len(cmds) != 3 || err != nil {
		t.Fatal(cmds, err)
	}
	if got := string(r.Buffered()); got != "*x\r\n" {
		t.Fatalf("buffered %q", got)
	}
	r.Unread(0)
	r.Unread(2)
	if got, want := string(r.Buffered()), array("B", "b")+"C\n*x\r\n"; got != want {
		t.Fatalf("buffered %q, want %q", got, want)
	}
	cmds, err = r.Batch(nil, 10)
	if len(cmds) != 2 || cmds[0].Args[1] != "b" || cmds[1].Args[0] != "C" || err != nil {
		t.Fatal(cmds, err)
	}
	if _, err = r.Batch(nil, 10); err == nil {
		t.Fatal("the error behind is gone")
	}
}

// An error of the source that is not final loses nothing, at any place.
func TestTimeoutsLoseNothing(t *testing.T) {
	in := array("SET", "k", "v") + "PING 'x y'\r\n" + array("GET", "k")
	r := NewReader(iotest.OneByteReader(&timeouts{src: strings.NewReader(in)}), Limits{})
	var got []string
	for n := 0; ; {
		c, err := r.Next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			r.Release()
			if n++; n > len(in)+1 {
				t.Fatal("no end")
			}
			continue
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			break
		}
		got = append(got, strings.Join(c.Args, "|"))
	}
	if s := strings.Join(got, " "); s != "SET|k|v PING|x y GET|k" {
		t.Fatal(s)
	}
}

// timeouts fails before every read.
type timeouts struct {
	src    io.Reader
	failed bool
}

func (s *timeouts) Read(p []byte) (int, error) {
	if s.failed = !s.failed; s.failed {
		return 0, os.ErrDeadlineExceeded
	}
	return s.src.Read(p)
}

func TestSourceWithoutProgress(t *testing.T) {
	r := NewReader(readFunc(func([]byte) (int, error) { return 0, nil }), Limits{})
	if _, err := r.Next(); !errors.Is(err, io.ErrNoProgress) {
		t.Fatal(err)
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestLimitsValidate(t *testing.T) {
	var l Limits
	l.EnsureDefaults()
	if err := l.Validate(); err != nil {
		t.Fatal(err)
	}
	err := Limits{MaxArgs: -1, MaxBulk: -1, MaxInline: 1 << 60, MaxCommand: 1}.Validate()
	for _, name := range []string{"MaxArgs", "MaxBulk", "MaxInline"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
	if strings.Contains(err.Error(), "MaxCommand") {
		t.Error(err)
	}
}

func TestArgsDoNotShareTheBuffer(t *testing.T) {
	in := bytes.Repeat([]byte(array("SET", "key", strings.Repeat("v", 3000))), 50)
	r := NewReader(bytes.NewReader(in), Limits{})
	var kept []string
	for {
		cmds, err := r.Batch(nil, 7)
		if err != nil {
			break
		}
		for _, c := range cmds {
			kept = append(kept, c.Args...)
		}
	}
	if len(kept) != 150 {
		t.Fatal(len(kept))
	}
	for i, want := range []string{"SET", "key", strings.Repeat("v", 3000)} {
		for j := i; j < len(kept); j += 3 {
			if kept[j] != want {
				t.Fatalf("word %d has changed", j)
			}
		}
	}
}
