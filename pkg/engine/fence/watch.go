package fence

import (
	"math"
	"slices"

	"github.com/tidwall/btree"
	"github.com/tidwall/geojson/geometry"
	"github.com/tidwall/rtree"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/search"
)

// watch is the fences of one collection.
type watch struct {
	key     string
	always  *btree.BTreeG[*Fence]  // those that hear of every change
	near    *rtree.RTreeG[*Fence]  // the others, by rectangle
	cross   *rtree.RTreeG[*Fence]  // those of near that report Cross
	lives   *btree.BTreeG[*Fence]  // the connections, wherever they are kept
	alive   map[uint64]struct{}    // the serials of all
	removed uint64                 // counts removals
	memory  map[string]*remembered // of objects, by id
}

func newWatch(key string) *watch {
	tree := func() *btree.BTreeG[*Fence] {
		return btree.NewBTreeGOptions((*Fence).before, btree.Options{NoLocks: true})
	}
	return &watch{
		key:    key,
		always: tree(),
		near:   new(rtree.RTreeG[*Fence]),
		cross:  new(rtree.RTreeG[*Fence]),
		lives:  tree(),
		alive:  map[uint64]struct{}{},
	}
}

func (w *watch) len() int { return len(w.alive) }

func (w *watch) add(f *Fence) {
	f.watch = w
	w.alive[f.serial] = struct{}{}
	if f.class() == toConnection {
		w.lives.Set(f)
	}
	switch f.place {
	case always:
		w.always.Set(f)
	case byRect:
		lo, hi := corners(f.rect)
		w.near.Insert(lo, hi, f)
		if f.search.Detects().Has(search.Cross) {
			w.cross.Insert(lo, hi, f)
		}
	}
}

func (w *watch) remove(f *Fence) {
	f.watch = nil
	w.removed++
	delete(w.alive, f.serial)
	if f.class() == toConnection {
		w.lives.Delete(f)
	}
	switch f.place {
	case always:
		w.always.Delete(f)
	case byRect:
		lo, hi := corners(f.rect)
		w.near.Delete(lo, hi, f)
		w.cross.Delete(lo, hi, f)
	}
}

// renewed returns a watch like w without its hooks and channels.
func (w *watch) renewed() *watch {
	n := newWatch(w.key)
	n.removed, n.memory = w.removed, w.memory
	w.lives.Scan(func(f *Fence) bool {
		n.add(f)
		return true
	})
	return n
}

// edge is beyond all places that are told apart.
const edge = 1e6

// corners returns a rectangle as the trees want it, without infinities. Cutting
// keeps what meets.
func corners(r geometry.Rect) (lo, hi [2]float64) {
	cut := func(f float64) float64 { return max(min(f, edge), -edge) }
	return [2]float64{cut(r.Min.X), cut(r.Min.Y)}, [2]float64{cut(r.Max.X), cut(r.Max.Y)}
}

// finder collects fences, each once.
type finder struct {
	tick  uint64
	found []*Fence
}

func (fd *finder) take(_, _ [2]float64, f *Fence) bool {
	if f.seen != fd.tick {
		f.seen = fd.tick
		fd.found = append(fd.found, f)
	}
	return true
}

// meeting collects the fences in near whose rectangle meets that of the item.
func (w *watch) meeting(fd *finder, it *collection.Item) {
	if it == nil || w.near.Len() == 0 {
		return
	}
	lo, hi := corners(it.Object().Rect())
	w.near.Search(lo, hi, fd.take)
}

// pieces is into how many boxes a way is cut at most that is looked for in the
// tree: a long way across is in a box that meets far more fences than it does.
// The boxes are not cut smaller than piece, in degrees.
const (
	pieces = 16
	piece  = 0.05
)

// between collects the fences in cross whose rectangle the way from a to b may
// meet.
func (w *watch) between(fd *finder, a, b geometry.Point) {
	if w.cross.Len() == 0 {
		return
	}
	// Rounding must not leave a gap between the way and its boxes.
	const margin = 1e-9
	n := 1
	if across := min(math.Abs(b.X-a.X), math.Abs(b.Y-a.Y)); across > piece && w.cross.Len() > pieces {
		n = int(min(across/piece, pieces))
	}
	from := a
	for i := 1; i <= n; i++ {
		t := float64(i) / float64(n)
		to := geometry.Point{X: a.X + (b.X-a.X)*t, Y: a.Y + (b.Y-a.Y)*t}
		if i == n {
			to = b
		}
		lo, hi := corners(geometry.Rect{
			Min: geometry.Point{X: min(from.X, to.X) - margin, Y: min(from.Y, to.Y) - margin},
			Max: geometry.Point{X: max(from.X, to.X) + margin, Y: max(from.Y, to.Y) + margin},
		})
		w.cross.Search(lo, hi, fd.take)
		from = to
	}
}

// each visits the fences that hear of everything and those that were found, in
// order.
func (w *watch) each(fd *finder, visit func(*Fence)) {
	slices.SortFunc(fd.found, func(f, g *Fence) int {
		if f.before(g) {
			return -1
		}
		return 1
	})
	i := 0
	w.always.Scan(func(f *Fence) bool {
		for ; i < len(fd.found) && fd.found[i].before(f); i++ {
			visit(fd.found[i])
		}
		visit(f)
		return true
	})
	for _, f := range fd.found[i:] {
		visit(f)
	}
}
