package collection

import (
	"cmp"
	"slices"
)

// bulkFill is how many entries a node gets when an index is built at once:
// fewer than fit, so that the writes that follow do not split every node.
const bulkFill = 26

// Defer lets s do without the index by place while a log is replayed into it:
// building it at once is several times cheaper than keeping it up to date. The
// state must be empty, and nothing but Apply, Get and Digest may be asked of it
// until Index is called.
func (s *State) Defer() { s.deferred = true }

// Index ends what Defer began: it builds the index of every collection.
func (s *State) Index() {
	s.deferred = false
	s.cols.Scan(func(_ string, c *Collection) bool {
		c.deferred = false
		c.spatial = c.buildSpatial()
		return true
	})
}

// placed is an item with its box and its place along a Hilbert curve.
type placed struct {
	key uint32
	box box
	it  *Item
}

// buildSpatial packs the items into leaves in the order in which a Hilbert
// curve passes them, and the nodes of each level into the next: neighbours on
// the curve are neighbours on the map (Kamel and Faloutsos, "On Packing
// R-trees", 1993).
func (c *Collection) buildSpatial() spatial {
	t := newSpatial()
	entries := make([]placed, 0, c.objects)
	c.items.Scan(func(it *Item) bool {
		if it.indexed() {
			b := boxOfItem(it)
			entries = append(entries, placed{key: b.hilbert(), box: b, it: it})
		}
		return true
	})
	t.count = len(entries)
	if t.count == 0 {
		return t
	}
	slices.SortFunc(entries, func(a, b placed) int { return cmp.Compare(a.key, b.key) })
	var level []*rnode
	for chunk := range slices.Chunk(entries, bulkFill) {
		n := t.newNode(true)
		for i := range chunk {
			n.addItem(&chunk[i].box, chunk[i].it)
		}
		level = append(level, n)
	}
	for len(level) > 1 {
		var next []*rnode
		for chunk := range slices.Chunk(level, bulkFill) {
			n := t.newNode(false)
			for _, kid := range chunk {
				n.addKid(kid.bounds(), kid)
			}
			next = append(next, n)
		}
		level = next
	}
	t.root = level[0]
	return t
}

// hilbert returns the place of the box's centre on a Hilbert curve over the
// world in cells of 360/65536 by 180/65536 degrees; what lies beyond the world
// counts at its edge.
func (b *box) hilbert() uint32 {
	x := cell((float64(b.min[0])+float64(b.max[0]))/2, 180)
	y := cell((float64(b.min[1])+float64(b.max[1]))/2, 90)
	var d uint32
	for s := uint32(1 << 15); s > 0; s >>= 1 {
		var rx, ry uint32
		if x&s != 0 {
			rx = 1
		}
		if y&s != 0 {
			ry = 1
		}
		d += s * s * ((3 * rx) ^ ry)
		if ry == 0 {
			if rx == 1 {
				x, y = 1<<16-1-x, 1<<16-1-y
			}
			x, y = y, x
		}
	}
	return d
}

// cell maps -edge … edge to 0 … 65535.
func cell(v, edge float64) uint32 {
	return uint32(min(max((v+edge)/(2*edge)*65536, 0), 65535))
}
