package engine

import (
	"slices"
	"strings"
	"time"

	"evenkeel/pkg/engine/area"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/fence"
	"evenkeel/pkg/engine/hook"
	"evenkeel/pkg/engine/keys"
	"evenkeel/pkg/engine/relate"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/engine/script"
	"evenkeel/pkg/engine/search"
)

// Engine is a state and the commands on it.
type Engine struct {
	table  map[string]*command.Spec
	logged map[string]*command.Spec // only what differs from table
	state  *collection.State
	change collection.Change

	find    search.Limits
	fences  *fence.Set
	scripts *script.Scripts
}

// New returns an engine without data.
func New(opt Options) *Engine {
	opt.EnsureDefaults()
	scripts := script.New(opt.Script)
	areas := area.Limits{MaxJSONDepth: opt.Limits.MaxJSONDepth}
	find := search.Limits{Area: areas, Scripts: scripts}
	return &Engine{
		table: index(slices.Concat(keys.Commands(opt.Limits), hook.Rules{Search: find}.Commands(),
			find.Commands(), relate.Limits{Area: areas}.Commands())),
		logged:  index(slices.Concat(keys.Commands(keys.Unlimited()), hook.Logged())),
		state:   collection.NewState(),
		find:    find,
		fences:  fence.New(fence.Options{Search: find, Seed: opt.Seed}),
		scripts: scripts,
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
	e.fences.Rebuild(e.state)
}

// Defer lets an engine without data do without ordered indexes and fences for
// good: it takes writes, and its state can be compared with another, but not
// searched.
func (e *Engine) Defer() { e.state.Defer() }

// Reset replaces all data by those of another engine, which is not to be used
// any more. Live fences stay.
func (e *Engine) Reset(from *Engine) {
	e.state = from.state
	e.fences.Take(from.fences, from.state)
}

// Match tells what fences have to say about a change that has been applied:
// name is the command in lower case, now its time in Unix milliseconds. emit
// gets each message, in order, and may keep it.
func (e *Engine) Match(name string, now int64, ch *collection.Change, emit func(*fence.Fence, []byte)) {
	e.fences.Match(e.state, name, time.UnixMilli(now).Local(), ch, emit)
}

// CompileFence reads the words of a live fence: NEARBY, WITHIN or INTERSECTS with
// FENCE, as AddLive takes it. GET takes the object as it is in st. The errors are
// those of the command. It may run beside everything else.
func (e *Engine) CompileFence(args []string, st *collection.State) (*search.Fence, error) {
	own := make([]string, len(args))
	for i, a := range args {
		own[i] = strings.Clone(a)
	}
	return e.find.ParseFence(own[0], own[1:], st, false)
}

// AddLive adds a live fence; live comes back with its messages.
func (e *Engine) AddLive(q *search.Fence, live any) *fence.Fence { return e.fences.AddLive(q, live) }

// Watch compiles a fence on the live state, and adds it.
func (e *Engine) Watch(args []string, live any) (*fence.Fence, error) {
	q, err := e.CompileFence(args, e.state)
	if err != nil {
		return nil, err
	}
	return e.AddLive(q, live), nil
}

// Unwatch removes what Watch returned.
func (e *Engine) Unwatch(f *fence.Fence) { e.fences.RemoveLive(f) }

// Inert returns why hooks and channels of the state are not watched.
func (e *Engine) Inert() []error { return e.fences.Inert() }

// Scripts returns what carries out EVAL and SCRIPT.
func (e *Engine) Scripts() *script.Scripts { return e.scripts }
