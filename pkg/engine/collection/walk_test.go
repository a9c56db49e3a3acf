package collection

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/field"
)

// walkable returns a collection of random points.
func walkable(n int) *Collection {
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	st := NewState()
	var ch Change
	for i := range n {
		p := geometry.Point{X: rnd.Float64()*20 - 10, Y: rnd.Float64()*20 - 10}
		ch.Put("k", NewPoint("p"+strconv.Itoa(i), p, field.List{}, 0), nil)
	}
	st.Apply(&ch)
	return st.Collection("k")
}

func TestVisit(t *testing.T) {
	c := walkable(3000)
	outer := geometry.Rect{Min: geometry.Point{X: -5, Y: -5}, Max: geometry.Point{X: 5, Y: 5}}
	inner := geometry.Rect{Min: geometry.Point{X: -3, Y: -3}, Max: geometry.Point{X: 3, Y: 3}}
	east := func(r geometry.Rect) bool { return r.Min.X > 4 } // as if it were outside
	var want, got []string
	c.Search(outer, func(it *Item) bool {
		if !east(it.Object().Rect()) {
			want = append(want, it.ID())
		}
		return true
	})
	sure := 0
	c.Visit(outer, func(r geometry.Rect, _ bool) Side {
		switch {
		case inner.ContainsRect(r):
			return Inside
		case east(r):
			return Outside
		}
		return Partly
	}, func(it *Item, at Side) bool {
		if at == Inside {
			sure++
			if !inner.ContainsRect(it.Object().Rect()) {
				t.Errorf("%s at %v is not inside", it.ID(), it.Object().Center())
			}
		}
		if !east(it.Object().Rect()) {
			got = append(got, it.ID())
		}
		return true
	})
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) || sure < 200 {
		t.Errorf("%d items, want %d; %d of them inside", len(got), len(want), sure)
	}
	visits := 0
	c.Visit(outer, func(geometry.Rect, bool) Side { return Inside }, func(*Item, Side) bool { visits++; return visits < 7 })
	if visits != 7 {
		t.Errorf("%d visits, wanted to stop after 7", visits)
	}
}

func TestNearest(t *testing.T) {
	for _, n := range []int{1, 2, Few, Few + 1, 2000} {
		c := walkable(n)
		// Columns one degree wide: many items are equally far.
		key := func(obj geojson.Object) float64 { return float64(int(obj.Center().X + 10)) }
		bound := func(r geometry.Rect) float64 { return float64(int(r.Min.X + 10)) }
		seen := map[string]bool{}
		last := -1.0
		c.Nearest(bound, key, func(it *Item, k float64) bool {
			if k < last || k != key(it.Object()) || seen[it.ID()] {
				t.Errorf("%d items: %s with key %v after %v", n, it.ID(), k, last)
			}
			seen[it.ID()], last = true, k
			return true
		})
		if len(seen) != n {
			t.Errorf("%d of %d items", len(seen), n)
		}
	}
}

// mixed returns a collection of points and rectangles, of which many share a
// place or a west edge, after a time of changes and snapshots.
func mixed(t *testing.T, n int) *Collection {
	rnd := rand.New(rand.NewPCG(2, uint64(n)))
	st := NewState()
	var ch Change
	for i := range 4 * n {
		ch.Reset()
		id := "p" + strconv.Itoa(rnd.IntN(n))
		old, _ := st.Get("k", id)
		p := geometry.Point{X: float64(rnd.IntN(40))/10 - 2, Y: float64(rnd.IntN(40))/10 - 2}
		switch rnd.IntN(8) {
		case 1:
			ch.Put("k", NewItem(id, geojson.NewRect(geometry.Rect{Min: p, Max: p.Move(0.1, 0.1)}), field.List{}, 0), old)
		case 2:
			if old != nil {
				ch.Remove("k", old)
			}
		case 0:
			p.X = math.NaN()
			fallthrough
		default:
			ch.Put("k", NewPoint(id, p, field.List{}, 0), old)
		}
		st.Apply(&ch)
		if i%1000 == 0 {
			st.Snapshot()
		}
	}
	if err := st.Check(); err != nil {
		t.Fatal(err)
	}
	return st.Collection("k")
}

// Nearest comes in exactly the order of sorting all items.
func TestNearestAgainstSort(t *testing.T) {
	c := mixed(t, 2000)
	bound := func(r geometry.Rect) float64 {
		dx, dy := max(r.Min.X, -r.Max.X, 0), max(r.Min.Y, -r.Max.Y, 0)
		return dx*dx + dy*dy
	}
	key := func(obj geojson.Object) float64 {
		if r := obj.Rect(); r.Min.X == r.Min.X {
			return bound(r)
		}
		return math.NaN()
	}
	var want, got []*Item
	c.Scan("", false, func(it *Item) bool {
		want = append(want, it)
		return true
	})
	slices.SortStableFunc(want, func(a, b *Item) int { // which has them by id
		if n := compareNaNLast(key(a.object), key(b.object)); n != 0 {
			return n
		}
		return compareNaNLast(a.object.Rect().Min.X, b.object.Rect().Min.X)
	})
	last := 0
	c.Nearest(bound, key, func(it *Item, k float64) bool {
		if w := key(it.object); k != w && (k == k || w == w) {
			t.Errorf("%s has the key %v, want %v", it.id, k, w)
		}
		if k != k {
			last++
		}
		got = append(got, it)
		return true
	})
	if !slices.Equal(got, want) {
		t.Errorf("%d items are not in the order of %d", len(got), len(want))
	}
	if last < 100 || last > len(want)/2 {
		t.Errorf("%d of %d items are nowhere: not a test", last, len(want))
	}
}

// compareNaNLast is cmp.Compare but for the place of NaN.
func compareNaNLast(a, b float64) int {
	switch {
	case before(a, b):
		return -1
	case before(b, a):
		return 1
	}
	return 0
}

// Every leaf knows which of its items are plain points.
func TestPlain(t *testing.T) {
	c := mixed(t, 3000)
	plain, other := 0, 0
	var walk func(n *rnode)
	walk = func(n *rnode) {
		for i := range n.n {
			if !n.leaf() {
				walk(n.kids[i])
				continue
			}
			_, want := n.items[i].object.(*geojson.SimplePoint)
			if n.isPlain(i) != want {
				t.Fatalf("%s is plain: %v, want %v", n.items[i].object, n.isPlain(i), want)
			}
			if want {
				plain++
			} else {
				other++
			}
		}
	}
	walk(c.spatial.root)
	if plain < 500 || other < 100 {
		t.Errorf("%d plain points and %d others", plain, other)
	}
	packed := c.buildSpatial()
	walk(packed.root)
}
