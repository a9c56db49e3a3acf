package lua

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Limits bounds one run.
type Limits struct {
	// MaxMemory is the sum of what a run may hold and what it has thrown away
	// and nobody has counted yet, in bytes. Half of it may be in use.
	MaxMemory int64
	// MaxTime is how long a run may take.
	MaxTime time.Duration
	// Now is the clock. Without one a step counts as 20 ns.
	Now func() time.Time
	// Seed is where math.random starts.
	Seed uint64
}

// Errors that end a run from outside. They are not caught by anything that a
// script can do.
var (
	// ErrMemory says that a script holds too much.
	ErrMemory = errors.New("script needs too much memory")
	// ErrTime says that a script ran too long.
	ErrTime = errors.New("script ran too long")
)

// Error is what a script fails with: a text that begins with its place, and the
// functions that were under way.
type Error struct {
	Text  string
	Stack string // "stack traceback:" and a line for each function
}

// Error returns text and stack, as gopher-lua does.
func (e *Error) Error() string { return e.Text + "\n" + e.Stack }

const (
	maxCalls = 256     // functions under way at a time
	maxStack = 1 << 16 // values of all functions under way
	maxIdle  = 1024    // values of the stack that a machine keeps from run to run
	slice    = 1024    // steps between two looks at the clock
	stepTime = 20 * time.Nanosecond
)

// Machine runs programs. It belongs to one goroutine. Programs that run on the
// same machine share its global variables.
type Machine struct {
	limits  Limits
	pause   func() error
	started time.Time
	steps   int64 // taken before the present slice
	fuel    int64 // left of the present slice

	stack []Value
	top   int
	calls []*Call // all that have been needed; depth are in use
	depth int
	rets  []Value // what the last function has returned
	tail  int     // arguments of the call that a function ends with

	used   int64 // bytes allocated since the last tally, and what that counted
	pinned int64 // bytes that Go functions hold
	mark   uint32

	globals *Table
	strings *Table // the metatable of strings
	seed    uint64

	// Data is what functions in Go need to know; the machine does not look at it.
	Data any
}

// New makes a machine on which nothing has run.
func New(env *Env, l Limits) *Machine {
	m := &Machine{limits: l, seed: l.Seed, fuel: slice}
	m.stack = make([]Value, 64)
	env.open(m)
	return m
}

// Globals returns the table of the global variables.
func (m *Machine) Globals() *Table { return m.globals }

// SetGlobal sets a global variable, which need not exist.
func (m *Machine) SetGlobal(name string, v Value) { m.SetField(m.globals, name, v) }

// String makes a string that shares no memory with s.
func (m *Machine) String(s string) Value {
	m.alloc(int64(len(s)) + valueSize)
	return Value{o: &text{s: strings.Clone(s)}}
}

// own makes a string of what has been allocated and counted already.
func own(s string) Value { return Value{o: &text{s: s}} }

// Work counts steps of a function in Go, about 20 ns each. It ends the run when
// its time is up.
func (m *Machine) Work(n int) { m.work(int64(n)) }

// Hold counts bytes that a function in Go needs until it calls Release.
func (m *Machine) Hold(n int) { m.pin(int64(n)) }

// Release says that bytes counted by Hold are free.
func (m *Machine) Release(n int) { m.unpin(int64(n)) }

// newString is own, and counts.
func (m *Machine) newString(s string) Value {
	m.alloc(int64(len(s)) + valueSize)
	return own(s)
}

// Run runs a program and returns its first result. An error is an *Error,
// ErrMemory, ErrTime, or what pause has returned; pause, if set, is asked every
// few microseconds. The machine must not be used again after an error.
func (m *Machine) Run(p *Program, pause func() error) (v Value, err error) {
	err = m.Protect(pause, func() {
		m.push(Value{o: &Function{proto: p.main}})
		m.call(m.top-1, 0, "")
		if len(m.rets) > 0 {
			v = m.rets[0]
		}
	})
	return v, err
}

