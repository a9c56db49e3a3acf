package lua

// Function is a Lua closure, or a function in Go.
type Function struct {
	proto  *proto
	cells  []*cell
	native Native
	state  *matches // of an iterator of string.gmatch
	mark   uint32   // the last tally that has seen it
}

// cell is a variable that closures share.
type cell struct {
	v    Value
	mark uint32
}

// cell returns the cell that lies in the place of a captured variable.
func (v Value) cell() *cell {
	c, _ := v.o.(*cell)
	return c
}

// Bytes that functions and cells are counted with.
const (
	functionSize = 96
	cellSize     = 48
)

// Native is a function in Go. It reads its arguments from c and answers with
// c.Return.
type Native func(c *Call)

// NewFunction makes a Lua value of a function in Go.
func NewFunction(f Native) Value { return Value{o: &Function{native: f}} }

// Call is a function under way.
type Call struct {
	m              *Machine
	fn             *Function
	at             int // where the function lies on the stack
	base           int // of local variables, or of the arguments of a Native
	n              int // arguments
	argFrom, argTo int // what ... stands for
	line           int // where in the program it is
	name           string
	tails          int // calls that it has replaced
	label          string
}

// Machine returns the machine that the function runs on.
func (c *Call) Machine() *Machine { return c.m }

// Len returns the number of arguments.
func (c *Call) Len() int { return c.n }

// Arg returns an argument, which counts from 1; a missing one is nil.
func (c *Call) Arg(i int) Value {
	if i >= 1 && i <= c.n {
		return c.m.stack[c.base+i-1]
	}
	return Value{}
}

// Return sets the results.
func (c *Call) Return(v ...Value) { c.m.rets = append(c.m.rets[:0], v...) }

// Fail raises an error at the place of the call.
func (c *Call) Fail(format string, args ...any) { c.m.fail(format, args...) }

// argError says what is wrong with an argument.
func (c *Call) argError(i int, what string) {
	name := c.name
	if name == "" {
		name = "(anonymous)"
	}
	c.m.fail("bad argument #%d to %s (%s)", i, name, what)
}

// wrongKind says which kind an argument should have.
func (c *Call) wrongKind(i int, want string) {
	c.argError(i, want+" expected, got "+c.Arg(i).Kind().String())
}

// Any returns an argument that must be there.
func (c *Call) Any(i int) Value {
	if i > c.n {
		c.argError(i, "value expected")
	}
	return c.Arg(i)
}

// CheckString returns a string, or a number as one.
func (c *Call) CheckString(i int) string {
	s, ok := c.Arg(i).Text()
	if !ok {
		c.wrongKind(i, "string")
	}
	return s
}

func (c *Call) checkInt(i int) int {
	v := c.Arg(i)
	if !v.isNumber() {
		c.wrongKind(i, "number")
	}
	return int(ToInt(v.n))
}

func (c *Call) optInt(i, def int) int {
	if c.Arg(i).IsNil() {
		return def
	}
	return c.checkInt(i)
}

func (c *Call) checkNumber(i int) float64 {
	n, ok := c.Arg(i).toNumber()
	if !ok {
		c.wrongKind(i, "number")
	}
	return n
}

func (c *Call) checkTable(i int) *Table {
	t := c.Arg(i).Table()
	if t == nil {
		c.wrongKind(i, "table")
	}
	return t
}

func (c *Call) checkFunction(i int) Value {
	v := c.Arg(i)
	if v.Kind() != KindFunction {
		c.wrongKind(i, "function")
	}
	return v
}

// enter takes the next Call.
func (m *Machine) enter() *Call {
	if m.depth == maxCalls {
		m.fail("stack overflow")
	}
	if m.depth == len(m.calls) {
		m.calls = append(m.calls, &Call{})
	}
	c := m.calls[m.depth]
	m.depth++
	return c
}

// call calls the function at stack[at] with the nargs values behind it. The
// results are in m.rets; the caller takes its values off the stack.
func (m *Machine) call(at, nargs int, name string) {
	fn, ok := m.stack[at].o.(*Function)
	if !ok {
		f, isFunction := m.metaOf(m.stack[at], "__call").o.(*Function)
		if !isFunction {
			m.fail("attempt to call a non-function object")
		}
		m.need(1)
		copy(m.stack[at+1:at+2+nargs], m.stack[at:at+1+nargs])
		m.top = at + 2 + nargs
		m.stack[at] = Value{o: f}
		fn, nargs = f, nargs+1
	}
	c := m.enter()
	*c = Call{m: m, fn: fn, at: at, base: at + 1, n: nargs, name: name}
	if fn.native != nil {
		m.work(1)
		m.rets = m.rets[:0]
		fn.native(c)
		m.depth--
		return
	}
	for c.run() == tails {
		m.tailCall(c)
	}
	m.depth--
}

// tailCall makes c the call that its function ended with.
func (m *Machine) tailCall(c *Call) {
	fn, _ := m.stack[c.at].o.(*Function)
	*c = Call{m: m, fn: fn, at: c.at, base: c.at + 1, n: m.tail, name: c.name, tails: c.tails + 1}
	m.top = c.at + 1 + m.tail
}

