package area

import (
	"bufio"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/reply"
)

func noBuffer() Options { return Options{Buffer: -1} }

func parseWords(t *testing.T, opts Options, words string) (*Area, int, error) {
	t.Helper()
	return Parse(strings.Fields(words), opts)
}

func TestParseRects(t *testing.T) {
	for _, c := range []struct {
		words string
		n     int
		want  geometry.Rect
	}{
		{"BOUNDS 1 2 3 4 rest", 5, geometry.Rect{Min: geometry.Point{X: 2, Y: 1}, Max: geometry.Point{X: 4, Y: 3}}},
		{"hash s1", 2, geometry.Rect{Min: geometry.Point{X: 0, Y: 5.625}, Max: geometry.Point{X: 11.25, Y: 11.25}}},
		{"TILE 0 0 0", 4, geometry.Rect{Min: geometry.Point{X: -180, Y: -85.05112878}, Max: geometry.Point{X: 180, Y: 85.05112878}}},
		{"POINT 5 6", 3, geometry.Rect{Min: geometry.Point{X: 6, Y: 5}, Max: geometry.Point{X: 6, Y: 5}}},
		{"CIRCLE 5 6 0", 4, geometry.Rect{Min: geometry.Point{X: 6, Y: 5}, Max: geometry.Point{X: 6, Y: 5}}},
		{`OBJECT {"type":"LineString","coordinates":[[1,2],[3,4]]}`, 2,
			geometry.Rect{Min: geometry.Point{X: 1, Y: 2}, Max: geometry.Point{X: 3, Y: 4}}},
		{"BOUNDS 0 0 9 9 CLIPBY BOUNDS 1 1 2 2 clipby bounds 0 0 5 1.5", 17,
			geometry.Rect{Min: geometry.Point{X: 1, Y: 1}, Max: geometry.Point{X: 1.5, Y: 2}}},
	} {
		a, n, err := parseWords(t, noBuffer(), c.words)
		if err != nil {
			t.Errorf("%s: %v", c.words, err)
			continue
		}
		if n != c.n || a.Rect != c.want {
			t.Errorf("%s: took %d words, %+v; want %d, %+v", c.words, n, a.Rect, c.n, c.want)
		}
	}
}

func TestQuadKeyIsTile(t *testing.T) {
	a, _, err := parseWords(t, noBuffer(), "QUADKEY 1202")
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := parseWords(t, noBuffer(), "TILE 8 5 4")
	if err != nil {
		t.Fatal(err)
	}
	if a.Rect != b.Rect {
		t.Errorf("quadkey %+v, tile %+v", a.Rect, b.Rect)
	}
	if _, _, err := parseWords(t, noBuffer(), "QUADKEY "+strings.Repeat("3", 100_000)); err != nil {
		t.Errorf("long quadkey: %v", err)
	}
}

