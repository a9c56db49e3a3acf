package collection

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/field"
)

// Searches in a small collection go from west to east, and what came last is
// first where west edges are equal; a copy keeps the order that it has.
func TestOrder(t *testing.T) {
	st := NewState()
	var ch Change
	set := func(id string, x float64) {
		ch.Reset()
		old, _ := st.Get("k", id)
		ch.Put("k", NewPoint(id, geometry.Point{X: x}, field.List{}, 0), old)
		st.Apply(&ch)
	}
	ids := func(c *Collection) (got []string) {
		c.Search(geometry.Rect{Min: geometry.Point{X: -9, Y: -9}, Max: geometry.Point{X: 9, Y: 9}}, func(it *Item) bool {
			got = append(got, it.ID())
			return true
		})
		return got
	}
	for _, c := range []struct {
		id   string
		x    float64
		want string
	}{
		{"a", 1, "a"}, {"b", 1, "b a"}, {"c", -2, "c b a"}, {"a", 1, "c a b"}, {"b", 1.00000001, "c b a"}, {"c", 3, "b a c"},
	} {
		set(c.id, c.x)
		got := ids(st.Collection("k"))
		if want := strings.Fields(c.want); !slices.Equal(got, want) {
			t.Fatalf("after %s at %v: %q, want %q", c.id, c.x, got, want)
		}
	}
	old := st.Snapshot().Collection("k")
	set("d", 0)
	if got := ids(old); !slices.Equal(got, []string{"b", "a", "c"}) {
		t.Errorf("the snapshot has %q", got)
	}
	var near []string
	st.Collection("k").Nearest(nil, func(geojson.Object) float64 { return 0 }, func(it *Item, _ float64) bool {
		near = append(near, it.ID())
		return true
	})
	if want := []string{"d", "a", "b", "c"}; !slices.Equal(near, want) {
		t.Errorf("nearest are %q, want %q", near, want)
	}
	for i := range Few {
		set("more"+strconv.Itoa(i), 5)
	}
	if st.Collection("k").Ordered() {
		t.Error("many items are still in order")
	}
}
