package collection

// candidate is something that a search by distance has found and not looked at
// yet: an entry of one of the nodes that it has opened. Being no pointer, it is
// nothing to the garbage collector.
type candidate struct {
	dist  float64 // a lower bound, or the item's key
	node  uint32  // which of the opened nodes
	slot  uint8   // which of its entries
	exact bool    // dist is the key of an item
}

// opened are the nodes that a search by distance has opened.
type opened []*rnode

func (o opened) item(c *candidate) *Item { return o[c.node].items[c.slot] }

// before orders by distance, NaN after all else. Among equals, nodes and items
// without a key go first, so that all equal items meet.
func (o opened) before(a, b *candidate) bool {
	switch {
	case a.dist < b.dist:
		return true
	case a.dist > b.dist:
		return false
	}
	return o.tied(a, b)
}

// tied is before for candidates of which neither is less.
func (o opened) tied(a, b *candidate) bool {
	if less := before(a.dist, b.dist); less || before(b.dist, a.dist) {
		return less
	}
	if !a.exact || !b.exact {
		return b.exact && !a.exact
	}
	x, y := o.item(a), o.item(b)
	xw, yw := x.object.Rect().Min.X, y.object.Rect().Min.X
	if less := before(xw, yw); less || before(yw, xw) {
		return less
	}
	return x.id < y.id
}

// before orders numbers, NaN after all else.
func before(a, b float64) bool {
	return a < b || b != b && a == a
}

// The heap of candidates is returned, not changed behind a pointer, so that the
// compiler can leave it on the stack.

// push adds a candidate to the heap h.
func (o opened) push(h []candidate, e candidate) []candidate {
	h = append(h, e)
	i := len(h) - 1
	for i > 0 {
		p := (i - 1) / 2
		if !o.before(&e, &h[p]) {
			break
		}
		h[i] = h[p]
		i = p
	}
	h[i] = e
	return h
}

// pop takes the first candidate from the heap h, which is not empty.
func (o opened) pop(h []candidate) []candidate {
	last := h[len(h)-1]
	h = h[:len(h)-1]
	if len(h) == 0 {
		return h
	}
	i := 0
	for {
		c := 2*i + 1
		if c >= len(h) {
			break
		}
		if c+1 < len(h) && o.before(&h[c+1], &h[c]) {
			c++
		}
		if !o.before(&h[c], &last) {
			break
		}
		h[i] = h[c]
		i = c
	}
	h[i] = last
	return h
}
