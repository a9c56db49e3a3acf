package search

import (
	"sync"

	"evenkeel/pkg/engine/area"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/filter"
	"evenkeel/pkg/engine/reply"
)

// Limits bounds what one search may cost.
type Limits struct {
	Area   area.Limits
	Filter filter.Limits
	// Scripts compiles the scripts of WHEREEVAL; nil: they are refused.
	Scripts Scripts
}

// Scripts compiles scripts, and finds compiled ones by their SHA-1.
type Scripts interface {
	// Where returns what a WHEREEVAL with these arguments asks of an item, nil
	// for no ARGV at all; with sha, text is a SHA-1. The function belongs to one goroutine. It asks pause,
	// if set, while it runs, and fails with its error.
	Where(text string, sha bool, args []string) (func(it *collection.Item, pause func() error) (bool, error), error)
}

// EnsureDefaults sets what is zero to its default.
func (l *Limits) EnsureDefaults() {
	l.Area.EnsureDefaults()
	l.Filter.EnsureDefaults()
}

// kind says which command a query is.
type kind uint8

const (
	scan kind = iota
	search
	nearby
	within
	intersects
)

// names are the commands' names in the order of the kinds.
func (k kind) String() string {
	return [...]string{"SCAN", "SEARCH", "NEARBY", "WITHIN", "INTERSECTS"}[k]
}

// Commands lists the commands of this package with the default limits.
func Commands() []command.Spec { return Limits{}.Commands() }

// Commands lists the commands of this package.
func (l Limits) Commands() []command.Spec {
	l.EnsureDefaults()
	runs := &sync.Pool{New: func() any { return new(run) }}
	spec := func(name string, k kind) command.Spec {
		return command.Spec{Name: name, Read: func(req *command.Request, st *collection.State, out *reply.Reply) error {
			r, _ := runs.Get().(*run)
			err := r.answer(&l, k, req, st, out)
			r.recycle()
			runs.Put(r)
			return err
		}}
	}
	return []command.Spec{
		spec("scan", scan),
		spec("search", search),
		spec("nearby", nearby),
		spec("within", within),
		spec("intersects", intersects),
	}
}

func (r *run) answer(l *Limits, k kind, req *command.Request, st *collection.State, out *reply.Reply) error {
	r.locked = req.Locked
	if err := r.parse(l, k, req.Args[1:], st); err != nil {
		return err
	}
	r.pause, r.filter.Pause = req.Pause, req.Pause
	if c := st.Collection(r.key); c != nil {
		if err := r.walk(c); err != nil {
			return err
		}
	}
	return r.write(out)
}

// recycle makes the run ready for another query. It keeps the memory of what
// was found, unless that was much.
func (r *run) recycle() {
	const most = 1024
	found := r.found
	if cap(found) > most {
		found = nil
	}
	clear(found)
	*r = run{found: found[:0]}
}
