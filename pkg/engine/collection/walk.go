package collection

import (
	"cmp"
	"math"
	"slices"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"
)

// Side says where a rectangle lies with respect to an area.
type Side uint8

// The sides. Partly is always a true answer.
const (
	Partly Side = iota
	Inside
	Outside
)

// Visit visits, in no particular order, every item whose rectangle may meet
// outer and whose node in the index side does not find outside. It says of each
// item whether its rectangle lies wholly inside, so that the visitor need not
// load it to look at its coordinates, which costs more than to compare them.
// What side gets are rectangles of nodes and of items, rounded outwards.
func (c *Collection) Visit(outer geometry.Rect, side func(geometry.Rect) Side, visit func(it *Item, inside bool) bool) {
	if c.spatial.root != nil {
		o := boxOf(outer)
		c.spatial.root.visit(&o, side, visit)
	}
}

func (n *rnode) visit(outer *box, side func(geometry.Rect) Side, visit func(*Item, bool) bool) bool {
	for i := range n.n {
		b := &n.boxes[i]
		if !b.meets(outer) {
			continue
		}
		at := side(b.rect())
		more := true
		switch {
		case at == Outside:
		case n.leaf():
			more = visit(n.items[i], at == Inside)
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
func (n *rnode) visitAll(visit func(*Item, bool) bool) bool {
	for i := range n.n {
		if n.leaf() {
			if !visit(n.items[i], true) {
				return false
			}
		} else if !n.kids[i].visitAll(visit) {
			return false
		}
	}
	return true
}

// Nearest visits the geometries by rising key, NaN last; bound returns a lower
// bound for the keys of all that lies in a node's rectangle, and key an
// object's own key. Where keys are equal, the item with the lesser west edge,
// and then the one with the lesser id comes first.
func (c *Collection) Nearest(
	bound func(geometry.Rect) float64, key func(geojson.Object) float64,
	visit func(it *Item, key float64) bool,
) {
	if c.spatial.root == nil {
		return
	}
	if c.spatial.count <= Few {
		c.nearestOfFew(key, visit)
		return
	}
	nodes := make(queue, 0, 2*fanout)
	items := make(itemQueue, 0, 4*fanout)
	nodes.push(near{dist: math.Inf(-1), node: c.spatial.root})
	for len(nodes) > 0 || len(items) > 0 {
		// Nodes go first among equals, so that all equal items meet.
		if len(nodes) == 0 || len(items) > 0 && before(items[0].key, nodes[0].dist) {
			e := items.pop()
			if !visit(e.item, e.key) {
				return
			}
			continue
		}
		n := nodes.pop().node
		for i := range n.n {
			if n.leaf() {
				it := n.items[i]
				items.push(keyed{key(it.object), it})
			} else {
				nodes.push(near{dist: bound(n.boxes[i].rect()), node: n.kids[i]})
			}
		}
	}
}

// Few is the number of items up to which those at equal distances come in the
// order in which Tile38 has them: its index is a single sorted node then.
const Few = 64

// nearestOfFew is Nearest for few items. The queue is the one of tidwall/rtree,
// whose order among equals depends on the order of insertion: from west to
// east.
func (c *Collection) nearestOfFew(key func(geojson.Object) float64, visit func(it *Item, key float64) bool) {
	all := make([]keyed, 0, Few)
	c.spatial.root.visitAll(func(it *Item, _ bool) bool {
		all = append(all, keyed{key(it.object), it})
		return true
	})
	slices.SortFunc(all, func(a, b keyed) int {
		if n := cmp.Compare(a.item.object.Rect().Min.X, b.item.object.Rect().Min.X); n != 0 {
			return n
		}
		return cmp.Compare(a.item.id, b.item.id)
	})
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
		if l < len(h) && !before(h[least].key, h[l].key) {
			least = l
		}
		if r < len(h) && !before(h[least].key, h[r].key) {
			least = r
		}
		if least == i {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

// keyed is an item with its key.
type keyed struct {
	key  float64
	item *Item
}

func (a *keyed) before(b *keyed) bool {
	if a.key != b.key {
		return before(a.key, b.key)
	}
	aw, bw := a.item.object.Rect().Min.X, b.item.object.Rect().Min.X
	if aw != bw {
		return aw < bw
	}
	return a.item.id < b.item.id
}

// itemQueue is a binary heap.
type itemQueue []keyed

func (q *itemQueue) push(e keyed) {
	h := append(*q, e)
	i := len(h) - 1
	for i > 0 {
		p := (i - 1) / 2
		if !e.before(&h[p]) {
			break
		}
		h[i] = h[p]
		i = p
	}
	h[i] = e
	*q = h
}

func (q *itemQueue) pop() keyed {
	h := *q
	top, last := h[0], h[len(h)-1]
	h[len(h)-1] = keyed{}
	h = h[:len(h)-1]
	i := 0
	for {
		c := 2*i + 1
		if c >= len(h) {
			break
		}
		if c+1 < len(h) && h[c+1].before(&h[c]) {
			c++
		}
		if !h[c].before(&last) {
			break
		}
		h[i] = h[c]
		i = c
	}
	if len(h) > 0 {
		h[i] = last
	}
	*q = h
	return top
}
