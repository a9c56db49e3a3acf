package collection

import (
	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"
)

// Side says where a rectangle lies with respect to an area.
type Side uint8

// The sides. Partly is always a true answer.
const (
	Partly  Side = iota
	Inside       // all of its points are in the area
	Outside      // nothing that is in it meets the area
	Apart        // as Outside, but of plain points alone: they are visited
)

// Visit visits, in no particular order, every item whose rectangle may meet
// outer and whose node in the index side does not find outside. It says of a
// plain point (a *geojson.SimplePoint) that is Inside or Apart, so that the
// visitor need not load it to find that out, which costs more than all the
// rest; all other items are Partly. What side gets are rectangles of nodes and
// of items, rounded outwards, and whether it is that of a plain point.
func (c *Collection) Visit(
	outer geometry.Rect, side func(r geometry.Rect, plain bool) Side, visit func(it *Item, at Side) bool,
) {
	if c.spatial.root == nil {
		return
	}
	o := boxOf(outer)
	if c.spatial.row.lost {
		c.spatial.root.visit(&o, side, visit)
		return
	}
	c.spatial.row.visit(&o, side, visit)
}

func (r *row) visit(outer *box, side func(geometry.Rect, bool) Side, visit func(*Item, Side) bool) {
	for i := range r.entries {
		e := &r.entries[i]
		if !e.box.meets(outer) {
			continue
		}
		plain := e.it.isPlain()
		at := side(e.box.rect(), plain)
		switch {
		case at == Outside:
			at = Apart // a CURSOR counts it
		case !plain:
			at = Partly
		}
		if !visit(e.it, at) {
			return
		}
	}
}

func (n *rnode) visit(outer *box, side func(geometry.Rect, bool) Side, visit func(*Item, Side) bool) bool {
	for i := range n.n {
		b := &n.boxes[i]
		if !b.meets(outer) {
			continue
		}
		plain := n.isPlain(i)
		at := side(b.rect(), plain)
		more := true
		switch {
		case at == Outside:
		case n.leaf() && !plain:
			more = visit(n.items[i], Partly)
		case n.leaf():
			more = visit(n.items[i], at)
		case at == Inside:
			more = n.kids[i].visitAll(visit)
		default:
			more = n.kids[i].visit(outer, side, visit)
		}
		if !more {
			return false
		}
	}
	return true
}

// visitAll visits all items below n, which lie inside.
func (n *rnode) visitAll(visit func(*Item, Side) bool) bool {
	for i := range n.n {
		var more bool
		switch {
		case !n.leaf():
			more = n.kids[i].visitAll(visit)
		case n.isPlain(i):
			more = visit(n.items[i], Inside)
		default:
			more = visit(n.items[i], Partly)
		}
		if !more {
			return false
		}
	}
	return true
}

// Nearest visits the geometries by rising key, NaN last; bound returns a lower
// bound for the keys of all that lies in a rectangle, and key an object's own
// key. Where keys are equal, the item with the lesser west edge, and then the
// one with the lesser id comes first.
//
// An item is loaded, which costs more than all the rest, only when the bound of
// its box comes to the top of the heap: few of those in an opened leaf ever do.
func (c *Collection) Nearest(
	bound func(geometry.Rect) float64, key func(geojson.Object) float64,
	visit func(it *Item, key float64) bool,
) {
	if c.spatial.root == nil {
		return
	}
	if !c.spatial.row.lost {
		c.nearestOfFew(key, visit)
		return
	}
	nodes, heap := make(opened, 0, fanout), make([]candidate, 0, 8*fanout)
	next := c.spatial.root // the node to open
	for next != nil || len(heap) > 0 {
		if next != nil {
			for i := range next.n {
				heap = nodes.push(heap, candidate{
					dist: bound(next.boxes[i].rect()), node: uint32(len(nodes)), slot: uint8(i),
				})
			}
			nodes = append(nodes, next)
		}
		top := heap[0]
		heap = nodes.pop(heap)
		if n := nodes[top.node]; !n.leaf() {
			next = n.kids[top.slot]
			continue
		}
		next = nil
		it := nodes.item(&top)
		if !top.exact {
			top.exact, top.dist = true, key(it.Object())
			if len(heap) > 0 && !nodes.before(&top, &heap[0]) {
				heap = nodes.push(heap, top)
				continue
			}
		}
		if !visit(it, top.dist) {
			return
		}
	}
}

// nearestOfFew is Nearest for few items. The queue is the one of tidwall/rtree,
// whose order among equals depends on the order of insertion.
func (c *Collection) nearestOfFew(key func(geojson.Object) float64, visit func(it *Item, key float64) bool) {
	entries := c.spatial.row.entries
	all := make([]keyed, len(entries), Few)
	for i := range entries {
		all[i] = keyed{key(entries[i].it.object), entries[i].it}
	}
	for i := range all { // sift up
		for j := i; j > 0 && before(all[j].key, all[(j-1)/2].key); j = (j - 1) / 2 {
			all[j], all[(j-1)/2] = all[(j-1)/2], all[j]
		}
	}
	for len(all) > 0 {
		if !visit(all[0].item, all[0].key) {
			return
		}
		all[0] = all[len(all)-1]
		all = all[:len(all)-1]
		siftDown(all)
	}
}

// siftDown moves the first entry down; among equals a child goes up, and the
// right one before the left.
func siftDown(h []keyed) {
	for i := 0; ; {
		least, l, r := i, 2*i+1, 2*i+2
		if l < len(h) && notAfter(h[l].key, h[least].key) {
			least = l
		}
		if r < len(h) && notAfter(h[r].key, h[least].key) {
			least = r
		}
		if least == i {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

// notAfter says whether a child goes up. Of two NaN it does not.
func notAfter(child, parent float64) bool { return child <= parent || before(child, parent) }

// keyed is an item with its key.
type keyed struct {
	key  float64
	item *Item
}
