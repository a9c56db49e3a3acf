package area

import (
	"math"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geo"
	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/collection"
)

// Steps is the number of corners of the polygon that stands for a circle where
// it is compared with something else than a point.
const Steps = 64

const radians = math.Pi / 180

// circle compares objects with a circle: points by their distance, other
// geometries with its polygon, which is built when the first one comes.
//
// Its answers are those of geojson.Circle, which builds the polygon for every
// comparison.
type circle struct {
	object *geojson.Circle
	poly   geojson.Object
	rect   geometry.Rect // around the polygon
	inner  geometry.Rect // wholly inside the circle; empty (Min > Max) if unknown
	φ, λ   float64       // the centre, radians
	cosφ   float64
	sinφ   float64
	limit  float64 // the haversine of the radius
	least  float64 // with a smaller haversine by about, all nearby points lie inside
	most   float64 // with a greater one, none does
	small  bool    // about may use polynomials
}

// nearby is how large a rectangle may be, in degrees, to be judged by one of
// its corners: what a point is in the index, where it is rounded to single
// precision.
const nearby = 4e-5

func newCircle(o *geojson.Circle) *circle {
	c := o.Center()
	k := &circle{object: o, φ: c.Y * radians, λ: c.X * radians, limit: o.Haversine()}
	k.sinφ, k.cosφ = math.Sin(k.φ), math.Cos(k.φ)
	k.rect = circleRect(c, o.Meters())
	k.inner = k.innerRect()
	// The sine of half the angle differs by less than half the distance.
	s, slack := math.Sqrt(k.limit), nearby*radians
	k.least = max(s-slack, 0) * max(s-slack, 0) * (1 - aboutError)
	k.most = (s + slack) * (s + slack) * (1 + aboutError)
	k.small = k.rect.Max.X-k.rect.Min.X <= 40 && k.rect.Max.Y-k.rect.Min.Y <= 20 &&
		k.rect.Min.Y >= -80 && k.rect.Max.Y <= 80
	return k
}

// aboutError is more than the relative error of about.
const aboutError = 1e-6

// about returns nearly the haversine of the angle between the centre and a
// point near k.rect. In small circles, polynomials do for sine and cosine.
func (k *circle) about(p geometry.Point) float64 {
	if !k.small {
		return k.haversine(p)
	}
	Δφ, Δλ := p.Y*radians-k.φ, p.X*radians-k.λ
	sφ, sλ := sine(Δφ/2), sine(Δλ/2)
	// The cosine of φ + Δφ, by its addition theorem.
	cos := k.cosφ*(1-2*sφ*sφ) - k.sinφ*sine(Δφ)
	return sφ*sφ + cos*k.cosφ*sλ*sλ
}

// sine is the sine of a small angle.
func sine(x float64) float64 {
	x2 := x * x
	return x * (1 - x2*(1./6)*(1-x2*(1./20)))
}

// circleRect returns the rectangle around the polygon of a circle, by the same
// arithmetic that makes the polygon.
func circleRect(c geometry.Point, meters float64) geometry.Rect {
	if meters <= 0 {
		return geometry.Rect{Min: c, Max: c}
	}
	meters = geo.NormalizeDistance(meters)
	maxY, _ := geo.DestinationPoint(c.Y, c.X, meters, 0)
	_, maxX := geo.DestinationPoint(c.Y, c.X, meters, 90)
	minY, _ := geo.DestinationPoint(c.Y, c.X, meters, 180)
	_, minX := geo.DestinationPoint(c.Y, c.X, meters, 270)
	// Across a pole or the antimeridian these are negative, and the polygon
	// turns the other way; its rectangle is the same.
	dx, dy := math.Abs((maxX-minX)/2), math.Abs((maxY-minY)/2)
	return geometry.Rect{
		Min: geometry.Point{X: c.X - dx, Y: c.Y - dy},
		Max: geometry.Point{X: c.X + dx, Y: c.Y + dy},
	}
}

