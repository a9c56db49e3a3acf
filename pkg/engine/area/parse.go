package area

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/iwpnd/sectr"
	"github.com/mmcloughlin/geohash"
	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"
	"github.com/tidwall/mvt"

	"evenkeel/pkg/engine/field"
	"evenkeel/pkg/engine/reply"
)

// Limits bounds what an area may cost.
type Limits struct {
	// MaxJSONDepth is how deep the JSON of OBJECT may be nested; default 64.
	MaxJSONDepth int
	// MaxBufferPoints is how many points an object with a BUFFER may have;
	// default 100,000. Each costs about 1 KB.
	MaxBufferPoints int
}

// EnsureDefaults sets what is zero to its default.
func (l *Limits) EnsureDefaults() {
	if l.MaxJSONDepth == 0 {
		l.MaxJSONDepth = 64
	}
	if l.MaxBufferPoints == 0 {
		l.MaxBufferPoints = 100_000
	}
}

// Options says how the words are to be understood.
type Options struct {
	Limits
	// Buffer is by how many meters the area is to be grown; negative: it is not.
	Buffer float64
	// Clip says that the objects found are to be cut off at the area, which must
	// be a rectangle.
	Clip bool
	// Get finds an object for GET. Its error is answered as it is.
	Get func(key, id string) (geojson.Object, error)
}

// words hands out the words of an area. An empty word counts as a missing one.
type words struct {
	all  []string
	n    int
	wild bool // TILE takes any numbers
}

func (w *words) next() (string, error) {
	if w.n >= len(w.all) || w.all[w.n] == "" {
		return "", reply.ErrNumArgs
	}
	w.n++
	return w.all[w.n-1], nil
}

// floats reads len(dst) numbers. All words are there before the first is
// looked at.
func (w *words) floats(dst ...*float64) error {
	for i := range dst {
		if w.n+i >= len(w.all) || w.all[w.n+i] == "" {
			return reply.ErrNumArgs
		}
	}
	for _, f := range dst {
		word, _ := w.next()
		v, err := strconv.ParseFloat(word, 64)
		if err != nil {
			return reply.InvalidArgument(word)
		}
		*f = v
	}
	return nil
}

// Parse reads an area from the first words; n is how many it took. What
// follows, for instance a superfluous word, is the caller's to judge.
func Parse(in []string, opts Options) (a *Area, n int, err error) {
	opts.EnsureDefaults()
	w := &words{all: in}
	kind, err := w.next()
	if err != nil {
		return nil, 0, err
	}
	a, err = opts.kind(w, strings.ToLower(kind), kind)
	if err != nil {
		return nil, 0, err
	}
	if opts.Clip {
		r := a.Rect
		a.Clip = &r
	}
	for w.n < len(in) && strings.EqualFold(in[w.n], "clipby") {
		w.n++
		if a, err = clipBy(a, w); err != nil {
			return nil, 0, err
		}
	}
	if opts.Buffer >= 0 {
		obj, err := buffer(a.Object, opts.Buffer, opts.MaxBufferPoints)
		if err != nil {
			return nil, 0, err
		}
		tile, clip := a.Tile, a.Clip
		a = New(obj)
		a.Tile, a.Clip = tile, clip
	}
	return a, w.n, nil
}

// ParseOne reads an area as TEST takes it: a tile may have any numbers, and
// neither MVT nor CLIPBY nor a buffer is known. n is how many words it took.
func ParseOne(in []string, opts Options) (a *Area, n int, err error) {
	opts.EnsureDefaults()
	w := &words{all: in, wild: true}
	kind, err := w.next()
	if err != nil {
		return nil, 0, err
	}
	if strings.EqualFold(kind, "mvt") {
		return nil, 0, reply.InvalidArgument(kind)
	}
	if a, err = opts.kind(w, strings.ToLower(kind), kind); err != nil {
		return nil, 0, err
	}
	return a, w.n, nil
}

