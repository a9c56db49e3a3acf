package search

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/field"
	"evenkeel/pkg/engine/reply"
)

// put adds an item to a state: an object as GeoJSON, or a text.
func put(tb testing.TB, st *collection.State, key, id, object string, fields ...string) {
	tb.Helper()
	obj, err := geojson.Parse(object, geojson.DefaultParseOptions)
	if err != nil {
		obj = collection.Text(object)
	}
	var l field.List
	for i := 0; i < len(fields); i += 2 {
		l = l.Set(fields[i], field.ValueOf(fields[i+1]))
	}
	old, _ := st.Get(key, id)
	var ch collection.Change
	ch.Put(key, collection.NewItem(id, obj, l, 0), old)
	st.Apply(&ch)
}

func putPoint(tb testing.TB, st *collection.State, key, id string, lat, lon float64, fields ...string) {
	tb.Helper()
	put(tb, st, key, id, geojson.NewPoint(geometry.Point{X: lon, Y: lat}).JSON(), fields...)
}

// do answers a command as it goes over the wire, errors, too.
func do(st *collection.State, asJSON bool, pause func() error, args ...string) string {
	req := &command.Request{Args: args, Name: strings.ToLower(args[0]), Pause: pause}
	out := &reply.Reply{JSON: asJSON}
	for _, spec := range Commands() {
		if spec.Name != req.Name {
			continue
		}
		if err := spec.Read(req, st, out); err != nil {
			out.Buf = out.Buf[:0]
			out.Fail(req.Name, err)
		}
	}
	if asJSON {
		return string(out.Buf) + "}"
	}
	return strings.ReplaceAll(string(out.Buf), "\r\n", "|")
}

func ask(st *collection.State, line string) string {
	return do(st, false, nil, strings.Fields(line)...)
}

func fleet(tb testing.TB) *collection.State {
	st := collection.NewState()
	putPoint(tb, st, "k", "a", 1, 2, "speed", "10")
	put(tb, st, "k", "b", `{"type":"Point","coordinates":[3,2,50]}`, "speed", "20", "name", "Bö \"x\"")
	put(tb, st, "k", "c", `{"type":"Polygon","coordinates":[[[0,0],[4,0],[4,4],[0,4],[0,0]]]}`)
	put(tb, st, "k", "d", "a text", "speed", "5")
	return st
}

