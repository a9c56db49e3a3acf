package filter

import (
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/field"
)

// ref names what is looked at: a member of the item's GeoJSON (properties.…), or,
// if it has none of this name, a field, or, if it has none either, its height
// (z).
type ref struct {
	name string
	kind refKind
}

type refKind uint8

const (
	plain refKind = iota
	height
	member
)

func parseRef(name string) ref {
	switch {
	case name == "z":
		return ref{name, height}
	case name == "properties" || strings.HasPrefix(name, "properties."):
		return ref{name, member}
	}
	return ref{name, plain}
}

func (r *ref) value(it *collection.Item) field.Value {
	if r.kind == member {
		if members := it.Object().Members(); members != "" {
			if m := gjson.Get(members, r.name); m.Exists() {
				return field.ValueOf(m.Raw)
			}
		}
	}
	v, _ := it.Fields().Lookup(r.name)
	if r.kind == height && v.IsZero() {
		if h := collection.Height(it.Object()); h != 0 {
			return field.ValueOf(strconv.FormatFloat(h, 'f', -1, 64))
		}
	}
	return v
}

// where is a comparison with a value, or with the two ends of a range.
type where struct {
	ref    ref
	op     op
	lo, hi field.Value // op compares with lo
	above  bool        // lo itself is out of the range
	below  bool        // hi itself is out of the range
}

type op uint8

const (
	between op = iota
	less
	lessEqual
	greater
	greaterEqual
	equal
	notEqual
)

func opOf(s string) op {
	switch s {
	case "<":
		return less
	case "<=":
		return lessEqual
	case ">":
		return greater
	case ">=":
		return greaterEqual
	case "==":
		return equal
	case "!=":
		return notEqual
	}
	return between
}

// parseWhere reads the values in lower case, as Tile38 does: texts compare
// without regard to the case of ASCII letters, but a value with another letter
// in upper case is not found.
func parseWhere(name, first, second string) where {
	first, second = strings.ToLower(first), strings.ToLower(second)
	w := where{ref: parseRef(name), op: opOf(first)}
	if w.op != between {
		w.lo = field.ValueOf(second)
		return w
	}
	lo, above := strings.CutPrefix(first, "(")
	hi, below := strings.CutPrefix(second, "(")
	w.lo, w.above = field.ValueOf(lo), above
	w.hi, w.below = field.ValueOf(hi), below
	return w
}

// holds compares by Less alone: to it NaN, which is less than nothing and
// nothing is less than it, lies in every range with both ends.
func (w *where) holds(v field.Value) bool {
	switch w.op {
	case less:
		return v.Less(w.lo)
	case lessEqual:
		return !w.lo.Less(v)
	case greater:
		return w.lo.Less(v)
	case greaterEqual:
		return !v.Less(w.lo)
	case equal:
		return v.Equals(w.lo)
	case notEqual:
		return !v.Equals(w.lo)
	}
	if w.above && !w.lo.Less(v) || !w.above && v.Less(w.lo) {
		return false
	}
	if w.below {
		return v.Less(w.hi)
	}
	return !w.hi.Less(v)
}

// whereIn is a list of values of which one must be equal.
type whereIn struct {
	ref    ref
	values []field.Value
}

func (w *whereIn) holds(v field.Value) bool {
	for i := range w.values {
		if v.Equals(w.values[i]) {
			return true
		}
	}
	return false
}
