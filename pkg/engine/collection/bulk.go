package collection

import "slices"

// bulkFill is how many entries a node gets when an index is built at once:
// fewer than fit, so that the writes that follow do not split every node.
const bulkFill = 26

// placed is an item with its box.
type placed struct {
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
	order := make([]uint64, 0, c.objects) // place along the curve, index in entries
	c.items.Scan(func(it *Item) bool {
		if it.indexed() {
			b := boxOfItem(it)
			order = append(order, uint64(b.hilbert())<<32|uint64(len(entries)))
			entries = append(entries, placed{b, it})
		}
		return true
	})
	t.count = len(entries)
	t.row.build(entries)
	if t.count == 0 {
		return t
	}
	slices.Sort(order)
	var level []*rnode
	for chunk := range slices.Chunk(order, bulkFill) {
		n := t.newNode(true)
		for _, o := range chunk {
			e := &entries[uint32(o)] // #nosec G115 -- the lower half
			n.addItem(&e.box, e.it, e.it.isPlain())
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
