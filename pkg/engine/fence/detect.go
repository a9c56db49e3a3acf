package fence

import (
	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/search"
)

// move is an object that was set or whose fields or time to live were.
type move struct {
	name     string // set, fset, expire, persist
	it       *collection.Item
	old      *collection.Item // nil: there was none, or it does not count
	way      geojson.Object   // from the old centre to the new one; nil: there is none
	from, to geometry.Point
}

// newMove says what a change of an item looks like to fences. As in Tile38,
// EXPIRE and PERSIST look as if the object were new.
func newMove(name string, op *collection.Op) move {
	m := move{name: name, it: op.New}
	if name == "set" || name == "fset" {
		m.old = op.Old
	}
	m.to = op.New.Object().Center()
	if m.old != nil {
		m.from = m.old.Object().Center()
	}
	return m
}

// crosses says whether the way goes through an area.
func (m *move) crosses(q *search.Fence) bool {
	way := geometry.Segment{A: m.from, B: m.to}
	if rect, ok := q.Rect(); !ok || !rect.IntersectsRect(way.Rect()) {
		return false
	}
	if m.way == nil {
		m.way = geojson.NewLineString(geometry.NewLine([]geometry.Point{m.from, m.to}, nil))
	}
	return q.Meets(m.way)
}

// detect returns what the object does to an area: one of the Detects.
func (m *move) detect(q *search.Fence) search.Detect {
	there := m.old != nil && q.Holds(m.old.Object())
	was := there && q.Passes(m.old)
	is := q.Holds(m.it.Object()) && q.Passes(m.it)
	switch {
	case was && is:
		return search.Inside
	case was:
		return search.Exit
	case is:
		return search.Enter
	case m.name == "set" && m.old != nil && !there && q.Detects().Has(search.Cross) && m.crosses(q):
		return search.Cross
	}
	return search.Outside
}

// reports returns the messages that a fence sends, and whether the object's
// visit to it is a new one.
func (m *move) reports(q *search.Fence) (set search.DetectSet, visit bool) {
	d := m.detect(q)
	if m.name != "fset" && (d == search.Outside || d == search.Cross) && !q.Passes(m.it) {
		return 0, false
	}
	if m.name == "fset" {
		// An object that does not move neither enters nor leaves.
		switch d {
		case search.Enter:
			d = search.Inside
		case search.Exit:
			d = search.Outside
		}
	}
	set = set.With(d)
	switch d {
	case search.Enter:
		set = set.With(search.Inside)
	case search.Exit, search.Cross:
		set = set.With(search.Outside)
	}
	visit = (d == search.Enter || d == search.Cross) && q.Detects().Has(d)
	return set & q.Detects(), visit
}
