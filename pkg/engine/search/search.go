package search

import (
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
	spec := func(name string, k kind) command.Spec {
		return command.Spec{Name: name, Read: func(req *command.Request, st *collection.State, out *reply.Reply) error {
			return l.answer(k, req, st, out)
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

func (l *Limits) answer(k kind, req *command.Request, st *collection.State, out *reply.Reply) error {
	q, err := l.parse(k, req.Args[1:], st)
	if err != nil {
		return err
	}
	r := run{query: q, pause: req.Pause}
	if c := st.Collection(q.key); c != nil {
		if err := r.walk(c); err != nil {
			return err
		}
	}
	return r.write(out)
}
