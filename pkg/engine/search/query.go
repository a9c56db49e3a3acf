package search

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/geojson"

	"evenkeel/pkg/engine/area"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/filter"
	"evenkeel/pkg/engine/reply"
)

// output is the form in which items are answered.
type output uint8

const (
	objects output = iota
	count
	ids
	points
	bounds
	hashes
)

// outputs are the words for the outputs, which are the lists' names in JSON,
// too.
var outputs = [...]string{"objects", "count", "ids", "points", "bounds", "hashes"}

func outputOf(name string) (output, bool) {
	for i, s := range outputs {
		if s == name {
			return output(i), true
		}
	}
	return 0, false
}

// defaultLimit is how many items are answered when the command does not say.
const defaultLimit = 100

// query is a search as it was asked for.
type query struct {
	kind      kind
	key       string
	scripts   Scripts
	filter    filter.Filter
	cursor    uint64
	limit     uint64
	sparse    int // 1 to 16; 0: not
	desc      bool
	noFields  bool
	clip      bool
	distance  bool
	buffer    float64 // meters; negative: none
	output    output
	precision uint       // of hashes
	area      *area.Area // of a roaming fence: nil
	fence     fence
	seen      seen
	locked    bool // a large item is not to be looked at; see command.Request
}

// seen says which options were given. Those with a number keep its word: it is
// read last, so that all other faults are told first. An empty word is none.
type seen struct {
	cursor, limit, sparse string
	asc, desc             bool
}

// words hands out the words of a command. An empty word counts as a missing
// one.
type words struct{ rest []string }

func (w *words) next() (string, error) {
	if len(w.rest) == 0 || w.rest[0] == "" {
		return "", reply.ErrNumArgs
	}
	word := w.rest[0]
	w.rest = w.rest[1:]
	return word, nil
}

func (w *words) peek() string {
	if len(w.rest) == 0 {
		return ""
	}
	return w.rest[0]
}

// uint reads a number from least to most.
func (w *words) uint(least, most uint64) (uint64, error) {
	word, err := w.next()
	if err != nil {
		return 0, err
	}
	return parseUint(word, least, most)
}

func parseUint(word string, least, most uint64) (uint64, error) {
	n, err := strconv.ParseUint(word, 10, 64)
	if err != nil || n < least || n > most {
		return 0, reply.InvalidArgument(word)
	}
	return n, nil
}

func duplicate(word string) error {
	return reply.Plain("duplicate argument '" + strings.ToUpper(word) + "'")
}

// notAllowed is an error without ERR before it.
func notAllowed(text string) error { return &reply.Error{JSON: text, RESP: text} }

// parse reads the words behind the name of a command that is answered once.
func (q *query) parse(l *Limits, k kind, args []string, st *collection.State) error {
	q.kind = k
	if err := q.read(l, args, st); err != nil {
		return err
	}
	if q.fence.on {
		return ErrGoingLive
	}
	return nil
}

// read reads the words behind the command's name.
func (q *query) read(l *Limits, args []string, st *collection.State) error {
	w := &words{args}
	q.limit, q.buffer = defaultLimit, -1
	q.filter.Limits = l.Filter
	q.scripts = l.Scripts
	var err error
	if q.key, err = w.next(); err != nil {
		return err
	}
	for {
		ok, err := q.option(w)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
	}
	if err := q.check(); err != nil {
		return err
	}
	if err := q.parseOutput(w); err != nil {
		return err
	}
	if err := q.numbers(); err != nil {
		return err
	}
	if err := q.parseArea(w, l, st); err != nil {
		return err
	}
	if len(w.rest) > 0 {
		return reply.ErrNumArgs
	}
	return nil
}

// option reads one option; ok is false when the next word is none.
func (q *query) option(w *words) (ok bool, err error) {
	word := w.peek()
	name := strings.ToLower(word)
	known := w.rest
	if len(w.rest) > 0 {
		w.rest = w.rest[1:]
	}
	switch name {
	case "match":
		var pattern string
		if pattern, err = w.next(); err == nil {
			q.filter.AddMatch(pattern)
		}
		return true, err
	case "where":
		return true, w.take(q.filter.AddWhere)
	case "wherein":
		return true, w.take(q.filter.AddWhereIn)
	case "whereeval", "whereevalsha":
		return true, q.script(w, name == "whereevalsha")
	case "buffer":
		return true, q.parseBuffer(w)
	case "asc", "desc", "nodwell":
		if q.seen.asc || q.seen.desc {
			return true, duplicate(name)
		}
		if name == "nodwell" { // which is refused behind an order, as in Tile38
			q.fence.noDwell = true
			return true, nil
		}
		q.seen.asc, q.seen.desc = name == "asc", name == "desc"
		q.desc = q.seen.desc
		return true, nil
	}
	if f := q.number(name); f != nil {
		if *f != "" {
			return true, duplicate(name)
		}
		*f, err = w.next()
		return true, err
	}
	if ok, err := q.flag(name); ok {
		return true, err
	}
	if ok, err := q.fence.option(w, name); ok {
		return true, err
	}
	w.rest = known
	return false, nil
}

// number returns where the word of an option with a number is kept; nil when
// the name is none.
func (q *query) number(name string) *string {
	switch name {
	case "cursor":
		return &q.seen.cursor
	case "limit":
		return &q.seen.limit
	case "sparse":
		return &q.seen.sparse
	}
	return nil
}

func (q *query) readCursor() (err error) {
	if q.seen.cursor != "" {
		q.cursor, err = parseUint(q.seen.cursor, 0, math.MaxUint64)
	}
	return err
}

