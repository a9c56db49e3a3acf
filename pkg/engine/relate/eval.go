package relate

// comparison compares two expressions.
type comparison struct {
	within bool         // else: intersects
	pause  func() error // asked before every comparison but the first
	begun  bool
	err    error // what pause said; the result does not count then
}

// compare says whether the left expression is in the relation to the right one.
// not and rightNot are the NOTs before them.
//
// The right one is taken apart first: its areas are compared with the whole left
// expression. raw says that the result is going to be inverted. In raw, members
// of the right one are compared raw, too; a NOT before a member there, and one
// before the left expression, has no effect but that what is below is no longer
// raw. NOTs inside the left expression always count.
func (c *comparison) compare(left *node, not bool, right *node, rightNot, raw bool) bool {
	switch {
	case rightNot && raw:
		return c.compare(left, not, right, false, false)
	case rightNot:
		return !c.compare(left, not, right, false, true)
	case not && !raw:
		return !c.compare(left, false, right, false, true)
	case right.area != nil:
		return c.left(left, right)
	}
	return right.fold(func(m *node) bool { return c.compare(left, not, m, m.not, raw) })
}

// left compares the left expression, without the NOT before it, with an area.
func (c *comparison) left(n, with *node) bool {
	if n.area != nil {
		return c.areas(n, with)
	}
	return n.fold(func(m *node) bool { return c.left(m, with) != m.not })
}

// fold joins what f says of the members. Without operator nothing is true.
func (n *node) fold(f func(*node) bool) bool {
	if n.op == none {
		return false
	}
	for _, m := range n.members {
		if f(m) == (n.op == or) {
			return n.op == or
		}
	}
	return n.op == and
}

// areas compares two areas.
func (c *comparison) areas(a, b *node) bool {
	if c.err == nil && c.begun && c.pause != nil {
		c.err = c.pause()
	}
	c.begun = true
	switch {
	case c.err != nil:
		return false
	case c.within:
		return b.area.Contains(a.area.Object)
	}
	return b.area.Intersects(a.area.Object)
}
