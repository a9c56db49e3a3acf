package area

import (
	"strings"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/reply"
)

// clipBy reads the rectangle after CLIPBY and cuts the area off at it.
func clipBy(a *Area, w *words) (*Area, error) {
	r, err := clipRect(w)
	if err != nil {
		return nil, err
	}
	cut := New(Clip(a.Object, r))
	cut.Meters = a.Meters
	if a.Tile != nil {
		cut.Tile = &Tile{} // as in Tile38, which draws it on the map of the world
	}
	if a.Clip != nil {
		r := cut.Rect
		cut.Clip = &r
	}
	return cut, nil
}

// Clip returns the part of an object that lies in a rectangle. What lies
// outside altogether becomes an empty collection.
func Clip(obj geojson.Object, r geometry.Rect) geojson.Object {
	switch o := obj.(type) {
	case *geojson.SimplePoint:
		if r.ContainsPoint(o.Point) {
			return o
		}
	case *geojson.Point:
		if r.ContainsPoint(o.Center()) {
			return o
		}
	case *geojson.Rect:
		return clipPoly(geometry.NewPoly(rectRing(o.Rect()), nil, nil), r)
	case *geojson.LineString:
		return clipLine(o.Base(), r)
	case *geojson.Polygon:
		return clipPoly(o.Base(), r)
	case *geojson.Circle:
		return o // as in Tile38
	case *geojson.Feature:
		return geojson.NewFeature(Clip(o.Base(), r), o.Members())
	case geojson.Collection:
		return clipCollection(o, r)
	}
	return geojson.NewMultiPoint(nil)
}

// clipCollection returns the features of what is left of the children.
func clipCollection(o geojson.Collection, r geometry.Rect) geojson.Object {
	var features []geojson.Object
	for _, child := range o.Children() {
		part := Clip(child, r)
		if part.Empty() {
			continue
		}
		if _, ok := part.(*geojson.Feature); !ok {
			part = geojson.NewFeature(part, "")
		}
		features = append(features, part)
	}
	return geojson.NewFeatureCollection(features)
}

// rectRing returns the corners of r, counter-clockwise and closed.
func rectRing(r geometry.Rect) []geometry.Point {
	return []geometry.Point{
		r.Min, {X: r.Max.X, Y: r.Min.Y}, r.Max, {X: r.Min.X, Y: r.Max.Y}, r.Min,
	}
}

func points(s geometry.Series) []geometry.Point {
	ps := make([]geometry.Point, s.NumPoints())
	for i := range ps {
		ps[i] = s.PointAt(i)
	}
	return ps
}

// clipPoly makes the first ring of which something is left the outer one.
func clipPoly(p *geometry.Poly, r geometry.Rect) geojson.Object {
	if p == nil || p.Exterior == nil {
		return geojson.NewMultiPolygon(nil)
	}
	var rings [][]geometry.Point
	if outer := clipRing(points(p.Exterior), r); len(outer) > 0 {
		rings = append(rings, outer)
	}
	for _, h := range p.Holes {
		if hole := clipRing(points(h), r); len(hole) > 0 {
			rings = append(rings, hole)
		}
	}
	if len(rings) == 0 {
		return geojson.NewMultiPolygon(nil)
	}
	return geojson.NewPolygon(geometry.NewPoly(rings[0], rings[1:], nil))
}

// edge is a side of a rectangle.
type edge int

const (
	left edge = iota
	right
	bottom
	top
)

// inside says on which side a point lies; what is not a number lies inside.
func (e edge) inside(p geometry.Point, r geometry.Rect) bool {
	switch e {
	case left:
		return !(p.X < r.Min.X)
	case right:
		return !(p.X > r.Max.X)
	case bottom:
		return !(p.Y < r.Min.Y)
	}
	return !(p.Y > r.Max.Y)
}

// cross returns where the line from a to b, which lie on different sides,
// crosses the edge.
func (e edge) cross(a, b geometry.Point, r geometry.Rect) geometry.Point {
	switch e {
	case left, right:
		x := r.Min.X
		if e == right {
			x = r.Max.X
		}
		return geometry.Point{X: x, Y: a.Y + (b.Y-a.Y)*(x-a.X)/(b.X-a.X)}
	}
	y := r.Min.Y
	if e == top {
		y = r.Max.Y
	}
	return geometry.Point{X: a.X + (b.X-a.X)*(y-a.Y)/(b.Y-a.Y), Y: y}
}

// clipRing cuts a closed ring off at one edge after the other (Sutherland and
// Hodgman). The ring is closed again after each of them, and what precedes its
// first point is its last but one, so corners can come out twice; so they do in
// Tile38.
func clipRing(ring []geometry.Point, r geometry.Rect) []geometry.Point {
	for _, e := range [...]edge{left, right, bottom, top} {
		if len(ring) < 2 {
			return nil
		}
		var out []geometry.Point
		prev := ring[len(ring)-2]
		for _, p := range ring {
			in := e.inside(p, r)
			if in != e.inside(prev, r) {
				out = append(out, e.cross(prev, p, r))
			}
			if in {
				out = append(out, p)
			}
			prev = p
		}
		if len(out) > 0 && out[0] != out[len(out)-1] {
			out = append(out, out[0])
		}
		ring = out
	}
	return ring
}

// clipLine returns the parts of a line that lie in r: one LineString, or a
// MultiLineString. Where the line leaves r and comes back at the same point, it
// is one part.
func clipLine(l *geometry.Line, r geometry.Rect) geojson.Object {
	var lines []*geometry.Line
	var part []geometry.Point
	flush := func() {
		if len(part) > 1 {
			lines = append(lines, geometry.NewLine(part, nil))
		}
		part = nil
	}
	for i := range l.NumSegments() {
		s := l.SegmentAt(i)
		a, b, ok := clipSegment(s.A, s.B, r)
		if !ok {
			continue
		}
		if len(part) == 0 || part[len(part)-1] != a {
			flush()
			part = append(part, a)
		}
		part = append(part, b)
	}
	flush()
	if len(lines) == 1 {
		return geojson.NewLineString(lines[0])
	}
	return geojson.NewMultiLineString(lines)
}

// clipSegment returns the part of a segment that lies in r.
func clipSegment(a, b geometry.Point, r geometry.Rect) (geometry.Point, geometry.Point, bool) {
	for _, e := range [...]edge{top, bottom, right, left} {
		ina, inb := e.inside(a, r), e.inside(b, r)
		switch {
		case !ina && !inb:
			return a, b, false
		case !ina:
			a = e.cross(a, b, r)
		case !inb:
			b = e.cross(a, b, r)
		}
	}
	return a, b, true
}

// clipRect reads the rectangle behind CLIPBY.
func clipRect(w *words) (r geometry.Rect, err error) {
	word, err := w.next()
	if err != nil {
		return r, err
	}
	kind := strings.ToLower(word)
	r, ok, err := parseRect(w, kind)
	if err == nil && !ok {
		err = reply.InvalidArgument("cannot clipby " + kind)
	}
	return r, err
}