func (o *Options) kind(w *words, kind, word string) (*Area, error) {
	switch kind {
	case "circle", "object", "sector":
		if o.Clip {
			return nil, reply.InvalidArgument("cannot clip with " + kind)
		}
	}
	switch kind {
	case "point":
		return parsePoint(w)
	case "circle":
		return parseCircle(w)
	case "object":
		return o.parseObject(w)
	case "get":
		return o.parseGet(w)
	case "sector":
		return parseSector(w)
	case "mvt":
		return parseMVT(w)
	}
	r, ok, err := parseRect(w, kind)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, reply.InvalidArgument(word)
	}
	return New(geojson.NewRect(r)), nil
}

func parsePoint(w *words) (*Area, error) {
	var lat, lon float64
	if err := w.floats(&lat, &lon); err != nil {
		return nil, err
	}
	return New(geojson.NewPoint(geometry.Point{X: lon, Y: lat})), nil
}

func parseCircle(w *words) (*Area, error) {
	var lat, lon, meters float64
	if err := w.floats(&lat, &lon); err != nil {
		return nil, err
	}
	if err := w.floats(&meters); err != nil {
		return nil, err
	}
	if meters < 0 {
		return nil, reply.InvalidArgument(w.all[w.n-1])
	}
	return New(geojson.NewCircle(geometry.Point{X: lon, Y: lat}, meters, Steps)), nil
}

// ParseNear reads what NEARBY looks around: POINT lat lon [meters], and CLIPBY
// with a rectangle, any number of times and without effect. The radius
// may be empty, and 0 is none; Meters is then 0, or -1 without a third word.
func ParseNear(in []string) (a *Area, n int, err error) {
	w := &words{all: in}
	kind, err := w.next()
	if err != nil {
		return nil, 0, err
	}
	if !strings.EqualFold(kind, "point") {
		return nil, 0, reply.InvalidArgument(kind)
	}
	var lat, lon float64
	if err := w.floats(&lat, &lon); err != nil {
		return nil, 0, err
	}
	meters := -1.0
	if w.n < len(in) {
		word := in[w.n]
		w.n++
		meters = 0
		if word != "" {
			if meters, err = strconv.ParseFloat(word, 64); err != nil || meters < 0 {
				return nil, 0, reply.InvalidArgument(word)
			}
		}
	}
	// What is cut off at a CLIPBY here is not missed: the radius alone counts.
	for w.n < len(in) && strings.EqualFold(in[w.n], "clipby") {
		w.n++
		if _, err = clipRect(w); err != nil {
			return nil, 0, err
		}
	}
	a = New(geojson.NewCircle(geometry.Point{X: lon, Y: lat}, max(meters, 0), Steps))
	a.Meters = meters
	return a, w.n, nil
}

func (o *Options) parseObject(w *words) (*Area, error) {
	text, err := w.next()
	if err != nil {
		return nil, err
	}
	if depth := field.Nesting(text); depth > o.MaxJSONDepth {
		return nil, reply.Plain(fmt.Sprintf("JSON is nested too deep: %d levels, the limit is %d",
			depth, o.MaxJSONDepth))
	}
	obj, err := geojson.Parse(text, geojson.DefaultParseOptions)
	if err != nil {
		return nil, reply.Plain(err.Error())
	}
	return New(obj), nil
}

func (o *Options) parseGet(w *words) (*Area, error) {
	key, err := w.next()
	if err != nil {
		return nil, err
	}
	id, err := w.next()
	if err != nil {
		return nil, err
	}
	if o.Get == nil {
		return nil, reply.ErrKeyNotFound
	}
	obj, err := o.Get(key, id)
	if err != nil {
		return nil, err
	}
	if o.Clip {
		return nil, reply.InvalidArgument("cannot clip with get")
	}
	return New(obj), nil
}

func parseSector(w *words) (*Area, error) {
	var lat, lon, meters, from, to float64
	if err := w.floats(&lat, &lon, &meters, &from, &to); err != nil {
		return nil, err
	}
	// The sector's arc is walked from one bearing to the other, so both must be
	// numbers that can be reached.
	for i, b := range []float64{from, to} {
		if math.IsNaN(b) || math.IsInf(b, 0) {
			return nil, reply.InvalidArgument(w.all[w.n-2+i])
		}
	}
	if from == to {
		return nil, reply.Plain(fmt.Sprintf("equal bearings (%v == %v), use CIRCLE instead", from, to))
	}
	s := sectr.NewSector(sectr.Point{Lng: lon, Lat: lat}, meters, from, to)
	obj, err := geojson.Parse(string(s.JSON()), geojson.DefaultParseOptions)
	if err != nil {
		return nil, reply.Plain(err.Error())
	}
	return New(obj), nil
}

