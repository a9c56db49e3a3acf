package mvt

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"
	"github.com/tidwall/mvt"
)

func parse(tb testing.TB, text string) geojson.Object {
	tb.Helper()
	obj, err := geojson.Parse(text, geojson.DefaultParseOptions)
	if err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	return obj
}

// TestRecorded compares with tiles that Tile38 gave.
func TestRecorded(t *testing.T) {
	for _, c := range []struct {
		name    string
		x, y, z int
		id, obj string
		want    string
	}{
		{"empty", 9, 9, 4, "", "", "Gg0KBnRpbGUzOCiAIHgC"},
		{"point", 3, 6, 4, "p1", `{"type":"Point","coordinates":[-112.2,33.5]}`,
			"GjYKBnRpbGUzOBIOEgQAAAEBGAEiBAls4hoaBHR5cGUaAmlkIgcKBXBvaW50IgQKAnAxKIAgeAI"},
		{"line", 3, 6, 4, "r1", `{"type":"LineString","coordinates":[[-112.5,33.2],[-112.0,33.6],[-111.5,33.3]]}`,
			"Gj8KBnRpbGUzOBISEgQAAAEBGAIiCAkA5BsK7AIrGgR0eXBlGgJpZCIMCgpsaW5lc3RyaW5nIgQKAnIxKIAgeAI"},
		{"bounds", 3, 6, 4, "q1", `{"type":"Polygon","coordinates":[[[-113,33],[-111,33],[-111,35],[-113,35],[-113,33]]]}`,
			"GkcKBnRpbGUzOBIdEgQAAAEBGAMiEwm1AbocDyIA7QbYBQAA7gbXBQAaBHR5cGUaAmlkIgkKB3BvbHlnb24iBAoCcTEogCB4Ag"},
		{"hole", 3, 6, 4, "q1", `{"type":"Polygon","coordinates":[[[-113,33],[-111,33],[-111,35],[-113,35],[-113,33]],` +
			`[[-112.5,33.5],[-112,33.5],[-112,34],[-112.5,33.5]]]}`,
			"GlcKBnRpbGUzOBItEgQAAAEBGAMiIwm1AbocDyIA7QbYBQAA7gbXBQAJAOIaDxq2AQAA2wG1AdwBGgR0eXBlGgJpZCIJCgdwb2x5Z29uIgQKAnExKIAgeAI"},
		{"multipoint", 3, 6, 4, "q1", `{"type":"MultiPoint","coordinates":[[-112.2,33.5],[-112.3,33.6]]}`,
			"GkYKBnRpbGUzOBIOEgQAAAEBGAEiBAls4hoSDhIEAAABARgBIgQJSLYaGgR0eXBlGgJpZCIHCgVwb2ludCIECgJxMSiAIHgC"},
	} {
		tile := New(c.x, c.y, c.z)
		if c.obj != "" {
			tile.Add(c.id, parse(t, c.obj))
		}
		if got := base64.RawStdEncoding.EncodeToString(tile.AppendTo(nil)); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// TestFeatures decodes what becomes of objects; the drawings are Tile38's.
func TestFeatures(t *testing.T) {
	tags := func(kind, id string) map[string]string { return map[string]string{"type": kind, "id": id} }
	for _, c := range []struct {
		id, obj string
		want    []decoded
	}{
		{"gc", `{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[1,1]},` +
			`{"type":"Polygon","coordinates":[[[0,0],[10,0],[10,10],[0,10],[0,0]],[[4,4],[6,4],[6,6],[4,6],[4,4]]]}]}`, []decoded{
			{1, tags("point", "gc"), "M91,4004"},
			{3, tags("polygon", "gc"), "M0,4096 Z L0,-915 L910,0 L0,915 L-910,0 M364,3731 Z L182,0 L0,-183 L-182,0 L0,183"},
		}},
		{"mls", `{"type":"MultiLineString","coordinates":[[[1,5],[3,5],[3,12],[4,12],[4,3]],[[5,5],[6,6]]]}`, []decoded{
			{2, tags("linestring", "mls"), "M91,3640 L182,0 L0,-645 L91,0 L0,827"},
			{2, tags("linestring", "mls"), "M455,3640 L91,-92"},
		}},
		{"polygon", `{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[1,1]},` +
			`{"type":"Polygon","coordinates":[[[0,0],[10,0],[10,10],[0,0]]]}]}`, []decoded{
			{1, tags("point", "polygon"), "M91,4004"},
			{3, tags("polygon", "polygon"), "M0,4096 Z L910,-915 L0,915 L-910,0"},
		}},
		{"zero", `{"type":"LineString","coordinates":[[0,0],[0,0],[0,0]]}`, []decoded{{2, tags("linestring", "zero"), ""}}},
		{"high", `{"type":"Feature","geometry":{"type":"Point","coordinates":[1,2,3]},"properties":{"a":1}}`, []decoded{
			{1, tags("point", "high"), "M91,3913"},
		}},
		{"circle", `{"type":"Feature","geometry":{"type":"Point","coordinates":[5,5]},"properties":{"type":"Circle","radius":1000}}`,
			[]decoded{}},
	} {
		tile := New(4, 3, 3)
		tile.Add(c.id, parse(t, c.obj))
		if got := decode(t, tile.AppendTo(nil)); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s\n got %v\nwant %v", c.id, got, c.want)
		}
	}
}

func TestRect(t *testing.T) {
	tile := New(0, 0, 0)
	tile.Add("r", geojson.NewRect(geometry.Rect{Max: geometry.Point{X: 90, Y: 45}}))
	got := decode(t, tile.AppendTo(nil))
	if len(got) != 1 || got[0].drawing != "M2048,2048 Z L0,-575 L1024,0 L0,575 L-1024,0" {
		t.Errorf("got %v", got)
	}
}

// library draws with the library that Tile38 uses.
type library struct {
	x, y, z int
	layer   *mvt.Layer
}

func (l *library) add(id string, k mvt.GeometryType, rings ...[]geometry.Point) {
	f := l.layer.AddFeature(k)
	f.AddTag("type", typeNames[k])
	f.AddTag("id", id)
	for _, ring := range rings {
		for i, p := range ring {
			x, y := mvt.LatLonXY(p.Y, p.X, l.x, l.y, l.z)
			if i == 0 {
				f.MoveTo(x, y)
			} else {
				f.LineTo(x, y)
			}
		}
		if k == mvt.Polygon {
			f.ClosePath()
		}
	}
}

// TestLibrary draws objects at random twice, with the library and without.
func TestLibrary(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		z := rnd.IntN(12)
		var theirs mvt.Tile
		lib := library{x: rnd.IntN(1 << z), y: rnd.IntN(1 << z), z: z, layer: theirs.AddLayer("tile38")}
		ours := New(lib.x, lib.y, z)
		ids := rnd.Perm(50)
		for i := range rnd.IntN(40) {
			id := []string{"point", "linestring", "polygon", ""}[i%4]
			if i >= 4 {
				id = fmt.Sprintf("%0*d", ids[i]*7+1, ids[i])
			}
			scatter := []float64{0, 1e-4, 3, 300}[rnd.IntN(4)]
			random := func() geometry.Point {
				return geometry.Point{X: 5 + math.Round(rnd.NormFloat64()*3)*scatter, Y: 5 + math.Round(rnd.NormFloat64()*3)*scatter}
			}
			points := make([]geometry.Point, 2+rnd.IntN(9))
			for j := range points {
				points[j] = random()
			}
			switch rnd.IntN(3) {
			case 0:
				ours.Add(id, geojson.NewPoint(points[0]))
				lib.add(id, mvt.Point, points[:1])
			case 1:
				ours.Add(id, geojson.NewLineString(geometry.NewLine(points, nil)))
				lib.add(id, mvt.LineString, points)
			case 2:
				points = slices.Concat(points, []geometry.Point{random(), points[0]})
				ours.Add(id, geojson.NewPolygon(geometry.NewPoly(points, [][]geometry.Point{points}, nil)))
				back := make([]geometry.Point, len(points))
				for j, p := range points {
					back[len(back)-1-j] = p
				}
				if geometry.NewPoly(points, nil, nil).Exterior.Clockwise() {
					lib.add(id, mvt.Polygon, points, back)
				} else {
					lib.add(id, mvt.Polygon, back, points)
				}
			}
		}
		got, want := ours.AppendTo([]byte("x"))[1:], theirs.Render()
		if !bytes.Equal(got, want) {
			t.Fatalf("tile %d/%d/%d\n got % x\nwant % x", z, lib.x, lib.y, got, want)
		}
	}
}

