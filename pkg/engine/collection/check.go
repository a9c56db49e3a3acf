package collection

import (
	"errors"
	"fmt"
)

// Check recomputes everything that is kept up to date incrementally (digests,
// counts, weights, all indexes) and reports every difference. It takes time in
// proportion to the data; tests call it in their teardown.
func (s *State) Check() error {
	var errs []error
	var sum Digest
	var total Totals
	var h hasher
	s.Scan("", func(c *Collection) bool {
		if err := c.check(&h); err != nil {
			errs = append(errs, fmt.Errorf("collection %q: %w", c.name, err))
		}
		if named := s.Collection(c.name); named != c {
			errs = append(errs, fmt.Errorf("collection %q is not found by its name", c.name))
		}
		sum = sum.Add(h.collection(c.name, c.digest))
		total.count(c, 1)
		return true
	})
	if total != s.total {
		errs = append(errs, fmt.Errorf("the totals are %+v, want %+v", s.total, total))
	}
	channels, ending := 0, 0
	s.ScanHooks(func(hk *Hook) bool {
		sum = sum.Add(h.hook(hk))
		if hk.Channel {
			channels++
		}
		if hk.Deadline != 0 {
			ending++
			if got, ok := s.hooks.expires.Get(hk); !ok || got != hk {
				errs = append(errs, fmt.Errorf("hook %q is not found by its deadline", hk.Name))
			}
		}
		if got, ok := s.hooks.byKey.Get(hk); !ok || got != hk {
			errs = append(errs, fmt.Errorf("hook %q is not found by its collection", hk.Name))
		}
		return true
	})
	hs := &s.hooks
	if hs.channels != channels || hs.byKey.Len() != hs.tree.Len() || hs.expires.Len() != ending {
		errs = append(errs, fmt.Errorf("%d channels, %d hooks by collection and %d by deadline are listed, want %d, %d and %d",
			hs.channels, hs.byKey.Len(), hs.expires.Len(), channels, hs.tree.Len(), ending))
	}
	if got := s.Digest(); got != sum {
		errs = append(errs, fmt.Errorf("state digest is %s, want %s", got, sum))
	}
	return errors.Join(errs...)
}

func (c *Collection) check(h *hasher) error {
	var errs []error
	same := func(what string, got, want any) {
		if got != want {
			errs = append(errs, fmt.Errorf("%s is %v, want %v", what, got, want))
		}
	}
	var digest Digest
	var weight, objects, points, expires, values, indexed int
	c.Scan("", false, func(it *Item) bool {
		digest = digest.Add(h.item(it))
		weight += weigh(it)
		points += it.object.NumPoints()
		if c.Get(it.id) != it {
			errs = append(errs, fmt.Errorf("item %q is not found by its id", it.id))
		}
		if it.IsSpatial() {
			objects++
		} else {
			values++
			if got, ok := c.values.Get(it); !ok || got != it {
				errs = append(errs, fmt.Errorf("item %q is not found by its value", it.id))
			}
		}
		if it.deadline != 0 {
			expires++
			if got, ok := c.expires.Get(it); !ok || got != it {
				errs = append(errs, fmt.Errorf("item %q is not found by its deadline", it.id))
			}
		}
		if it.indexed() {
			indexed++
			if !c.spatial.has(it) {
				errs = append(errs, fmt.Errorf("item %q is not found by its place", it.id))
			}
		}
		return true
	})
	same("digest", c.digest, digest)
	same("weight", c.weight, weight)
	same("number of geometries", c.objects, objects)
	same("number of points", c.points, points)
	if c.expires != nil {
		same("number of deadlines", c.expires.Len(), expires)
	}
	if c.values != nil {
		same("number of values", c.values.Len(), values)
	}
	same("number of places", c.spatial.count, indexed)
	if err := c.spatial.check(); err != nil {
		errs = append(errs, err)
	}
	if c.Len() == 0 {
		errs = append(errs, errors.New("it is empty"))
	}
	return errors.Join(errs...)
}

// has says whether the item is found under its own box, and, unless it is a
// rectangle with its corners swapped, by a search there.
func (t *spatial) has(it *Item) bool {
	b := boxOfItem(it)
	if t.root == nil || !t.root.has(&b, it) {
		return false
	}
	found := !b.meets(&b)
	t.search(&b, func(o *Item) bool {
		found = found || o == it
		return !found
	})
	return found
}

func (n *rnode) has(b *box, it *Item) bool {
	for i := range n.n {
		if n.leaf() && n.items[i] == it || !n.leaf() && n.boxes[i].contains(b) && n.kids[i].has(b, it) {
			return true
		}
	}
	return false
}

// check verifies that every box covers what is below it, that all leaves are
// equally deep, and that the number of items is right.
func (t *spatial) check() error {
	if t.root == nil {
		if t.count != 0 {
			return fmt.Errorf("index by place: empty, want %d items", t.count)
		}
		return nil
	}
	var errs []error
	items, leafDepth := 0, -1
	var walk func(n *rnode, depth int)
	walk = func(n *rnode, depth int) {
		if n.n == 0 {
			errs = append(errs, errors.New("index by place: empty node"))
			return
		}
		if n.leaf() {
			if leafDepth < 0 {
				leafDepth = depth
			}
			if depth != leafDepth {
				errs = append(errs, fmt.Errorf("index by place: leaf at depth %d and at %d", depth, leafDepth))
			}
		}
		for i := range n.n {
			var inner box
			if n.leaf() {
				items++
				inner = boxOfItem(n.items[i])
			} else {
				walk(n.kids[i], depth+1)
				inner = n.kids[i].bounds()
			}
			if !n.boxes[i].contains(&inner) || n.leaf() && n.boxes[i] != inner {
				errs = append(errs, fmt.Errorf("index by place: box %v is not around %v", n.boxes[i], inner))
			}
		}
	}
	walk(t.root, 0)
	if items != t.count {
		errs = append(errs, fmt.Errorf("index by place: %d items, want %d", items, t.count))
	}
	return errors.Join(errs...)
}