// numbers reads the words that number has kept.
func (q *query) numbers() (err error) {
	if err := q.readCursor(); err != nil {
		return err
	}
	switch {
	case q.seen.limit != "":
		if q.limit, err = parseUint(q.seen.limit, 1, math.MaxUint64); err != nil {
			return err
		}
	case q.output == count || q.seen.sparse != "":
		q.limit = math.MaxUint64
	}
	if q.seen.sparse != "" {
		n, err := parseUint(q.seen.sparse, 1, maxSparse)
		if err != nil {
			return err
		}
		q.sparse = int(n)
	}
	return nil
}

// flag reads an option without a value.
func (q *query) flag(name string) (ok bool, err error) {
	var f *bool
	switch name {
	case "nofields":
		f = &q.noFields
	case "clip":
		f = &q.clip
	case "distance":
		f = &q.distance
	default:
		return false, nil
	}
	if *f {
		return true, duplicate(name)
	}
	*f = true
	return true, nil
}

// take lets a filter read as many words as it needs.
func (w *words) take(read func([]string) (int, error)) error {
	n, err := read(w.rest)
	w.rest = w.rest[n:]
	return err
}

// script reads what follows WHEREEVAL and, with sha, WHEREEVALSHA: script, count
// and arguments.
func (q *query) script(w *words, sha bool) error {
	text, err := w.next()
	if err != nil {
		return err
	}
	n, err := w.uint(0, math.MaxUint64)
	if err != nil {
		return err
	}
	if n > uint64(len(w.rest)) {
		return reply.ErrNumArgs
	}
	args := w.rest[:n]
	if slices.Contains(args, "") {
		return reply.ErrNumArgs
	}
	w.rest = w.rest[n:]
	if q.scripts == nil {
		return errNoScripts
	}
	if q.fence.definition {
		args = nil
	} else if args == nil {
		args = []string{}
	}
	keeps, err := q.scripts.Where(text, sha, args)
	if err != nil {
		return err
	}
	q.filter.AddScript(keeps)
	return nil
}

// errNoScripts is the answer to a search that filters by a script, where there
// are none.
var errNoScripts = reply.Plain("scripts are not supported here")

func (q *query) parseBuffer(w *words) error {
	word, err := w.next()
	if err != nil {
		return err
	}
	m, err := strconv.ParseFloat(word, 64)
	if err != nil || !(m >= 0) || math.IsInf(m, 0) {
		return reply.InvalidArgument(word)
	}
	q.buffer = m
	if m == 0 {
		q.buffer = -1
	}
	return nil
}

// check refuses options that do not go together.
func (q *query) check() error {
	name := q.kind.String()
	ordered := q.kind == scan || q.kind == search
	switch {
	case q.seen.asc && !ordered:
		return notAllowed("ASC is not allowed for " + name)
	case q.seen.desc && !ordered:
		return notAllowed("DESC is not allowed for " + name)
	case q.seen.sparse != "" && ordered:
		return notAllowed("SPARSE is not allowed for " + name)
	case q.fence.on && ordered:
		return notAllowed("FENCE is not allowed for " + name)
	case q.seen.sparse != "" && q.seen.limit != "":
		return notAllowed("LIMIT is not allowed when SPARSE is specified")
	case q.seen.sparse != "" && q.seen.cursor != "":
		return notAllowed("CURSOR is not allowed when SPARSE is specified")
	case q.fence.on && q.seen.cursor != "":
		return notAllowed("CURSOR is not allowed when FENCE is specified")
	case q.fence.detect != nil && !q.fence.on:
		return notAllowed("DETECT is not allowed when FENCE is not specified")
	}
	return nil
}

// parseOutput reads the output, if the next word is one. BOUNDS with a number
// behind it is an area.
func (q *query) parseOutput(w *words) error {
	word := w.peek()
	out, ok := outputOf(strings.ToLower(word))
	if ok && out == bounds && len(w.rest) > 1 && q.kind > nearby {
		if _, err := strconv.ParseFloat(w.rest[1], 64); err == nil {
			ok = false
		}
	}
	if !ok {
		if q.kind == scan && word != "" {
			return reply.InvalidArgument(word)
		}
		return nil
	}
	w.rest = w.rest[1:]
	q.output = out
	if err := q.readCursor(); err != nil {
		return err
	}
	if out == hashes {
		n, err := w.precision()
		q.precision = n
		return err
	}
	return nil
}

// precision reads the length of a geohash.
func (w *words) precision() (uint, error) {
	n, err := w.uint(1, 12)
	return uint(n), err
}

// parseArea reads where to search.
func (q *query) parseArea(w *words, l *Limits, st *collection.State) (err error) {
	n := 0
	switch q.kind {
	case nearby:
		if q.fence.on {
			return q.parseNearFence(w, l)
		}
		q.area, n, err = area.ParseNear(w.rest)
	case within, intersects:
		q.area, n, err = area.Parse(w.rest, area.Options{
			Limits: l.Area,
			Buffer: q.buffer,
			Clip:   q.clip,
			Get:    func(key, id string) (geojson.Object, error) { return q.get(st, key, id) },
		})
	}
	w.rest = w.rest[n:]
	return err
}

func (q *query) get(st *collection.State, key, id string) (geojson.Object, error) {
	it, ok := st.Get(key, id)
	if !ok {
		return nil, reply.ErrKeyNotFound
	}
	if it == nil {
		return nil, reply.ErrIDNotFound
	}
	if q.locked && it.Heavy() {
		return nil, command.ErrLong
	}
	return it.Object(), nil
}
