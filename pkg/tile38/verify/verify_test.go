package verify

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"evenkeel/internal/testkit"
	"evenkeel/pkg/tile38"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// words splits a line at spaces.
func words(line string) []string { return strings.Fields(line) }

// quick looks again at once.
func quick() Options {
	return Options{Pauses: []time.Duration{time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond}}
}

// differences compares two sources.
func differences(t testing.TB, want, have Source, o Options) ([]Difference, Summary) {
	t.Helper()
	var all []Difference
	sum, err := Compare(context.Background(), want, have, o, func(d Difference) error {
		all = append(all, d)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(all)) != sum.Differences {
		t.Fatalf("%d differences were told, %d counted", len(all), sum.Differences)
	}
	return all, sum
}

func describe(all []Difference) string {
	var b strings.Builder
	for _, d := range all {
		fmt.Fprintf(&b, "%s/%s %s\n", d.Key, d.ID, d.Why)
	}
	return b.String()
}

// server is one, and a way to write to it.
type server struct {
	*LiveSource
	do func(cmds ...[]string)
}

// machines runs a test on played servers, and on real ones when there are.
func machines(t *testing.T, f func(t *testing.T, start func() testkit.Machine)) {
	t.Helper()
	t.Run("played", func(t *testing.T) {
		f(t, func() testkit.Machine {
			return testkit.NewServer(t, testkit.ServerOptions{Block: 4 << 10, Retry: 50 * time.Millisecond})
		})
	})
	t.Run("real", func(t *testing.T) {
		testkit.Binary(t)
		f(t, func() testkit.Machine { return testkit.NewProcess(t) })
	})
}

// servers is machines with two empty ones.
func servers(t *testing.T, f func(t *testing.T, a, b server)) {
	t.Helper()
	machines(t, func(t *testing.T, start func() testkit.Machine) { f(t, of(t, start()), of(t, start())) })
}

func of(t *testing.T, m testkit.Machine) server {
	t.Helper()
	c := dial(t, m.Address())
	return server{live(t, m.Address()), func(cmds ...[]string) { t.Helper(); do(t, c, cmds...) }}
}

// commonData is data of many kinds.
func commonData() [][]string {
	return [][]string{
		{"SET", "a", "p", "FIELD", "speed", "10", "FIELD", "s", `"10"`, "POINT", "33.5", "-115.1"},
		{"SET", "a", "z", "POINT", "33.5", "-115.1", "7"},
		{"SET", "a", "", "POINT", "1", "2"},
		{"SET", "a", "\xff\x00\xfe", "FIELD", "n\xff", "\xfe", "STRING", "x\xffy\r\n\""},
		{"SET", "a", "é \"\n*", "EX", "1000.5", "STRING", `{"type":"Point","coordinates":[1,2]}`},
		{"SET", "b c", "box", "BOUNDS", "1", "2", "3", "4"},
		{"SET", "b c", "circle", "OBJECT", `{"type":"Feature","geometry":{"type":"Point","coordinates":[-115,33]},"properties":{"type":"Circle","radius":100}}`},
		{"SET", "b c", "poly", "FIELD", "j", `{"a": [1, 2.0]}`, "OBJECT", `{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1.0],[0,1],[0,0]]]}`},
		{"SETHOOK", "h", "http://127.0.0.1:1/x,http://127.0.0.1:1/y", "META", "a", "b", "META", "A", "c", "NEARBY", "a", "FENCE", "POINT", "1", "2", "100"},
		{"SETCHAN", "c", "EX", "500", "WITHIN", "a", "FENCE", "BOUNDS", "1", "2", "3", "4"},
	}
}

func TestCompareFinds(t *testing.T) {
	servers(t, func(t *testing.T, a, b server) {
		a.do(commonData()...)
		b.do(commonData()...)
		if all, sum := differences(t, a, b, quick()); len(all) != 0 || sum.Objects != 8 || sum.Hooks != 2 || sum.Collections != 2 {
			t.Fatalf("equal servers differ:\n%s%+v", describe(all), sum)
		}
		a.do(words("SET new x POINT 1 2"), words("SET a p FIELD speed 10.0 POINT 33.5 -115.1"),
			words("SETCHAN only NEARBY a FENCE POINT 1 2 3"))
		b.do(words("SET a ghost POINT 1 2"), words("SET ghosts g STRING x"), words("SET a z POINT 33.5 -115.1"),
			words("EXPIRE a p 100"), []string{"FSET", "b c", "poly", "j", "1"},
			[]string{"SET", "b c", "circle", "STRING", "x"}, []string{"DELCHAN", "c"},
			[]string{"SETHOOK", "h", "http://127.0.0.1:1/x", "NEARBY", "a", "FENCE", "POINT", "1", "2", "100"})
		all, _ := differences(t, a, b, quick())
		want := `a/ghost extra
a/p expiry
a/z value
b c/circle kind
b c/poly fields
ghosts/g extra
new/x missing
a/c missing
a/h value
a/only missing
`
		if got := describe(all); got != want {
			t.Fatalf("got\n%swant\n%s", got, want)
		}
		for _, d := range all {
			b.do(d.Commands()...)
		}
		if all, _ := differences(t, a, b, quick()); len(all) != 0 {
			t.Fatalf("the commands left:\n%s", describe(all))
		}
	})
}

// TestPages reads through pages of all sizes what is there, however ids look.
func TestPages(t *testing.T) {
	f := newFake(t)
	want := 0
	for i := range 900 {
		f.do(t, words(fmt.Sprintf("SET k id:%d POINT 1 2", i)))
		want++
	}
	for _, id := range []string{"", "\x00", "a*b", "a*", `a\`, "[", "\xff", "\xff\xff", "é", "ê", "世"} {
		for i := range 30 {
			f.do(t, []string{"SET", "k", fmt.Sprintf("%s%d", id, i), "STRING", "x"})
			want++
		}
	}
	f.do(t, []string{"SET", "k", "", "STRING", "x"})
	want++
	for _, size := range []int{1, 3, 7, 100, 5000} {
		l := liveWith(t, LiveOptions{Options: tile38.Options{Addr: f.addr}, Page: size, Rate: 1 << 30, NoExpiry: true})
		got := scan(t, l, "k", "")
		if len(got) != want {
			t.Fatalf("pages of %d: %d objects, want %d", size, len(got), want)
		}
		if err := inOrder(got); err != nil {
			t.Fatal(err)
		}
		for _, from := range []int{1, 500, 700, want - 1} {
			if part := scan(t, l, "k", got[from].ID); len(part) != want-from || part[0].ID != got[from].ID {
				t.Fatalf("pages of %d from %q: %d objects, want %d", size, got[from].ID, len(part), want-from)
			}
		}
	}
}