// Protect runs f, which may make values and call functions of the machine, and
// returns what it fails with.
func (m *Machine) Protect(pause func() error, f func()) (err error) {
	m.pause, m.steps, m.fuel, m.top, m.depth = pause, 0, slice, 0, 0
	if len(m.stack) > maxIdle {
		m.stack, m.rets = make([]Value, 64), nil
	}
	if m.limits.Now != nil {
		m.started = m.limits.Now()
	}
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		stop, ok := r.(*stop)
		if !ok {
			// A fault of this package: it ends the script and not the process.
			err = &Error{Text: fmt.Sprint(r), Stack: m.traceback()}
			return
		}
		err = stop.err
	}()
	f()
	return nil
}

// stop is what a run is unwound with.
type stop struct{ err error }

// Fail ends the run with an error of the caller's.
func (m *Machine) Fail(err error) { panic(&stop{err}) }

// fail raises an error at the place where the innermost Lua function is.
func (m *Machine) fail(format string, args ...any) {
	where := ""
	for i := m.depth - 1; i >= 0; i-- {
		if c := m.calls[i]; c.fn.proto != nil {
			where = fmt.Sprintf("%s:%d:", c.fn.proto.name, c.line)
			break
		}
	}
	panic(&stop{&Error{Text: where + " " + fmt.Sprintf(format, args...), Stack: m.traceback()}})
}

// traceback lists the functions under way, at most the first and last seven.
func (m *Machine) traceback() string {
	var lines []string
	for i := m.depth - 1; i >= 0; i-- {
		c := m.calls[i]
		where := "[G]:"
		if c.fn.proto != nil {
			where = fmt.Sprintf("%s:%d:", c.fn.proto.name, c.line)
		}
		lines = append(lines, "\t"+where+" in "+m.describe(i))
		for range min(c.tails, 20) {
			lines = append(lines, "\t(tailcall): ?")
		}
	}
	lines = append(lines, "\t[G]: ?")
	if len(lines) > 20 {
		lines = append(append(lines[:7:7], "\t..."), lines[len(lines)-7:]...)
	}
	return "stack traceback:\n" + strings.Join(lines, "\n")
}

// describe names a function as the one that called it does.
func (m *Machine) describe(i int) string {
	c := m.calls[i]
	switch {
	case i == 0:
		return "main chunk"
	case c.fn.proto != nil && (c.name == "" || c.tails > 0):
		return fmt.Sprintf("function <%s:%d>", c.fn.proto.name, c.fn.proto.line)
	case c.name == "":
		return "function (anonymous)"
	}
	return "function '" + c.name + "'"
}

// work counts steps, and looks at the clock now and then.
func (m *Machine) work(n int64) {
	m.fuel -= n
	if m.fuel < 0 {
		m.look()
	}
}

// look ends a run that has taken too long.
func (m *Machine) look() {
	m.steps += slice - m.fuel
	m.fuel = slice
	var took time.Duration
	if m.limits.Now != nil {
		took = m.limits.Now().Sub(m.started)
	} else {
		took = time.Duration(m.steps) * stepTime
	}
	if m.limits.MaxTime > 0 && took > m.limits.MaxTime {
		m.Fail(ErrTime)
	}
	if m.pause != nil {
		if err := m.pause(); err != nil {
			m.Fail(err)
		}
	}
}

// need makes room for n more values on the stack.
func (m *Machine) need(n int) {
	if m.top+n <= len(m.stack) {
		return
	}
	if m.top+n > maxStack {
		m.fail("registry overflow")
	}
	stack := make([]Value, max(m.top+n, min(2*len(m.stack), maxStack)))
	copy(stack, m.stack[:m.top])
	m.stack = stack
}

func (m *Machine) push(v Value) {
	if m.top == len(m.stack) {
		m.need(1)
	}
	m.stack[m.top] = v
	m.top++
}
