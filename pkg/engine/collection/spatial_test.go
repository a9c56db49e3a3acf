package collection

import (
	"math"
	"slices"
	"strconv"
	"testing"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/field"
)

// What is put into the index can be found and taken out again, whatever its
// coordinates.
func TestSpatialExtremes(t *testing.T) {
	for _, snapshots := range []bool{false, true} {
		st := NewState()
		var ch Change
		n := 0
		for _, x := range extremes {
			for _, y := range extremes {
				ch.Reset()
				id := strconv.Itoa(n)
				ch.Put("k", NewItem(id, geojson.NewPoint(geometry.Point{X: x, Y: y}), field.List{}, 0), nil)
				ch.Put("k", NewItem("r"+id, geojson.NewRect(geometry.Rect{
					Min: geometry.Point{X: x, Y: y}, Max: geometry.Point{X: y, Y: x}}), field.List{}, 0), nil)
				st.Apply(&ch)
				n++
			}
		}
		if err := st.Check(); err != nil {
			t.Fatal(err)
		}
		var held *State
		for c := st.Collection("k"); c != nil; c = st.Collection("k") {
			if snapshots && c.Len()%10 == 0 {
				held = st.Snapshot()
			}
			ch.Reset()
			c.Scan("", c.Len()%2 == 0, func(it *Item) bool {
				ch.Remove("k", it)
				return false
			})
			st.Apply(&ch)
			if c.Len()%9 == 0 {
				if err := st.Check(); err != nil {
					t.Fatal(err)
				}
			}
			if c := st.Collection("k"); c != nil && c.Len() == 0 {
				t.Fatal("an empty collection stays")
			}
		}
		if snapshots && held.Check() != nil {
			t.Error(held.Check())
		}
	}
}

// moving is a state with many points that were moved about.
func moving(t *testing.T, g gen, n, moves int) *State {
	st := NewState()
	var ch Change
	for i := range n + moves {
		ch.Reset()
		id := strconv.Itoa(i % n)
		old, _ := st.Get("k", id)
		p := geometry.Point{X: g.Float64()*360 - 180, Y: g.Float64()*180 - 90}
		if old != nil && g.IntN(2) == 0 { // a small step
			p = old.Object().Center().Move(g.Float64()/100, g.Float64()/100)
		}
		if old != nil && g.IntN(5) == 0 {
			ch.Remove("k", old)
		} else {
			ch.Put("k", NewPoint(id, p, field.List{}, 0), old)
		}
		st.Apply(&ch)
	}
	if err := st.Check(); err != nil {
		t.Fatal(err)
	}
	return st
}

func TestSearchAndBoundsAgainstScan(t *testing.T) {
	g := newGen(11)
	c := moving(t, g, 3000, 9000).Collection("k")
	var all []*Item
	c.Scan("", false, func(it *Item) bool {
		all = append(all, it)
		return true
	})
	for range 50 {
		lo := geometry.Point{X: g.Float64()*360 - 180, Y: g.Float64()*180 - 90}
		r := geometry.Rect{Min: lo, Max: lo.Move(g.Float64()*40, g.Float64()*40)}
		var want, got []string
		for _, it := range all {
			if r.ContainsPoint(it.Object().Center()) {
				want = append(want, it.ID())
			}
		}
		c.Search(r, func(it *Item) bool {
			if r.ContainsPoint(it.Object().Center()) {
				got = append(got, it.ID())
			}
			return true
		})
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("search in %v found %d items, want %d", r, len(got), len(want))
		}
	}
	want := all[0].Object().Rect()
	for _, it := range all {
		p := it.Object().Center()
		want.Min.X, want.Min.Y = min(want.Min.X, p.X), min(want.Min.Y, p.Y)
		want.Max.X, want.Max.Y = max(want.Max.X, p.X), max(want.Max.Y, p.Y)
	}
	if got, ok := c.Bounds(); !ok || got != want {
		t.Errorf("Bounds is %v, want %v", got, want)
	}
}

func TestBoundsBelowSinglePrecision(t *testing.T) {
	st := NewState()
	var ch Change
	for i, x := range []float64{10.00000003, 10.00000001, 10.00000002} {
		ch.Put("k", NewPoint(strconv.Itoa(i), geometry.Point{X: x, Y: -x}, field.List{}, 0), nil)
	}
	st.Apply(&ch)
	want := geometry.Rect{Min: geometry.Point{X: 10.00000001, Y: -10.00000003}, Max: geometry.Point{X: 10.00000003, Y: -10.00000001}}
	if got, _ := st.Collection("k").Bounds(); got != want {
		t.Errorf("Bounds is %v, want %v", got, want)
	}
}

