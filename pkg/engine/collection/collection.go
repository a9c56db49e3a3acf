package collection

import (
	"strings"
	"sync"

	"github.com/tidwall/btree"
	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"
)

// Collection is what a key names. It is changed through State.Apply only.
type Collection struct {
	name    string
	gen     uint64
	items   *btree.BTreeG[*Item]
	values  *btree.BTreeG[*Item] // what is not spatial, by value and id; nil: none yet
	expires *btree.BTreeG[*Item] // items with a deadline, by it and id; nil: none yet
	spatial spatial              // the non-empty geometries
	digest  Digest               // Σ of the items' digests
	counted Digest               // this collection's share in the state's sum
	objects int                  // geometries
	points  int                  // points of all objects
	weight  int                  // bytes of content, Tile38's measure
	pivots  *sync.Pool           // of *Item, to look up ids without garbage

	deferred bool     // only items or ids is kept up to date, see State.Defer
	ids      *idTable // all items while they are not in the tree; nil: they are
}

func byID(a, b *Item) bool { return a.id < b.id }

func byValue(a, b *Item) bool {
	if av, bv := a.Value(), b.Value(); av != bv {
		return av < bv
	}
	return a.id < b.id
}

func byDeadline(a, b *Item) bool {
	if a.deadline != b.deadline {
		return a.deadline < b.deadline
	}
	return a.id < b.id
}

func newTree(less func(a, b *Item) bool) *btree.BTreeG[*Item] {
	return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
}

func newCollection(name string, gen uint64) *Collection {
	return &Collection{
		name:    strings.Clone(name),
		gen:     gen,
		items:   newTree(byID),
		spatial: newSpatial(),
		pivots:  &sync.Pool{New: func() any { return new(Item) }},
	}
}

// clone returns a collection that shares all nodes with c; both copy a node
// before they change it.
func (c *Collection) clone(gen uint64) *Collection {
	d := *c
	d.gen = gen
	d.items = c.items.Copy()
	d.spatial = c.spatial.clone()
	if c.values != nil {
		d.values = c.values.Copy()
	}
	if c.expires != nil {
		d.expires = c.expires.Copy()
	}
	return &d
}

// Name returns the collection's key.
func (c *Collection) Name() string { return c.name }

// Len returns the number of items.
func (c *Collection) Len() int {
	if c.ids != nil {
		return c.ids.live
	}
	return c.items.Len()
}

// Texts returns the number of items that are not spatial: plain strings and
// Circle features.
func (c *Collection) Texts() int { return c.Len() - c.objects }

// Points returns the number of points of all objects.
func (c *Collection) Points() int { return c.points }

// Weight returns the bytes of content in Tile38's measure (STATS
// in_memory_size).
func (c *Collection) Weight() int { return c.weight }

// Digest returns the sum of the items' digests.
func (c *Collection) Digest() Digest { return c.digest }

// Bounds returns the exact rectangle around all geometries; ok is false when
// there are none.
func (c *Collection) Bounds() (r geometry.Rect, ok bool) {
	if c.spatial.count == 0 {
		return r, false
	}
	return c.spatial.bounds(), true
}

// Get returns the item with this id, or nil.
func (c *Collection) Get(id string) *Item {
	if c.ids != nil {
		return c.ids.get(id)
	}
	pivot, _ := c.pivots.Get().(*Item)
	pivot.id = id
	it, _ := c.items.Get(pivot)
	pivot.id = ""
	c.pivots.Put(pivot)
	return it
}

// Scan visits the items in the order of their ids, from the first (or last,
// when desc) one at or after pivot; "" is from the start.
func (c *Collection) Scan(pivot string, desc bool, visit func(*Item) bool) {
	c.order()
	scan(c.items, &Item{id: pivot}, pivot == "", desc, visit)
}

// ScanValues visits the items that are not spatial in the order of their
// values, from pivot; "" is from the start.
func (c *Collection) ScanValues(pivot string, desc bool, visit func(*Item) bool) {
	if c.values != nil {
		scan(c.values, &Item{object: Text(pivot)}, pivot == "", desc, visit)
	}
}

