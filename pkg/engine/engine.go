package engine

import (
	"slices"

	"evenkeel/pkg/engine/area"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/hook"
	"evenkeel/pkg/engine/keys"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/engine/search"
)

// Engine is a state and the commands on it.
type Engine struct {
	table  map[string]*command.Spec
	logged map[string]*command.Spec // only what differs from table
	state  *collection.State
	change collection.Change
}

// New returns an engine without data.
func New(opt Options) *Engine {
	opt.EnsureDefaults()
	find := search.Limits{Area: area.Limits{MaxJSONDepth: opt.Limits.MaxJSONDepth}}
	return &Engine{
		table:  index(slices.Concat(keys.Commands(opt.Limits), hook.Commands(), find.Commands())),
		logged: index(keys.Commands(keys.Unlimited())),
		state:  collection.NewState(),
	}
}

func index(specs []command.Spec) map[string]*command.Spec {
	m := make(map[string]*command.Spec, len(specs))
	for i := range specs {
		m[specs[i].Name] = &specs[i]
	}
	return m
}

// Lookup returns the command with this lower-case name, or nil.
func (e *Engine) Lookup(name string) *command.Spec { return e.table[name] }

// LookupLogged is Lookup for commands that come from a log or from a leader:
// they were accepted once, so the limits on what clients send do not apply. Two
// engines with different limits come to the same state.
func (e *Engine) LookupLogged(name string) *command.Spec {
	if spec := e.logged[name]; spec != nil {
		return spec
	}
	return e.table[name]
}

// State returns the live state, for reads under the caller's lock.
func (e *Engine) State() *collection.State { return e.state }

// Prepare checks a write, appends its answer to out and returns what Apply has
// to do: nil when nothing changes and so nothing is to be logged. The change
// is valid until the next Prepare.
func (e *Engine) Prepare(spec *command.Spec, req *command.Request, out *reply.Reply) (*collection.Change, error) {
	e.change.Reset()
	if err := spec.Write(req, e.state, &e.change, out); err != nil {
		return nil, err
	}
	if e.change.Empty() {
		return nil, nil
	}
	return &e.change, nil
}

// Apply carries out what the last Prepare returned.
func (e *Engine) Apply(ch *collection.Change) { e.state.Apply(ch) }

// Load runs f, which replays a log into an engine without data. The engine does
// without ordered indexes meanwhile, and builds them at the end.
func (e *Engine) Load(f func()) {
	e.state.Defer()
	f()
	e.state.Index()
}

// Reset replaces all data.
func (e *Engine) Reset(st *collection.State) { e.state = st }
