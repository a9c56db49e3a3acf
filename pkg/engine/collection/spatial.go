package collection

import (
	"math"

	"github.com/tidwall/geojson/geometry"
)

// spatial is the index by place: an R-tree with copy-on-write nodes.
//
// Why not tidwall/rtree: its copy of a shared node keeps the old owner, so that
// after the first snapshot every write copies its whole path, for ever; and its
// nodes, once thinned out by moving objects, are never joined again. This one
// copies a node once a snapshot, joins sparse nodes, splits like an R*-tree,
// and moves or swaps an item in place when it stays inside its leaf.
//
// Rectangles are kept in single precision, rounded outwards.
type spatial struct {
	root  *rnode
	owner *owner
	count int
	row   row
}

// owner identifies who may change a node in place.
type owner struct{ _ byte }

const (
	fanout  = 32
	minFill = 8 // a node with fewer entries is joined with a sibling that has room
)

// rnode is a node of the R-tree. The boxes are in the same block as what says
// where they are, because a search that comes to a node waits for each block.
// The pointers stand in front, so that the garbage collector does not look
// through the boxes for any; those to items and children have a block of their
// own, as both fit the allocator's size classes better than one would.
type rnode struct {
	owner *owner
	items *[fanout]*Item  // of a leaf
	kids  *[fanout]*rnode // of a branch
	n     int
	plain uint32 // of a leaf: a bit for each item that is a plain point
	boxes [fanout]box
}

func newSpatial() spatial { return spatial{owner: new(owner)} }

// clone returns a tree with the same nodes; both copy a node before they
// change it.
func (t *spatial) clone() spatial {
	t.owner = new(owner)
	return spatial{root: t.root, owner: new(owner), count: t.count, row: t.row}
}

func (t *spatial) newNode(leaf bool) *rnode {
	n := &rnode{owner: t.owner}
	if leaf {
		n.items = new([fanout]*Item)
	} else {
		n.kids = new([fanout]*rnode)
	}
	return n
}

// own returns n, or a copy of it when it is shared.
func (t *spatial) own(n *rnode) *rnode {
	if n.owner == t.owner {
		return n
	}
	c := t.newNode(n.leaf())
	c.n, c.plain = n.n, n.plain
	c.boxes = n.boxes
	if n.leaf() {
		*c.items = *n.items
	} else {
		*c.kids = *n.kids
	}
	return c
}

func (n *rnode) leaf() bool { return n.items != nil }

func (n *rnode) bounds() box {
	b := n.boxes[0]
	for i := 1; i < n.n; i++ {
		b.expand(&n.boxes[i])
	}
	return b
}

func (n *rnode) addItem(b *box, it *Item, plain bool) {
	n.n++
	n.setItem(n.n-1, b, it, plain)
}

// setItem makes the item the entry i.
func (n *rnode) setItem(i int, b *box, it *Item, plain bool) {
	n.boxes[i], n.items[i] = *b, it
	n.plain &^= 1 << i
	if plain {
		n.plain |= 1 << i
	}
}

// isPlain says whether the item of the entry i is a plain point, without
// loading the item.
func (n *rnode) isPlain(i int) bool { return n.plain>>i&1 != 0 }

func (n *rnode) addKid(b box, kid *rnode) {
	n.boxes[n.n], n.kids[n.n] = b, kid
	n.n++
}

// drop takes the entry i out; the last one takes its place.
func (n *rnode) drop(i int) {
	n.n--
	if n.leaf() {
		n.setItem(i, &n.boxes[n.n], n.items[n.n], n.isPlain(n.n))
		n.items[n.n] = nil
		return
	}
	n.boxes[i] = n.boxes[n.n]
	n.kids[i], n.kids[n.n] = n.kids[n.n], nil
}

// insert adds an item.
func (t *spatial) insert(b box, it *Item) {
	t.row.insert(t, &b, it)
	t.put(b, it)
}

