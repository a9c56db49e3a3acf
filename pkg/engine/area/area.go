package area

import (
	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/collection"
)

// Area is a region that objects are compared with.
type Area struct {
	// Object is the region as GeoJSON.
	Object geojson.Object
	// Rect covers the region; what lies outside it is not in the region.
	Rect geometry.Rect
	// Clip is set when the objects found are to be cut off at this rectangle.
	Clip *geometry.Rect
	// Tile is set when the area is a vector tile, which the answer then is.
	Tile *Tile
	// Meters is the radius of a POINT with a third number; -1: there is none.
	Meters float64

	circle *circle
	rect   *geometry.Rect // the region itself, if it is a rectangle
}

// Tile is the address of a map tile.
type Tile struct{ X, Y, Z int }

// New returns the area that an object covers.
func New(obj geojson.Object) *Area {
	a := &Area{Object: obj, Meters: -1}
	switch o := obj.(type) {
	case *geojson.Circle:
		a.circle = newCircle(o)
		a.Rect = a.circle.rect
	case *geojson.Rect:
		r := o.Rect()
		a.rect, a.Rect = &r, r
	default:
		a.Rect = obj.Rect()
	}
	return a
}

// Contains says whether obj lies within the area.
func (a *Area) Contains(obj geojson.Object) bool {
	if a.circle != nil {
		return a.circle.contains(obj)
	}
	if a.rect != nil {
		if p, ok := obj.(*geojson.SimplePoint); ok {
			return a.rect.ContainsPoint(p.Point)
		}
	}
	return obj.Within(a.Object)
}

// Intersects says whether obj and the area have a point in common.
func (a *Area) Intersects(obj geojson.Object) bool {
	if a.circle != nil {
		return a.circle.intersects(obj)
	}
	if a.rect != nil {
		if p, ok := obj.(*geojson.SimplePoint); ok {
			return a.rect.ContainsPoint(p.Point)
		}
	}
	return obj.Intersects(a.Object)
}

// Side says where a rectangle lies, or, if it is that of a plain point, the
// point in it.
func (a *Area) Side(r geometry.Rect, plain bool) collection.Side {
	switch {
	case a.circle != nil:
		return a.circle.side(r, plain)
	case a.rect != nil && a.rect.ContainsRect(r):
		return collection.Inside
	}
	return collection.Partly
}
