package search

import (
	"math"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"
)

const earthRadius = 6371e3 // meters

// metric measures distances from one point, to points and to rectangles: the
// distance to anything but a point is that to the rectangle around it, as in
// Tile38.
//
// Items are compared by a key, the haversine of the angle: sin²(angle/2). It
// rises with the distance and needs no arc sine.
type metric struct {
	p          geometry.Point
	φ, λ, cosφ float64 // radians
	regular    bool    // the point is on the map
}

func newMetric(p geometry.Point) *metric {
	m := &metric{p: p, φ: rad(p.Y), λ: rad(p.X)}
	m.cosφ = math.Cos(m.φ)
	m.regular = onMap(geometry.Rect{Min: p, Max: p})
	return m
}

// rad is written as it is for the sake of its rounding: neighbours at equal
// distances come in Tile38's order.
func rad(degrees float64) float64 { return degrees * math.Pi / 180 }

func onMap(r geometry.Rect) bool {
	return r.Min.X >= -180 && r.Max.X <= 180 && r.Min.Y >= -90 && r.Max.Y <= 90
}

// key returns the key of an item.
func (m *metric) key(obj geojson.Object) float64 {
	if p, ok := obj.(*geojson.SimplePoint); ok {
		return m.pointKey(p.Point)
	}
	return m.rectKey(obj.Rect())
}

// meters returns the distance of an item. Rounding is as in Tile38.
func (m *metric) meters(obj geojson.Object) float64 {
	if p, ok := obj.(*geojson.SimplePoint); ok {
		return earthRadius * angle(m.pointKey(p.Point))
	}
	r := obj.Rect()
	if r.Min == r.Max {
		return earthRadius * angle(m.pointKey(r.Min))
	}
	n := m.nearest(r)
	switch n.kind {
	case beside:
		return earthRadius * n.value
	case across:
		return earthRadius * math.Asin(n.value)
	}
	return earthRadius * angle(m.cornerKey(n.corner))
}

// angle returns the angle with this haversine.
func angle(h float64) float64 { return 2 * math.Asin(math.Sqrt(h)) }

func (m *metric) pointKey(p geometry.Point) float64 {
	φ := rad(p.Y)
	sφ := math.Sin((m.φ - φ) / 2)
	sλ := math.Sin((m.λ - rad(p.X)) / 2)
	return sφ*sφ + sλ*sλ*math.Cos(φ)*m.cosφ
}

// cornerKey is pointKey with another rounding: that of Tile38 for corners.
func (m *metric) cornerKey(p geometry.Point) float64 {
	φ := rad(p.Y)
	sφ := math.Sin((m.φ - φ) / 2)
	sλ := math.Sin((m.λ - rad(p.X)) / 2)
	return sφ*sφ + sλ*sλ*m.cosφ*math.Cos(φ)
}

// slack is by how much, in degrees, rounding can bring a point nearer than it
// is; it is more than enough.
const slack = 1e-12

// bound returns a lower bound for the keys of the points in r. The two terms
// of the haversine are bounded one by one, with polynomials that lie below
// sine and cosine, at a fraction of the cost of angle. Off the map the
// haversine has no such terms, so nothing is known; nor of a rectangle with its
// corners swapped.
func (m *metric) bound(r geometry.Rect) float64 {
	if !m.regular || !onMap(r) || r.Min.X > r.Max.X || r.Min.Y > r.Max.Y {
		return math.Inf(-1)
	}
	const half = math.Pi / 360
	sφ := sinBelow((max(r.Min.Y-m.p.Y, m.p.Y-r.Max.Y, slack) - slack) * half)
	sλ := sinBelow((max(m.gap(r), slack) - slack) * half)
	cos := max(cosBelow(max(-r.Min.Y, r.Max.Y)*2*half), 0)
	// Rounding must not put an item before its node.
	return (sφ*sφ + m.cosφ*cos*sλ*sλ) * (1 - 1e-9)
}

// gap returns the degrees of longitude between the point and a rectangle, the
// shorter way round: 0 to 180.
func (m *metric) gap(r geometry.Rect) float64 {
	east, west := r.Min.X-m.p.X, m.p.X-r.Max.X
	return min(max(east, west, 0), min(east, west)+360)
}

// sinBelow is at most the sine of x, 0 to π/2.
func sinBelow(x float64) float64 {
	x2 := x * x
	return x * (1 - x2/6*(1-x2/20*(1-x2/42)))
}

// cosBelow is at most the cosine of x, -π/2 to π/2.
func cosBelow(x float64) float64 {
	x2 := x * x
	return 1 - x2/2*(1-x2/12*(1-x2/30))
}

// rectKey returns the key of the nearest point of a rectangle.
func (m *metric) rectKey(r geometry.Rect) float64 {
	if r.Min == r.Max {
		return m.pointKey(r.Min)
	}
	n := m.nearest(r)
	switch n.kind {
	case beside:
		s := math.Sin(n.value / 2)
		return s * s
	case across:
		s := n.value
		return s * s / (2 * (1 + math.Sqrt(1-s*s)))
	}
	return m.cornerKey(n.corner)
}

// nearest says which point of a rectangle is the nearest.
type nearest struct {
	kind   nearestKind
	value  float64
	corner geometry.Point
}

type nearestKind uint8

const (
	atCorner nearestKind = iota
	beside               // north or south, at the angle value, or inside
	across               // on the edge, where value is the sine of the angle
)

// around turns a negative angle into the one the other way round.
func around(λ float64) float64 {
	if λ < 0 {
		return λ + 2*math.Pi
	}
	return λ
}

// nearest finds the nearest point of a rectangle (E. Schubert, A. Zimek, H.-P.
// Kriegel: Geodetic Distance Queries on R-Trees for Indexing Geographic Data,
// 2013).
func (m *metric) nearest(r geometry.Rect) nearest {
	φl, λl, φh, λh := rad(r.Min.Y), rad(r.Min.X), rad(r.Max.Y), rad(r.Max.X)
	if λl <= m.λ && m.λ <= λh {
		return nearest{kind: beside, value: max(φl-m.φ, m.φ-φh, 0)}
	}
	east, west := around(λl-m.λ), around(m.λ-λh)
	Δ, edge := east, r.Min.X
	if west < east {
		Δ, edge = west, r.Max.X
	}
	upper, lower := geometry.Point{X: edge, Y: r.Max.Y}, geometry.Point{X: edge, Y: r.Min.Y}
	sΔ, cΔ := math.Sincos(Δ)
	t := math.Tan(m.φ)
	if Δ >= math.Pi/2 {
		if t >= math.Tan((φl+φh)/2)*cΔ {
			return nearest{corner: upper}
		}
		return nearest{corner: lower}
	}
	switch {
	case t >= math.Tan(φh)*cΔ:
		return nearest{corner: upper}
	case t <= math.Tan(φl)*cΔ:
		return nearest{corner: lower}
	}
	return nearest{kind: across, value: m.cosφ * sΔ}
}
