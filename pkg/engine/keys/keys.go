package keys

import (
	"math"
	"strconv"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

// Limits bounds what a client may store. The zero value of a limit stands for
// its default.
type Limits struct {
	// MaxJSONDepth is how deep objects and arrays may be nested in a GeoJSON
	// text, in a document that JSET and JDEL work on, and in a field; default
	// 64. A MultiPolygon in a Feature in a FeatureCollection takes 8.
	// Parsing nested geometry collections takes time in proportion to their
	// depth times their length, which is what the limit is about.
	MaxJSONDepth int
	// MaxPoints is how many positions a geometry may have; default 1,000,000,
	// which is a detailed border of a large country a hundred times over. It
	// is up to 90 MB in memory and takes about a second to read.
	MaxPoints int
}

// EnsureDefaults sets what is not set.
func (l *Limits) EnsureDefaults() {
	if l.MaxJSONDepth == 0 {
		l.MaxJSONDepth = 64
	}
	if l.MaxPoints == 0 {
		l.MaxPoints = 1_000_000
	}
}

// Faults lists what is wrong with the limits.
func (l *Limits) Faults() []string {
	var faults []string
	if l.MaxJSONDepth < 1 || l.MaxJSONDepth > maxLoggedDepth {
		faults = append(faults, "max JSON depth is "+strconv.Itoa(l.MaxJSONDepth)+
			", want 1 to "+strconv.Itoa(maxLoggedDepth))
	}
	if l.MaxPoints < 1 {
		faults = append(faults, "max points is "+strconv.Itoa(l.MaxPoints)+", want 1 or more")
	}
	return faults
}

// maxLoggedDepth bounds the recursion of the JSON parsers for commands that
// are replayed.
const maxLoggedDepth = 2048

// Unlimited returns the limits for commands that come from a log: what was
// accepted once must lead to the same state on every engine, whatever its own
// limits are.
func Unlimited() Limits { return Limits{MaxJSONDepth: maxLoggedDepth, MaxPoints: math.MaxInt} }

// Commands lists the commands of this package.
func Commands(limits Limits) []command.Spec {
	limits.EnsureDefaults()
	l := &limits
	return []command.Spec{
		{Name: "set", Write: l.set, Early: l.readSet},
		{Name: "get", Read: get},
		{Name: "del", Write: del},
		{Name: "pdel", Write: pdel, Parts: pdelParts},
		{Name: "drop", Write: drop},
		{Name: "flushdb", Write: flushdb},
		{Name: "rename", Write: rename},
		{Name: "renamenx", Write: renamenx},
		{Name: "fset", Write: l.fset, Early: l.readFset},
		{Name: "fget", Read: fget},
		{Name: "exists", Read: exists},
		{Name: "fexists", Read: fexists},
		{Name: "expire", Write: expire},
		{Name: "persist", Write: persist},
		{Name: "ttl", Read: ttl},
		{Name: "keys", Read: keys},
		{Name: "type", Read: typeOf},
		{Name: "bounds", Read: bounds},
		{Name: "stats", Read: stats},
		{Name: "jset", Write: l.jset, Ahead: l.ahead(l.editSet)},
		{Name: "jget", Read: jget},
		{Name: "jdel", Write: l.jdel, Ahead: l.ahead(l.editDel)},
	}
}

// find returns an item, or one of two errors when the collection or the item
// is missing.
func find(st *collection.State, key, id string, noKey, noID error) (*collection.Item, error) {
	it, ok := st.Get(key, id)
	switch {
	case !ok:
		return nil, noKey
	case it == nil:
		return nil, noID
	}
	return it, nil
}

// fold says whether s is the lower-case word in whatever case.
func fold(s, word string) bool {
	if len(s) != len(word) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// number reads a coordinate or a number of seconds.
func number(arg string) (float64, error) {
	f, err := strconv.ParseFloat(arg, 64)
	if err != nil {
		return 0, reply.InvalidArgument(arg)
	}
	return f, nil
}