func TestSearch(t *testing.T) {
	for _, c := range []struct{ path, want string }{
		{"k/5/15/12.mvt", "INTERSECTS k LIMIT 18446744073709551615 MVT 15 12 5"},
		{"k/5/15/12.pbf?limit=7", "INTERSECTS k LIMIT 7 MVT 15 12 5"},
		{"k/5/15/12.mvt?limit=7&sparse=x&sparse=2", "INTERSECTS k SPARSE x MVT 15 12 5"},
		{"k/5/15/12.mvt?sparse=&limit=&LIMIT=5", "INTERSECTS k LIMIT 18446744073709551615 MVT 15 12 5"},
		{"k/5/15/12.mvt?limit=5;sparse=2", "INTERSECTS k LIMIT 18446744073709551615 MVT 15 12 5"},
		{"k/5/15/12.mvt?x=%zz&limit=%35", "INTERSECTS k LIMIT 5 MVT 15 12 5"},
		{"k/5/15/12.mvt?limit=3?", "INTERSECTS k LIMIT 3? MVT 15 12 5"},
		{"k/5/15/12.mvt?x=/a/b", "INTERSECTS k LIMIT 18446744073709551615 MVT 15 12 5"},
		{"k/5/15/0.0.mvt.pbf", "INTERSECTS k LIMIT 18446744073709551615 MVT 15 0.0.mvt 5"},
		{"//0/0.mvt", "INTERSECTS  LIMIT 18446744073709551615 MVT 0 0 "},
	} {
		args, ok := Search(c.path)
		if got := strings.Join(args, " "); !ok || got != c.want {
			t.Errorf("%s: %q, %v, want %q", c.path, got, ok, c.want)
		}
	}
	for _, path := range []string{"", "k", ".mvt", "k.mvt", "k/5/15.mvt", "a/k/5/15/12.mvt", "k/5/15/12", "k/5/15/12.MVT",
		"k/5/15/12.mvt/", "k/5/15/12.mvt#x", "k/5/15/12?x=.mvt", "k?x/5/15/12.mvt", "PING"} {
		if args, ok := Search(path); ok {
			t.Errorf("%s: %q", path, args)
		}
	}
}