// run carries out the body of a Lua function whose arguments lie at c.base.
func (c *Call) run() control {
	m, p := c.m, c.fn.proto
	m.work(p.cost)
	np := len(p.params)
	if p.vararg {
		c.argFrom, c.argTo = c.base+min(np, c.n), c.base+c.n
		c.base += c.n
	}
	m.top = max(m.top, c.base)
	m.need(c.base + p.slots + 1 - m.top)
	locals := m.stack[c.base : c.base+p.slots]
	if p.vararg {
		clear(locals)
		copy(locals, m.stack[c.base-c.n:c.base-c.n+min(np, c.n)])
	} else {
		clear(locals[min(np, c.n):])
	}
	m.top = c.base + p.slots
	for _, l := range p.params {
		if l.captured {
			c.declare(l, locals[l.slot])
		}
	}
	if p.arg != nil {
		c.argTable(p.arg)
	}
	ctl := p.body.exec(c)
	if ctl != returns && ctl != tails {
		m.rets = m.rets[:0]
	}
	return ctl
}

// argTable sets the variable arg, which functions with ... have that do not use
// it.
func (c *Call) argTable(l *local) {
	t := c.m.NewTable()
	for i := c.argFrom; i < c.argTo; i++ {
		c.m.setAt(t, i-c.argFrom, c.m.stack[i])
	}
	c.m.SetField(t, "n", Number(float64(c.argTo-c.argFrom)))
	c.declare(l, Value{o: t})
}

// declare gives a variable its first value.
func (c *Call) declare(l *local, v Value) {
	if l.captured {
		c.m.alloc(cellSize)
		v = Value{o: &cell{v: v}}
	}
	c.m.stack[c.base+l.slot] = v
}

// callValue calls a function from Go and returns its first result.
func (m *Machine) callValue(f Value, args ...Value) Value {
	at := m.top
	m.push(f)
	for _, a := range args {
		m.push(a)
	}
	m.call(at, len(args), "")
	m.top = at
	if len(m.rets) == 0 {
		return Value{}
	}
	return m.rets[0]
}

type callExpr struct {
	line   int
	fn     expr  // or the object of a method
	method Value // nil: none
	name   string
	args   exprList
}

// prepare pushes function and arguments and returns the number of these.
func (e *callExpr) prepare(c *Call) int {
	m := c.m
	fn := e.fn.eval(c)
	if e.method.o == nil {
		m.push(fn)
		return e.args.push(c)
	}
	c.line = e.line
	f := m.index(fn, e.method)
	m.push(f)
	m.push(fn)
	return 1 + e.args.push(c)
}

// do makes the call; the results are in m.rets.
func (e *callExpr) do(c *Call) {
	at := c.m.top
	n := e.prepare(c)
	c.line = e.line
	c.m.call(at, n, e.name)
	c.m.top = at
}

func (e *callExpr) eval(c *Call) Value {
	e.do(c)
	if len(c.m.rets) == 0 {
		return Value{}
	}
	return c.m.rets[0]
}

func (e *callExpr) evalAll(c *Call) int {
	e.do(c)
	n := len(c.m.rets)
	for _, v := range c.m.rets {
		c.m.push(v)
	}
	return n
}

// maxMeta is how long a chain of metatables is followed.
const maxMeta = 100

// metaOf returns a metamethod: only strings and the table of the global
// variables have a metatable.
func (m *Machine) metaOf(v Value, event string) Value {
	switch o := v.o.(type) {
	case *text:
		return m.strings.strs[event]
	case *Table:
		if o.meta != nil {
			return o.meta.strs[event]
		}
	}
	return Value{}
}

func (m *Machine) meta2(l, r Value, event string) Value {
	if f := m.metaOf(l, event); f.o != nil {
		return f
	}
	return m.metaOf(r, event)
}

// index is obj[key].
func (m *Machine) index(obj, key Value) Value {
	m.reads(key)
	for range maxMeta {
		t, isTable := obj.o.(*Table)
		if isTable {
			if v := t.get(key); v.o != nil {
				return v
			}
		}
		next := m.metaOf(obj, "__index")
		switch {
		case next.o == nil && !isTable:
			m.fail("attempt to index a non-table object(%s) with key '%s'", obj.Kind(), clip(key.String()))
		case next.o == nil:
			return Value{}
		case next.Kind() == KindFunction:
			return m.callValue(next, obj, key)
		}
		obj = next
	}
	m.fail("too many recursions in gettable")
	return Value{}
}

// clip shortens a text for an error.
func clip(s string) string {
	const most = 1024
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// setIndex is obj[key] = v.
func (m *Machine) setIndex(obj, key, v Value) {
	m.reads(key)
	for range maxMeta {
		t, isTable := obj.o.(*Table)
		if isTable && t.meta == nil || isTable && t.get(key).o != nil {
			m.rawSet(t, key, v)
			return
		}
		next := m.metaOf(obj, "__newindex")
		switch {
		case next.o == nil && !isTable:
			m.fail("attempt to index a non-table object(%s) with key '%s'", obj.Kind(), clip(key.String()))
		case next.o == nil:
			m.rawSet(t, key, v)
			return
		case next.Kind() == KindFunction:
			m.callValue(next, obj, key, v)
			return
		}
		obj = next
	}
	m.fail("too many recursions in settable")
}

func (m *Machine) rawSet(t *Table, key, v Value) {
	switch {
	case key.o == nil:
		m.fail("table index is nil")
	case key.isNumber() && key.n != key.n:
		m.fail("table index is NaN")
	}
	m.set(t, key, v)
}

// length is Len, and counts the steps that a list that ends with many holes
// takes.
func (m *Machine) length(t *Table) int {
	n := t.Len()
	m.work(int64(len(t.list)-n) / 16)
	return n
}
