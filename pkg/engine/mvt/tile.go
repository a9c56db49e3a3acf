package mvt

import (
	"encoding/binary"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"
)

// kind is the type of a feature's geometry in the protocol.
type kind byte

const (
	point kind = 1 + iota
	line
	polygon
	kinds
)

// typeNames are the values of the tag type.
var typeNames = [kinds]string{point: "point", line: "linestring", polygon: "polygon"}

// Fields of the protocol: number and wire type.
const (
	tileLayer      = 3<<3 | 2
	layerName      = 1<<3 | 2
	layerFeature   = 2<<3 | 2
	layerKey       = 3<<3 | 2
	layerValue     = 4<<3 | 2
	layerExtent    = 5 << 3
	layerVersion   = 15 << 3
	featureTags    = 2<<3 | 2
	featureType    = 3 << 3
	featureDrawing = 4<<3 | 2
	valueString    = 1<<3 | 2
)

// extent is the width of a tile in its own units.
const extent = 4096

// Tile is a vector tile in the making.
type Tile struct {
	x, y, z  int
	features []byte // encoded
	values   []byte // encoded, in the order of their numbers
	count    uint64 // of values
	types    [kinds]number
	id       string // of the object drawn last
	idNumber number
	body     []byte // of the feature in the making
	drawing  []byte // its commands
	series   []byte // the lines of one of its series
}

// number is 1 more than that of a value; 0: the value has none yet.
type number uint64

// New returns an empty tile. Tiles beyond the last of their zoom level are empty
// places; z is 0 to 23.
func New(x, y, z int) *Tile { return &Tile{x: x, y: y, z: z} }

// Len returns about how many bytes the tile has by now.
func (t *Tile) Len() int { return len(t.features) + len(t.values) }

// Add draws an object, which is best cut off near the tile's edge before. A
// collection becomes one feature for each of its parts; circles and texts are
// not drawn. Objects have different ids.
func (t *Tile) Add(id string, obj geojson.Object) {
	if t.idNumber == 0 || id != t.id {
		t.id, t.idNumber = id, 0
	}
	t.add(obj)
}

func (t *Tile) add(obj geojson.Object) {
	switch o := obj.(type) {
	case *geojson.SimplePoint, *geojson.Point:
		t.point(o.Center())
		t.feature(point)
	case *geojson.LineString:
		t.line(o.Base(), false, false)
		t.feature(line)
	case *geojson.Rect:
		t.polygon(geometry.NewPoly(corners(o.Rect()), nil, nil))
	case *geojson.Polygon:
		t.polygon(o.Base())
	case *geojson.Feature:
		t.add(o.Base())
	case geojson.Collection:
		for _, child := range o.Children() {
			t.add(child)
		}
	}
}

// corners returns the corners of r, counter-clockwise and closed.
func corners(r geometry.Rect) []geometry.Point {
	return []geometry.Point{
		r.Min, {X: r.Max.X, Y: r.Min.Y}, r.Max, {X: r.Min.X, Y: r.Max.Y}, r.Min,
	}
}

// polygon draws the outer ring clockwise on the map and the holes the other way.
func (t *Tile) polygon(p *geometry.Poly) {
	if p == nil || p.Exterior == nil {
		return
	}
	t.line(p.Exterior, true, !p.Exterior.Clockwise())
	for _, h := range p.Holes {
		t.line(h, true, h.Clockwise())
	}
	t.feature(polygon)
}

// feature ends the feature whose commands are in t.drawing.
func (t *Tile) feature(k kind) {
	if t.types[k] == 0 {
		t.types[k] = t.value(typeNames[k])
	}
	if t.idNumber == 0 {
		t.idNumber = t.value(t.id)
	}
	var tmp [2 * binary.MaxVarintLen64]byte
	tags := append(tmp[:0], 0)
	tags = binary.AppendUvarint(tags, uint64(t.types[k])-1)
	tags = append(tags, 1)
	tags = binary.AppendUvarint(tags, uint64(t.idNumber)-1)

	t.body = appendBytes(t.body[:0], featureTags, tags)
	t.body = append(t.body, featureType, byte(k))
	t.body = appendBytes(t.body, featureDrawing, t.drawing)
	t.features = appendBytes(t.features, layerFeature, t.body)
	t.drawing = t.drawing[:0]
}

// value numbers a value. An id that is the name of a type is the same value.
func (t *Tile) value(s string) number {
	for k, name := range typeNames {
		if name == s && t.types[k] != 0 {
			return t.types[k]
		}
	}
	var tmp [binary.MaxVarintLen64]byte
	size := binary.PutUvarint(tmp[:], uint64(len(s)))
	t.values = append(t.values, layerValue)
	t.values = binary.AppendUvarint(t.values, uint64(1+size+len(s)))
	t.values = append(t.values, valueString)
	t.values = append(append(t.values, tmp[:size]...), s...)
	t.count++
	n := number(t.count)
	for k, name := range typeNames {
		if name == s {
			t.types[k] = n
		}
	}
	return n
}

// AppendTo appends the encoded tile.
func (t *Tile) AppendTo(dst []byte) []byte {
	head := appendBytes(nil, layerName, []byte("tile38"))
	var tail []byte
	if t.count > 0 {
		tail = appendBytes(tail, layerKey, []byte("type"))
		tail = appendBytes(tail, layerKey, []byte("id"))
	}
	end := binary.AppendUvarint([]byte{layerExtent}, extent)
	end = append(end, layerVersion, 2)

	dst = append(dst, tileLayer)
	dst = binary.AppendUvarint(dst, uint64(len(head)+len(t.features)+len(tail)+len(t.values)+len(end)))
	for _, part := range [][]byte{head, t.features, tail, t.values, end} {
		dst = append(dst, part...)
	}
	return dst
}

// appendBytes appends a field with its length.
func appendBytes(dst []byte, field byte, b []byte) []byte {
	dst = binary.AppendUvarint(append(dst, field), uint64(len(b)))
	return append(dst, b...)
}
