package dump

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tidwall/geojson"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/field"
	"evenkeel/pkg/engine/keys"
	"evenkeel/pkg/engine/reply"
)

// engine carries out commands on a state.
type engine struct {
	cmds map[string]command.Spec
	st   *collection.State
}

func newEngine() *engine {
	e := &engine{cmds: map[string]command.Spec{}, st: collection.NewState()}
	for _, spec := range keys.Commands(keys.Limits{}) {
		e.cmds[spec.Name] = spec
	}
	return e
}

func (e *engine) do(now int64, args ...string) error {
	req := command.Request{Args: args, Name: strings.ToLower(args[0]), Now: now}
	var ch collection.Change
	var out reply.Reply
	if err := e.cmds[req.Name].Write(&req, e.st, &ch, &out); err != nil {
		return err
	}
	e.st.Apply(&ch)
	return nil
}

var (
	numbers = []string{"0", "-0", "1.5", "-73.123456789", "nan", "inf", "-inf", "1e300", "0.1", "1e-320", "179.99999999999997"}
	texts   = []string{"", "plain", "two words", "\xff\x00", `{"a":1}`, "<b>&\"\\", "line\r\nbreak", "žluť", "null", "12"}
	names   = []string{"", "k", "key two", "\x80", "naïve", "a\nb", "field", "ex"}
	objects = []string{
		`{"type":"Point","coordinates":[1,2]}`, `{"type":"Point","coordinates":[1e400,-1e400]}`, `{"type":"Point","coordinates":[null,2]}`,
		`{"type":"Point","coordinates":[1,2,3]}`, `{"type":"Point","coordinates":[1,2,1e400]}`, `{"type":"Point","coordinates":[1,2,3,4]}`,
		`{"type":"Point","coordinates":[1,2],"a":[1e400,null]}`, `{"type":"Point","coordinates":[1e400,2,3,4]}`,
		`{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,1],[0,0]]],"note":"x"}`,
		`{"type":"LineString","coordinates":[[1,2,9],[3,4],[5,6,7,8]]}`, `{"type":"MultiPoint","coordinates":[]}`,
		`{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[1,2]}]}`,
		`{"type":"Feature","geometry":{"type":"Point","coordinates":[1,2,5]},"id":7,"properties":{"a":1.50}}`,
		`{"type":"Feature","geometry":{"type":"Point","coordinates":[2.35,48.85]},"properties":{"type":"Circle","radius":2.5,"radius_units":"km"}}`,
		`{"type":"Feature","geometry":{"type":"Point","coordinates":[1e400,48.85]},"properties":{"type":"Circle","radius":"nan"}}`,
		`{"type":"FeatureCollection","features":[{"type":"Feature","geometry":{"type":"Point","coordinates":[1,2]},"properties":{"type":"Circle","radius":"1e400"}}]}`,
	}
	values = []string{"1", "0.0", "-0", "nan", "inf", "-Inf", "1e999", "true", "false", "null", "", "text", `"1"`, `"true"`, ` [1, {"a":"<b>"}]`,
		"\xff", "\" \xff\\n\\\"\\\\\\u0001 \"", `"\ud83d"`, "007", "{", strings.Repeat("9", 400), "é\u2028"}
	fieldNames = []string{"a", "speed", "", " z ", " lat", "lon ", "XX", "two words", "\xfe", "ex"}
	seconds3   = []string{"10", "0.001", "-5.5", "1234567.891", "inf", "-1e300", "9e9", "1e11", "0", "nan", "281474976710.655"}
)

// random fills an engine.
func random(t *testing.T, r *rand.Rand, now int64) *engine {
	t.Helper()
	pick := func(list []string) string { return list[r.IntN(len(list))] }
	e := newEngine()
	for range 400 {
		args := []string{"SET", pick(names), pick(names) + strconv.Itoa(r.IntN(8))}
		for range r.IntN(4) {
			args = append(args, "FIELD", pick(fieldNames), pick(values))
		}
		if r.IntN(3) == 0 {
			args = append(args, "EX", pick(seconds3))
		}
		switch r.IntN(6) {
		case 0:
			args = append(args, "OBJECT", pick(objects))
		case 1:
			args = append(args, "STRING", pick(texts))
		case 2:
			args = append(args, "BOUNDS", pick(numbers), pick(numbers), pick(numbers), pick(numbers))
		case 3:
			args = append(args, "HASH", "u33dbc")
		case 4:
			args = append(args, "POINT", pick(numbers), pick(numbers), pick(numbers))
		default:
			args = append(args, "POINT", pick(numbers), pick(numbers))
		}
		err := e.do(now+int64(r.IntN(100_000)), args...)
		var refused *reply.Error
		if err != nil && (!errors.As(err, &refused) || strings.HasPrefix(refused.JSON, "invalid number")) {
			t.Fatalf("%q: %v", args, err)
		}
	}
	return e
}

