package collection

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/tidwall/btree"
)

// Defer lets s do without its ordered indexes while a log is replayed into it: a
// log holds most objects more than once, and to find them by a hash of their
// ids, and to build the indexes at the end, is several times cheaper than to
// keep the indexes up to date. The state must be empty, and nothing but Apply,
// Collection, Get, Digest and Collection.Scan may be asked of it until Index is
// called.
func (s *State) Defer() { s.deferred = true }

// Index ends what Defer began: it builds the indexes of every collection.
func (s *State) Index() {
	s.deferred = false
	s.cols.Scan(func(_ string, c *Collection) bool {
		c.index()
		return true
	})
}

// deferIndexes is Defer for one collection, which is empty.
func (c *Collection) deferIndexes() {
	c.deferred = true
	c.ids = newIDTable()
}

func (c *Collection) index() {
	c.order()
	c.deferred = false
	var values, expires []*Item
	add := func(list []*Item, it *Item) []*Item {
		if list == nil {
			list = make([]*Item, 0, c.Len())
		}
		return append(list, it)
	}
	c.items.Scan(func(it *Item) bool {
		if !it.IsSpatial() {
			values = add(values, it)
		}
		if it.deadline != 0 {
			expires = add(expires, it)
		}
		return true
	})
	c.values = sortedTree(values, byValue)
	c.expires = sortedTree(expires, byDeadline)
	c.spatial = c.buildSpatial()
}

// sortedTree returns a tree of the items; nil when there are none.
func sortedTree(items []*Item, less func(a, b *Item) bool) *btree.BTreeG[*Item] {
	if len(items) == 0 {
		return nil
	}
	slices.SortFunc(items, func(a, b *Item) int {
		if less(a, b) {
			return -1
		}
		return 1
	})
	tr := newTree(less)
	fill(tr, items)
	return tr
}

// fill puts sorted items into a tree without any. Items that come in their order
// leave every node half full; those that are put in between then fill it to
// seven eighths, which is nearly half of the memory less.
func fill(tr *btree.BTreeG[*Item], items []*Item) {
	between := func(i int) bool { return i%7%2 == 1 } // three of seven
	for i, it := range items {
		if !between(i) {
			tr.Load(it)
		}
	}
	var hint btree.PathHint
	for i, it := range items {
		if between(i) {
			tr.SetHint(it, &hint)
		}
	}
}

// order brings the items, if they are found by a hash of their ids, into the
// tree by id, where they are found from now on.
func (c *Collection) order() {
	if c.ids == nil {
		return
	}
	items := sortByID(c.ids.items)
	c.ids = nil
	fill(c.items, items)
}

// named is an item with the bytes of its id that most likely tell it from
// others.
type named struct {
	key uint64
	it  *Item
}

// sortByID returns the items that are not nil, in the same memory, in the order
// of their ids. Most ids begin alike
// (truck:1, truck:2), so the eight bytes behind what all have in common are
// compared first, which spares most looks at the ids themselves.
func sortByID(items []*Item) []*Item {
	list := make([]named, 0, len(items))
	common := ""
	for _, it := range items {
		switch {
		case it == nil: // it was removed
			continue
		case len(list) == 0:
			common = it.id
		default:
			common = common[:commonLen(common, it.id)]
		}
		list = append(list, named{it: it})
	}
	for i := range list {
		var b [8]byte
		copy(b[:], list[i].it.id[len(common):])
		list[i].key = binary.BigEndian.Uint64(b[:])
	}
	slices.SortFunc(list, func(a, b named) int {
		if a.key != b.key {
			return cmp.Compare(a.key, b.key)
		}
		return cmp.Compare(a.it.id, b.it.id)
	})
	items = items[:len(list)]
	for i := range list {
		items[i] = list[i].it
	}
	return items
}

// commonLen returns how many bytes a and b begin with alike.
func commonLen(a, b string) int {
	n := min(len(a), len(b))
	if a[:n] == b[:n] {
		return n
	}
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
