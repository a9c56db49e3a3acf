package area

import (
	"fmt"
	"math"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geo"
	"github.com/tidwall/geojson/geometry"
	"github.com/tidwall/gjson"

	"evenkeel/pkg/engine/reply"
)

// buffer grows an object by a distance on the ground. The result is put
// together from polygons around the points, strips along the lines, and the
// object itself.
func buffer(obj geojson.Object, meters float64, most int) (geojson.Object, error) {
	if n := obj.NumPoints(); n > most {
		return nil, reply.Plain(fmt.Sprintf("too many points to buffer: %d, the limit is %d", n, most))
	}
	b := bufferer{meters: meters}
	switch obj.(type) {
	case *geojson.Point, *geojson.SimplePoint:
		return b.point(obj.Center()), nil
	}
	if meters == 0 {
		if kind := unbufferable(obj); kind != nil {
			return nil, cannotBuffer(obj)
		}
		return obj, nil
	}
	if err := b.add(obj); err != nil {
		return nil, err
	}
	return geojson.NewGeometryCollection(b.parts), nil
}

func cannotBuffer(obj geojson.Object) error {
	return reply.Plain("cannot buffer " + gjson.Get(obj.JSON(), "type").String() + " type")
}

// unbufferable returns the part of obj that cannot be grown, nil if all can.
func unbufferable(obj geojson.Object) geojson.Object {
	return (&bufferer{}).check(obj)
}

func (b *bufferer) check(obj geojson.Object) geojson.Object {
	switch o := obj.(type) {
	case *geojson.Circle, *geojson.Point, *geojson.SimplePoint, *geojson.LineString, *geojson.Polygon,
		*geojson.MultiPoint, *geojson.MultiLineString, *geojson.MultiPolygon:
		return nil
	case *geojson.Feature:
		return b.check(o.Base())
	case *geojson.FeatureCollection:
		for _, child := range o.Children() {
			if bad := b.check(child); bad != nil {
				return bad
			}
		}
		return nil
	}
	return obj
}

type bufferer struct {
	meters float64
	parts  []geojson.Object
}

// bufferSteps is the number of corners of what stands for a circle here: few, as
// in Tile38.
const bufferSteps = 15

func (b *bufferer) point(p geometry.Point) geojson.Object {
	return geojson.NewCircle(p, b.meters, bufferSteps).Polygon()
}

func (b *bufferer) add(obj geojson.Object) error {
	switch o := obj.(type) {
	case *geojson.Point, *geojson.SimplePoint:
		b.parts = append(b.parts, b.point(o.Center()))
	case *geojson.Circle:
		return b.add(o.Polygon())
	case *geojson.LineString:
		b.line(o.Base())
	case *geojson.Polygon:
		b.parts = append(b.parts, o)
		b.line(o.Base().Exterior)
		for _, h := range o.Base().Holes {
			b.line(h)
		}
	case *geojson.Feature:
		return b.add(o.Base())
	case *geojson.GeometryCollection:
		return cannotBuffer(obj) // though it is one of the next
	case geojson.Collection:
		for _, child := range o.Children() {
			if err := b.add(child); err != nil {
				return err
			}
		}
	default:
		return cannotBuffer(obj)
	}
	return nil
}

// line adds a polygon around each point and a strip along each segment.
func (b *bufferer) line(s geometry.Series) {
	if s == nil {
		return
	}
	for i := range s.NumPoints() {
		b.parts = append(b.parts, b.point(s.PointAt(i)))
	}
	for i := range s.NumSegments() {
		seg := s.SegmentAt(i)
		if strip := b.strip(seg.A, seg.B); strip != nil {
			b.parts = append(b.parts, strip)
		}
	}
}

// strip returns the four-sided area along a segment.
func (b *bufferer) strip(p, q geometry.Point) geojson.Object {
	if p == q {
		return nil
	}
	// The bearing is that of the straight line on the map, which is what a
	// segment is, seen at the end where the corner is made.
	corner := func(c geometry.Point, side float64) geometry.Point {
		dx := (q.X - p.X) * math.Cos(c.Y*radians)
		bearing := math.Atan2(dx, q.Y-p.Y)/radians + side
		lat, lon := geo.DestinationPoint(c.Y, c.X, b.meters, bearing)
		return geometry.Point{X: lon, Y: lat}
	}
	ring := []geometry.Point{corner(p, 90), corner(q, 90), corner(q, -90), corner(p, -90)}
	ring = append(ring, ring[0])
	return geojson.NewPolygon(geometry.NewPoly(ring, nil, nil))
}
