package field

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestValueOf(t *testing.T) {
	nines := strings.Repeat("9", 309)
	for _, tc := range []struct {
		text string
		kind Kind
		data string
		json string
	}{
		{"1", Number, "1", "1"},
		{" 42 ", Number, "42", "42"},
		{"1.50", Number, "1.50", "1.50"},
		{"-0", Number, "-0", "-0"},
		{"1E-3", Number, "1E-3", "1E-3"},
		{"1e-400", Number, "1e-400", "1e-400"},
		{"1e400", Number, "+Inf", `"+Inf"`},
		{"-1e400", Number, "-Inf", `"-Inf"`},
		{nines, String, nines, `"` + nines + `"`},
		{nines + ".0", Number, "+Inf", `"+Inf"`},
		{"inf", Number, "+Inf", `"+Inf"`},
		{"+Infinity", Number, "+Inf", `"+Inf"`},
		{"-INF", Number, "-Inf", `"-Inf"`},
		{"nAn", Number, "NaN", `"NaN"`},
		{"+nan", String, "+nan", `"+nan"`},
		{"infin", String, "infin", `"infin"`},
		{"007", String, "007", `"007"`},
		{"00", String, "00", `"00"`},
		{"-", String, "-", `"-"`},
		{"+5", String, "+5", `"+5"`},
		{".5", String, ".5", `".5"`},
		{"5.", String, "5.", `"5."`},
		{"1e", String, "1e", `"1e"`},
		{"0x10", String, "0x10", `"0x10"`},
		{"", String, "", `""`},
		{"  ", String, "", `""`},
		{"true", True, "true", "true"},
		{"TRUE", String, "TRUE", `"TRUE"`},
		{"false", False, "false", "false"},
		{" null", Null, "null", "null"},
		{`"hello"`, String, "hello", `"hello"`},
		{`"1"`, String, "1", `"1"`},
		{`"a`, String, `"a`, `"\"a"`},
		{`"\x"`, String, `"\x"`, `"\"\\x\""`},
		{`{ "a" : [ 1 , 2 ] }`, JSON, `{"a":[1,2]}`, `{"a":[1,2]}`},
		{"[ ]", JSON, "[]", "[]"},
		{"[1,2,]", String, "[1,2,]", `"[1,2,]"`},
		{`{"a":`, String, `{"a":`, `"{\"a\":"`},
		{"\xff", String, "\xff", `"\ufffd"`},
	} {
		v := ValueOf(tc.text)
		if v.Kind() != tc.kind || v.Data() != tc.data || v.JSON() != tc.json {
			t.Errorf("ValueOf(%.20q) = %d %.20q %.20s, want %d %.20q %.20s",
				tc.text, v.Kind(), v.Data(), v.JSON(), tc.kind, tc.data, tc.json)
		}
	}
}

func TestNestingBeyondJSONIsText(t *testing.T) {
	deep := strings.Repeat("[", 1_000_000) + strings.Repeat("]", 1_000_000)
	if got := Nesting(deep); got != 1_000_000 {
		t.Errorf("Nesting = %d, want 1000000", got)
	}
	if got := ValueOf(deep).Kind(); got != String {
		t.Errorf("a million levels are of kind %d, want String", got)
	}
	if got := Nesting(`{"[[[":"\"[[","a":[]}`); got != 2 {
		t.Errorf("Nesting with brackets in strings = %d, want 2", got)
	}
}

func TestNum(t *testing.T) {
	for text, want := range map[string]float64{
		"12": 12, "-7.25": -7.25, "1e3": 1000, "inf": math.Inf(1), "true": 1, "abc": 0, "999999999999999": 999999999999999,
	} {
		var l List
		if got := ValueOf(text).Num(); got != want {
			t.Errorf("ValueOf(%q).Num() = %v, want %v", text, got, want)
		}
		if got := l.Set("x", ValueOf(text)).Get("x").Num(); got != want {
			t.Errorf("stored %q has Num %v, want %v", text, got, want)
		}
	}
}

func TestOrder(t *testing.T) {
	rising := []string{"null", "false", "-inf", "-5", "0", "1e3", "inf", "", "ABC", "abd", "zz", "true", "[1]", `{"a":1}`}
	for i, a := range rising {
		for j, b := range rising {
			if got := ValueOf(a).Less(ValueOf(b)); got != (i < j) {
				t.Errorf("%q < %q is %v", a, b, got)
			}
		}
	}
	for _, pair := range [][2]string{{"1", "1.0"}, {"abc", "ABC"}, {"nan", "7"}, {"-0", "0"}, {`{"a":1}`, `{ "a":1}`}} {
		if !ValueOf(pair[0]).Equals(ValueOf(pair[1])) {
			t.Errorf("%q does not equal %q", pair[0], pair[1])
		}
	}
	for _, pair := range [][2]string{{"é", "É"}, {"1", `"1"`}, {"true", "TRUE"}, {`{"a":1}`, `{"A":1}`}} {
		if ValueOf(pair[0]).Equals(ValueOf(pair[1])) {
			t.Errorf("%q equals %q", pair[0], pair[1])
		}
	}
}

