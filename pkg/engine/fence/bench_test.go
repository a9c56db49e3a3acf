package fence

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/field"
)

// BenchmarkMatch is what the fences of one collection cost a SET: near, where it
// meets about one of 1,000, and far from all.
func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{0, 1_000, 10_000, 100_000} {
		w := newWorld(b, Options{})
		rnd := rand.New(rand.NewPCG(1, 2))
		for i := range n {
			w.line(fmt.Sprintf("SETCHAN c%d NEARBY k FENCE DETECT enter,exit,cross POINT %f %f 1000", i, rnd.Float64()*60-30, rnd.Float64()*180-90))
		}
		for _, far := range []bool{false, true} {
			name := fmt.Sprintf("%d/near", n)
			if far {
				name = fmt.Sprintf("%d/far", n)
			}
			b.Run(name, func(b *testing.B) { benchMatch(b, w, far) })
		}
	}
}

func benchMatch(b *testing.B, w *world, far bool) {
	rnd := rand.New(rand.NewPCG(3, 4))
	const moves = 4096
	changes := make([]collection.Change, moves)
	var old *collection.Item
	p := geometry.Point{X: rnd.Float64()*180 - 90, Y: rnd.Float64()*60 - 30}
	for i := range changes {
		p.X, p.Y = p.X+rnd.Float64()*.02-.01, p.Y+rnd.Float64()*.02-.01
		if far {
			p.Y = 80 + rnd.Float64()
		}
		it := collection.NewPoint("truck", p, field.List{}, 0)
		changes[i].Put("k", it, old)
		old = it
	}
	at := time.Unix(1_700_000_000, 0).UTC()
	messages := 0
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		w.set.Match(w.st, "set", at, &changes[i%moves], func(*Fence, []byte) { messages++ })
	}
	b.ReportMetric(float64(messages)/float64(b.N), "messages/op")
}

// BenchmarkMessages is the cost of a message when every fence has one.
func BenchmarkMessages(b *testing.B) {
	const fences = 1000
	w := newWorld(b, Options{})
	for i := range fences {
		w.line(fmt.Sprintf("SETCHAN c%d WITHIN k FENCE BOUNDS 0 0 10 10", i))
	}
	w.line("SET k a FIELD speed 5 POINT 20 20")
	it, _ := w.st.Get("k", "a")
	var ch collection.Change
	ch.Put("k", it, it)
	at := time.Unix(1_700_000_000, 0).UTC()
	messages := 0
	b.ReportAllocs()
	for b.Loop() {
		w.set.Match(w.st, "set", at, &ch, func(*Fence, []byte) { messages++ })
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(max(messages, 1)), "ns/message")
}
