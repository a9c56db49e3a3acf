package search

import (
	"encoding/base64"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"
	"github.com/tidwall/mvt"
	"github.com/tidwall/redcon"

	"evenkeel/pkg/engine/area"
	"evenkeel/pkg/engine/reply"
)

// writeTile answers a Mapbox vector tile with one layer.
func (r *run) writeTile(out *reply.Reply) error {
	if r.output == count && !out.JSON {
		out.Int(int(r.picked))
		return nil
	}
	t := tile{at: *r.area.Tile}
	t.layer = t.out.AddLayer("tile38")
	for i, it := range r.found {
		if err := r.breath(i); err != nil {
			return err
		}
		t.add(it.ID(), r.object(it))
	}
	pb := t.out.Render()
	if !out.JSON {
		out.Array(2)
		out.Buf = redcon.AppendUint(out.Buf, r.next())
		out.Buf = redcon.AppendBulk(out.Buf, pb)
		return nil
	}
	out.OK()
	out.Member("mvt")
	out.Buf = append(out.Buf, '"')
	out.Buf = base64.RawStdEncoding.AppendEncode(out.Buf, pb)
	out.Buf = append(out.Buf, '"')
	r.tail(out)
	return nil
}

// tile is a vector tile in the making.
type tile struct {
	at    area.Tile
	out   mvt.Tile
	layer *mvt.Layer
}

func (t *tile) feature(id string, kind mvt.GeometryType, name string) *mvt.Feature {
	f := t.layer.AddFeature(kind)
	f.AddTag("type", name)
	f.AddTag("id", id)
	return f
}

func (t *tile) xy(p geometry.Point) (x, y float64) {
	return mvt.LatLonXY(p.Y, p.X, t.at.X, t.at.Y, t.at.Z)
}

// add draws an object; a collection becomes one feature for each of its parts.
func (t *tile) add(id string, obj geojson.Object) {
	switch o := obj.(type) {
	case *geojson.SimplePoint, *geojson.Point:
		f := t.feature(id, mvt.Point, "point")
		f.MoveTo(t.xy(o.Center()))
	case *geojson.LineString:
		t.series(t.feature(id, mvt.LineString, "linestring"), o.Base(), false)
	case *geojson.Rect:
		r := o.Rect()
		t.polygon(id, geometry.NewPoly([]geometry.Point{
			r.Min, {X: r.Max.X, Y: r.Min.Y}, r.Max, {X: r.Min.X, Y: r.Max.Y}, r.Min,
		}, nil, nil))
	case *geojson.Polygon:
		t.polygon(id, o.Base())
	case *geojson.Feature:
		t.add(id, o.Base())
	case geojson.Collection:
		for _, child := range o.Children() {
			t.add(id, child)
		}
	}
}

// polygon draws the outer ring clockwise on the map and the holes the other way.
func (t *tile) polygon(id string, p *geometry.Poly) {
	f := t.feature(id, mvt.Polygon, "polygon")
	t.ring(f, p.Exterior, true)
	for _, h := range p.Holes {
		t.ring(f, h, false)
	}
}

func (t *tile) ring(f *mvt.Feature, s geometry.Series, clockwise bool) {
	t.series(f, s, s.Clockwise() != clockwise)
	f.ClosePath()
}

func (t *tile) series(f *mvt.Feature, s geometry.Series, backwards bool) {
	n := s.NumPoints()
	for i := range n {
		p := s.PointAt(i)
		if backwards {
			p = s.PointAt(n - 1 - i)
		}
		if i == 0 {
			f.MoveTo(t.xy(p))
		} else {
			f.LineTo(t.xy(p))
		}
	}
}
