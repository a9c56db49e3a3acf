package fence

import (
	"cmp"
	"math"
	"slices"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geo"
	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/glob"
	"evenkeel/pkg/engine/search"
)

// neighbour is an object near to, or no longer near to, the one that moved.
type neighbour struct {
	it     *collection.Item
	meters float64
	away   bool // it was near before
}

// around returns the rectangle in which neighbours are looked for, as Tile38
// does: one in its corner is further away than asked for.
func around(p geometry.Point, meters float64) geometry.Rect {
	var r geometry.Rect
	r.Min.Y, r.Min.X, r.Max.Y, r.Max.X = geo.RectFromCenter(p.Y, p.X, meters)
	return r
}

func distance(a, b geometry.Point) float64 { return geo.DistanceTo(a.Y, a.X, b.Y, b.X) }

func byMeters(a, b neighbour) int {
	if c := cmp.Compare(a.meters, b.meters); c != 0 {
		return c
	}
	return cmp.Compare(a.it.ID(), b.it.ID())
}

// neighbours returns what is near an object, nearest first. As in Tile38, what
// has the same id is the same, in another collection, too.
func (s *Set) neighbours(st *collection.State, it *collection.Item, roam *search.Roam) []neighbour {
	c := st.Collection(roam.Key)
	if c == nil || it == nil {
		return nil
	}
	var found []neighbour
	center := it.Object().Center()
	rect := around(center, roam.Meters)
	box := geojson.NewRect(rect)
	c.Search(rect, func(o *collection.Item) bool {
		if o.ID() == it.ID() || !glob.Match(roam.Pattern, o.ID()) || !o.Object().Intersects(box) {
			return true
		}
		found = append(found, neighbour{it: o, meters: distance(center, o.Object().Center())})
		if len(found) > 2*s.opt.MaxNeighbours {
			slices.SortFunc(found, byMeters)
			clear(found[s.opt.MaxNeighbours:])
			found = found[:s.opt.MaxNeighbours]
		}
		return true
	})
	slices.SortFunc(found, byMeters)
	return found[:min(len(found), s.opt.MaxNeighbours)]
}

// roam returns the neighbours that a fence reports of an object that was set:
// those near its new place, and those near its old place alone. As in Tile38
// both are looked for among the neighbours where they are now, so that nothing
// has to be remembered; and the place of a text is 0, 0.
func (s *Set) roam(st *collection.State, f *Fence, m *move) []neighbour {
	roam := f.search.Roam()
	near := s.neighbours(st, m.it, roam)
	before := s.neighbours(st, m.old, roam)
	if len(before) == 0 {
		return near
	}
	away := without(before, near)
	center := m.it.Object().Center()
	for i := range away {
		away[i].meters, away[i].away = distance(center, away[i].it.Object().Center()), true
	}
	slices.SortFunc(away, byMeters)
	if roam.NoDwell {
		near = without(near, before)
	}
	return append(near, away...)
}

// without returns those of a that are not in b.
func without(a, b []neighbour) []neighbour {
	in := make(map[*collection.Item]struct{}, len(b))
	for _, n := range b {
		in[n.it] = struct{}{}
	}
	var rest []neighbour
	for _, n := range a {
		if _, ok := in[n.it]; !ok {
			rest = append(rest, n)
		}
	}
	return rest
}

// millimeters cuts off what is less.
func millimeters(meters float64) float64 { return math.Floor(meters*1000) / 1000 }

// shown returns what SCAN shows with a neighbour: the neighbour itself, and
// those whose id is its id with the pattern behind it.
func (s *Set) shown(st *collection.State, roam *search.Roam, self *collection.Item) []*collection.Item {
	list := []*collection.Item{self}
	c := st.Collection(roam.Key)
	pattern := self.ID() + roam.Scan
	prefix, ok := glob.Prefix(pattern)
	if c == nil || !ok {
		return list
	}
	c.Scan(prefix, false, func(it *collection.Item) bool {
		if len(it.ID()) < len(prefix) || it.ID()[:len(prefix)] != prefix || len(list) > s.opt.MaxScan {
			return false
		}
		if it != self && glob.Match(pattern, it.ID()) {
			list = append(list, it)
		}
		return true
	})
	return list
}
