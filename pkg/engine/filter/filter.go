package filter

import (
	"strconv"
	"strings"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/field"
	"evenkeel/pkg/engine/glob"
	"evenkeel/pkg/engine/reply"
)

// Limits bounds what an expression may cost.
type Limits struct {
	// MaxExpr is the length of an expression in bytes; default 8192. Evaluation
	// takes stack in proportion to it, and time to its square.
	MaxExpr int
	// MaxRegexp is the length of a regular expression in bytes; default 1024.
	MaxRegexp int
}

// EnsureDefaults sets what is zero to its default.
func (l *Limits) EnsureDefaults() {
	if l.MaxExpr == 0 {
		l.MaxExpr = 8192
	}
	if l.MaxRegexp == 0 {
		l.MaxRegexp = 1024
	}
}

// Filter is what a query's MATCH, WHERE, WHEREIN and WHEREEVAL ask for. The zero
// Filter keeps everything.
type Filter struct {
	Limits
	// Pause, if set, is handed to scripts, which ask it while they run.
	Pause func() error

	globs   []string
	wheres  []where
	ins     []whereIn
	exprs   []*expression
	scripts []Script
	err     error
}

// Script says whether a script keeps an item. It asks pause, if set, from time
// to time, and fails with its error.
type Script = func(it *collection.Item, pause func() error) (bool, error)

// AddScript adds a script of WHEREEVAL. Scripts are asked last.
func (f *Filter) AddScript(s Script) { f.scripts = append(f.scripts, s) }

// Err returns what the first script that failed has failed with. An item that a
// script fails at is not kept.
func (f *Filter) Err() error { return f.err }

// AddMatch adds a pattern; an item is kept when one of them matches its name.
func (f *Filter) AddMatch(pattern string) {
	f.globs = append(f.globs, pattern)
}

// HasMatch says whether there are patterns; * alone is none.
func (f *Filter) HasMatch() bool {
	return len(f.globs) > 1 || len(f.globs) == 1 && f.globs[0] != "*"
}

// HasWhere says whether there are ranges or expressions. Scripts are not among
// them, as in Tile38.
func (f *Filter) HasWhere() bool { return len(f.wheres)+len(f.exprs) > 0 }

// Any says whether the filter asks for anything.
func (f *Filter) Any() bool {
	return f.HasMatch() || f.HasWhere() || len(f.ins)+len(f.scripts) > 0
}

// Slow says whether an item may take milliseconds to look at: there is a script
// or a long expression.
func (f *Filter) Slow() bool {
	const long = 256 // bytes
	if len(f.scripts) > 0 {
		return true
	}
	for _, e := range f.exprs {
		if len(e.text) > long {
			return true
		}
	}
	return false
}

// Name says whether a name is one of those asked for.
func (f *Filter) Name(name string) bool {
	if !f.HasMatch() {
		return true
	}
	for _, g := range f.globs {
		if glob.Match(g, name) {
			return true
		}
	}
	return false
}

// Item says whether the item's fields are as they are asked for.
func (f *Filter) Item(it *collection.Item) bool {
	for i := range f.wheres {
		w := &f.wheres[i]
		if !w.holds(w.ref.value(it)) {
			return false
		}
	}
	for i := range f.ins {
		if w := &f.ins[i]; !w.holds(w.ref.value(it)) {
			return false
		}
	}
	for _, e := range f.exprs {
		if !e.holds(it) {
			return false
		}
	}
	return len(f.scripts) == 0 || f.ask(it)
}

// ask asks the scripts.
func (f *Filter) ask(it *collection.Item) bool {
	for _, s := range f.scripts {
		keeps, err := s(it, f.Pause)
		if err != nil && f.err == nil {
			f.err = err
		}
		if err != nil || !keeps {
			return false
		}
	}
	return true
}

// Range returns the range of names in which to look: from lo to before hi. An
// empty text is no bound; ok is false when nothing can match.
func (f *Filter) Range() (lo, hi string, ok bool) {
	if !f.HasMatch() {
		return "", "", true
	}
	for i, g := range f.globs {
		prefix, bounded := glob.Prefix(g)
		switch {
		case prefix == "" && bounded:
			return "", "", true // starts with *: anything
		case prefix == "":
			// As in Tile38, another special character at the start is looked for
			// where it would be itself, and so in vain; it widens the range of
			// other patterns.
			prefix = g[:1]
		case prefix == g && len(f.globs) == 1:
			return g, g + "\x00", true
		default:
			ok = true
		}
		end := successor(prefix)
		if i == 0 {
			lo, hi = prefix, end
			continue
		}
		lo, hi, ok = min(lo, prefix), max(hi, end), true
	}
	return lo, hi, ok
}

// successor returns a text that is after all that start with prefix.
func successor(prefix string) string {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			return prefix[:i] + string([]byte{prefix[i] + 1})
		}
	}
	return prefix + strings.Repeat("\xff", 64)
}

// AddWhere reads what follows WHERE: field min max, field op value, or an
// expression; n is how many words it took.
func (f *Filter) AddWhere(words []string) (n int, err error) {
	if len(words) == 0 {
		return 0, reply.ErrNumArgs
	}
	if len(words) < 2 || isWord(words[1]) {
		e, err := f.parseExpr(words[0])
		if err != nil {
			return 0, err
		}
		f.exprs = append(f.exprs, e)
		return 1, nil
	}
	if len(words) < 3 || words[1] == "" {
		return 0, reply.ErrNumArgs
	}
	f.wheres = append(f.wheres, parseWhere(words[0], words[1], words[2]))
	return 3, nil
}

// isWord says whether the word behind an expression is the query's next option:
// it starts with a letter. A range can start with inf, too.
func isWord(s string) bool {
	return s != "" && (s[0]|0x20 >= 'a' && s[0]|0x20 <= 'z') && !strings.EqualFold(s, "inf")
}

// AddWhereIn reads what follows WHEREIN: field, count and values.
func (f *Filter) AddWhereIn(words []string) (n int, err error) {
	if len(words) < 2 {
		return 0, reply.ErrNumArgs
	}
	count, err := strconv.ParseUint(words[1], 10, 64)
	if err != nil {
		return 0, reply.InvalidArgument(words[1])
	}
	if count > uint64(len(words)-2) {
		return 0, reply.ErrNumArgs
	}
	w := whereIn{ref: parseRef(words[0]), values: make([]field.Value, count)}
	for i := range w.values {
		w.values[i] = field.ValueOf(words[2+i])
	}
	f.ins = append(f.ins, w)
	return 2 + len(w.values), nil
}
