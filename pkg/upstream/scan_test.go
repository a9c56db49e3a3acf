package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/redcon"

	"evenkeel/pkg/resp"
)

// cutUp feeds b to a scanner in pieces of the given size, as a session does, and
// returns the names of the commands, and whether it became opaque.
func cutUp(table *table, b []byte, size int) (names []string, opaque bool, rest int) {
	r := requests{table: table}
	var held []byte
	for len(b) > 0 {
		n := min(size, len(b))
		piece := slices.Concat(held, b[:n])
		b, held = b[n:], nil
		for len(piece) > 0 {
			n, ev := r.next(piece)
			switch ev {
			case eventHold:
				held, n = piece, len(piece)
			case eventOpaque:
				return names, true, 0
			case eventCommand:
				name := r.cmd.name
				if r.live {
					name += "!"
				}
				names = append(names, name)
			}
			piece = piece[n:]
		}
	}
	if r.inside {
		return names, false, 1
	}
	return names, false, len(held)
}

func array(args ...string) string {
	b := redcon.AppendArray(nil, len(args))
	for _, a := range args {
		b = redcon.AppendBulkString(b, a)
	}
	return string(b)
}

func TestRequests(t *testing.T) {
	tb := newTable()
	long := strings.Repeat("x", 3000)
	for _, c := range []struct {
		in     string
		want   string
		opaque bool
	}{
		{in: array("GET", "k", "id") + "ping\r\n" + array("sEt", "k", "id", "STRING", long) + array("PING"), want: "get ping set ping"},
		{in: "\r\n   \r\n*0\r\n*\r\nPING\nGET k id\r\n", want: "ping get"},
		{in: array("TIMEOUT", "1", "TIMEOUT", "2", "SET", "k", "id", "POINT", "1", "2") + "timeout 3 get k id\r\n", want: "set get"},
		{in: array("NEARBY", "k", "FENCE", "POINT", "1", "1", "1") + "within k fence BOUNDS 1 1 1 1\r\nGET fence fence\r\n", want: "nearby! within! get"},
		{in: array("x'"+long, "y") + array("nonsense") + array("PING", long, long), want: "other other ping"},
		{in: "SET k id STRING " + long + "\r\nPING\r\n", want: "set ping"},
		{in: array("PING") + "$4 PING\r\n$21 set fleet a point 1 2\r\nGET k id\r\n", want: "ping ping set get"},
		{in: "$37 nearby k fence {\"a b\":1} point 1 1 1 \r\n$3011 set k id string " + long[:2995] + "\r\nPING\r\n", want: "nearby! set ping"},
		{in: "$4 PINGxx", opaque: true},
		{in: "$0 \r\n", opaque: true},
		{in: "$ PING\r\n", opaque: true},
		{in: "$4\r\nPING\r\n", opaque: true},
		{in: "$-1 PING\r\n", opaque: true},
		{in: "GET /get+k+id HTTP/1.1\r\n\r\n", opaque: true},
		{in: "PING\r\nPOST / HTTP/1.0\r\n\r\n", want: "ping", opaque: true},
		{in: "PING\r\nDEL k HTTP/1.1\r\n", want: "ping del"},
		{in: "\"PING\"\r\n", opaque: true},
		{in: "*1\r\n$0\r\n\r\n", opaque: true},
		{in: "*-1\r\n", opaque: true},
		{in: "*x\r\n", opaque: true},
		{in: "*2\r\n$3\r\nGET\r\nx\r\n", opaque: true},
		{in: "*1\r\n$-1\r\n", opaque: true},
		{in: "*99999999999999\r\n", opaque: true},
		{in: "GET " + long, opaque: true}, // whether it is HTTP shows too late
	} {
		for _, size := range []int{1, 2, 3, 7, 100, 511, 512, 513, 1 << 20} {
			names, opaque, rest := cutUp(tb, []byte(c.in), size)
			if strings.Join(names, " ") != c.want || opaque != c.opaque || rest != 0 {
				t.Errorf("%.40q in pieces of %d: %q, opaque %v, %d left; want %q, %v", c.in, size, names, opaque, rest, c.want, c.opaque)
			}
		}
	}
}

func TestReplies(t *testing.T) {
	long := strings.Repeat("y", 5000)
	type reply struct {
		text         string
		failed, live bool
	}
	all := []reply{
		{text: "+OK\r\n", live: true}, {text: "-ERR x\r\n", failed: true}, {text: ":12\r\n"}, {text: "$-1\r\n"}, {text: "*-1\r\n"},
		{text: "*0\r\n"}, {text: "$0\r\n\r\n"}, {text: "$" + fmt.Sprint(len(long)) + "\r\n" + long + "\r\n"},
		{text: "*3\r\n:1\r\n*2\r\n*0\r\n*1\r\n$2\r\nab\r\n-no\r\n"},
		{text: "$30\r\n{\"ok\":false,\"err\":\"not found\"}\r\n", failed: true},
		{text: "$23\r\n{\"ok\":true,\"live\":true}\r\n", live: true}, {text: "$11\r\n{\"ok\":true}\r\n"},
		{text: "$11 {\"ok\":true}\r\n"}, {text: "$12 {\"ok\":false}\r\n", failed: true}, {text: "$8 -ERR x\r\n\r\n", failed: true, live: true},
		{text: "$5 +OK\r\n\r\n", live: true},
	}
	var in string
	for _, r := range all {
		in += r.text
	}
	for _, size := range []int{1, 2, 3, 5, 17, 4096, 1 << 20} {
		var r replies
		i := 0
		for _, piece := range slices.Collect(slices.Chunk([]byte(in), size)) {
			for len(piece) > 0 {
				n, whole, ok := r.next(piece)
				if !ok {
					t.Fatalf("pieces of %d: reply %d is none", size, i)
				}
				piece = piece[n:]
				if whole {
					if r.failed() != all[i].failed || r.live() != all[i].live {
						t.Errorf("pieces of %d: %.30q: failed %v, live %v", size, all[i].text, r.failed(), r.live())
					}
					i++
				}
			}
		}
		if i != len(all) || r.begun {
			t.Errorf("pieces of %d: %d replies of %d", size, i, len(all))
		}
	}
	for _, bad := range []string{"HTTP/1.1 200 OK\r\n", "$x\r\n", strings.Repeat("*1\r\n", maxDepth+1), "*1\r\n$4 PING"} {
		var r replies
		if _, _, ok := r.next([]byte(bad)); ok {
			t.Errorf("%.20q is a reply", bad)
		}
	}
}