func TestParseErrors(t *testing.T) {
	clip := Options{Buffer: -1, Clip: true}
	numArgs := reply.ErrNumArgs.Error()
	for _, c := range []struct {
		opts  Options
		words string
		want  string
	}{
		{noBuffer(), "", numArgs},
		{noBuffer(), "GEO", "invalid argument 'GEO'"},
		{noBuffer(), "CIRCLE 1 2", numArgs},
		{noBuffer(), "CIRCLE x 2", "invalid argument 'x'"},
		{noBuffer(), "CIRCLE x", numArgs},
		{noBuffer(), "CIRCLE 1 2 -3", "invalid argument '-3'"},
		{noBuffer(), "TILE 0 0 24", "invalid argument '24'"},
		{noBuffer(), "TILE 99999999999999999999 0 1", "invalid argument '99999999999999999999'"},
		{noBuffer(), "SECTOR 1 1 10 nan 90", "invalid argument 'nan'"},
		{noBuffer(), "SECTOR 1 1 10 0 inf", "invalid argument 'inf'"},
		{noBuffer(), "SECTOR 1 1 10 90 90", "equal bearings (90 == 90), use CIRCLE instead"},
		{noBuffer(), "SECTOR 1 1 nan 0 90", "invalid data"},
		{noBuffer(), "QUADKEY 12a", "invalid argument '12a'"},
		{noBuffer(), "OBJECT {}", "missing type"},
		{noBuffer(), "OBJECT " + strings.Repeat("[", 1000), "JSON is nested too deep: 1000 levels, the limit is 64"},
		{noBuffer(), "GET k id", "key not found"},
		{noBuffer(), "BOUNDS 0 0 1 1 CLIPBY CIRCLE 1 1 1", "invalid argument 'cannot clipby circle'"},
		{clip, "CIRCLE 1 1 1", "invalid argument 'cannot clip with circle'"},
		{clip, "GET k", numArgs},
		{clip, "GET k id", "key not found"},
		{Options{Buffer: 5}, "BOUNDS 0 0 1 1", "cannot buffer Polygon type"},
		{Options{Buffer: 0}, "BOUNDS 0 0 1 1", "cannot buffer Polygon type"},
		{Options{Buffer: 5, Limits: Limits{MaxBufferPoints: 2}},
			`OBJECT {"type":"LineString","coordinates":[[1,2],[3,4],[5,6]]}`,
			"too many points to buffer: 3, the limit is 2"},
	} {
		_, _, err := parseWords(t, c.opts, c.words)
		if err == nil || err.Error() != c.want {
			t.Errorf("%.60s: %v, want %s", c.words, err, c.want)
		}
	}
}

func TestGet(t *testing.T) {
	gone := errors.New("gone")
	opts := noBuffer()
	opts.Get = func(key, id string) (geojson.Object, error) {
		if key == "k" && id == "a" {
			return geojson.NewSimplePoint(geometry.Point{X: 1, Y: 2}), nil
		}
		return nil, gone
	}
	a, n, err := parseWords(t, opts, "GET k a more")
	if err != nil || n != 3 || a.Rect.Min != (geometry.Point{X: 1, Y: 2}) {
		t.Errorf("GET k a: %+v, %d, %v", a, n, err)
	}
	if _, _, err := parseWords(t, opts, "GET k b"); !errors.Is(err, gone) {
		t.Errorf("GET k b: %v", err)
	}
}

func TestNear(t *testing.T) {
	for _, c := range []struct {
		words  []string
		n      int
		meters float64
		fails  bool
	}{
		{[]string{"POINT", "1", "2"}, 3, -1, false},
		{[]string{"point", "1", "2", "50", "x"}, 4, 50, false},
		{[]string{"POINT", "1", "2", ""}, 4, 0, false},
		{[]string{"POINT", "1", "2", "-1"}, 0, 0, true},
		{[]string{"POINT", "1"}, 0, 0, true},
		{[]string{"CIRCLE", "1", "2", "3"}, 0, 0, true},
	} {
		a, n, err := ParseNear(c.words)
		if c.fails {
			if err == nil {
				t.Errorf("%q: no error", c.words)
			}
			continue
		}
		if err != nil || n != c.n || a.Meters != c.meters {
			t.Errorf("%q: %d words, %v, want %d words, %v meters", c.words, n, err, c.n, c.meters)
		}
	}
}

// TestCircleIsExact compares the fast circle with geojson's, most of all at the
// edge.
func TestCircleIsExact(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	inside := 0
	for range 120 {
		c := geometry.Point{X: rnd.Float64()*360 - 180, Y: rnd.Float64()*180 - 90}
		meters := []float64{1, 5000, 100e3, 900e3, 4000e3, 0}[rnd.IntN(6)]
		want := geojson.NewCircle(c, meters, Steps)
		got := New(want)
		if got.Rect != want.Rect() {
			t.Fatalf("circle %v %v: rectangle %+v, want %+v", c, meters, got.Rect, want.Rect())
		}
		r := got.Rect
		for range 120 {
			p := geometry.Point{
				X: c.X + (rnd.Float64()*2.2-1.1)*(r.Max.X-c.X),
				Y: c.Y + (rnd.Float64()*2.2-1.1)*(r.Max.Y-c.Y),
			}
			checkSide(t, got, p, rnd)
			for _, obj := range []geojson.Object{
				geojson.NewSimplePoint(p), geojson.NewPointZ(p, 5),
				geojson.NewFeature(geojson.NewPoint(p), ""),
				geojson.NewMultiPoint([]geometry.Point{p, c}),
				geojson.NewRect(geometry.Rect{Min: p, Max: geometry.Point{X: p.X + 0.1, Y: p.Y + 0.1}}),
			} {
				if g, w := got.Intersects(obj), obj.Intersects(want); g != w {
					t.Fatalf("circle %v %v intersects %s: %v, want %v", c, meters, obj, g, w)
				}
				g, w := got.Contains(obj), obj.Within(want)
				if g != w {
					t.Fatalf("circle %v %v contains %s: %v, want %v", c, meters, obj, g, w)
				}
				if g {
					inside++
				}
			}
		}
	}
	if inside < 1000 {
		t.Errorf("only %d of the objects lay inside", inside)
	}
}

