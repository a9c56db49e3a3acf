package search

import (
	"math"
	"slices"

	"github.com/tidwall/geojson"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

// run is a query on its way through a collection.
type run struct {
	query
	pause   func() error
	visited uint64 // items seen, which is what a cursor counts
	picked  uint64
	found   []*collection.Item // what was picked, unless only their number counts
	full    bool               // the limit was reached
	err     error              // what pause said
	metric  *metric            // of NEARBY
	slow    bool               // pause is to be asked at every item
	written int                // bytes, when breath last asked
}

// pauseEvery is how many items are visited between two questions to pause.
const pauseEvery = 256

func (r *run) walk(c *collection.Collection) error {
	if r.pause != nil {
		if err := r.pause(); err != nil {
			return err
		}
	}
	r.slow = r.filter.Slow()
	if r.output != count {
		r.found = slices.Grow(r.found, int(min(r.limit, defaultLimit)))
	}
	switch r.kind {
	case scan:
		r.scan(c)
	case search:
		r.search(c)
	case nearby:
		if r.sparse > 0 {
			if r.area.Meters < 0 {
				return reply.Plain("cannot use SPARSE without a point distance")
			}
			r.thin(c, r.area.Intersects)
		} else {
			r.nearby(c)
		}
	case within:
		r.visit(c, r.area.Contains)
	case intersects:
		r.visit(c, r.area.Intersects)
	}
	if r.err == nil {
		r.err = r.filter.Err()
	}
	return r.err
}

// step counts a visited item; skip says that it lies before the cursor, stop
// that the walk is over.
func (r *run) step() (skip, stop bool) {
	r.visited++
	if r.slow && r.filter.Err() != nil {
		return true, true // a script has failed at the item before
	}
	if (r.slow || r.visited%pauseEvery == 0) && r.pause != nil {
		if r.err = r.pause(); r.err != nil {
			return true, true
		}
	}
	return r.visited <= r.cursor, false
}

// tooLong says that the item is too large to be looked at under a lock, which
// ends the walk.
func (r *run) tooLong(it *collection.Item) bool {
	if r.locked && it.Heavy() {
		r.err = command.ErrLong
		return true
	}
	return false
}

// pick keeps an item and says whether the walk goes on.
func (r *run) pick(it *collection.Item) bool {
	r.picked++
	if r.output != count {
		r.found = append(r.found, it)
	}
	r.full = r.picked >= r.limit
	return !r.full
}

// next returns the cursor that the next page begins with; 0: there is none.
func (r *run) next() uint64 {
	if !r.full || r.sparse > 0 {
		return 0
	}
	return r.visited
}

// countAll answers COUNT without a filter: LIMIT does not hold then.
func (r *run) countAll(c *collection.Collection) {
	// A cursor beyond the end leaves nothing; one beyond 2^63 wraps around.
	r.picked = uint64(max(int64(uint64(c.Len())-r.cursor), 0))
}

func (r *run) scan(c *collection.Collection) {
	if r.output == count && !r.filter.Any() {
		r.countAll(c)
		return
	}
	r.between(c.Scan, func(it *collection.Item) string { return it.ID() })
}

// search is a scan by value. As in Tile38, COUNT without MATCH and WHERE counts
// all items of the collection.
func (r *run) search(c *collection.Collection) {
	if r.output == count && !r.filter.HasMatch() && !r.filter.HasWhere() {
		r.countAll(c)
		return
	}
	r.between(c.ScanValues, (*collection.Item).Value)
}

// between walks in order over the names that MATCH can mean.
func (r *run) between(
	walk func(pivot string, desc bool, visit func(*collection.Item) bool),
	name func(*collection.Item) string,
) {
	lo, hi, ok := r.filter.Range()
	if !ok {
		return
	}
	pivot := lo
	if r.desc {
		pivot = hi // an item of this name is seen, too, as in Tile38
	}
	filtered := r.filter.Any()
	walk(pivot, r.desc, func(it *collection.Item) bool {
		s := name(it)
		if r.desc && s < lo || !r.desc && hi != "" && s >= hi {
			return false
		}
		skip, stop := r.step()
		if skip {
			return !stop
		}
		if filtered && r.tooLong(it) {
			return false
		}
		if r.filter.Name(s) && r.filter.Item(it) {
			return r.pick(it)
		}
		return true
	})
}

// visit walks over the items whose rectangles meet the area's.
func (r *run) visit(c *collection.Collection, test func(geojson.Object) bool) {
	if r.sparse > 0 {
		r.thin(c, test)
		return
	}
	filtered := r.filter.Any()
	c.Visit(r.area.Rect, r.area.Side, func(it *collection.Item, at collection.Side) bool {
		skip, stop := r.step()
		if skip {
			return !stop
		}
		if at == collection.Apart {
			return true
		}
		if (filtered || at != collection.Inside) && r.tooLong(it) {
			return false
		}
		if filtered && !(r.filter.Name(it.ID()) && r.filter.Item(it)) {
			return true
		}
		if at != collection.Inside && !test(it.Object()) {
			return true
		}
		return r.pick(it)
	})
}

// nearby walks by rising distance, up to the radius if there is one.
func (r *run) nearby(c *collection.Collection) {
	circle, ok := r.area.Object.(*geojson.Circle)
	if !ok {
		return
	}
	m := newMetric(circle.Center())
	r.metric = m
	radius := math.Inf(1)
	if r.area.Meters > 0 {
		radius = r.area.Meters
	}
	key := m.key
	if c.Ordered() {
		key = m.meters // so that what is equal in Tile38 is equal here
	}
	c.Nearest(m.bound, key,
		func(it *collection.Item, _ float64) bool {
			if r.tooLong(it) {
				return false
			}
			if radius < math.Inf(1) && m.meters(it.Object()) > radius {
				return false
			}
			skip, stop := r.step()
			if skip {
				return !stop
			}
			if r.filter.Name(it.ID()) && r.filter.Item(it) {
				return r.pick(it)
			}
			return true
		},
	)
}

// meters returns the distance that DISTANCE answers. SPARSE measures from
// centre to centre.
func (r *run) meters(it *collection.Item) float64 {
	if r.metric != nil {
		return r.metric.meters(it.Object())
	}
	return it.Object().Distance(r.area.Object)
}
