package filter

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/field"
)

// item makes an item; fields are name, value, name, value …
func item(tb testing.TB, id, object string, fields ...string) *collection.Item {
	tb.Helper()
	obj, err := geojson.Parse(object, geojson.DefaultParseOptions)
	if err != nil {
		obj = collection.Text(object)
	}
	var l field.List
	for i := 0; i < len(fields); i += 2 {
		l = l.Set(fields[i], field.ValueOf(fields[i+1]))
	}
	return collection.NewItem(id, obj, l, 0)
}

func sample(tb testing.TB) *collection.Item {
	return item(tb, "Bus:1",
		`{"type":"Feature","geometry":{"type":"Point","coordinates":[22,12,70]},"properties":{"floor":7,"name":"Attic","list":[1,2],"sub":{"deep":"x"}},"id":77}`,
		"speed", "10", "kind", "Tram", "on", "true", "info", `{"w":{"kg":900}}`, "nan", "nan", "null", "null")
}

func TestWhere(t *testing.T) {
	it := sample(t)
	for _, c := range []struct {
		words string
		n     int
		want  bool
	}{
		{"speed 10 20", 3, true}, {"speed (10 20", 3, false}, {"speed 5 (10", 3, false},
		{"speed -inf inf", 3, true}, {"speed 11 +inf", 3, false}, {"nope 0 0", 3, true},
		{"speed == 1e1", 3, true}, {"speed != 10", 3, false}, {"speed < 10", 3, false},
		{"speed <= 10", 3, true}, {"speed > 9.5", 3, true}, {"speed >= 10.5", 3, false},
		{"kind == TRAM", 3, true}, {"kind < u", 3, true}, {"kind (bus zoo", 3, true},
		{"nan 30 50", 3, true}, {"nan (30 50", 3, false}, {"nan == 3", 3, true},
		{"z 60 80", 3, true}, {"z 0 0", 3, false}, {"properties.floor 7 7", 3, true},
		{"properties.sub.deep == X", 3, true}, {"properties.nope 0 0", 3, true},
		{"info.w.kg 900 900", 3, true}, {"info.w.kg 0 0", 3, false}, {"info.nope 0 0", 3, true},
		{"propertiesfloor 7 7", 3, false}, {"speed 30 30 IDS", 3, false}, {"on IDS", 1, true}, {"on", 1, true},
		{"nope IDS", 1, false},
	} {
		var f Filter
		n, err := f.AddWhere(strings.Fields(c.words))
		if err != nil || n != c.n {
			t.Errorf("WHERE %s: %d words, %v; want %d", c.words, n, err, c.n)
			continue
		}
		if got := f.Item(it); got != c.want {
			t.Errorf("WHERE %s: %v, want %v", c.words, got, c.want)
		}
	}
}

func TestExpressions(t *testing.T) {
	it := sample(t)
	for text, want := range map[string]bool{
		"speed > 9":                         true,
		"speed + 1 == 11 && kind == 'tram'": true,
		`kind === "TRAM"`:                   true,
		"!on":                               false,
		"info.w.kg > 800":                   true,
		"info.w":                            false,
		"info":                              false,
		"this":                              true,
		"this.speed == 10":                  true,
		"this['kind'] == 'tram'":            true,
		"id == 77":                          true,
		"type == 'feature'":                 true,
		"properties.list[1] == 2":           true,
		"properties.list.1 == 2":            false,
		"properties.name.match('at*')":      true,
		"kind =~ '^T'":                      true,
		"kind =~ '^t'":                      false,
		"kind =~ '['":                       false,
		"kind =~ '" + strings.Repeat("a", 2000) + "'": false,
		"nope == 0":         true,
		"nope ?? 5 == 5":    false,
		"null == null":      true,
		"z > 1":             false,
		"speed(":            false,
		"":                  false,
		"match('a','a')":    false,
		"'a'.match('aaa*')": false,
		"undefined.x":       false,
	} {
		f := Filter{}
		e, err := f.parseExpr(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := e.holds(it); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	var f Filter
	if _, err := f.AddWhere([]string{strings.Repeat("(", 9000)}); err == nil ||
		err.Error() != "expression is too long: 9000 bytes, the limit is 8192" {
		t.Errorf("long expression: %v", err)
	}
}

func TestWhereIn(t *testing.T) {
	it := sample(t)
	for _, c := range []struct {
		words string
		n     int
		want  bool
		err   string
	}{
		{"speed 2 9 10.0 more", 4, true, ""},
		{"speed 1 9", 3, false, ""},
		{"speed 0 IDS", 2, false, ""},
		{"kind 1 TRAM", 3, true, ""},
		{"nope 1 0", 3, true, ""},
		{"z 1 70", 3, true, ""},
		{"speed 3 1 2", 0, false, "invalid number of arguments"},
		{"speed 18446744073709551615 1", 0, false, "invalid number of arguments"},
		{"speed -1 1", 0, false, "invalid argument '-1'"},
		{"speed", 0, false, "invalid number of arguments"},
	} {
		var f Filter
		n, err := f.AddWhereIn(strings.Fields(c.words))
		if c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("WHEREIN %s: %v, want %s", c.words, err, c.err)
			}
			continue
		}
		if err != nil || n != c.n || f.Item(it) != c.want {
			t.Errorf("WHEREIN %s: %d words, %v, %v", c.words, n, f.Item(it), err)
		}
	}
}

