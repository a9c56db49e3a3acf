package collection

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"evenkeel/pkg/engine/field"
)

// scanned is what an ordered index holds, one line an item.
func scanned(scan func(visit func(*Item) bool)) string {
	var b strings.Builder
	scan(func(it *Item) bool {
		b.WriteString(it.id + " " + strconv.FormatInt(it.deadline, 10) + " " + it.object.JSON() + "\n")
		return true
	})
	return b.String()
}

// Indexes that are built at once hold what those that were kept up to date
// hold, and take writes afterwards; meanwhile ids are found, also when a scan
// comes in between.
func TestDefer(t *testing.T) {
	kept, built := NewState(), NewState()
	built.Defer()
	g := newGen(3)
	write := func(n int) {
		for i := range n {
			key, id := "k"+strconv.Itoa(g.IntN(3)), strconv.Itoa(g.IntN(900))
			it := NewItem(id, g.object(), g.fields(), int64(g.IntN(3)))
			remove, rename := g.IntN(5) == 0, i%1500 == 700
			for _, s := range []*State{kept, built} {
				var ch Change
				old, _ := s.Get(key, id)
				switch {
				case rename && s.Collection(key) != nil:
					ch.Rename(key, "k0")
				case remove && old != nil:
					ch.Remove(key, old)
				default:
					ch.Put(key, it, old)
				}
				s.Apply(&ch)
			}
			if a, b := mustGet(kept, key, id), mustGet(built, key, id); a != b {
				t.Fatalf("after write %d the states find different items for %s %s", i, key, id)
			}
		}
	}
	same := func(key string, scan func(c *Collection) string) {
		t.Helper()
		a, b := kept.Collection(key), built.Collection(key)
		if a.Len() != b.Len() || a.Texts() != b.Texts() || a.Points() != b.Points() || a.Weight() != b.Weight() {
			t.Fatalf("%s: other counts", key)
		}
		if x, y := scan(a), scan(b); x == "" || x != y {
			t.Fatalf("%s: kept up to date:\n%s\nbuilt:\n%s", key, x, y)
		}
	}
	byIDs := func(c *Collection) string {
		return scanned(func(visit func(*Item) bool) { c.Scan("", false, visit) })
	}
	check := func() {
		t.Helper()
		for _, s := range []*State{kept, built} {
			if err := s.Check(); err != nil {
				t.Fatal(err)
			}
		}
		if kept.Digest() != built.Digest() {
			t.Fatal("the states differ")
		}
		kept.Scan("", func(c *Collection) bool {
			same(c.name, byIDs)
			same(c.name, func(c *Collection) string {
				return scanned(func(visit func(*Item) bool) { c.ScanValues("", false, visit) })
			})
			same(c.name, func(c *Collection) string {
				return scanned(func(visit func(*Item) bool) { c.Expired(2, visit) })
			})
			return true
		})
	}
	write(4000)
	if built.Collection("k1").ids == nil {
		t.Fatal("the ids are in the tree already")
	}
	same("k1", byIDs)
	if c := built.Collection("k1"); c.ids != nil || !c.deferred {
		t.Fatal("a scan did not bring the ids into the tree")
	}
	write(3000)
	built.Index()
	check()
	write(3000)
	check()
}

func mustGet(s *State, key, id string) *Item {
	it, _ := s.Get(key, id)
	return it
}

// The table finds what a map finds, through growth and removals.
func TestIDTable(t *testing.T) {
	g := newGen(5)
	want, table := map[string]*Item{}, newIDTable()
	for i := range 40_000 {
		id := strconv.Itoa(g.IntN(1 + i/4))
		old := table.get(id)
		if old != want[id] {
			t.Fatalf("step %d: found %v for %q, want %v", i, old, id, want[id])
		}
		if g.IntN(3) == 0 { // the last place found is another one
			table.get(strconv.Itoa(g.IntN(1 + i/4)))
		}
		if old != nil && g.IntN(2) == 0 {
			table.remove(old)
			delete(want, id)
		} else {
			want[id] = NewItem(id, Text("x"), g.fields(), 0)
			table.put(want[id], old)
		}
		if table.live != len(want) {
			t.Fatalf("step %d: %d items, want %d", i, table.live, len(want))
		}
	}
	if len(table.items) > 4*len(want) {
		t.Errorf("%d places for %d items", len(table.items), len(want))
	}
}

func TestSortByID(t *testing.T) {
	for _, ids := range [][]string{
		{},
		{"b"},
		{"truck:2", "truck:10", "truck:1", "truck:", "truck:1\x00", "truck:1\x00\x00"},
		{"x", "", "\x00", "\xff", "abcdefgh1", "abcdefgh", "abcdefgh0"},
		{"common-12345678-b", "common-12345678-a", "common-12345678", "common-1234567"},
	} {
		items := []*Item{nil}
		for _, id := range ids {
			items = append(items, NewItem(id, Text(""), field.List{}, 0), nil)
		}
		got := []string{}
		for _, it := range sortByID(items) {
			got = append(got, it.id)
		}
		if slices.Sort(ids); !slices.Equal(got, ids) {
			t.Errorf("got %q, want %q", got, ids)
		}
	}
}
