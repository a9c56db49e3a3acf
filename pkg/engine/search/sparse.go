package search

import (
	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/collection"
)

// maxSparse is the finest SPARSE: 2^16 by 2^16 cells.
const maxSparse = 16

// thinner spreads what SPARSE n finds: the area's rectangle is cut into 2^n by
// 2^n cells, and each cell gives the first item whose rectangle meets it and
// that was not given by another one. As in Tile38, one that the filter refuses
// has been given, and all ends at one that is not in the area. Parts without an
// item are not cut any further, so the work goes with the number of items
// given, not with that of the cells.
type thinner struct {
	*run
	col   *collection.Collection
	test  func(geojson.Object) bool
	given map[*collection.Item]bool
}

func (r *run) thin(c *collection.Collection, test func(geojson.Object) bool) {
	t := thinner{run: r, col: c, test: test, given: map[*collection.Item]bool{}}
	t.cell(r.area.Rect, r.sparse)
}

// cell looks at a part of the area that is to be halved both ways another depth
// times. It says whether the walk goes on.
func (t *thinner) cell(part geometry.Rect, depth int) bool {
	it := t.first(part)
	if t.err != nil {
		return false
	}
	if it == nil {
		return true
	}
	if depth == 0 {
		if !t.test(it.Object()) {
			return false
		}
		t.given[it] = true
		return !t.filter.Name(it.ID()) || !t.filter.Item(it) || t.pick(it)
	}
	mid := part.Center()
	for _, quarter := range [4]geometry.Rect{
		{Min: geometry.Point{X: part.Min.X, Y: mid.Y}, Max: geometry.Point{X: mid.X, Y: part.Max.Y}},
		{Min: mid, Max: part.Max},
		{Min: part.Min, Max: mid},
		{Min: geometry.Point{X: mid.X, Y: part.Min.Y}, Max: geometry.Point{X: part.Max.X, Y: mid.Y}},
	} {
		if !t.cell(quarter, depth-1) {
			return false
		}
	}
	return true
}

// first returns the first item in a part of the area that was not given yet.
func (t *thinner) first(part geometry.Rect) *collection.Item {
	var first *collection.Item
	t.col.Search(part, func(it *collection.Item) bool {
		if _, stop := t.step(); stop {
			return false
		}
		if t.tooLong(it) {
			return false
		}
		obj := it.Object()
		if t.given[it] || !obj.Rect().IntersectsRect(part) {
			return true
		}
		first = it
		return false
	})
	return first
}