func TestAnswers(t *testing.T) {
	st := fleet(t)
	for _, c := range []struct{ line, want string }{
		{"SCAN k", `*2|:0|*4|*3|$1|a|$36|{"type":"Point","coordinates":[2,1]}|*2|$5|speed|$2|10|` +
			`*3|$1|b|$39|{"type":"Point","coordinates":[3,2,50]}|*4|$4|name|$7|Bö "x"|$5|speed|$2|20|` +
			`*2|$1|c|$66|{"type":"Polygon","coordinates":[[[0,0],[4,0],[4,4],[0,4],[0,0]]]}|` +
			`*3|$1|d|$6|a text|*2|$5|speed|$1|5|`},
		{"SCAN k NOFIELDS LIMIT 2 POINTS", "*2|:2|*2|*2|$1|a|*2|$1|1|$1|2|*2|$1|b|*3|$1|2|$1|3|$2|50|"},
		{"SCAN k DESC LIMIT 1 CURSOR 1 BOUNDS", "*2|:2|*1|*2|$1|c|*2|*2|$1|0|$1|0|*2|$1|4|$1|4|"},
		{"SCAN k MATCH a HASHES 5", "*2|:0|*1|*3|$1|a|$5|s01mt|*2|$5|speed|$2|10|"},
		{"SCAN k COUNT", ":4|"},
		{"SCAN k LIMIT 2 COUNT", ":4|"},
		{"SCAN k WHERE speed 0 inf LIMIT 2 COUNT", ":2|"},
		{"SCAN k CURSOR 9 COUNT", ":0|"},
		{"SEARCH k IDS", "*2|:0|*1|$1|d|"},
		{"SEARCH k COUNT", ":4|"},
		{"SEARCH k MATCH a* DESC IDS", "*2|:0|*1|$1|d|"},
		{"NEARBY k DISTANCE LIMIT 2 IDS POINT 1 2", "*2|:2|*2|*2|$1|c|$1|0|*2|$1|a|$1|0|"},
		{"NEARBY k IDS POINT 1 2 1000", "*2|:0|*2|$1|c|$1|a|"},
		{"WITHIN k IDS BOUNDS 0 0 1.5 3", "*2|:0|*1|$1|a|"},
		{"INTERSECTS k WHERE z 50 50 IDS BOUNDS 0 0 3 3", "*2|:0|*1|$1|b|"},
		{"WITHIN k IDS GET k c", "*2|:0|*3|$1|c|$1|a|$1|b|"},
		{"INTERSECTS k CLIP IDS GET k c", "-ERR invalid argument 'cannot clip with get'|"},
		{"INTERSECTS k BUFFER 0 COUNT BOUNDS 0 0 1 1", ":1|"},
		{"NEARBY k IDS POINT 1 2 1 CLIPBY FOO", "-ERR invalid argument 'cannot clipby foo'|"},
		{"NEARBY k LIMIT 1 IDS POINT 1 2 1 CLIPBY BOUNDS 50 50 51 51", "*2|:1|*1|$1|c|"},
		{"SCAN k LIMIT x FOO", "-ERR invalid argument 'FOO'|"},
		{"SCAN k LIMIT x CURSOR y HASHES z", "-ERR invalid argument 'y'|"},
		{"SCAN k LIMIT x HASHES z", "-ERR invalid argument 'z'|"},
		{"WITHIN k SPARSE 1 IDS BOUNDS 0 0 4 4", "*2|:0|*3|$1|c|$1|b|$1|a|"},
		{"WITHIN k SPARSE 1 MATCH a IDS BOUNDS 0 0 4 4", "*2|:0|*1|$1|a|"},
		{"WITHIN k SPARSE 1 IDS BOUNDS 1 1 4 4", "*2|:0|*0|"},
		{"SCAN k SPARSE x", "-SPARSE is not allowed for SCAN|"},
		{"WITHIN k limit x limit y BOUNDS 0 0 1 1", "-ERR duplicate argument 'LIMIT'|"},
		{"SCAN k desc nodwell", "-ERR duplicate argument 'NODWELL'|"},
		{"WITHIN k DETECT exit,Exit BOUNDS 0 0 1 1", "-ERR duplicate argument 'Exit'|"},
		{"SCAN k MATCH b* MATCH [a-c]* COUNT", ":2|"},
		{"SCAN k MATCH b* MATCH [a-c]* DESC COUNT", ":3|"},
		{"INTERSECTS k COUNT CIRCLE 1 2 10", ":2|"},
		{"SCAN none IDS", "*2|:0|*0|"},
		{"NEARBY none SPARSE 2 COUNT POINT 1 1", ":0|"},
		{"NEARBY k SPARSE 2 COUNT POINT 1 1", "-ERR cannot use SPARSE without a point distance|"},
		{"SCAN k FOO", "-ERR invalid argument 'FOO'|"},
		{"SCAN k IDS FOO", "-ERR wrong number of arguments for 'scan' command|"},
		{"WITHIN k GEO", "-ERR invalid argument 'GEO'|"},
		{"WITHIN k GET k", "-ERR wrong number of arguments for 'within' command|"},
		{"WITHIN k ASC BOUNDS 0 0 1 1", "-ASC is not allowed for WITHIN|"},
		{"WITHIN k SPARSE 2 LIMIT 5 BOUNDS 0 0 1 1", "-LIMIT is not allowed when SPARSE is specified|"},
		{"WITHIN k DETECT inside,inside BOUNDS 0 0 1 1", "-ERR duplicate argument 'inside'|"},
		{"WITHIN k COMMANDS set NODWELL IDS BOUNDS 0 0 1.5 3", "*2|:0|*1|$1|a|"},
		{"NEARBY k FENCE POINT 0 0 1", "-ERR going live|"},
		{"SCAN k WHEREEVAL x 0 IDS", "-ERR scripts are not supported here|"},
		{"SCAN k BUFFER nan", "-ERR invalid argument 'nan'|"},
	} {
		if got := ask(st, c.line); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.line, got, c.want)
		}
	}
}

