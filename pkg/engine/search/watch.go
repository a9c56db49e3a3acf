package search

import (
	"slices"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geo"
	"github.com/tidwall/geojson/geometry"
	"github.com/tidwall/gjson"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/field"
	"evenkeel/pkg/engine/reply"
)

// Fence is a compiled search with FENCE. It is immutable, but for the polygon
// of a circle, which is made when it is first needed: one goroutine at a time.
type Fence struct {
	query  query
	detect DetectSet
}

// Detect is what an object does to a fence. The order is that in which the
// messages of several channels about one change are sent.
type Detect uint8

// The Detects.
const (
	Cross   Detect = iota // it was and is outside, and went through
	Exit                  // it was inside and is not
	Outside               // it is outside
	Enter                 // it is inside and was not
	Inside                // it is inside
)

// String returns the name as it is in DETECT and in messages.
func (d Detect) String() string { return detects[d] }

// DetectSet is a set of Detects.
type DetectSet uint8

// Has says whether d is in the set.
func (s DetectSet) Has(d Detect) bool { return s&(1<<d) != 0 }

// With returns the set with d in it.
func (s DetectSet) With(d Detect) DetectSet { return s | 1<<d }

const allDetects = 1<<len(detects) - 1

func (f *Fence) prepare() {
	fence := &f.query.fence
	if fence.roam != nil {
		fence.roam.NoDwell = fence.noDwell
	}
	f.detect = allDetects
	if fence.detect != nil {
		f.detect = 0
		for _, name := range fence.detect {
			f.detect = f.detect.With(Detect(slices.Index(detects[:], name)))
		}
	}
}

// Key returns the name of the collection whose changes the fence watches.
func (f *Fence) Key() string { return f.query.key }

// Detects returns what the fence reports.
func (f *Fence) Detects() DetectSet { return f.detect }

// Picky says whether DETECT was given. A roaming fence with DETECT reports no
// neighbours: roaming is none of the values that it can have.
func (f *Fence) Picky() bool { return f.query.fence.detect != nil }

// Roam returns what ROAM says, or nil.
func (f *Fence) Roam() *Roam { return f.query.fence.roam }

// Accepts says whether the fence reports a command, in lower case.
func (f *Fence) Accepts(name string) bool {
	return f.query.fence.commands == nil || slices.Contains(f.query.fence.commands, name)
}

// Silent says that the fence reports no objects, only that some are gone: its
// output is COUNT.
func (f *Fence) Silent() bool { return f.query.output == count }

// NoFields says whether fields are left out.
func (f *Fence) NoFields() bool { return f.query.noFields }

// Named says whether the fence is about objects with this id.
func (f *Fence) Named(id string) bool { return f.query.filter.Name(id) }

// Passes says whether the item's fields are as the fence asks for.
func (f *Fence) Passes(it *collection.Item) bool { return f.query.filter.Item(it) }

// Holds says whether an object is in the fence's area.
func (f *Fence) Holds(obj geojson.Object) bool {
	if _, ok := obj.(collection.Text); ok {
		return false
	}
	if f.query.kind == within {
		return f.query.area.Contains(obj)
	}
	return f.query.area.Intersects(obj)
}

// Meets says whether a geometry and the fence's area have a point in common.
func (f *Fence) Meets(obj geojson.Object) bool { return f.query.area.Intersects(obj) }

// Rect returns the rectangle around the area; ok is false when the fence roams.
func (f *Fence) Rect() (r geometry.Rect, ok bool) {
	if f.query.area == nil {
		return r, false
	}
	return f.query.area.Rect, true
}

// Reach returns a rectangle outside of which nothing is in the area; ok is false
// when the fence roams. Rect is smaller where a circle is rounder than the
// polygon that stands for it, or goes over the antimeridian.
func (f *Fence) Reach() (r geometry.Rect, ok bool) {
	r, ok = f.Rect()
	if !ok {
		return r, false
	}
	if c, isCircle := f.query.area.Object.(*geojson.Circle); isCircle {
		const more = 1 + 1e-6 // rounding
		p := c.Center()
		south, west, north, east := geo.RectFromCenter(p.Y, p.X, c.Meters()*more+1)
		r.Min = geometry.Point{X: min(r.Min.X, west), Y: min(r.Min.Y, south)}
		r.Max = geometry.Point{X: max(r.Max.X, east), Y: max(r.Max.Y, north)}
	}
	return r, true
}

// Shape says what of an item a message shows. Fences with the same Shape show
// the same, but for the distance.
type Shape struct {
	out       output
	precision uint
	noFields  bool
	distance  bool
}

// Shape returns the fence's shape.
func (f *Fence) Shape() Shape {
	return Shape{f.query.output, f.query.precision, f.query.noFields, f.query.distance}
}

// Shared says whether all fences of this shape show the same of an item.
func (s Shape) Shared() bool { return !s.distance }

// AppendItem appends the members of a message that show the item, from "id" on:
// the object in the form asked for, fields and distance.
func (f *Fence) AppendItem(dst []byte, it *collection.Item) []byte {
	q := &f.query
	dst = append(dst, `,"id":`...)
	if q.output == ids {
		if !q.distance {
			return gjson.AppendJSONString(dst, it.ID())
		}
		dst = gjson.AppendJSONString(append(dst, `{"id":`...), it.ID())
		return append(f.appendDistance(dst, it), '}')
	}
	dst = gjson.AppendJSONString(dst, it.ID())
	out := reply.Reply{Buf: dst}
	q.objectJSON(&out, it.Object())
	dst = out.Buf
	if !q.noFields && it.Fields().Len() > 0 {
		dst = AppendFields(dst, it.Fields())
	}
	if q.distance {
		dst = f.appendDistance(dst, it)
	}
	return dst
}

// AppendFields appends the member "fields".
func AppendFields(dst []byte, fields field.List) []byte {
	sep := byte('{')
	dst = append(dst, `,"fields":`...)
	fields.Range(func(name string, v field.Value) bool {
		dst = gjson.AppendJSONString(append(dst, sep), name)
		dst = v.AppendJSON(append(dst, ':'))
		sep = ','
		return true
	})
	return append(dst, '}')
}

func (f *Fence) appendDistance(dst []byte, it *collection.Item) []byte {
	meters := 0.0
	if f.query.area != nil {
		meters = f.query.area.Object.Distance(it.Object())
	}
	return appendFloat(append(dst, `,"distance":`...), meters)
}
