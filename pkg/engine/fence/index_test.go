package fence

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/search"
)

// linear puts all fences of a Set where they hear of everything.
func linear(s *Set) {
	for _, w := range s.watches {
		for _, f := range slices.Concat(list(s.hooks), lives(w)) {
			if f.watch == w && f.place == byRect {
				w.remove(f)
				f.place = always
				w.add(f)
			}
		}
	}
}

func list(m map[string]*Fence) (fences []*Fence) {
	for _, f := range m {
		fences = append(fences, f)
	}
	return fences
}

func lives(w *watch) (fences []*Fence) {
	w.lives.Scan(func(f *Fence) bool {
		fences = append(fences, f)
		return true
	})
	return fences
}

// TestIndex: the fences that the trees find say the same as all of them, asked
// one by one.
func TestIndex(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			fast, slow := newWorld(t, Options{}), newWorld(t, Options{})
			for i := range 60 {
				line := randomFence(rnd)
				for _, w := range []*world{fast, slow} {
					if i%5 == 0 {
						w.live(fmt.Sprintf("l%d", i), line)
					} else {
						w.line(fmt.Sprintf("SETCHAN c%d %s", i, line))
					}
				}
			}
			linear(slow.set)
			said := 0
			for range 300 {
				line := randomChange(rnd)
				old := fast.item("k", line)
				a, b := fast.line(line), slow.line(line)
				b = slices.DeleteFunc(b, func(m message) bool { return deaf(fast, m.who, old) })
				if !slices.Equal(a, b) {
					t.Fatalf("%s:\n%swant\n%s", line, told(a), told(b))
				}
				said += len(a)
			}
			if said == 0 {
				t.Error("nothing was said")
			}
		})
	}
}

// item returns the item that a DEL is about, or nil.
func (w *world) item(key, line string) *collection.Item {
	var id string
	if n, _ := fmt.Sscanf(line, "DEL k %s", &id); n == 0 {
		return nil
	}
	it, _ := w.st.Get(key, id)
	return it
}

// deaf says that a hook must not hear that an object is gone: it reports nothing
// outside, and the rectangles do not meet.
func deaf(w *world, who string, it *collection.Item) bool {
	f := w.set.hooks[who]
	return it != nil && f != nil && f.place == byRect && !f.rect.IntersectsRect(it.Object().Rect())
}

func randomFence(rnd *rand.Rand) string {
	detects := []string{"", "DETECT enter", "DETECT exit", "DETECT inside", "DETECT cross", "DETECT enter,cross", "DETECT outside"}
	lat, lon := rnd.IntN(60)-30, rnd.IntN(60)-30
	areas := []string{
		fmt.Sprintf("BOUNDS %d %d %d %d", lat, lon, lat+rnd.IntN(9), lon+rnd.IntN(9)),
		fmt.Sprintf("CIRCLE %d %d %d", lat, lon, rnd.IntN(500_000)),
		fmt.Sprintf(`OBJECT {"type":"Polygon","coordinates":[[[%d,%d],[%d,%d],[%d,%d],[%d,%d]]]}`,
			lon, lat, lon+5, lat, lon+5, lat+5, lon, lat),
	}
	return "INTERSECTS k FENCE " + detects[rnd.IntN(len(detects))] + " " + areas[rnd.IntN(len(areas))]
}

func randomChange(rnd *rand.Rand) string {
	id := rnd.IntN(8)
	lat, lon := rnd.IntN(70)-35, rnd.IntN(70)-35
	switch rnd.IntN(8) {
	case 0:
		return fmt.Sprintf("DEL k o%d", id)
	case 1:
		return fmt.Sprintf("SET k o%d BOUNDS %d %d %d %d", id, lat, lon, lat+rnd.IntN(20), lon+rnd.IntN(20))
	case 2:
		return fmt.Sprintf("SET k o%d STRING x", id)
	}
	return fmt.Sprintf("SET k o%d POINT %d.5 %d.25", id, lat, lon)
}

// TestBetween: no fence that a way meets is missed by looking piece by piece.
func TestBetween(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	point := func() geometry.Point { return geometry.Point{X: rnd.Float64()*20 - 10, Y: rnd.Float64()*20 - 10} }
	w := newWatch("k")
	var fences []*Fence
	for range 500 {
		q, err := search.Limits{}.ParseFence("WITHIN", []string{"k", "FENCE", "DETECT", "cross", "BOUNDS", "0", "0", "1", "1"}, collection.NewState(), false)
		if err != nil {
			t.Fatal(err)
		}
		p := point()
		f := &Fence{search: q, serial: uint64(len(fences)), place: byRect, rect: geometry.Rect{Min: p, Max: geometry.Point{X: p.X + .2, Y: p.Y + .2}}}
		fences = append(fences, f)
		w.add(f)
	}
	missed, met := 0, 0
	for tick := range uint64(200) {
		a, b := point(), point()
		fd := &finder{tick: tick + 1}
		w.between(fd, a, b)
		for _, f := range fences {
			if !(geometry.Segment{A: a, B: b}).Rect().IntersectsRect(f.rect) ||
				!geometry.NewLine([]geometry.Point{a, b}, nil).IntersectsRect(f.rect) {
				continue
			}
			met++
			if f.seen != fd.tick {
				missed++
			}
		}
		if len(fd.found) > len(fences)/2 {
			t.Errorf("%d of %d fences for one way", len(fd.found), len(fences))
		}
	}
	if missed > 0 || met == 0 {
		t.Errorf("%d of %d fences were missed", missed, met)
	}
}
