package collection

import (
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
	c.Visit(outer, func(r geometry.Rect) Side {
		switch {
		case inner.ContainsRect(r):
			return Inside
		case east(r):
			return Outside
		}
		return Partly
	}, func(it *Item, inside bool) bool {
		if inside {
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
	c.Visit(outer, func(geometry.Rect) Side { return Inside }, func(*Item, bool) bool { visits++; return visits < 7 })
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