// put adds an item to the tree.
func (t *spatial) put(b box, it *Item) {
	t.count++
	if t.root == nil {
		t.root = t.newNode(true)
	}
	left, right := t.add(t.root, &b, it)
	t.root = left
	if right != nil {
		t.root = t.newNode(false)
		t.root.addKid(left.bounds(), left)
		t.root.addKid(right.bounds(), right)
	}
}

// add puts an item below n. It returns what takes the place of n, and a second
// node when it had to be split.
func (t *spatial) add(n *rnode, b *box, it *Item) (left, right *rnode) {
	n = t.own(n)
	if n.leaf() {
		if n.n < fanout {
			n.addItem(b, it, it.isPlain())
			return n, nil
		}
		right = t.split(n)
		better(n, right, b).addItem(b, it, it.isPlain())
		return n, right
	}
	i := n.choose(b)
	kid, second := t.add(n.kids[i], b, it)
	n.kids[i] = kid
	if second == nil {
		n.boxes[i].expand(b)
		return n, nil
	}
	n.boxes[i] = kid.bounds()
	sb := second.bounds()
	if n.n < fanout {
		n.addKid(sb, second)
		return n, nil
	}
	right = t.split(n)
	better(n, right, &sb).addKid(sb, second)
	return n, right
}

// better returns the one of two nodes that grows less by b.
func better(x, y *rnode, b *box) *rnode {
	xb, yb := x.bounds(), y.bounds()
	if growth(&yb, b) < growth(&xb, b) {
		return y
	}
	return x
}

// choose returns the child that grows least by b, the smallest among equals.
func (n *rnode) choose(b *box) int {
	best, bestArea := -1, math.Inf(1)
	for i := range n.n { // most often one need not grow
		if n.boxes[i].contains(b) {
			if a := n.boxes[i].area(); best < 0 || a < bestArea {
				best, bestArea = i, a
			}
		}
	}
	if best >= 0 {
		return best
	}
	best, bestGrowth := 0, math.Inf(1)
	for i := range n.n {
		g := growth(&n.boxes[i], b)
		if g > bestGrowth {
			continue
		}
		if a := n.boxes[i].area(); g < bestGrowth || a < bestArea {
			best, bestGrowth, bestArea = i, g, a
		}
	}
	return best
}

// remove takes an item out that was inserted with the box b.
func (t *spatial) remove(b box, it *Item) bool {
	t.row.remove(t, &b, it)
	return t.take(b, it)
}

// take removes an item from the tree.
func (t *spatial) take(b box, it *Item) bool {
	if t.root == nil {
		return false
	}
	root, ok := t.del(t.root, &b, it)
	if !ok {
		return false
	}
	t.count--
	for !root.leaf() && root.n == 1 {
		root = root.kids[0]
	}
	if root.n == 0 {
		root, t.row = nil, row{}
	}
	t.root = root
	return true
}

// del removes an item below n and returns what takes the place of n.
func (t *spatial) del(n *rnode, b *box, it *Item) (*rnode, bool) {
	if n.leaf() {
		for i := range n.n {
			if n.items[i] == it {
				n = t.own(n)
				n.drop(i)
				return n, true
			}
		}
		return n, false
	}
	for i := range n.n {
		if !n.boxes[i].contains(b) {
			continue
		}
		kid, ok := t.del(n.kids[i], b, it)
		if !ok {
			continue
		}
		n = t.own(n)
		n.kids[i] = kid
		switch {
		case kid.n == 0:
			n.drop(i)
		case kid.n < minFill && t.join(n, i):
		default:
			n.boxes[i] = kid.bounds()
		}
		return n, true
	}
	return n, false
}

// join moves the entries of the sparse child i to the sibling with room for
// them that grows least, if there is one.
func (t *spatial) join(n *rnode, i int) bool {
	from := n.kids[i]
	fb := from.bounds()
	best, bestGrowth := -1, math.Inf(1)
	for j := range n.n {
		if j == i || n.kids[j].n+from.n > fanout {
			continue
		}
		if g := growth(&n.boxes[j], &fb); best < 0 || g < bestGrowth {
			best, bestGrowth = j, g
		}
	}
	if best < 0 {
		return false
	}
	to := t.own(n.kids[best])
	for k := range from.n {
		if from.leaf() {
			to.addItem(&from.boxes[k], from.items[k], from.isPlain(k))
		} else {
			to.addKid(from.boxes[k], from.kids[k])
		}
	}
	n.kids[best] = to
	n.boxes[best].expand(&fb)
	n.drop(i)
	return true
}