func TestListSet(t *testing.T) {
	for _, tc := range []struct {
		about string
		texts []string // set to x one after the other
		want  string   // data, "-" for no field
	}{
		{"a zero is no field", []string{"0"}, "-"},
		{"0.0 is a field", []string{"0.0"}, "0.0"},
		{"-0 is a field", []string{"-0"}, "-0"},
		{"a zero removes", []string{"5", "0"}, "-"},
		{"a zero removes an equal value", []string{"0.0", "0"}, "-"},
		{"an equal value keeps its spelling", []string{"1", "1.0"}, "1"},
		{"NaN equals all numbers", []string{"5", "nan"}, "5"},
		{"case", []string{"free", "FREE"}, "free"},
		{"another value", []string{"free", "7"}, "7"},
	} {
		var l List
		for _, text := range tc.texts {
			l = l.Set("x", ValueOf(text))
		}
		if got := l.Get("x").Data(); l.Has("x") != (tc.want != "-") || l.Has("x") && got != tc.want {
			t.Errorf("%s: %q gives %q, %v; want %q", tc.about, tc.texts, got, l.Has("x"), tc.want)
		}
	}
}

// A List behaves as a map that is read in the order of names, and a list that
// another one was made of does not change.
func TestListAgainstMap(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	names := []string{"", "a", "b", "speed", "Ü", "a b", strings.Repeat("long", 100)}
	texts := []string{"0", "1", "2.5", "true", "false", "null", "text", `{"a":1}`, "", "inf", strings.Repeat("x", 300)}
	var l List
	model := map[string]Value{}
	for range 5000 {
		name, v := names[r.IntN(len(names))], ValueOf(texts[r.IntN(len(texts))])
		before, packed := l, strings.Clone(l.Packed())
		l = l.Set(name, v)
		if before.Packed() != packed {
			t.Fatal("Set changed the old list")
		}
		if v.IsZero() {
			delete(model, name)
		} else if old, ok := model[name]; !ok || !old.Equals(v) {
			model[name] = v
		}
		var got, want []string
		l.Range(func(name string, v Value) bool {
			got = append(got, fmt.Sprint(name, v.Kind(), v.Data(), v.Num()))
			return true
		})
		for _, name := range slices.Sorted(maps.Keys(model)) {
			v := model[name]
			want = append(want, fmt.Sprint(name, v.Kind(), v.Data(), v.Num()))
			if g := l.Get(name); g != v && !math.IsNaN(v.Num()) {
				t.Fatalf("Get(%q) = %v, want %v", name, g, v)
			}
		}
		if !slices.Equal(got, want) || l.Len() != len(want) {
			t.Fatalf("list is %q (Len %d), want %q", got, l.Len(), want)
		}
	}
}

func TestWeight(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       int
	}{{"x", "1", 5}, {"xy", "1", 5}, {"x", "12", 6}, {"x", "true", 3}, {"x", "abc", 7}, {"x", "0", 0}} {
		var l List
		if got := l.Set(tc.name, ValueOf(tc.text)).Weight(); got != tc.want {
			t.Errorf("weight of %s=%s is %d, want %d", tc.name, tc.text, got, tc.want)
		}
	}
}

// What a list gives back is what was put in, whatever the text.
func FuzzValueOf(f *testing.F) {
	for _, s := range []string{"1", "-0.5e3", "nan", `"q\n"`, `{"a":[1]}`, "\xff", "inf", "1e999", "  "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v := ValueOf(text)
		if v.IsZero() {
			return
		}
		var l List
		l = l.Set("a", ValueOf("1")).Set("m", v).Set("z", ValueOf("text"))
		got := l.Get("m")
		if got.Kind() != v.Kind() || got.Data() != v.Data() || got.JSON() != v.JSON() ||
			math.Float64bits(got.Num()) != math.Float64bits(v.Num()) {
			t.Fatalf("stored %q as %v, got %v", text, v, got)
		}
		if v.Less(v) || !v.Equals(got) || l.Len() != 3 {
			t.Fatalf("%q: not equal to itself", text)
		}
	})
}

func BenchmarkListSet(b *testing.B) {
	v := ValueOf("57")
	b.ReportAllocs()
	for range b.N {
		var l List
		l.Set("speed", v)
	}
}