func scan(tr *btree.BTreeG[*Item], pivot *Item, all, desc bool, visit func(*Item) bool) {
	switch {
	case all && desc:
		tr.Reverse(visit)
	case all:
		tr.Scan(visit)
	case desc:
		tr.Descend(pivot, visit)
	default:
		tr.Ascend(pivot, visit)
	}
}

// Search visits, in no particular order, every item whose rectangle may meet
// rect. The index keeps rectangles in single precision, rounded outwards, so
// an item that only nearly meets rect is visited too: the visitor decides.
func (c *Collection) Search(rect geometry.Rect, visit func(*Item) bool) {
	b := boxOf(rect)
	c.spatial.search(&b, visit)
}

// NextDeadline returns the earliest deadline in the collection, 0 when no item
// has one.
func (c *Collection) NextDeadline() int64 {
	if c.expires == nil {
		return 0
	}
	it, ok := c.expires.Min()
	if !ok {
		return 0
	}
	return it.deadline
}

// Expired visits the items whose deadline is at or before now, earliest first.
func (c *Collection) Expired(now int64, visit func(*Item) bool) {
	if c.expires == nil {
		return
	}
	c.expires.Scan(func(it *Item) bool { return it.deadline <= now && visit(it) })
}

// put inserts it in place of old, which is the item with the same id or nil.
func (c *Collection) put(it, old *Item, h *hasher) {
	if old != nil {
		c.discount(old, h)
	}
	c.digest = c.digest.Add(h.item(it))
	c.weight += weigh(it)
	c.points += it.numPoints()
	if it.IsSpatial() {
		c.objects++
	}
	if c.ids != nil {
		c.ids.put(it, old)
	} else {
		c.items.Set(it)
	}
	if c.deferred {
		return
	}
	c.unlist(old)
	if it.deadline != 0 {
		c.expires = setIn(c.expires, byDeadline, it)
	}
	if !it.IsSpatial() {
		c.values = setIn(c.values, byValue, it)
	}
	c.place(it, old)
}

// setIn adds an item to a tree that is made when it is first needed.
func setIn(tr *btree.BTreeG[*Item], less func(a, b *Item) bool, it *Item) *btree.BTreeG[*Item] {
	if tr == nil {
		tr = newTree(less)
	}
	tr.Set(it)
	return tr
}

// remove takes old, an item of the collection, out of it.
func (c *Collection) remove(old *Item, h *hasher) {
	c.discount(old, h)
	if c.ids != nil {
		c.ids.remove(old)
	} else {
		c.items.Delete(old)
	}
	if !c.deferred {
		c.unlist(old)
		c.place(nil, old)
	}
}

// discount removes old from the sums.
func (c *Collection) discount(old *Item, h *hasher) {
	c.digest = c.digest.Sub(h.item(old))
	c.weight -= weigh(old)
	c.points -= old.numPoints()
	if old.IsSpatial() {
		c.objects--
	}
}

// unlist removes old, unless it is nil, from the indexes of deadlines and values.
func (c *Collection) unlist(old *Item) {
	if old == nil {
		return
	}
	if old.deadline != 0 {
		c.expires.Delete(old)
	}
	if !old.IsSpatial() {
		c.values.Delete(old)
	}
}

// place brings the index by place up to date: it comes, old goes; either may be
// nil.
func (c *Collection) place(it, old *Item) {
	comes, goes := it.indexed(), old.indexed()
	switch {
	case comes && goes:
		c.spatial.replace(boxOfItem(old), old, boxOfItem(it), it)
	case comes:
		c.spatial.insert(boxOfItem(it), it)
	case goes:
		c.spatial.remove(boxOfItem(old), old)
	}
}

// indexed says whether the item stands in the index by place.
func (it *Item) indexed() bool { return it != nil && it.IsSpatial() && !it.object.Empty() }

// weigh returns the bytes of an item in Tile38's measure.
func weigh(it *Item) int {
	n := len(it.id) + it.fields.Weight()
	if !it.IsSpatial() {
		return n + len(it.Value())
	}
	return n + it.numPoints()*16
}

// numPoints returns the number of points of an item.
func (it *Item) numPoints() int {
	switch o := it.object.(type) {
	case *geojson.SimplePoint:
		return 1
	case *large:
		return o.points
	}
	return it.object.NumPoints()
}