func TestFromAnswer(t *testing.T) {
	tile, ok := FromAnswer([]byte(`{"ok":true,"mvt":"Gg0KBnRpbGUzOCiAIHgC","count":0,"cursor":0,"elapsed":"1µs"}`))
	if !ok || !bytes.Equal(tile, New(0, 0, 0).AppendTo(nil)) {
		t.Errorf("% x, %v", tile, ok)
	}
	for _, s := range []string{`{"ok":false,"err":"invalid argument 'x'"}`, `{"ok":true,"mvt":"=="}`, "", "-ERR"} {
		if tile, ok := FromAnswer([]byte(s)); ok {
			t.Errorf("%s: % x", s, tile)
		}
	}
}

// FuzzAdd draws lines and rings anywhere, and reads the tile again.
func FuzzAdd(f *testing.F) {
	f.Add(3, 6, 4, "id", -112.5, 33.2, -112.0, 33.6, -111.5, 33.3)
	f.Add(math.MaxInt, math.MinInt, 23, "point", math.NaN(), math.Inf(1), math.Inf(-1), 0.0, 1e300, -1e300)
	f.Fuzz(func(t *testing.T, x, y, z int, id string, x1, y1, x2, y2, x3, y3 float64) {
		if z < 0 || z > 23 {
			z &= 15
		}
		a, b, c := geometry.Point{X: x1, Y: y1}, geometry.Point{X: x2, Y: y2}, geometry.Point{X: x3, Y: y3}
		var theirs mvt.Tile
		lib := library{x: x, y: y, z: z, layer: theirs.AddLayer("tile38")}
		lib.add(id, mvt.Point, []geometry.Point{a})
		lib.add(id, mvt.LineString, []geometry.Point{a, b, c})
		ours := New(x, y, z)
		ours.Add(id, geojson.NewPoint(a))
		ours.Add(id, geojson.NewLineString(geometry.NewLine([]geometry.Point{a, b, c}, nil)))
		got := ours.AppendTo(nil)
		if want := theirs.Render(); !bytes.Equal(got, want) {
			t.Fatalf("got % x, want % x", got, want)
		}
		ours.Add(id, geojson.NewPolygon(geometry.NewPoly([]geometry.Point{a, b, c, a}, nil, nil)))
		features := decode(t, ours.AppendTo(nil))
		if len(features) != 3 || features[2].tags["id"] != id || features[1].tags["type"] != "linestring" {
			t.Errorf("features %v", features)
		}
	})
}

// FuzzSearch takes any path; what it accepts names a tile by four words.
func FuzzSearch(f *testing.F) {
	for _, s := range []string{"k/5/15/12.mvt?limit=7", "k/5/15/12.pbf?sparse=%zz&x;y", "///.mvt", "?.mvt"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		args, ok := Search(path)
		if !ok {
			return
		}
		if len(args) != 8 || !strings.HasPrefix(path, strings.Join([]string{args[1], args[7], args[5], args[6]}, "/")+".") {
			t.Errorf("%q: %q", path, args)
		}
	})
}
