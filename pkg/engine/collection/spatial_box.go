package collection

import (
	"cmp"
	"math"
	"slices"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"
)

// box is a rectangle in single precision. Its numbers are finite: what lies
// beyond is drawn to ±MaxFloat32, and a NaN, which could be anywhere, to the
// end that makes the box larger. So areas can be compared, and an item is
// always found again under the box that it was inserted with.
type box struct{ min, max [2]float32 }

// boxOf returns the smallest box that covers r.
func boxOf(r geometry.Rect) box {
	return box{
		[2]float32{roundDown(r.Min.X), roundDown(r.Min.Y)},
		[2]float32{-roundDown(-r.Max.X), -roundDown(-r.Max.Y)},
	}
}

// boxOfItem returns the box of an item.
func boxOfItem(it *Item) box { return boxOf(it.object.Rect()) }

// isPlain says whether the item is a point without height and members.
func (it *Item) isPlain() bool {
	_, ok := it.object.(*geojson.SimplePoint)
	return ok
}

// roundDown returns the largest finite float32 that is not above v, and
// -MaxFloat32 for NaN.
func roundDown(v float64) float32 {
	if !(v >= -math.MaxFloat32) { // NaN, too
		return -math.MaxFloat32
	}
	if v >= math.MaxFloat32 {
		return math.MaxFloat32
	}
	f := float32(v)
	if float64(f) > v {
		return math.Nextafter32(f, -math.MaxFloat32)
	}
	return f
}

// widenDown returns the least value that roundDown can have made f of.
func widenDown(f float32) float64 {
	if f == -math.MaxFloat32 {
		return math.Inf(-1)
	}
	return float64(f)
}

// rect returns what the box can stand for.
func (b *box) rect() geometry.Rect {
	return geometry.Rect{
		Min: geometry.Point{X: widenDown(b.min[0]), Y: widenDown(b.min[1])},
		Max: geometry.Point{X: -widenDown(-b.max[0]), Y: -widenDown(-b.max[1])},
	}
}

func (b *box) expand(o *box) {
	b.min[0], b.min[1] = min(b.min[0], o.min[0]), min(b.min[1], o.min[1])
	b.max[0], b.max[1] = max(b.max[0], o.max[0]), max(b.max[1], o.max[1])
}

func (b *box) contains(o *box) bool {
	return b.min[0] <= o.min[0] && b.max[0] >= o.max[0] &&
		b.min[1] <= o.min[1] && b.max[1] >= o.max[1]
}

func (b *box) meets(o *box) bool {
	return b.min[0] <= o.max[0] && b.max[0] >= o.min[0] &&
		b.min[1] <= o.max[1] && b.max[1] >= o.min[1]
}

func (b *box) width(axis int) float64 { return float64(b.max[axis]) - float64(b.min[axis]) }

func (b *box) area() float64 { return b.width(0) * b.width(1) }

// growth is by how much b grows when it takes o in: in area, or, when no area
// comes of it because all is on one line, in length.
func growth(b, o *box) float64 {
	u := *b
	u.expand(o)
	if g := u.area() - b.area(); g != 0 {
		return g
	}
	return (u.width(0) + u.width(1)) - (b.width(0) + b.width(1))
}

// split moves some of the entries of n, which is full and owned, to a new node.
// Of all cuts through the entries in the order of their centres, along either
// axis, it takes the one with the smallest common area of the two halves, and
// of these the one with the shortest edges.
func (t *spatial) split(n *rnode) *rnode {
	var orders [2][fanout]int
	bestAxis, bestAt := 0, fanout/2
	bestOverlap, bestEdges := math.Inf(1), math.Inf(1)
	for axis := range orders {
		order := &orders[axis]
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order[:], func(i, j int) int {
			a, b := &n.boxes[i], &n.boxes[j]
			return cmp.Compare(a.min[axis]+a.max[axis], b.min[axis]+b.max[axis])
		})
		var rights [fanout]box // rights[i] is around order[i:]
		r := n.boxes[order[fanout-1]]
		for i := fanout - 1; i >= minFill; i-- {
			r.expand(&n.boxes[order[i]])
			rights[i] = r
		}
		l := n.boxes[order[0]]
		for i := 1; i <= fanout-minFill; i++ {
			if i >= minFill {
				overlap, edges := common(&l, &rights[i]), edgesOf(&l)+edgesOf(&rights[i])
				if overlap < bestOverlap || overlap == bestOverlap && edges < bestEdges {
					bestAxis, bestAt, bestOverlap, bestEdges = axis, i, overlap, edges
				}
			}
			l.expand(&n.boxes[order[i]])
		}
	}
	return t.cut(n, &orders[bestAxis], bestAt)
}

func edgesOf(b *box) float64 { return b.width(0) + b.width(1) }

// common returns the area that two boxes share.
func common(a, b *box) float64 {
	w := min(float64(a.max[0]), float64(b.max[0])) - max(float64(a.min[0]), float64(b.min[0]))
	h := min(float64(a.max[1]), float64(b.max[1])) - max(float64(a.min[1]), float64(b.min[1]))
	if w <= 0 || h <= 0 {
		return 0
	}
	return w * h
}

// cut leaves the first at entries in n and moves the others to a new node.
func (t *spatial) cut(n *rnode, order *[fanout]int, at int) *rnode {
	right := t.newNode(n.leaf())
	old := n.boxes
	if n.leaf() {
		items, plain := *n.items, n.plain
		clear(n.items[:])
		n.n = 0
		for i, k := range order {
			to := n
			if i >= at {
				to = right
			}
			to.addItem(&old[k], items[k], plain>>k&1 != 0)
		}
		return right
	}
	kids := *n.kids
	clear(n.kids[:])
	n.n = 0
	for i, k := range order {
		to := n
		if i >= at {
			to = right
		}
		to.addKid(old[k], kids[k])
	}
	return right
}