func TestJSON(t *testing.T) {
	st := fleet(t)
	for _, c := range []struct{ line, want string }{
		{"SCAN k", `{"ok":true,"fields":["name","speed"],"objects":[` +
			`{"id":"a","object":{"type":"Point","coordinates":[2,1]},"fields":[0,10]},` +
			`{"id":"b","object":{"type":"Point","coordinates":[3,2,50]},"fields":["Bö \"x\"",20]},` +
			`{"id":"c","object":{"type":"Polygon","coordinates":[[[0,0],[4,0],[4,4],[0,4],[0,0]]]},"fields":[0,0]},` +
			`{"id":"d","object":"a text","fields":[0,5]}],"count":4,"cursor":0}`},
		{"SCAN k LIMIT 1 IDS", `{"ok":true,"ids":["a"],"count":1,"cursor":1}`},
		{"SCAN k MATCH b NOFIELDS POINTS", `{"ok":true,"points":[{"id":"b","point":{"lat":2,"lon":3,"z":50}}],"count":1,"cursor":0}`},
		{"NEARBY k DISTANCE MATCH a LIMIT 1 BOUNDS POINT 1 2", `{"ok":true,"fields":["speed"],"bounds":[{"id":"a",` +
			`"bounds":{"sw":{"lat":1,"lon":2},"ne":{"lat":1,"lon":2}},"fields":[10],"distance":0}],"count":1,"cursor":2}`},
		{"NEARBY k DISTANCE LIMIT 1 IDS POINT 1 2", `{"ok":true,"ids":[{"id":"c","distance":0}],"count":1,"cursor":1}`},
		{"SCAN k DISTANCE LIMIT 1 IDS", `{"ok":true,"ids":["a"],"count":1,"cursor":1}`},
		{"WITHIN k LIMIT 1 COUNT BOUNDS 0 0 9 9", `{"ok":true,"count":1,"cursor":0}`},
		{"INTERSECTS none MVT 3 6 4", `{"ok":true,"mvt":"Gg0KBnRpbGUzOCiAIHgC","count":0,"cursor":0}`},
		{"SCAN k HASHES 13", `{"ok":false,"err":"invalid argument '13'"}`},
	} {
		got := do(st, true, nil, strings.Fields(c.line)...)
		if got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.line, got, c.want)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("%s: invalid JSON", c.line)
		}
	}
}

// idsOf returns the ids and the cursor of an answer to a command with IDS.
func idsOf(tb testing.TB, st *collection.State, line string) (list []string, cursor int) {
	tb.Helper()
	var answer struct {
		IDs    []string
		Cursor int
		Err    string
	}
	if err := json.Unmarshal([]byte(do(st, true, nil, strings.Fields(line)...)), &answer); err != nil {
		tb.Fatal(err)
	}
	if answer.Err != "" {
		tb.Fatalf("%s: %s", line, answer.Err)
	}
	return answer.IDs, answer.Cursor
}

// scatter returns a state with n random items in "k", every tenth a rectangle.
func scatter(tb testing.TB, n int, seed uint64) *collection.State {
	rnd := rand.New(rand.NewPCG(seed, 1))
	st := collection.NewState()
	for i := range n {
		lat, lon := rnd.Float64()*180-90, rnd.Float64()*360-180
		id := fmt.Sprintf("i%06d", i)
		if i%10 == 9 {
			put(tb, st, "k", id, geojson.NewRect(geometry.Rect{
				Min: geometry.Point{X: lon, Y: lat},
				Max: geometry.Point{X: min(lon+rnd.Float64()*9, 180), Y: min(lat+rnd.Float64()*9, 90)},
			}).JSON())
			continue
		}
		putPoint(tb, st, "k", id, lat, lon, "n", strconv.Itoa(i%7))
	}
	return st
}

