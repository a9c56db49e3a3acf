package collection

import (
	"strings"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/field"
)

// Item is one object of a collection. It is immutable: a change makes a new
// Item, so snapshots and readers share them freely.
//
// Items are most of the memory. A 2-D point, the common one, is kept in the
// same block as its item (pointItem), and a List is one pointer, so that both
// together are 64 bytes, a size class of the allocator.
type Item struct {
	id       string
	object   geojson.Object // a *large stands for a large one, see Object
	fields   field.List
	deadline int64
}

// pointItem is an item whose object is the point beside it.
type pointItem struct {
	Item
	point geojson.SimplePoint
}

// NewItem makes an item. The id is cloned; deadline is in Unix milliseconds, 0
// for none. A point without height or members is always kept as a
// *geojson.SimplePoint, whichever type it came in.
func NewItem(id string, object geojson.Object, fields field.List, deadline int64) *Item {
	switch o := object.(type) {
	case *geojson.SimplePoint:
		return NewPoint(id, o.Base(), fields, deadline)
	case *geojson.Point:
		if o.IsSimple() {
			return NewPoint(id, o.Base(), fields, deadline)
		}
	case *large:
		if o.id == id {
			return &Item{o.id, o, fields, deadline}
		}
		object = o.Object
	}
	return &Item{strings.Clone(id), object, fields, deadline}
}

// NewPoint makes an item whose object is a *geojson.SimplePoint at p.
func NewPoint(id string, p geometry.Point, fields field.List, deadline int64) *Item {
	return newPoint(strings.Clone(id), p, fields, deadline)
}

func newPoint(id string, p geometry.Point, fields field.List, deadline int64) *Item {
	it := &pointItem{
		Item:  Item{id: id, fields: fields, deadline: deadline},
		point: geojson.SimplePoint{Point: p},
	}
	it.object = &it.point
	return &it.Item
}

// ID returns the item's id.
func (it *Item) ID() string { return it.id }

// Object returns the geometry, or a Text for a plain string. Points without
// height and members are *geojson.SimplePoint.
func (it *Item) Object() geojson.Object { return plain(it.object) }

// Fields returns the item's fields.
func (it *Item) Fields() field.List { return it.fields }

// Deadline returns when the item ends, in Unix milliseconds; 0 is never.
func (it *Item) Deadline() int64 { return it.deadline }

// Weight returns the bytes of the item in Tile38's measure: id, fields and
// content.
func (it *Item) Weight() int { return weigh(it) }

// WithFields returns the same item with other fields.
func (it *Item) WithFields(f field.List) *Item { return it.with(f, it.deadline) }

// WithDeadline returns the same item with another deadline; 0 is none.
func (it *Item) WithDeadline(ms int64) *Item { return it.with(it.fields, ms) }

func (it *Item) with(f field.List, deadline int64) *Item {
	if p, ok := it.object.(*geojson.SimplePoint); ok {
		// Sharing the point would keep the whole old item alive.
		return newPoint(it.id, p.Point, f, deadline)
	}
	return &Item{it.id, it.object, f, deadline}
}

// IsText says whether the item is a plain string.
func (it *Item) IsText() bool {
	_, ok := it.Object().(Text)
	return ok
}

// IsSpatial says whether the item counts as a geometry: searches by place find
// it unless it is empty. Plain strings and, as in Tile38, Circle features are
// not spatial; they are found by value instead.
func (it *Item) IsSpatial() bool {
	switch it.Object().(type) {
	case Text, *geojson.Circle:
		return false
	}
	return true
}

// Value returns the text by which an item that is not spatial is found: the
// string itself, or a Circle feature's JSON.
func (it *Item) Value() string {
	object := it.Object()
	if t, ok := object.(Text); ok {
		return string(t)
	}
	return object.JSON()
}

// Height returns the height of a point, also of one in a Feature, and 0 for all
// else.
func Height(obj geojson.Object) float64 {
	for {
		switch o := obj.(type) {
		case *geojson.Point:
			return o.Z()
		case *geojson.Feature:
			obj = o.Base()
		default:
			return 0
		}
	}
}

// Text is the object of an item that was SET as STRING. It is nowhere: it
// contains and meets nothing.
type Text string

// Assert that a string can stand where a geometry is expected.
var _ geojson.Object = Text("")

// String returns the text itself.
func (t Text) String() string { return string(t) }

// JSON returns the text itself, as GET answers it.
func (t Text) JSON() string { return string(t) }

// AppendJSON appends the text itself.
func (t Text) AppendJSON(dst []byte) []byte { return append(dst, t...) }

// MarshalJSON returns the text as a JSON string.
func (t Text) MarshalJSON() ([]byte, error) { return appendJSONString(nil, string(t)), nil }

// Empty is true: a text covers nothing.
func (Text) Empty() bool { return true }

// Valid is true.
func (Text) Valid() bool { return true }

// Rect is the zero rectangle.
func (Text) Rect() geometry.Rect { return geometry.Rect{} }

// Center is the zero point.
func (Text) Center() geometry.Point { return geometry.Point{} }

// Contains is false.
func (Text) Contains(geojson.Object) bool { return false }

// Within is false.
func (Text) Within(geojson.Object) bool { return false }

// Intersects is false.
func (Text) Intersects(geojson.Object) bool { return false }

// Distance is 0.
func (Text) Distance(geojson.Object) float64 { return 0 }

// NumPoints is 0.
func (Text) NumPoints() int { return 0 }

// ForEach calls iter with the text.
func (t Text) ForEach(iter func(geojson.Object) bool) bool { return iter(t) }

// Spatial answers every question with no.
func (Text) Spatial() geojson.Spatial { return geojson.EmptySpatial{} }

// Members is empty.
func (Text) Members() string { return "" }