// TestAbout compares the quick haversine with the exact one wherever it is
// asked for in a small circle.
func TestAbout(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	small := 0
	for range 2000 {
		c := geometry.Point{X: rnd.Float64()*360 - 180, Y: rnd.Float64()*180 - 90}
		k := newCircle(geojson.NewCircle(c, math.Pow(10, rnd.Float64()*7), Steps))
		if k.small {
			small++
		}
		for range 50 {
			p := geometry.Point{
				X: k.rect.Min.X + rnd.Float64()*(k.rect.Max.X-k.rect.Min.X),
				Y: k.rect.Min.Y + rnd.Float64()*(k.rect.Max.Y-k.rect.Min.Y),
			}
			about, exact := k.about(p), k.haversine(p)
			// Rounding alone makes that much in circles of meters.
			if math.Abs(about-exact) > exact*aboutError/10+1e-22 {
				t.Fatalf("%v to %v: %v, want %v", c, p, about, exact)
			}
		}
	}
	if small < 1000 {
		t.Errorf("only %d circles were small", small)
	}
}

// checkSide puts a small or large rectangle around a point and checks that what
// Side says of it holds for the point.
func checkSide(t *testing.T, a *Area, p geometry.Point, rnd *rand.Rand) {
	t.Helper()
	size := []float64{0, 1e-5, 3e-5, 1, 20}[rnd.IntN(5)]
	dx, dy := rnd.Float64()*size, rnd.Float64()*size
	r := geometry.Rect{
		Min: geometry.Point{X: p.X - dx, Y: p.Y - dy},
		Max: geometry.Point{X: p.X - dx + size, Y: p.Y - dy + size},
	}
	in := a.Contains(geojson.NewSimplePoint(p))
	side := a.Side(r, false)
	if in && side == collection.Outside || !in && side == collection.Inside || side == collection.Apart {
		t.Fatalf("%s: point %v inside %v, side %d of %v", a.Object, p, in, side, r)
	}
	if side == collection.Outside && a.Contains(geojson.NewFeature(geojson.NewPoint(p), "")) {
		t.Fatalf("%s: feature at %v inside, side %d of %v", a.Object, p, side, r)
	}
	// Of a plain point more can be said, but nothing else.
	if plain := a.Side(r, true); plain != side && (in || plain != collection.Apart) {
		t.Fatalf("%s: point %v inside %v, side %d of %v if it is plain", a.Object, p, in, plain, r)
	}
}