func TestPagesMeet(t *testing.T) {
	st := scatter(t, 2000, 7)
	for _, c := range []string{
		"SCAN k %s IDS", "SCAN k DESC %s WHERE n 3 5 IDS", "SCAN k MATCH *7 %s IDS",
		"WITHIN k %s IDS BOUNDS -60 -100 60 100", "INTERSECTS k WHERE n 2 2 %s IDS CIRCLE 10 10 5000000",
		"NEARBY k %s IDS POINT 10 179", "NEARBY k %s WHERE n 1 1 IDS POINT 10 179 9000000",
	} {
		all, end := idsOf(t, st, fmt.Sprintf(c, "LIMIT 100000"))
		if end != 0 || len(all) == 0 {
			t.Fatalf("%s: %d ids, cursor %d", c, len(all), end)
		}
		var paged []string
		for cursor := 0; ; {
			page, next := idsOf(t, st, fmt.Sprintf(c, fmt.Sprintf("CURSOR %d LIMIT 13", cursor)))
			paged = append(paged, page...)
			if next == 0 {
				break
			}
			cursor = next
		}
		if !slices.Equal(paged, all) {
			t.Errorf("%s: %d ids in pages, %d at once", c, len(paged), len(all))
		}
	}
}

// TestNearestOrder compares with sorting all items by their distance, at the
// antimeridian and the poles, too.
func TestNearestOrder(t *testing.T) {
	st := scatter(t, 3000, 3)
	for _, p := range []geometry.Point{{X: 0, Y: 0}, {X: 180, Y: 10}, {X: -179.9, Y: -40}, {X: 30, Y: 90}, {X: 10, Y: -89.9}, {X: 1000, Y: 1000}} {
		m := newMetric(p)
		got, _ := idsOf(t, st, fmt.Sprintf("NEARBY k LIMIT 3000 IDS POINT %v %v", p.Y, p.X))
		last := math.Inf(-1)
		for i, id := range got {
			it, _ := st.Get("k", id)
			d := m.key(it.Object())
			if d < last {
				t.Fatalf("%v: %s, number %d, is nearer than the one before", p, id, i)
			}
			last = d
		}
		if len(got) != 3000 {
			t.Errorf("%v: %d items", p, len(got))
		}
	}
}

// TestBound checks that no point of a rectangle is nearer than its bound.
func TestBound(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	unit := func() geometry.Point {
		return geometry.Point{X: rnd.Float64()*360 - 180, Y: rnd.Float64()*180 - 90}
	}
	for range 20_000 {
		m := newMetric(unit())
		a, b := unit(), unit()
		r := geometry.Rect{
			Min: geometry.Point{X: min(a.X, b.X), Y: min(a.Y, b.Y)},
			Max: geometry.Point{X: max(a.X, b.X), Y: max(a.Y, b.Y)},
		}
		bound := m.bound(r)
		key := m.rectKey(r)
		if bound > key {
			t.Fatalf("rectangle %v: bound %v, key %v", r, bound, key)
		}
		for range 20 {
			p := geometry.Point{
				X: r.Min.X + rnd.Float64()*(r.Max.X-r.Min.X),
				Y: r.Min.Y + rnd.Float64()*(r.Max.Y-r.Min.Y),
			}
			k := m.pointKey(p)
			if bound > k || key > k*(1+1e-9)+1e-15 {
				t.Fatalf("rectangle %v, point %v: bound %v, rectangle's key %v, key %v", r, p, bound, key, k)
			}
		}
	}
}