// replace puts an item in the place of another one, which was inserted with
// the box ob.
func (t *spatial) replace(ob box, old *Item, b box, it *Item) bool {
	if t.root == nil {
		return false
	}
	t.row.remove(t, &ob, old)
	t.row.insert(t, &b, it)
	if root, ok := t.swap(t.root, &ob, old, &b, it); ok {
		t.root = root
		return true
	}
	kept := t.row // of an only item, too
	if !t.take(ob, old) {
		return false
	}
	t.row = kept
	t.put(b, it)
	return true
}

// swap replaces old by it where old is, if the new box lies in all boxes on the
// way. It changes nothing otherwise.
func (t *spatial) swap(n *rnode, ob *box, old *Item, b *box, it *Item) (*rnode, bool) {
	if n.leaf() {
		for i := range n.n {
			if n.items[i] == old {
				n = t.own(n)
				n.setItem(i, b, it, it.isPlain())
				return n, true
			}
		}
		return n, false
	}
	for i := range n.n {
		if !n.boxes[i].contains(ob) || !n.boxes[i].contains(b) {
			continue
		}
		if kid, ok := t.swap(n.kids[i], ob, old, b, it); ok {
			n = t.own(n)
			n.kids[i] = kid
			return n, true
		}
	}
	return n, false
}

// search visits the items whose boxes meet b.
func (t *spatial) search(b *box, visit func(*Item) bool) {
	switch {
	case t.root == nil:
	case t.row.lost:
		t.root.search(b, visit)
	default:
		for i := range t.row.entries {
			if e := &t.row.entries[i]; e.box.meets(b) && !visit(e.it) {
				return
			}
		}
	}
}

func (n *rnode) search(b *box, visit func(*Item) bool) bool {
	for i := range n.n {
		if !n.boxes[i].meets(b) {
			continue
		}
		if n.leaf() {
			if !visit(n.items[i]) {
				return false
			}
		} else if !n.kids[i].search(b, visit) {
			return false
		}
	}
	return true
}

// bounds returns the exact rectangle around all items. A NaN counts only where
// there is nothing else.
func (t *spatial) bounds() geometry.Rect {
	nan := math.NaN()
	r := geometry.Rect{Min: geometry.Point{X: nan, Y: nan}, Max: geometry.Point{X: nan, Y: nan}}
	t.root.least(&r.Min.X, func(b *box) float64 { return widenDown(b.min[0]) },
		func(r geometry.Rect) float64 { return r.Min.X })
	t.root.least(&r.Min.Y, func(b *box) float64 { return widenDown(b.min[1]) },
		func(r geometry.Rect) float64 { return r.Min.Y })
	t.root.least(&r.Max.X, func(b *box) float64 { return widenDown(-b.max[0]) },
		func(r geometry.Rect) float64 { return -r.Max.X })
	t.root.least(&r.Max.Y, func(b *box) float64 { return widenDown(-b.max[1]) },
		func(r geometry.Rect) float64 { return -r.Max.Y })
	r.Max.X, r.Max.Y = -r.Max.X, -r.Max.Y
	return r
}

// least lowers best to the least value of an item below n; bound gives what no
// item in a box is less than.
func (n *rnode) least(best *float64, bound func(*box) float64, value func(geometry.Rect) float64) {
	for i := range n.n {
		if bound(&n.boxes[i]) >= *best {
			continue
		}
		if !n.leaf() {
			n.kids[i].least(best, bound, value)
			continue
		}
		// best is NaN until the first number is seen.
		if v := value(n.items[i].object.Rect()); v == v && !(*best <= v) {
			*best = v
		}
	}
}