// FuzzRequests compares with the reader of pkg/resp: as long as both know what
// comes, they count the same commands, however the bytes are cut.
func FuzzRequests(f *testing.F) {
	f.Add([]byte(array("SET", "k", "id", "STRING", "x")+"PING\r\nGET k id\n"), 3)
	f.Add([]byte("*1\r\n$4\r\nPING\r\n\r\nTIMEOUT 1 GET k\r\n$4 PING\r\n"), 1)
	tb := newTable()
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		if size < 1 || size > 2000 || len(b) > 1<<16 {
			return
		}
		names, opaque, _ := cutUp(tb, b, size)
		whole, opaqueWhole, _ := cutUp(tb, b, len(b)+1)
		if len(b) <= holdBytes && (opaque != opaqueWhole || !slices.Equal(names, whole)) {
			t.Fatalf("%q in pieces of %d: %q %v; whole: %q %v", b, size, names, opaque, whole, opaqueWhole)
		}
		rd := resp.NewReader(bytes.NewReader(b), resp.Limits{})
		n := 0
		for {
			cmd, err := rd.Next()
			if bad := (*resp.ProtocolError)(nil); errors.As(err, &bad) || err == nil && cmd.Kind > resp.Native {
				return // a session would be opaque, or told so by its engine
			}
			if err != nil {
				break
			}
			n++
		}
		if !opaque && n != len(names) {
			t.Errorf("%q in pieces of %d: %d commands, want %d", b, size, len(names), n)
		}
	})
}

// FuzzReplies compares with redcon's.
func FuzzReplies(f *testing.F) {
	f.Add([]byte("*2\r\n$1\r\na\r\n:1\r\n+OK\r\n-x\r\n"), 2)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		if size < 1 || len(b) > 1<<12 {
			return
		}
		var ends []int
		var r replies
		at := 0
		for _, piece := range slices.Collect(slices.Chunk(b, size)) {
			for len(piece) > 0 {
				n, whole, ok := r.next(piece)
				if !ok {
					return
				}
				at += n
				piece = piece[n:]
				if whole {
					ends = append(ends, at)
				}
			}
		}
		from := 0
		for _, end := range ends {
			n, _ := redcon.ReadNextRESP(b[from:])
			if n == 0 {
				return // it is stricter about what is within
			}
			if from+n != end {
				t.Fatalf("%q: a reply ends at %d, want %d", b, end, from+n)
			}
			from = end
		}
	})
}

func TestPending(t *testing.T) {
	var p pending
	a, b := &known{name: "a"}, &known{name: "b"}
	var want []string
	for i := range 500 {
		e := entry{cmd: a, at: 5, n: int32(1 + i%3)}
		if i%4 == 0 {
			e.cmd = b
		}
		p.add(e)
		for range e.n {
			want = append(want, e.cmd.name)
		}
		if i%5 == 0 {
			if got := p.next().cmd.name; got != want[0] {
				t.Fatalf("%d: %s, want %s", i, got, want[0])
			}
			p.drop()
			want = want[1:]
		}
	}
	for p.n > 0 {
		if got := p.next().cmd.name; got != want[0] {
			t.Fatalf("%s, want %s with %d left", got, want[0], len(want))
		}
		p.drop()
		want = want[1:]
	}
	if len(want) != 0 || p.used != 0 || len(p.ring) > keepRing {
		t.Errorf("%d are missing; %d entries of %d in use", len(want), p.used, len(p.ring))
	}
}

func TestTable(t *testing.T) {
	tb := newTable()
	for name, class := range map[string]Class{
		"SET": ClassWrite, "get": ClassRead, "Nearby": ClassRead, "SETHOOK": ClassWrite, "EVAL": ClassWrite, "evalna": ClassWrite,
		"EVALRO": ClassRead, "CONFIG": ClassLocal, "FOLLOW": ClassLocal, "SERVER": ClassLocal, "nonsense": ClassLocal, "FLUSHDB": ClassWrite,
		"JDEL": ClassWrite, "expire": ClassWrite, "TTL": ClassRead, strings.Repeat("a", 100): ClassLocal,
	} {
		if got := tb.find([]byte(name)).class; got != class {
			t.Errorf("%s: %d, want %d", name, got, class)
		}
	}
	if names := tb.list(); !slices.Contains(names, "other") || !slices.Contains(names, "set") || slices.Contains(names, "SET") {
		t.Errorf("names: %q", names)
	}
}
