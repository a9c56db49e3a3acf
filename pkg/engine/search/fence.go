package search

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"evenkeel/pkg/engine/area"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/reply"
)

// fence is what the words FENCE, DETECT, COMMANDS, NODWELL and ROAM say. A
// search without FENCE reads the others, but for ROAM, and does not heed them.
type fence struct {
	on      bool
	implied bool // FENCE need not be said, and may be said again
	// definition: it is read by ParseFence. As in Tile38, its scripts have no
	// ARGV: they run when that of the definition is gone.
	definition bool
	detect     []string
	commands   []string
	noDwell    bool
	roam       *Roam
}

// Roam is ROAM key pattern meters [SCAN pattern]: a fence around every object
// that moves.
type Roam struct {
	Key     string  // the collection of the neighbours
	Pattern string  // of their ids
	Meters  float64 // how near a neighbour is
	Scan    string  // behind a neighbour's id: what is shown with it; "": nothing
	NoDwell bool    // a neighbour is reported only when it becomes one
}

// ErrGoingLive is the answer to a search with FENCE where only answers are
// asked for: the words are right, but they ask for a connection that stays open
// and is told of changes.
var ErrGoingLive = reply.Plain("going live")

// errNoFence says that words without FENCE are no fence.
var errNoFence = reply.Plain("FENCE is not specified")

// ParseFence compiles NEARBY, WITHIN or INTERSECTS with FENCE; args are the
// words behind name. With implied it is the definition of a hook or a channel,
// where FENCE is understood. Errors are those that a search answers. GET takes
// the object as it is in st. The fence keeps words of args, which must not share
// memory with a larger buffer.
func (l Limits) ParseFence(name string, args []string, st *collection.State, implied bool) (*Fence, error) {
	f := &Fence{}
	switch strings.ToLower(name) {
	case "nearby":
		f.query.kind = nearby
	case "within":
		f.query.kind = within
	case "intersects":
		f.query.kind = intersects
	default:
		return nil, reply.InvalidArgument(name)
	}
	l.EnsureDefaults()
	f.query.fence = fence{on: implied, implied: implied, definition: true}
	if err := f.query.read(&l, args, st); err != nil {
		return nil, err
	}
	if !f.query.fence.on {
		return nil, errNoFence
	}
	f.prepare()
	return f, nil
}

// detects are what DETECT can ask for, in the order of the Detects.
var detects = [...]string{"cross", "exit", "outside", "enter", "inside"}

// option reads a word that only fences understand; ok is false if it is none.
func (f *fence) option(w *words, name string) (ok bool, err error) {
	switch name {
	default:
		return false, nil
	case "fence":
		if f.on && !f.implied {
			return true, duplicate(name)
		}
		f.on = true
	case "detect":
		if f.detect != nil {
			return true, duplicate(name)
		}
		f.detect, err = w.list(func(s string) bool { return slices.Contains(detects[:], s) })
	case "commands":
		if f.commands != nil {
			return true, duplicate(name)
		}
		f.commands, err = w.list(func(string) bool { return true })
	}
	return true, err
}

// list reads words between commas, in lower case, each at most once.
func (w *words) list(known func(string) bool) ([]string, error) {
	word, err := w.next()
	if err != nil {
		return nil, err
	}
	var list []string
	for _, part := range strings.Split(word, ",") {
		part = strings.TrimSpace(part)
		name := strings.ToLower(part)
		if slices.Contains(list, name) {
			return nil, reply.Plain("duplicate argument '" + part + "'")
		}
		if !known(name) {
			return nil, reply.InvalidArgument(word)
		}
		list = append(list, name)
	}
	return list, nil
}

// parseNearFence reads what a NEARBY fence looks around: ROAM or POINT.
func (q *query) parseNearFence(w *words, l *Limits) (err error) {
	if strings.EqualFold(w.peek(), "roam") {
		w.rest = w.rest[1:]
		if q.fence.roam, err = w.roam(); err != nil {
			return err
		}
		if q.buffer >= 0 {
			return reply.Plain("cannot buffer nil object")
		}
		return nil
	}
	a, n, err := area.ParseNear(w.rest)
	if err != nil {
		return err
	}
	q.area = a
	if q.buffer >= 0 {
		around := []string{"CIRCLE", w.rest[1], w.rest[2], strconv.FormatFloat(max(a.Meters, 0), 'f', -1, 64)}
		if q.area, _, err = area.Parse(around, area.Options{Limits: l.Area, Buffer: q.buffer}); err != nil {
			return err
		}
	}
	w.rest = w.rest[n:]
	return nil
}

// roam reads key pattern meters [SCAN pattern].
func (w *words) roam() (*Roam, error) {
	r := &Roam{}
	var err error
	if r.Key, err = w.next(); err != nil {
		return nil, err
	}
	if r.Pattern, err = w.next(); err != nil {
		return nil, err
	}
	word, err := w.next()
	if err != nil {
		return nil, err
	}
	if r.Meters, err = strconv.ParseFloat(word, 64); err != nil {
		return nil, reply.InvalidArgument(word)
	}
	if math.IsInf(r.Meters, 0) {
		r.Meters = math.Copysign(maxMeters, r.Meters)
	}
	if len(w.rest) == 0 {
		return r, nil
	}
	if !strings.EqualFold(w.rest[0], "scan") {
		return nil, reply.InvalidArgument(w.rest[0])
	}
	w.rest = w.rest[1:]
	r.Scan, err = w.next()
	return r, err
}

// maxMeters is further than anything is from anything else on earth.
const maxMeters = 1e9
