package collection

import (
	"cmp"
	"slices"
)

// Few is the number of items up to which searches find them in the order in
// which Tile38 has them: its index is a single node then, sorted by the west
// edge, and among equals what came last is first. LIMIT, CURSOR, SPARSE and
// tiles show it.
const Few = 64

// Ordered says whether searches come in that order.
func (c *Collection) Ordered() bool { return !c.spatial.row.lost }

// row is the items of an index in that order. It is lost when there are more of
// them than Few, and begins anew when all are gone.
type row struct {
	owner   *owner // who may change the entries in place
	entries []placed
	lost    bool
}

// at returns where an item with the box comes.
func (r *row) at(b *box) int {
	i, _ := slices.BinarySearchFunc(r.entries, b.min[0], func(e placed, west float32) int {
		return cmp.Compare(e.box.min[0], west)
	})
	return i
}

// own makes the entries ones that t may change.
func (r *row) own(t *spatial) {
	if r.owner != t.owner {
		r.owner, r.entries = t.owner, slices.Clone(r.entries)
	}
}

func (r *row) insert(t *spatial, b *box, it *Item) {
	if r.lost {
		return
	}
	if len(r.entries) >= Few {
		*r = row{lost: true}
		return
	}
	r.own(t)
	r.entries = slices.Insert(r.entries, r.at(b), placed{*b, it})
}

func (r *row) remove(t *spatial, b *box, it *Item) {
	for i := r.at(b); i < len(r.entries); i++ {
		if r.entries[i].it == it {
			r.own(t)
			r.entries = slices.Delete(r.entries, i, i+1)
			return
		}
	}
}

// build makes the row of items that were loaded together: nobody knows in which
// order they once came.
func (r *row) build(entries []placed) {
	if len(entries) > Few {
		r.lost = true
		return
	}
	r.entries = slices.Clone(entries)
	slices.SortFunc(r.entries, func(a, b placed) int {
		if n := cmp.Compare(a.box.min[0], b.box.min[0]); n != 0 {
			return n
		}
		return cmp.Compare(b.it.id, a.it.id)
	})
}
