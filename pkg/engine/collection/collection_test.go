package collection

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"
	"go.uber.org/goleak"

	"evenkeel/pkg/engine/field"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// extremes are coordinates that an index has to cope with.
var extremes = []float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1),
	1e300, -1e300, 180, -180, 90, 1e-320, math.MaxFloat32, -math.MaxFloat32, 10.00000001, 10.00000002}

// gen makes random data.
type gen struct{ *rand.Rand }

func newGen(seed uint64) gen { return gen{rand.New(rand.NewPCG(seed, 99))} }

func (g gen) coordinate() float64 {
	switch g.IntN(10) {
	case 0:
		return extremes[g.IntN(len(extremes))]
	case 1:
		return float64(g.IntN(5))
	}
	return g.Float64()*360 - 180
}

func (g gen) point() geometry.Point { return geometry.Point{X: g.coordinate(), Y: g.coordinate()} }

func (g gen) object() geojson.Object {
	switch g.IntN(8) {
	case 0:
		return Text([]string{"", "a", "b", "{}", "text\xff"}[g.IntN(5)])
	case 1:
		return geojson.NewRect(geometry.Rect{Min: g.point(), Max: g.point()})
	case 2:
		return geojson.NewPointZ(g.point(), g.coordinate())
	case 3:
		return geojson.NewCircle(g.point(), g.Float64()*1000, 64)
	case 4:
		return geojson.NewLineString(geometry.NewLine([]geometry.Point{g.point(), g.point()}, nil))
	case 5:
		return geojson.NewGeometryCollection(nil)
	}
	return geojson.NewPoint(g.point())
}

func (g gen) fields() field.List {
	var l field.List
	for range g.IntN(4) {
		l = l.Set(string(rune('a'+g.IntN(4))), field.ValueOf([]string{"1", "2", "x", "true", "0"}[g.IntN(5)]))
	}
	return l
}

func (g gen) key() string { return string(rune('k' + g.IntN(3))) }

func (g gen) id() string { return fmt.Sprint("id", g.IntN(60)) }

func (g gen) item(id string) *Item {
	deadline := int64(0)
	if g.IntN(3) == 0 {
		deadline = int64(g.IntN(50)) - 10
	}
	return NewItem(id, g.object(), g.fields(), deadline)
}

// step records a random change of the state.
func (g gen) step(st *State, ch *Change) {
	key, id := g.key(), g.id()
	old, exists := st.Get(key, id)
	switch n := g.IntN(100); {
	case n < 60:
		ch.Put(key, g.item(id), old)
	case n < 70 && old != nil:
		ch.Put(key, old.WithFields(g.fields()), old)
	case n < 78 && old != nil:
		ch.Put(key, old.WithDeadline(int64(g.IntN(100))), old)
	case n < 97 && old != nil:
		ch.Remove(key, old)
	case n == 97 && exists:
		ch.Drop(key)
	case n == 98 && exists:
		ch.Rename(key, g.key())
	case n == 99 && g.IntN(10) == 0:
		ch.Flush()
	}
}

// dump writes a state as text.
func dump(st *State) string {
	var b strings.Builder
	st.Scan("", func(c *Collection) bool {
		c.Scan("", false, func(it *Item) bool {
			fmt.Fprintf(&b, "%q %q %T %q %q %d\n", c.Name(), it.ID(), it.Object(), it.Object().JSON(), it.Fields().Packed(), it.Deadline())
			return true
		})
		return true
	})
	return b.String()
}

// snapshot is a snapshot with what it must hold.
type snapshot struct {
	st     *State
	text   string
	digest Digest
}

func (s *snapshot) check(t *testing.T) {
	t.Helper()
	if got := dump(s.st); got != s.text {
		t.Errorf("the snapshot changed:\n%s\nwant\n%s", got, s.text)
	}
	if err := s.st.Check(); err != nil {
		t.Errorf("snapshot: %v", err)
	}
	if got := s.st.Digest(); got != s.digest {
		t.Errorf("the snapshot's digest is %s, want %s", got, s.digest)
	}
}