func TestClip(t *testing.T) {
	box := geometry.Rect{Max: geometry.Point{X: 10, Y: 10}}
	for _, c := range []struct{ in, want string }{
		{`{"type":"Point","coordinates":[5,5]}`, `{"type":"Point","coordinates":[5,5]}`},
		{`{"type":"Point","coordinates":[50,5]}`, `{"type":"MultiPoint","coordinates":[]}`},
		{`{"type":"LineString","coordinates":[[-5,5],[5,5],[5,15],[8,15],[8,5],[15,5]]}`,
			`{"type":"MultiLineString","coordinates":[[[0,5],[5,5],[5,10]],[[8,10],[8,5],[10,5]]]}`},
		{`{"type":"Polygon","coordinates":[[[-5,-5],[5,-5],[5,5],[-5,5],[-5,-5]]]}`,
			`{"type":"Polygon","coordinates":[[[0,0],[5,0],[5,5],[0,5],[0,0]]]}`},
		{`{"type":"Polygon","coordinates":[[[50,50],[60,50],[60,60],[50,50]]]}`,
			`{"type":"MultiPolygon","coordinates":[]}`},
		{`{"type":"Feature","geometry":{"type":"LineString","coordinates":[[5,-5],[5,5]]},"properties":{"k":1},"id":9}`,
			`{"type":"Feature","geometry":{"type":"LineString","coordinates":[[5,0],[5,5]]},"properties":{"k":1},"id":9}`},
		{`{"type":"MultiPoint","coordinates":[[1,1],[-1,1]]}`,
			`{"type":"FeatureCollection","features":[{"type":"Feature","geometry":{"type":"Point","coordinates":[1,1]},"properties":{}}]}`},
		{`{"type":"Feature","geometry":{"type":"MultiPoint","coordinates":[[1,1],[-1,1]]},"properties":{"k":1}}`,
			`{"type":"Feature","geometry":{"type":"FeatureCollection","features":[{"type":"Feature",` +
				`"geometry":{"type":"Point","coordinates":[1,1]},"properties":{}}]},"properties":{"k":1}}`},
		{`{"type":"Polygon","coordinates":[[[50,50],[60,50],[60,60],[50,50]],[[1,1],[2,1],[2,2],[1,1]]]}`,
			`{"type":"Polygon","coordinates":[[[1,1],[2,1],[2,2],[1,1]]]}`},
		{`{"type":"LineString","coordinates":[[1,5],[12,5],[12,6],[14,5],[1,5]]}`,
			`{"type":"LineString","coordinates":[[1,5],[10,5],[1,5]]}`},
	} {
		obj, err := geojson.Parse(c.in, geojson.DefaultParseOptions)
		if err != nil {
			t.Fatal(err)
		}
		if got := Clip(obj, box).JSON(); got != c.want {
			t.Errorf("clip %s\n got %s\nwant %s", c.in, got, c.want)
		}
	}
}

// TestClipNaN cuts off at a rectangle of which one side is no number: there is
// nothing beyond it.
func TestClipNaN(t *testing.T) {
	box := geometry.Rect{Min: geometry.Point{X: math.NaN()}, Max: geometry.Point{X: 2, Y: 9}}
	got := Clip(geojson.NewRect(geometry.Rect{Min: geometry.Point{X: -4, Y: 1}, Max: geometry.Point{X: 3, Y: 3}}), box)
	want := geometry.Rect{Min: geometry.Point{X: -4, Y: 1}, Max: geometry.Point{X: 2, Y: 3}}
	if got.Rect() != want {
		t.Errorf("%s covers %+v, want %+v", got, got.Rect(), want)
	}
}

// TestDistantTiles holds tiles that are none, and the deepest ones, to Tile38.
func TestDistantTiles(t *testing.T) {
	for _, c := range []struct {
		words string
		want  geometry.Rect
	}{
		{"TILE 9223372036854775807 0 1", geometry.Rect{Min: geometry.Point{X: -180}, Max: geometry.Point{X: 180, Y: 85.05112878}}},
		{"TILE 1073741827 0 1", geometry.Rect{Min: geometry.Point{X: 179.296875}, Max: geometry.Point{X: 180, Y: 85.05112878}}},
		{"QUADKEY 0123012301230123012301230123012301", geometry.Rect{
			Min: geometry.Point{X: -60.00000000698492, Y: 72.73278609308241},
			Max: geometry.Point{X: -59.99999998603016, Y: 72.73278609930239}}},
	} {
		a, _, err := parseWords(t, noBuffer(), c.words)
		if err != nil || a.Rect != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.words, a.Rect, err, c.want)
		}
	}
}

func TestTileOfClippedMVT(t *testing.T) {
	for words, want := range map[string]Tile{"MVT 5 6 4": {5, 6, 4}, "MVT 5 6 4 CLIPBY BOUNDS 0 0 1 1": {}} {
		a, _, err := parseWords(t, noBuffer(), words)
		if err != nil || a.Tile == nil || *a.Tile != want || a.Clip == nil {
			t.Errorf("%s: %+v, %v, want tile %v", words, a, err, want)
		}
	}
}