func TestNearestAgainstScan(t *testing.T) {
	g := newGen(12)
	c := moving(t, g, 2000, 4000).Collection("k")
	from := geometry.Point{X: 12, Y: 34}
	bound := func(r geometry.Rect) float64 {
		dx := max(r.Min.X-from.X, 0, from.X-r.Max.X)
		dy := max(r.Min.Y-from.Y, 0, from.Y-r.Max.Y)
		return math.Hypot(dx, dy)
	}
	key := func(o geojson.Object) float64 { return bound(o.Rect()) }
	n, last := 0, -1.0
	c.Nearest(bound, key, func(it *Item, d float64) bool {
		if d < last || d != key(it.Object()) {
			t.Fatalf("item %s at %v comes after one at %v", it.ID(), d, last)
		}
		last = d
		n++
		return true
	})
	if n != c.Len() {
		t.Errorf("visited %d of %d", n, c.Len())
	}
	n = 0
	c.Nearest(bound, key, func(*Item, float64) bool { n++; return n < 5 })
	if n != 5 {
		t.Errorf("the visitor's no was not heard: %d", n)
	}
}

func TestNearestPutsNaNLast(t *testing.T) {
	st := NewState()
	var ch Change
	for i, x := range []float64{math.NaN(), 3, math.Inf(1), math.NaN(), 1} {
		ch.Put("k", NewPoint(strconv.Itoa(i), geometry.Point{X: x}, field.List{}, 0), nil)
	}
	st.Apply(&ch)
	var got []string
	st.Collection("k").Nearest(
		func(geometry.Rect) float64 { return 0 },
		func(o geojson.Object) float64 { return o.Center().X },
		func(it *Item, _ float64) bool {
			got = append(got, it.ID())
			return true
		})
	if len(got) != 5 || !slices.Equal(got[:3], []string{"4", "1", "2"}) {
		t.Errorf("order is %q", got)
	}
}

// Nodes stay filled when points move about: memory does not creep.
func TestSpatialStaysFilled(t *testing.T) {
	g := newGen(13)
	for _, moves := range []int{0, 25_000} {
		c := moving(t, g, 5000, moves).Collection("k")
		leaves := 0
		var walk func(n *rnode)
		walk = func(n *rnode) {
			if n.leaf() {
				leaves++
				return
			}
			for i := range n.n {
				walk(n.kids[i])
			}
		}
		walk(c.spatial.root)
		fill := float64(c.spatial.count) / float64(leaves) / fanout
		if fill < 0.45 {
			t.Errorf("after %d moves leaves are filled to %.2f", moves, fill)
		}
	}
}

// After a snapshot, a node is copied once and not at every write.
func TestSnapshotCostsOneCopyANode(t *testing.T) {
	g := newGen(14)
	st := moving(t, g, 5000, 0)
	st.Snapshot()
	rewrite := func() {
		var ch Change
		for i := range 5000 {
			id := strconv.Itoa(i)
			old, _ := st.Get("k", id)
			if old != nil {
				ch.Put("k", old.WithFields(field.List{}.Set("n", field.ValueOf("1"))), old)
			}
		}
		st.Apply(&ch)
	}
	rewrite()
	root, kid := st.Collection("k").spatial.root, st.Collection("k").spatial.root.kids[0]
	rewrite()
	if s := &st.Collection("k").spatial; s.root != root || s.root.kids[0] != kid {
		t.Error("nodes that are not shared were copied")
	}
}

// Both trees may be written after a clone.
func TestCloneIsIndependent(t *testing.T) {
	a := newSpatial()
	var items []*Item
	for i := range 200 {
		it := NewPoint(strconv.Itoa(i), geometry.Point{X: float64(i)}, field.List{}, 0)
		items = append(items, it)
		a.insert(boxOfItem(it), it)
	}
	b := a.clone()
	for i, it := range items {
		t1, t2 := &a, &b
		if i%2 == 0 {
			t1, t2 = &b, &a
		}
		if !t1.remove(boxOfItem(it), it) || !t2.has(it) {
			t.Fatalf("removing item %d from one tree removed it from the other", i)
		}
	}
	if a.check() != nil || b.check() != nil || a.count != 100 || b.count != 100 {
		t.Errorf("trees of %d and %d items: %v, %v", a.count, b.count, a.check(), b.check())
	}
}
