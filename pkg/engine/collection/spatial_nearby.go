package collection

import (
	"github.com/tidwall/geojson/geometry"
)

// near is an entry of the queue of nearby: a node or an item.
type near struct {
	dist float64
	node *rnode
	item *Item
}

// nearby visits the items by rising distance; NaN comes last.
func (t *spatial) nearby(
	dist func(rect geometry.Rect, it *Item) float64,
	visit func(it *Item, dist float64) bool,
) {
	if t.root == nil {
		return
	}
	q := make(queue, 0, 4*fanout)
	q.push(near{node: t.root})
	for len(q) > 0 {
		e := q.pop()
		if e.node == nil {
			if !visit(e.item, e.dist) {
				return
			}
			continue
		}
		n := e.node
		for i := range n.n {
			if n.leaf() {
				it := n.items[i]
				q.push(near{dist: dist(n.boxes[i].rect(), it), item: it})
			} else {
				q.push(near{dist: dist(n.boxes[i].rect(), nil), node: n.kids[i]})
			}
		}
	}
}

// queue is a binary heap by distance.
type queue []near

// before orders by distance, NaN after all else.
func before(a, b float64) bool {
	return a < b || b != b && a == a
}

func (q *queue) push(e near) {
	h := append(*q, e)
	i := len(h) - 1
	for i > 0 {
		p := (i - 1) / 2
		if !before(e.dist, h[p].dist) {
			break
		}
		h[i] = h[p]
		i = p
	}
	h[i] = e
	*q = h
}

func (q *queue) pop() near {
	h := *q
	top, last := h[0], h[len(h)-1]
	h[len(h)-1] = near{}
	h = h[:len(h)-1]
	i := 0
	for {
		c := 2*i + 1
		if c >= len(h) {
			break
		}
		if c+1 < len(h) && before(h[c+1].dist, h[c].dist) {
			c++
		}
		if !before(h[c].dist, last.dist) {
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