func TestParseOne(t *testing.T) {
	for _, c := range []struct {
		words string
		n     int
		want  string
	}{
		{"BOUNDS 0 0 9 9 CLIPBY BOUNDS 1 1 2 2", 5, ""},
		{"TILE -1 -1 99 x", 4, ""},
		{"TILE 0 0 -1", 0, "invalid argument '-1'"},
		{"MVT 0 0 0", 0, "invalid argument 'MVT'"},
		{"", 0, reply.ErrNumArgs.Error()},
	} {
		a, n, err := ParseOne(strings.Fields(c.words), noBuffer())
		if n != c.n || (a != nil) != (c.want == "") || c.want != "" && (err == nil || err.Error() != c.want) {
			t.Errorf("%s: %v, %d words, %v; want %d, %q", c.words, a, n, err, c.n, c.want)
		}
	}
}

func TestBuffer(t *testing.T) {
	const km = 1.0 / 111.195 // degrees
	a, _, err := parseWords(t, Options{Buffer: 10e3}, `OBJECT {"type":"LineString","coordinates":[[0,0],[1,0]]}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		p    geometry.Point
		want bool
	}{
		{geometry.Point{X: 0.5, Y: 9.9 * km}, true},
		{geometry.Point{X: 0.5, Y: -10.1 * km}, false},
		{geometry.Point{X: 1 + 9.9*km, Y: 0}, true},
		{geometry.Point{X: 1 + 10.1*km, Y: 0}, false},
		{geometry.Point{X: 1 + 8*km, Y: 8 * km}, false},
	} {
		if got := a.Intersects(geojson.NewSimplePoint(c.p)); got != c.want {
			t.Errorf("%v: %v, want %v", c.p, got, c.want)
		}
	}
}

// lines calls f with every line of a file in testdata, a JSON array of words.
func lines(tb testing.TB, name string, f func([]string)) {
	tb.Helper()
	file, err := os.Open("testdata/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	s := bufio.NewScanner(file)
	for s.Scan() {
		var words []string
		if err := json.Unmarshal(s.Bytes(), &words); err != nil {
			tb.Fatal(err)
		}
		f(words)
	}
	if err := s.Err(); err != nil {
		tb.Fatal(err)
	}
}

// FuzzParse parses words that are joined by newlines, and compares what comes
// out with objects.
func FuzzParse(f *testing.F) {
	lines(f, "areas.jsonl", func(words []string) { f.Add(strings.Join(words, "\n"), -1.0, false) })
	f.Add("SECTOR\n0\n0\n1e300\n-1e300\n1e300", 1e300, true)
	f.Add(`OBJECT`+"\n"+`{"type":"Feature","geometry":{"type":"Point","coordinates":[null,1e999]},"properties":{"type":"Circle","radius":1e400}}`, 5.0, false)
	point := geojson.NewSimplePoint(geometry.Point{X: 1, Y: 1})
	poly := geojson.NewRect(geometry.Rect{Max: geometry.Point{X: 3, Y: 3}})
	many := geojson.NewGeometryCollection([]geojson.Object{point, poly})
	f.Fuzz(func(t *testing.T, text string, buffer float64, clip bool) {
		words := strings.Split(text, "\n")
		opts := Options{Buffer: buffer, Clip: clip, Limits: Limits{MaxBufferPoints: 1000}}
		opts.Get = func(string, string) (geojson.Object, error) { return many, nil }
		a, n, err := Parse(words, opts)
		if (err == nil) != (a != nil) || n > len(words) {
			t.Fatalf("%q: %v, %d words, %v", words, a, n, err)
		}
		if err != nil {
			return
		}
		side := a.Side(point.Rect(), true)
		if in := a.Contains(point); in && side == collection.Outside || !in && side == collection.Inside {
			t.Errorf("%q: point inside %v, side %d", words, in, side)
		}
		for _, obj := range []geojson.Object{point, poly, many} {
			a.Contains(obj)
			a.Intersects(obj)
			if a.Clip != nil {
				Clip(obj, *a.Clip)
			}
		}
	})
}