// What Items writes makes the same state again.
func TestRoundTrip(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		now := int64(1_700_000_000_123)
		from := random(t, r, now)
		later := now + int64(r.IntN(1_000_000))
		to := newEngine()
		var last []string
		err := Items(from.st, later, func(args []string) error {
			if last != nil && slices.Compare(args[1:3], last) <= 0 {
				t.Fatalf("%q comes after %q", args[1:3], last)
			}
			last = slices.Clone(args[1:3])
			return to.do(later, args...)
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(from.st.Check(), to.st.Check()); err != nil {
			t.Fatal(err)
		}
		if got, want := to.st.Digest(), from.st.Digest(); got != want {
			t.Fatalf("seed %d: digest %s, want %s; %s", seed, got, want, difference(from.st, to.st))
		}
	}
}

// difference names an item that is not the same in both states.
func difference(a, b *collection.State) string {
	text := func(it *collection.Item) string {
		if it == nil {
			return "nothing"
		}
		return fmt.Sprintf("%T %s %q %d", it.Object(), it.Object().JSON(), it.Fields().Packed(), it.Deadline())
	}
	found := ""
	a.Scan("", func(c *collection.Collection) bool {
		c.Scan("", false, func(it *collection.Item) bool {
			other, _ := b.Get(c.Name(), it.ID())
			if x, y := text(it), text(other); x != y {
				found = fmt.Sprintf("%q %q: %s became %s", c.Name(), it.ID(), x, y)
			}
			return found == ""
		})
		return found == ""
	})
	return found
}

func TestForms(t *testing.T) {
	const now = 1_000_000
	for _, tc := range []struct{ set, want string }{
		{"FIELD|n|5|FIELD|t|two words|FIELD|j|{\"a\":[1]}|FIELD|b|true|POINT|10|20",
			`field|b|true|field|j|{"a":[1]}|field|n|5|field|t|"two words"|object|{"type":"Point","coordinates":[20,10]}`},
		{"POINT|10|20|30", `object|{"type":"Point","coordinates":[20,10,30]}`},
		{"STRING|žluť \"q\"", `string|žluť "q"`},
		{"EX|5000|BOUNDS|1|2|3|4", "ex|5000|bounds|1|2|3|4"},
		{"EX|1.5|HASH|u33", `ex|1.5|object|{"type":"Point","coordinates":[13,53]}`},
		{"EX|-0.25|POINT|inf|nan", "ex|-0.25|point|+Inf|NaN"},
		{"POINT|1|2|inf", "point|1|2|+Inf"},
		{"FIELD| z |1|POINT|1|2", `field| z|1|object|{"type":"Point","coordinates":[2,1]}`},
		{`OBJECT|{"type":"Feature","geometry":{"type":"Point","coordinates":[1,2]},"properties":{"type":"Circle","radius":500}}`,
			`object|{"type":"Feature","geometry":{"type":"Point","coordinates":[1,2]},"properties":{"type":"Circle","radius":500,"radius_units":"m"}}`},
	} {
		e := newEngine()
		if err := e.do(now, append([]string{"SET", "k", "id"}, strings.Split(tc.set, "|")...)...); err != nil {
			t.Fatalf("%s: %v", tc.set, err)
		}
		var got string
		if err := Items(e.st, now, func(args []string) error {
			got = strings.Join(args, "|")
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if want := "set|k|id|" + tc.want; got != want {
			t.Errorf("%s\n got %s\nwant %s", tc.set, got, want)
		}
	}
}

// What Tile38's own dump would lose keeps its kind.
func TestKindsSurvive(t *testing.T) {
	e := newEngine()
	for id, set := range map[string][]string{
		"rect": {"BOUNDS", "1", "2", "3", "4"}, "circle": {"OBJECT", objects[13]}, "text": {"STRING", objects[13]},
	} {
		if err := e.do(0, append([]string{"SET", "k", id}, set...)...); err != nil {
			t.Fatal(err)
		}
	}
	to := newEngine()
	if err := Items(e.st, 0, func(args []string) error { return to.do(0, args...) }); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]geojson.Object{"rect": &geojson.Rect{}, "circle": &geojson.Circle{}, "text": collection.Text("")} {
		it, _ := to.st.Get("k", id)
		if got := fmt.Sprintf("%T", it.Object()); got != fmt.Sprintf("%T", want) {
			t.Errorf("%s is a %s", id, got)
		}
	}
}

// Words gives what Items gives, and next to no garbage.
func TestWords(t *testing.T) {
	e := random(t, rand.New(rand.NewPCG(3, 1)), 0)
	var want, got []string
	err := errors.Join(
		Items(e.st, 5, func(args []string) error { want = append(want, strings.Join(args, "|")); return nil }),
		Words(e.st, 5, func(words [][]byte) error { got = append(got, string(bytes.Join(words, []byte("|")))); return nil }))
	if err != nil || len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("%v\n got %q\nwant %q", err, got, want)
	}
	e = newEngine()
	for i := range 1000 {
		if err := e.do(0, "SET", "fleet", fmt.Sprint(i), "FIELD", "speed", "57", "EX", "10.5", "POINT", "33.5", fmt.Sprint(float64(i)/8)); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(10, func() { _ = Words(e.st, 1, func([][]byte) error { return nil }) }); n > 100 {
		t.Errorf("%v allocations for 1000 points, want a tenth of one each at most", n)
	}
}

func TestStopsAtError(t *testing.T) {
	e := random(t, rand.New(rand.NewPCG(1, 1)), 0)
	stop := errors.New("disk full")
	n := 0
	err := Items(e.st, 0, func([]string) error {
		if n++; n == 3 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || n != 3 {
		t.Errorf("got %v after %d commands, want %v after 3", err, n, stop)
	}
}

// A field's value has a spelling that is read as the same value.
func FuzzSpell(f *testing.F) {
	for _, v := range values {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v := field.ValueOf(text)
		got := field.ValueOf(spell(v))
		if !same(v, got) || math.Float64bits(v.Num()) != math.Float64bits(got.Num()) {
			t.Fatalf("%q is %v; %q is %v", text, v, spell(v), got)
		}
	})
}

func BenchmarkItems(b *testing.B) {
	e := newEngine()
	for i := range 100_000 {
		if err := e.do(0, "SET", "fleet", fmt.Sprint("truck:", i), "FIELD", "speed", "57",
			"POINT", fmt.Sprint(i%90), fmt.Sprint(float64(i)/1000)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		if err := Items(e.st, 0, func([]string) error { n++; return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
