package lua

import (
	"math"
	"strings"
)

// expr is an expression. What it evaluates to is reachable for a tally only
// when the caller keeps it on the stack.
type expr interface{ eval(c *Call) Value }

// multi is an expression that can give any number of values.
type multi interface {
	expr
	// evalAll pushes the values and returns their number.
	evalAll(c *Call) int
}

// exprList is a list of expressions of which the last may give many values.
type exprList struct {
	list []expr
	last multi
}

// push pushes all values and returns their number.
func (l *exprList) push(c *Call) int {
	for _, e := range l.list {
		c.m.push(e.eval(c))
	}
	n := len(l.list)
	if l.last != nil {
		n += l.last.evalAll(c)
	}
	return n
}

type constExpr struct{ v Value }

func (e *constExpr) eval(*Call) Value { return e.v }

type localExpr struct{ v *local }

func (e *localExpr) eval(c *Call) Value {
	v := c.m.stack[c.base+e.v.slot]
	if e.v.captured {
		return v.cell().v
	}
	return v
}

type cellExpr struct{ index int }

func (e *cellExpr) eval(c *Call) Value { return c.fn.cells[e.index].v }

type globalsExpr struct{}

func (globalsExpr) eval(c *Call) Value { return Value{o: c.m.globals} }

type globalExpr struct {
	line int
	name string
}

func (e *globalExpr) eval(c *Call) Value {
	return c.m.globals.strs[e.name] // the table of globals has no __index
}

type varargExpr struct{}

func (varargExpr) eval(c *Call) Value {
	if c.argFrom < c.argTo {
		return c.m.stack[c.argFrom]
	}
	return Value{}
}

func (varargExpr) evalAll(c *Call) int {
	for i := c.argFrom; i < c.argTo; i++ {
		c.m.push(c.m.stack[i])
	}
	return c.argTo - c.argFrom
}

// firstExpr is an expression in parentheses: it gives one value.
type firstExpr struct{ e multi }

func (e *firstExpr) eval(c *Call) Value { return e.e.eval(c) }

type closureExpr struct{ p *proto }

func (e *closureExpr) eval(c *Call) Value {
	f := &Function{proto: e.p}
	c.m.alloc(functionSize + int64(len(e.p.cells))*8)
	if len(e.p.cells) > 0 {
		f.cells = make([]*cell, len(e.p.cells))
		for i, ref := range e.p.cells {
			if ref.local == nil {
				f.cells[i] = c.fn.cells[ref.index]
				continue
			}
			f.cells[i] = c.m.stack[c.base+ref.local.slot].cell()
		}
	}
	return Value{o: f}
}

type indexExpr struct {
	line     int
	obj, key expr
}

func (e *indexExpr) eval(c *Call) Value {
	obj := e.obj.eval(c)
	if k, ok := e.key.(*constExpr); ok {
		if t, ok := obj.o.(*Table); ok {
			if v := t.get(k.v); v.o != nil {
				return v
			}
		}
		c.line = e.line
		return c.m.index(obj, k.v)
	}
	c.m.push(obj)
	key := e.key.eval(c)
	c.m.top--
	c.line = e.line
	return c.m.index(obj, key)
}

// pair is two operands.
type pair struct {
	l, r expr
	hold bool // r can allocate: l is to be kept on the stack meanwhile
}

func (p *pair) eval(c *Call) (l, r Value) {
	l = p.l.eval(c)
	if !p.hold {
		return l, p.r.eval(c)
	}
	c.m.push(l)
	r = p.r.eval(c)
	c.m.top--
	return l, r
}

type arithExpr struct {
	line int
	op   byte
	pair
}

func (e *arithExpr) eval(c *Call) Value {
	l, r := e.pair.eval(c)
	if l.isNumber() && r.isNumber() {
		return Number(arith(e.op, l.n, r.n))
	}
	c.line = e.line
	return c.m.arithSlow(e.op, l, r)
}

func arith(op byte, a, b float64) float64 {
	switch op {
	case '+':
		return a + b
	case '-':
		return a - b
	case '*':
		return a * b
	case '/':
		return a / b
	case '%':
		return modulo(a, b)
	}
	return math.Pow(a, b)
}

func modulo(a, b float64) float64 {
	const exact = 1 << 53
	if a >= 0 && b > 0 && a < exact && b < exact {
		if x, y := int64(a), int64(b); float64(x) == a && float64(y) == b {
			return float64(x % y) // five times as fast
		}
	}
	v := math.Mod(a, b)
	if b > 0 && v < 0 || b < 0 && v > 0 {
		v += b
	}
	return v
}

// arithNames are the operations' names in errors and metatables.
func arithName(op byte) string {
	switch op {
	case '+':
		return "add"
	case '-':
		return "sub"
	case '*':
		return "mul"
	case '/':
		return "div"
	case '%':
		return "mod"
	}
	return "pow"
}

func (m *Machine) arithSlow(op byte, l, r Value) Value {
	m.reads(l)
	m.reads(r)
	name := arithName(op)
	if f := m.meta2(l, r, "__"+name); f.Kind() == KindFunction {
		return m.callValue(f, l, r)
	}
	a, ok := l.toNumber()
	b, ok2 := r.toNumber()
	if !ok || !ok2 {
		m.fail("cannot perform %s operation between %s and %s", name, l.numericKind(), r.numericKind())
	}
	return Number(arith(op, a, b))
}

// numericKind is the kind of an operand after strings have become numbers.
func (v Value) numericKind() Kind {
	if _, ok := v.toNumber(); ok {
		return KindNumber
	}
	return v.Kind()
}

type minusExpr struct {
	line int
	e    expr
}