func TestRange(t *testing.T) {
	for _, c := range []struct {
		patterns string
		lo, hi   string
		ok       bool
	}{
		{"", "", "", true}, {"*", "", "", true}, {"*x", "", "", true}, {"a* *", "", "", true},
		{"bus:*", "bus:", "bus;", true}, {"tram", "tram", "tram\x00", true},
		{"tram bus:2", "bus:2", "tran", true}, {"car:* bus:1*", "bus:1", "car;", true},
		{"?x", "?", "@", false}, {"[ab]*", "[", "\\", false}, {"[ab]* c*", "[", "d", true},
		{"a\xff*", "a\xff", "b", true}, {`tr\*m`, `tr\`, `tr]`, true},
	} {
		var f Filter
		for _, p := range strings.Fields(c.patterns) {
			f.AddMatch(p)
		}
		lo, hi, ok := f.Range()
		if lo != c.lo || hi != c.hi || ok != c.ok {
			t.Errorf("%q: %q, %q, %v; want %q, %q, %v", c.patterns, lo, hi, ok, c.lo, c.hi, c.ok)
		}
	}
}

func TestName(t *testing.T) {
	var f Filter
	if !f.Name("anything") || f.Any() {
		t.Error("an empty filter asks for something")
	}
	f.AddMatch("a*")
	f.AddMatch("[xy]?")
	for name, want := range map[string]bool{"abc": true, "x1": true, "z1": false, "x": false} {
		if got := f.Name(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	it := item(t, "bus:1", `{"type":"Point","coordinates":[1,2]}`, "speed", "10", "kind", "tram")
	var f Filter
	f.AddMatch("bus:*")
	for _, w := range []string{"speed 5 15", "kind == tram"} {
		if _, err := f.AddWhere(strings.Fields(w)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.AddWhereIn([]string{"speed", "2", "9", "10"}); err != nil {
		t.Fatal(err)
	}
	kept := true
	if n := testing.AllocsPerRun(100, func() { kept = kept && f.Name(it.ID()) && f.Item(it) }); n != 0 {
		t.Errorf("%v allocations for an item", n)
	}
	if !kept {
		t.Error("the item was not kept")
	}
}

// FuzzFilter reads the words behind WHERE or WHEREIN, joined by newlines.
func FuzzFilter(f *testing.F) {
	file, err := os.Open("testdata/filters.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	s := bufio.NewScanner(file)
	for s.Scan() {
		var words []string
		if err := json.Unmarshal(s.Bytes(), &words); err != nil {
			f.Fatal(err)
		}
		f.Add(words[0] == "WHEREIN", strings.Join(words[1:], "\n"))
	}
	items := []*collection.Item{
		sample(f),
		item(f, "s", "a text", "speed", "fast"),
		collection.NewPoint("p", geometry.Point{X: 1, Y: 2}, field.List{}, 0),
	}
	f.Fuzz(func(t *testing.T, in bool, text string) {
		words := strings.Split(text, "\n")
		var fl Filter
		read := fl.AddWhere
		if in {
			read = fl.AddWhereIn
		}
		n, err := read(words)
		if n < 0 || n > len(words) || err == nil && n == 0 {
			t.Fatalf("%q: took %d words, %v", words, n, err)
		}
		fl.AddMatch(words[0])
		lo, hi, ok := fl.Range()
		for _, it := range items {
			kept := fl.Name(it.ID())
			if id := it.ID(); kept && !strings.ContainsAny(words[0], `\?[`) && (!ok || id < lo || hi != "" && id >= hi) {
				t.Errorf("%q matches %q, which is not in %q to %q", words[0], id, lo, hi)
			}
			fl.Item(it)
		}
	})
}

func TestScripts(t *testing.T) {
	it := sample(t)
	failed := errors.New("failed")
	asked := 0
	pause := func() error {
		asked++
		return nil
	}
	f := Filter{Pause: pause}
	f.AddScript(func(it *collection.Item, pause func() error) (bool, error) { return it.ID() == "Bus:1", pause() })
	if !f.Any() || !f.Slow() || f.HasWhere() || !f.Item(it) || f.Err() != nil || asked != 1 {
		t.Errorf("an item that the script keeps: %v, asked %d times", f.Err(), asked)
	}
	if _, err := f.AddWhere([]string{"speed", "==", "11"}); err != nil {
		t.Fatal(err)
	}
	if f.Item(it) || asked != 1 {
		t.Error("the script is asked although WHERE does not hold")
	}
	g := Filter{}
	g.AddScript(func(*collection.Item, func() error) (bool, error) { return true, failed })
	if g.Item(it) || !errors.Is(g.Err(), failed) {
		t.Errorf("a script that fails: %v", g.Err())
	}
}
