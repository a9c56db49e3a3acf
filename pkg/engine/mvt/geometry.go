package mvt

import (
	"encoding/binary"

	"github.com/tidwall/geojson/geometry"
	"github.com/tidwall/mvt"
)

// Commands of the protocol; the bits above them count repetitions.
const (
	moveTo    = 1
	lineTo    = 2
	closePath = 7
)

const once = 1 << 3

// position returns where a point lies on the tile, in its units.
func (t *Tile) position(p geometry.Point) (x, y int64) {
	fx, fy := mvt.LatLonXY(p.Y, p.X, t.x, t.y, t.z)
	return int64(fx / 256 * extent), int64(fy / 256 * extent)
}

func (t *Tile) point(p geometry.Point) {
	x, y := t.position(p)
	t.drawing = append(t.drawing, moveTo|once)
	t.drawing = binary.AppendVarint(t.drawing, x)
	t.drawing = binary.AppendVarint(t.drawing, y)
}

// line draws a line or a ring. What is but one position on the tile is not drawn.
func (t *Tile) line(s geometry.Series, ring, backwards bool) {
	n := s.NumPoints()
	if n == 0 {
		return
	}
	at := func(i int) geometry.Point {
		if backwards {
			i = n - 1 - i
		}
		return s.PointAt(i)
	}
	startX, startY := t.position(at(0))
	lines, count := t.series[:0], uint64(0)
	var dx, dy int64 // of the last step
	last := 0        // where it begins in lines
	x, y := startX, startY
	for i := 1; i < n; i++ {
		toX, toY := t.position(at(i))
		stepX, stepY := toX-x, toY-y
		if stepX == 0 && stepY == 0 {
			continue
		}
		if count > 0 && (stepX == dx || stepY == dy) {
			// Most often it goes on along an axis, and one step does for both.
			lines = lines[:last]
			count--
			stepX, stepY = stepX+dx, stepY+dy
		}
		dx, dy, x, y = stepX, stepY, toX, toY
		last = len(lines)
		lines = binary.AppendVarint(binary.AppendVarint(lines, dx), dy)
		count++
	}
	t.series = lines
	if count == 0 {
		return
	}
	t.drawing = append(t.drawing, moveTo|once)
	t.drawing = binary.AppendVarint(t.drawing, startX)
	t.drawing = binary.AppendVarint(t.drawing, startY)
	if ring {
		t.drawing = append(t.drawing, closePath|once)
	}
	t.drawing = binary.AppendUvarint(t.drawing, count<<3|lineTo)
	t.drawing = append(t.drawing, lines...)
}