// TestBoundOfPoints checks the bounds of what points are in the index, most of
// all near by and across the antimeridian.
func TestBoundOfPoints(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	up := func(v float64) float64 {
		if f := float32(v); float64(f) < v {
			return float64(math.Nextafter32(f, math.MaxFloat32))
		}
		return float64(float32(v))
	}
	for range 200_000 {
		near := math.Pow(10, -16+18*rnd.Float64())
		p := geometry.Point{X: rnd.Float64()*360 - 180, Y: rnd.Float64()*180 - 90}
		switch rnd.IntN(4) {
		case 0:
			p.X = math.Copysign(180-near*rnd.Float64(), rnd.Float64()-0.5)
		case 1:
			p.Y = math.Copysign(90-near*rnd.Float64(), rnd.Float64()-0.5)
		}
		q := geometry.Point{X: p.X + near*(rnd.Float64()-0.5), Y: p.Y + near*(rnd.Float64()-0.5)}
		if q.X > 180 || rnd.IntN(8) == 0 {
			q.X -= 360
		}
		m := newMetric(p)
		r := geometry.Rect{
			Min: geometry.Point{X: -up(-q.X), Y: -up(-q.Y)},
			Max: geometry.Point{X: up(q.X), Y: up(q.Y)},
		}
		key := m.pointKey(q)
		for _, r := range []geometry.Rect{r, {Min: q, Max: q}} {
			if bound := m.bound(r); bound > key {
				t.Fatalf("from %v: rectangle %v has the bound %v, point %v the key %v", p, r, bound, q, key)
			}
		}
	}
}

// TestRunsAreApart checks that a query finds nothing of the one before it,
// whose memory it may use.
func TestRunsAreApart(t *testing.T) {
	st := scatter(t, 2000, 5)
	lines := []string{
		"SCAN k LIMIT 1500 IDS", "SCAN k MATCH *7 WHERE n 1 3 DESC", "NEARBY k LIMIT 3 DISTANCE NOFIELDS POINTS POINT 1 2",
		"NEARBY k COUNT POINT 1 2 100000", "WITHIN k CURSOR 5 LIMIT 7 BOUNDS -50 -50 50 50", "WITHIN k SPARSE 2 IDS BOUNDS -50 -50 50 50",
		"INTERSECTS k HASHES 5 CIRCLE 1 2 9000000", "INTERSECTS k LIMIT x IDS CIRCLE 1 2 3", "SCAN none COUNT", "SCAN k",
	}
	answer := func(specs []command.Spec, line string) string {
		args := strings.Fields(line)
		out := &reply.Reply{}
		req := &command.Request{Args: args, Name: strings.ToLower(args[0])}
		for _, s := range specs {
			if s.Name == req.Name {
				if err := s.Read(req, st, out); err != nil {
					return err.Error()
				}
			}
		}
		return string(out.Buf)
	}
	shared := Commands()
	rnd := rand.New(rand.NewPCG(9, 9))
	for range 300 {
		line := lines[rnd.IntN(len(lines))]
		if got, want := answer(shared, line), answer(Commands(), line); got != want || want == "" {
			t.Fatalf("%s\n got %.300s\nwant %.300s", line, got, want)
		}
	}
}

func TestSparse(t *testing.T) {
	st := scatter(t, 3000, 9)
	all, _ := idsOf(t, st, "INTERSECTS k LIMIT 9999 IDS BOUNDS -60 -100 60 100")
	last := 0
	for n := 1; n <= maxSparse; n++ {
		got, _ := idsOf(t, st, fmt.Sprintf("INTERSECTS k SPARSE %d IDS BOUNDS -60 -100 60 100", n))
		if n < 4 && len(got) != 1<<(2*n) {
			t.Errorf("SPARSE %d: %d items", n, len(got))
		}
		if len(got) < last || len(got) > len(all) {
			t.Errorf("SPARSE %d: %d items after %d, of %d", n, len(got), last, len(all))
		}
		seen := map[string]bool{}
		for _, id := range got {
			if seen[id] || !slices.Contains(all, id) {
				t.Errorf("SPARSE %d: %s is given twice or should not be", n, id)
			}
			seen[id] = true
		}
		last = len(got)
	}
	if last != len(all) {
		t.Errorf("SPARSE 16: %d of %d items", last, len(all))
	}
}