func TestRandomChanges(t *testing.T) {
	for seed := range uint64(6) {
		g := newGen(seed)
		st := NewState()
		var ch Change
		var held []*snapshot
		for i := range 3000 {
			ch.Reset()
			g.step(st, &ch)
			st.Apply(&ch)
			if i%100 == 0 {
				if err := st.Check(); err != nil {
					t.Fatalf("seed %d step %d: %v", seed, i, err)
				}
			}
			if i%250 == 0 {
				held = append(held, &snapshot{st.Snapshot(), dump(st), st.Digest()})
				if len(held) > 3 {
					held[0].check(t)
					held = held[1:]
				}
			}
		}
		for _, s := range held {
			s.check(t)
		}
		if err := st.Check(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		sameDigestAnyWay(t, g, st)
	}
}

// sameDigestAnyWay builds the same content in another order.
func sameDigestAnyWay(t *testing.T, g gen, st *State) {
	t.Helper()
	type entry struct {
		key string
		it  *Item
	}
	var all []entry
	st.Scan("", func(c *Collection) bool {
		c.Scan("", false, func(it *Item) bool {
			all = append(all, entry{c.Name(), it})
			return true
		})
		return true
	})
	g.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	other := NewState()
	var ch Change
	for _, e := range all {
		ch.Reset()
		extra := g.item(e.it.ID())
		ch.Put("elsewhere"+e.key, extra, nil)
		ch.Put(e.key, extra, nil)
		other.Apply(&ch)
		if g.IntN(4) == 0 {
			other.Digest() // at any time
		}
		ch.Reset()
		ch.Put(e.key, NewItem(e.it.ID(), e.it.Object(), e.it.Fields(), e.it.Deadline()), extra)
		ch.Remove("elsewhere"+e.key, extra)
		other.Apply(&ch)
	}
	if got, want := other.Digest(), st.Digest(); got != want {
		t.Errorf("the digest depends on the way: %s and %s", got, want)
	}
	if len(all) == 0 {
		return
	}
	ch.Reset()
	e := all[0]
	old, _ := other.Get(e.key, e.it.ID())
	ch.Put(e.key, old.WithDeadline(old.Deadline()+1), old)
	other.Apply(&ch)
	if other.Digest() == st.Digest() {
		t.Error("the digest does not see a deadline")
	}
}

func TestDigestTellsKindsApart(t *testing.T) {
	seen := map[Digest]string{}
	p := geometry.Point{X: 1, Y: 2}
	inf := geometry.Point{X: math.Inf(1), Y: 2}
	nan := geometry.Point{X: math.NaN(), Y: 2}
	json := geojson.NewPoint(p).JSON()
	tall, err := geojson.Parse(`{"type":"Point","coordinates":[1,2],"a":1}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, obj := range map[string]geojson.Object{
		"point": geojson.NewPoint(p), "text": Text(json), "rect": geojson.NewRect(geometry.Rect{Min: p, Max: p}),
		"polygon": geojson.NewRect(geometry.Rect{Min: p, Max: p}).Polygon(), "z": geojson.NewPointZ(p, 0),
		"members": tall, "inf": geojson.NewPoint(inf), "nan": geojson.NewPoint(nan),
		"inf z": geojson.NewPointZ(p, math.Inf(1)), "nan z": geojson.NewPointZ(p, math.NaN()),
	} {
		st := NewState()
		var ch Change
		ch.Put("k", NewItem("a", obj, field.List{}, 0), nil)
		st.Apply(&ch)
		if other, ok := seen[st.Digest()]; ok {
			t.Errorf("%s and %s have one digest", name, other)
		}
		seen[st.Digest()] = name
	}
}

// A reader on a snapshot and the writer do not get in each other's way.
func TestSnapshotBesideWriter(t *testing.T) {
	g := newGen(5)
	st := NewState()
	var ch Change
	for range 2000 {
		ch.Reset()
		g.step(st, &ch)
		st.Apply(&ch)
	}
	var wg sync.WaitGroup
	for range 4 {
		s := &snapshot{st.Snapshot(), dump(st), st.Digest()}
		wg.Go(func() {
			s.check(t)
			s.st.Scan("", func(c *Collection) bool {
				c.Bounds()
				c.Search(geometry.Rect{Max: geometry.Point{X: 90, Y: 90}}, func(*Item) bool { return true })
				c.Nearest(func(r geometry.Rect) float64 { return math.Abs(r.Min.X) },
					func(o geojson.Object) float64 { return math.Abs(o.Rect().Min.X) }, func(*Item, float64) bool { return true })
				return true
			})
		})
		for range 1000 {
			ch.Reset()
			g.step(st, &ch)
			st.Apply(&ch)
		}
	}
	wg.Wait()
	if err := st.Check(); err != nil {
		t.Error(err)
	}
}

func TestDeadlines(t *testing.T) {
	st := NewState()
	var ch Change
	if got := st.NextDeadline(); got != 0 {
		t.Errorf("without items NextDeadline is %d", got)
	}
	for id, d := range map[string]int64{"a": 30, "b": 10, "c": 0, "d": -5, "e": 20} {
		ch.Put("k", NewItem(id, Text(id), field.List{}, d), nil)
	}
	ch.Put("l", NewItem("x", Text("x"), field.List{}, 15), nil)
	st.Apply(&ch)
	if got := st.NextDeadline(); got != -5 {
		t.Errorf("NextDeadline is %d, want -5", got)
	}
	var got []string
	st.Collection("k").Expired(20, func(it *Item) bool {
		got = append(got, it.ID())
		return true
	})
	if want := []string{"d", "b", "e"}; !slices.Equal(got, want) {
		t.Errorf("expired at 20: %q, want %q", got, want)
	}
	old, _ := st.Get("k", "d")
	ch.Reset()
	ch.Put("k", old.WithDeadline(0), old)
	st.Apply(&ch)
	if got := st.Collection("k").NextDeadline(); got != 10 {
		t.Errorf("NextDeadline of k is %d, want 10", got)
	}
	if err := st.Check(); err != nil {
		t.Error(err)
	}
}

func TestScans(t *testing.T) {
	st := NewState()
	var ch Change
	for _, id := range []string{"b", "d", "a", "c"} {
		ch.Put("k", NewItem(id, Text("v"+string(rune('a'+'d'-id[0]))), field.List{}, 0), nil)
	}
	ch.Put("k", NewItem("p", geojson.NewPoint(geometry.Point{}), field.List{}, 0), nil)
	st.Apply(&ch)
	c := st.Collection("k")
	collect := func(scan func(string, bool, func(*Item) bool), pivot string, desc bool) string {
		var ids strings.Builder
		scan(pivot, desc, func(it *Item) bool {
			ids.WriteString(it.ID())
			return true
		})
		return ids.String()
	}
	for _, tc := range []struct {
		scan  func(string, bool, func(*Item) bool)
		pivot string
		desc  bool
		want  string
	}{
		{c.Scan, "", false, "abcdp"}, {c.Scan, "", true, "pdcba"}, {c.Scan, "bb", false, "cdp"}, {c.Scan, "c", true, "cba"},
		{c.ScanValues, "", false, "dcba"}, {c.ScanValues, "", true, "abcd"}, {c.ScanValues, "vb", false, "cba"},
	} {
		if got := collect(tc.scan, tc.pivot, tc.desc); got != tc.want {
			t.Errorf("scan from %q, desc %v: %s, want %s", tc.pivot, tc.desc, got, tc.want)
		}
	}
	if c.Len() != 5 || c.Texts() != 4 || c.Points() != 1 {
		t.Errorf("Len, Texts, Points are %d, %d, %d", c.Len(), c.Texts(), c.Points())
	}
}
