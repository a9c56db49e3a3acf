package collection

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/field"
)

// largeObjects are of every kind that can be large.
func largeObjects(t *testing.T) map[string]geojson.Object {
	t.Helper()
	parse := func(json string) geojson.Object {
		obj, err := geojson.Parse(json, geojson.DefaultParseOptions)
		if err != nil {
			t.Fatal(err)
		}
		return obj
	}
	line := `{"type":"LineString","coordinates":[[1,2]` + strings.Repeat(",[3,4.5]", 5000) + `]}`
	long := strings.Repeat("é", LargeText)
	return map[string]geojson.Object{
		"line":     parse(line),
		"feature":  parse(`{"type":"Feature","geometry":` + line + `,"properties":{"a":1}}`),
		"point":    parse(`{"type":"Point","coordinates":[1,2,3],"name":"` + long + `"}`),
		"members":  parse(`{"type":"Feature","geometry":{"type":"Point","coordinates":[1,2]},"properties":{"a":"` + long + `"}}`),
		"features": parse(`{"type":"FeatureCollection","features":[{"type":"Feature","geometry":` + line + `,"properties":{}}]}`),
		"text":     Text(long),
	}
}

// TestPrepared: a large object that was prepared is the same to everybody, and
// makes the same digest as one that was not.
func TestPrepared(t *testing.T) {
	var fields field.List
	fields = fields.Set("a", field.ValueOf("1")).Set("b", field.ValueOf("text"))
	for name, obj := range largeObjects(t) {
		size := len(obj.JSON())
		plainItem := NewItem("id", obj, field.List{}, 0)
		it := NewItem("id", Prepare("id", obj, size), field.List{}, 0)
		if _, ok := it.object.(*large); !ok || !it.Heavy() || plainItem.Heavy() {
			t.Fatalf("%s: %d bytes are not large", name, size)
		}
		for step := range 4 {
			var h hasher
			got, want := h.item(it), h.item(plainItem)
			if got != want {
				t.Errorf("%s, step %d: digest %s, want %s", name, step, got, want)
			}
			if it.Object() != plainItem.Object() || it.IsText() != plainItem.IsText() || it.IsSpatial() != plainItem.IsSpatial() ||
				it.Value() != plainItem.Value() || weigh(it) != weigh(plainItem) || it.numPoints() != plainItem.numPoints() {
				t.Errorf("%s, step %d: another item", name, step)
			}
			switch step {
			case 0:
				it, plainItem = it.WithFields(fields), plainItem.WithFields(fields)
			case 1:
				it, plainItem = it.WithDeadline(77), plainItem.WithDeadline(77)
			case 2: // what was prepared for another id is prepared for none
				it, plainItem = NewItem("other", it.object, fields, 9), NewItem("other", obj, fields, 9)
			}
		}
		if Prepare("id", obj, LargeText-1) != obj {
			t.Errorf("%s: a small object was prepared", name)
		}
	}
	p := geojson.NewSimplePoint(geometry.Point{X: 1, Y: 2})
	if Prepare("id", p, LargeText) != geojson.Object(p) {
		t.Error("a point was prepared")
	}
}

// TestPreparedInState: a state with prepared objects is as one without.
func TestPreparedInState(t *testing.T) {
	prepared, plain := NewState(), NewState()
	for _, s := range []*State{prepared, plain} {
		put := func(id string, obj geojson.Object) {
			if s == prepared {
				obj = Prepare(id, obj, len(obj.JSON()))
			}
			old, _ := s.Get("k", id)
			var ch Change
			ch.Put("k", NewItem(id, obj, field.List{}, 5), old)
			s.Apply(&ch)
		}
		objects := largeObjects(t)
		for round := range 2 {
			for i, name := range []string{"line", "feature", "point", "members", "features", "text"} {
				put(fmt.Sprint((i+round)%4), objects[name])
			}
		}
		if err := s.Check(); err != nil {
			t.Error(err)
		}
	}
	if prepared.Digest() != plain.Digest() || prepared.Digest() == (Digest{}) {
		t.Error("the digests differ")
	}
	if n := len(prepared.h.buf); cap(prepared.h.buf) > keepBuffer || cap(plain.h.buf) > keepBuffer {
		t.Errorf("a buffer of %d bytes is kept", n)
	}
	var ch Change
	ch.Remove("k", prepared.Collection("k").Get("1"))
	if n := testing.AllocsPerRun(1, func() { prepared.h.item(ch.Ops()[0].Old) }); n != 0 {
		t.Errorf("the digest of a prepared object takes %v allocations", n)
	}
}