func TestPause(t *testing.T) {
	st := scatter(t, 3000, 11)
	late := errors.New("timeout")
	for _, line := range []string{
		"SCAN k COUNT", "SCAN k WHERE n 99 99 COUNT", "SCAN k CURSOR 2999 IDS", "SEARCH k MATCH x IDS",
		"NEARBY k MATCH none IDS POINT 1 1", "WITHIN k MATCH none IDS BOUNDS -90 -180 90 180",
		"INTERSECTS k SPARSE 8 MATCH none IDS BOUNDS -90 -180 90 180", "SCAN k LIMIT 3000",
		"INTERSECTS k LIMIT 3000 MVT 0 0 0",
	} {
		calls := 0
		never := func() error { calls++; return nil }
		do(st, false, never, strings.Fields(line)...)
		if calls == 0 {
			t.Errorf("%s: pause is not asked", line)
		}
		for at := 1; at <= calls; at++ {
			n := 0
			got := do(st, false, func() error {
				if n++; n == at {
					return late
				}
				return nil
			}, strings.Fields(line)...)
			if got != "-ERR timeout|" {
				t.Errorf("%s: pause %d of %d failed: %.60s", line, at, calls, got)
			}
		}
	}
}

// TestSlowPauses checks that a long expression does not put off the pause.
func TestSlowPauses(t *testing.T) {
	st := scatter(t, 20, 1)
	calls := 0
	do(st, false, func() error { calls++; return nil }, "SCAN", "k", "WHERE", "n == 1"+strings.Repeat(" ", 300), "IDS")
	if calls < 20 {
		t.Errorf("pause was asked %d times for 20 items", calls)
	}
}

// hard is a state with all that a search may stumble over.
func hard(tb testing.TB) *collection.State {
	st := fleet(tb)
	var ch collection.Change
	for i, p := range []geometry.Point{
		{X: math.NaN(), Y: math.NaN()}, {X: math.Inf(1), Y: math.Inf(-1)}, {X: 1e300, Y: -1e300}, {X: 180, Y: 90},
	} {
		ch.Put("k", collection.NewPoint("h"+strconv.Itoa(i), p, field.List{}, 0), nil)
	}
	st.Apply(&ch)
	put(tb, st, "k", "empty", `{"type":"GeometryCollection","geometries":[]}`)
	put(tb, st, "k", "multi", `{"type":"MultiPolygon","coordinates":[[[[0,0],[9,0],[9,9],[0,0]],[[1,1],[2,1],[2,2],[1,1]]],[[[50,50],[60,50],[60,60],[50,50]]]]}`)
	put(tb, st, "k", "feats", `{"type":"FeatureCollection","features":[{"type":"Feature","geometry":{"type":"LineString","coordinates":[[1,1],[20,20]]},"properties":{"a":1}}]}`)
	put(tb, st, "k", "circle", `{"type":"Feature","geometry":{"type":"Point","coordinates":[1,1]},"properties":{"type":"Circle","radius":1000}}`)
	return st
}

func commands(tb testing.TB, f func(args []string)) {
	tb.Helper()
	file, err := os.Open("testdata/commands.jsonl")
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	s := bufio.NewScanner(file)
	for s.Scan() {
		var args []string
		if err := json.Unmarshal(s.Bytes(), &args); err != nil {
			tb.Fatal(err)
		}
		f(args)
	}
	if err := s.Err(); err != nil {
		tb.Fatal(err)
	}
}

// FuzzSearch runs whole commands, their words joined by newlines.
func FuzzSearch(f *testing.F) {
	commands(f, func(args []string) {
		if len(args) > 1 {
			args[1] = "k"
		}
		f.Add(strings.Join(args, "\n"))
	})
	st := hard(f)
	f.Fuzz(func(t *testing.T, text string) {
		args := strings.Split(text, "\n")
		for _, spec := range Commands() {
			args[0] = spec.Name
			visits := 0
			pause := func() error {
				if visits++; visits > 1000 {
					return errors.New("a search of 13 items does not end")
				}
				return nil
			}
			got := do(st, false, pause, args...)
			if len(got) == 0 || strings.Contains(got, "does not end") {
				t.Errorf("%q: %.80q", args, got)
			}
			do(st, true, nil, args...)
		}
	})
}
