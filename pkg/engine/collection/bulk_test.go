package collection

import (
	"strconv"
	"testing"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/field"
)

// Neighbours on the curve are neighbours on the map.
func TestHilbert(t *testing.T) {
	seen := map[uint32]bool{}
	for x := range 32 {
		for y := range 32 {
			b := boxOf(geometry.Rect{
				Min: geometry.Point{X: float64(x)*360/32 - 180, Y: float64(y)*180/32 - 90},
				Max: geometry.Point{X: float64(x)*360/32 - 180, Y: float64(y)*180/32 - 90},
			})
			seen[b.hilbert()>>22] = true // 32 x 32 cells
		}
	}
	if len(seen) != 1024 {
		t.Errorf("1024 cells have %d places on the curve", len(seen))
	}
}

func BenchmarkIndex(b *testing.B) {
	const n = 500_000
	s := NewState()
	s.Defer()
	g := newGen(1)
	for i := range n {
		var ch Change
		p := geometry.Point{X: g.Float64()*360 - 180, Y: g.Float64()*180 - 90}
		ch.Put("k", NewItem(strconv.Itoa(i), geojson.NewSimplePoint(p), field.List{}, 0), nil)
		s.Apply(&ch)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Index()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/object")
}