// maxZoom is the deepest level of tiles.
const maxZoom = 23

// tile reads the three numbers of a map tile.
func (w *words) tile() (Tile, error) {
	var v [3]int
	for i := range v {
		if w.n+i >= len(w.all) || w.all[w.n+i] == "" {
			return Tile{}, reply.ErrNumArgs
		}
	}
	for i := range v {
		word, _ := w.next()
		n, ok := tileNumber(word, i == 2, w.wild)
		if !ok {
			return Tile{}, reply.InvalidArgument(word)
		}
		v[i] = n
	}
	return Tile{X: v[0], Y: v[1], Z: v[2]}, nil
}

// tileNumber reads one of the numbers. Beyond the last tile of a level, and with
// any level, there is a rectangle, too: the one that comes out in Tile38.
func tileNumber(word string, level, wild bool) (n int, ok bool) {
	if level && wild {
		z, err := strconv.ParseUint(word, 10, 64)
		return int(min(z, deepest)), err == nil
	}
	i, err := strconv.ParseInt(word, 10, 64)
	ok = err == nil && (wild || i >= 0) && !(level && i > maxZoom)
	return int(i), ok
}

// deepest is the level from which on all tiles are the same, because their size
// has no bit left.
const deepest = 64

func parseMVT(w *words) (*Area, error) {
	t, err := w.tile()
	if err != nil {
		return nil, err
	}
	r := tileRect(t)
	// Lines and areas are drawn a little beyond the edge, so that no seam shows,
	// and no further.
	// The sides are moved one after the other, so the second of two moves further.
	const margin = 1.0 / 16
	r.Min.X -= (r.Max.X - r.Min.X) * margin
	r.Max.X += (r.Max.X - r.Min.X) * margin
	r.Min.Y -= (r.Max.Y - r.Min.Y) * margin
	r.Max.Y += (r.Max.Y - r.Min.Y) * margin
	// Beyond the map there is nothing.
	r.Min.X, r.Min.Y = max(r.Min.X, -180), max(r.Min.Y, -mapEdge)
	r.Max.X, r.Max.Y = min(r.Max.X, 180), min(r.Max.Y, mapEdge)
	a := New(geojson.NewRect(r))
	a.Tile, a.Clip = &t, &r
	return a, nil
}

// mapEdge is the latitude at which the map of tiles ends.
const mapEdge = 85.05112878

func tileRect(t Tile) geometry.Rect {
	s, w, n, e := mvt.TileBounds(t.X, t.Y, t.Z)
	return geometry.Rect{Min: geometry.Point{X: w, Y: s}, Max: geometry.Point{X: e, Y: n}}
}

// parseRect reads the areas that are rectangles; ok is false when kind is none.
func parseRect(w *words, kind string) (r geometry.Rect, ok bool, err error) {
	switch kind {
	case "bounds":
		err = w.floats(&r.Min.Y, &r.Min.X, &r.Max.Y, &r.Max.X)
	case "hash":
		var hash string
		if hash, err = w.next(); err == nil {
			b := geohash.BoundingBox(hash)
			r.Min = geometry.Point{X: b.MinLng, Y: b.MinLat}
			r.Max = geometry.Point{X: b.MaxLng, Y: b.MaxLat}
		}
	case "quadkey":
		r, err = parseQuadKey(w)
	case "tile":
		var t Tile
		if t, err = w.tile(); err == nil {
			r = tileRect(t)
		}
	default:
		return r, false, nil
	}
	return r, true, err
}

func parseQuadKey(w *words) (geometry.Rect, error) {
	key, err := w.next()
	if err != nil {
		return geometry.Rect{}, err
	}
	t := Tile{Z: len(key)}
	for i := range len(key) {
		d := key[i] - '0'
		if d > 3 {
			return geometry.Rect{}, reply.InvalidArgument(key)
		}
		t.X = t.X<<1 | int(d&1)
		t.Y = t.Y<<1 | int(d>>1)
	}
	t.Z = min(t.Z, deepest)
	return tileRect(t), nil
}