// innerRect returns a rectangle whose points all lie in the circle, so that
// they need no distance. At a given longitude the haversine is 1/2 - A·cos(φ-ψ),
// which is convex around its least value, so if the four corners lie inside,
// all of the rectangle does. Circles of more than 1000 km have none.
func (k *circle) innerRect() geometry.Rect {
	const most = 1000e3
	// none is a rectangle without points.
	none := geometry.Rect{Min: geometry.Point{X: 1}, Max: geometry.Point{X: -1}}
	if !(k.object.Meters() > 0 && k.object.Meters() <= most) {
		return none
	}
	c := k.object.Center()
	const part = math.Sqrt2 / 2 * (1 - 1e-6)
	dx, dy := (k.rect.Max.X-c.X)*part, (k.rect.Max.Y-c.Y)*part
	r := geometry.Rect{
		Min: geometry.Point{X: c.X - dx, Y: c.Y - dy},
		Max: geometry.Point{X: c.X + dx, Y: c.Y + dy},
	}
	// The margin keeps the corners' own rounding out of the answer.
	limit := k.limit * (1 - 1e-9)
	for _, p := range []geometry.Point{r.Min, r.Max, {X: r.Min.X, Y: r.Max.Y}, {X: r.Max.X, Y: r.Min.Y}} {
		if !(k.haversine(p) < limit) || math.Abs(p.Y) >= 90 {
			return none
		}
	}
	return r
}

// haversine returns the haversine of the angle between p and the centre. It is
// geo.Haversine with the centre's share computed once.
func (k *circle) haversine(p geometry.Point) float64 {
	φ := p.Y * radians
	sφ := math.Sin((k.φ - φ) / 2)
	sλ := math.Sin((k.λ - p.X*radians) / 2)
	return sφ*sφ + math.Cos(φ)*k.cosφ*sλ*sλ
}

func (k *circle) containsPoint(p geometry.Point) bool {
	if p.X >= k.inner.Min.X && p.X <= k.inner.Max.X && p.Y >= k.inner.Min.Y && p.Y <= k.inner.Max.Y {
		return true
	}
	return k.haversine(p) <= k.limit
}

// side judges rectangles in the inner one, and those of points.
func (k *circle) side(r geometry.Rect, plain bool) collection.Side {
	if k.inner.ContainsRect(r) {
		return collection.Inside
	}
	if !(r.Max.X-r.Min.X <= nearby && r.Max.Y-r.Min.Y <= nearby) {
		return collection.Partly
	}
	switch h := k.about(r.Min); {
	case h < k.least:
		return collection.Inside
	case h > k.most && k.beyond(r):
		return collection.Outside
	case h > k.most && plain:
		return collection.Apart
	}
	return collection.Partly
}

// beyond says whether a rectangle lies outside the polygon, which is drawn into
// the ellipse in k.rect. The polygon has corners where the circle has not, and
// not only points are compared with it.
func (k *circle) beyond(r geometry.Rect) bool {
	c := k.object.Center()
	x := max(r.Min.X-c.X, c.X-r.Max.X, 0) / (k.rect.Max.X - c.X)
	y := max(r.Min.Y-c.Y, c.Y-r.Max.Y, 0) / (k.rect.Max.Y - c.Y)
	return x*x+y*y > 1+1e-9
}

func (k *circle) polygon() geojson.Object {
	if k.poly == nil {
		k.poly = k.object.Polygon()
	}
	return k.poly
}

func (k *circle) contains(obj geojson.Object) bool {
	switch o := obj.(type) {
	case *geojson.SimplePoint:
		return k.containsPoint(o.Point)
	case *geojson.Point:
		return k.containsPoint(o.Center())
	case *geojson.Circle:
		return k.object.Contains(o)
	case geojson.Collection:
		for _, child := range o.Children() {
			if !k.contains(child) {
				return false
			}
		}
		return true
	}
	return k.polygon().Contains(obj)
}

func (k *circle) intersects(obj geojson.Object) bool {
	switch o := obj.(type) {
	case *geojson.SimplePoint:
		return k.containsPoint(o.Point)
	case *geojson.Point:
		return k.containsPoint(o.Center())
	case *geojson.Circle:
		return k.object.Intersects(o)
	case *geojson.Feature:
		return k.intersects(o.Base())
	case geojson.Collection:
		met := false
		o.Search(k.rect, func(child geojson.Object) bool {
			met = k.intersects(child)
			return !met
		})
		return met
	}
	return obj.Intersects(k.polygon())
}