func (e *minusExpr) eval(c *Call) Value {
	v := e.e.eval(c)
	if v.isNumber() {
		return Number(-v.n)
	}
	c.line = e.line
	if f := c.m.metaOf(v, "__unm"); f.Kind() == KindFunction {
		return c.m.callValue(f, v)
	}
	n, ok := v.toNumber()
	if !ok {
		c.m.fail("__unm undefined")
	}
	return Number(-n)
}

type notExpr struct{ e expr }

func (e *notExpr) eval(c *Call) Value { return Bool(!e.e.eval(c).Truth()) }

type lenExpr struct {
	line int
	e    expr
}

func (e *lenExpr) eval(c *Call) Value {
	switch o := e.e.eval(c).o.(type) {
	case *text:
		return Number(float64(len(o.s)))
	case *Table:
		c.m.work(int64(cap(o.list)-len(o.list)) / 64)
		return Number(float64(c.m.length(o)))
	}
	c.line = e.line
	c.m.fail("__len undefined")
	return Value{}
}

type logicalExpr struct {
	or   bool
	list []expr
}

func (e *logicalExpr) eval(c *Call) Value {
	var v Value
	for _, x := range e.list {
		v = x.eval(c)
		if v.Truth() == e.or {
			return v
		}
	}
	return v
}

type equalExpr struct {
	not bool
	pair
}

func (e *equalExpr) eval(c *Call) Value {
	l, r := e.pair.eval(c)
	c.m.reads(l)
	return Bool(equal(l, r) != e.not)
}

type lessExpr struct {
	line          int
	orEqual, swap bool
	pair
}

func (e *lessExpr) eval(c *Call) Value {
	l, r := e.pair.eval(c)
	if e.swap {
		l, r = r, l
	}
	if l.isNumber() && r.isNumber() {
		return Bool(l.n < r.n || e.orEqual && l.n == r.n)
	}
	c.line = e.line
	cmp := c.m.compare(l, r)
	return Bool(cmp < 0 || e.orEqual && cmp == 0)
}

// compare orders two strings; all else cannot be compared.
func (m *Machine) compare(l, r Value) int {
	a, ok := l.o.(*text)
	b, ok2 := r.o.(*text)
	if !ok || !ok2 {
		m.fail("attempt to compare %s with %s", l.Kind(), r.Kind())
	}
	m.reads(l)
	return strings.Compare(a.s, b.s)
}

// reads counts what it takes to look at all of a long string.
func (m *Machine) reads(v Value) {
	const long = 256 // bytes
	if t, ok := v.o.(*text); ok && len(t.s) > long {
		m.work(int64(len(t.s)) / long)
	}
}

// less is the order of table.sort.
func (m *Machine) less(l, r Value) bool {
	if l.isNumber() && r.isNumber() {
		return l.n < r.n
	}
	return m.compare(l, r) < 0
}

type concatExpr struct {
	line int
	list []expr
}

func (e *concatExpr) eval(c *Call) Value {
	base := c.m.top
	for _, x := range e.list {
		c.m.push(x.eval(c))
	}
	c.line = e.line
	v := c.m.concat(base)
	c.m.top = base
	return v
}

// concat joins the values of the stack from base on, from right to left.
func (m *Machine) concat(base int) Value {
	last := m.top - 1
	for last > base {
		first := last
		for first >= base && m.stack[first].isText() {
			first--
		}
		first++
		if last-first >= 1 {
			m.stack[first] = m.join(m.stack[first : last+1])
			last = first
			continue
		}
		l, r := m.stack[last-1], m.stack[last]
		f := m.meta2(l, r, "__concat")
		if f.Kind() != KindFunction {
			m.fail("cannot perform concat operation between %s and %s", l.Kind(), r.Kind())
		}
		m.stack[last-1] = m.callValue(f, l, r)
		last--
	}
	return m.stack[base]
}

func (v Value) isText() bool {
	switch v.o.(type) {
	case *text, number:
		return true
	}
	return false
}

// join makes one string of strings and numbers.
func (m *Machine) join(values []Value) Value {
	n := 0
	for _, v := range values {
		if t, ok := v.o.(*text); ok {
			n += len(t.s)
			continue
		}
		n += 24 // at least as much as a number takes
	}
	m.alloc(int64(n) + valueSize)
	m.work(int64(n) / 64)
	var b strings.Builder
	b.Grow(n)
	for _, v := range values {
		s, _ := v.Text()
		b.WriteString(s)
	}
	return own(b.String())
}

type tableItem struct{ key, value expr }

type tableExpr struct {
	line   int
	items  []tableItem
	last   multi
	length int // elements without key
}

// flushEvery is after how many elements without a key they are put into the
// table; among those, elements with a key are put there first.
const flushEvery = 50

func (e *tableExpr) eval(c *Call) Value {
	m := c.m
	t := m.NewTable()
	self := m.top
	m.push(Value{o: t})
	if e.length > 0 {
		m.grow(t, e.length)
	}
	done := 0
	flush := func() {
		for i := self + 1; i < m.top; i++ {
			m.setAt(t, done, m.stack[i])
			done++
		}
		m.top = self + 1
	}
	for i := range e.items {
		it := &e.items[i]
		if it.key == nil {
			m.push(it.value.eval(c))
			if m.top-self > flushEvery {
				flush()
			}
			continue
		}
		key := it.key.eval(c)
		m.push(key)
		v := it.value.eval(c)
		m.top--
		c.line = e.line
		m.setIndex(Value{o: t}, key, v)
	}
	if e.last != nil {
		m.work(int64(e.last.evalAll(c)))
	}
	flush()
	m.top = self
	return Value{o: t}
}
