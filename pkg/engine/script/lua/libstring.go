package lua

import (
	"fmt"
	"strings"

	glua "github.com/yuin/gopher-lua"
)

func stringFuncs() map[string]Native {
	return map[string]Native{
		"byte": stringByte,
		"char": stringChar,
		"dump": func(c *Call) { c.Fail("GopherLua does not support the string.dump") },
		"find": stringFind,
		"format": func(c *Call) {
			c.Return(c.m.newString(c.format()))
		},
		"gsub":   stringGsub,
		"gmatch": stringGmatch,
		"len":    func(c *Call) { c.Return(Number(float64(len(c.CheckString(1))))) },
		"lower":  mapped(strings.ToLower),
		"match":  stringMatch,
		"rep":    stringRep,
		"reverse": mapped(func(s string) string {
			out := make([]byte, len(s))
			for i := range len(s) {
				out[len(s)-1-i] = s[i]
			}
			return string(out)
		}),
		"sub":   stringSub,
		"upper": mapped(strings.ToUpper),
	}
}

// mapped makes a function of one that makes a string of about the same length:
// at most three times as long, for letters whose other case is longer.
func mapped(f func(string) string) Native {
	return func(c *Call) {
		s := c.CheckString(1)
		c.m.alloc(3*int64(len(s)) + valueSize)
		c.m.work(int64(len(s)) / 16)
		c.Return(own(f(s)))
	}
}

func stringByte(c *Call) {
	s := c.CheckString(1)
	from, to := c.optInt(2, 1)-1, c.optInt(3, -1)
	if from < 0 {
		from += len(s) + 1
	}
	if to < 0 {
		to += len(s) + 1
	}
	if c.n == 2 {
		to = from + 1
	}
	if c.n == 2 && from < 0 {
		c.Return()
		return
	}
	from, to = max(from, 0), min(to, len(s))
	if from >= to {
		c.Return()
		return
	}
	if to-from > maxStack {
		c.Fail("registry overflow")
	}
	m := c.m
	m.work(int64(to-from) / 16)
	m.rets = m.rets[:0]
	for i := from; i < to; i++ {
		m.rets = append(m.rets, Number(float64(s[i])))
	}
}

func stringChar(c *Call) {
	buf := make([]byte, c.n)
	for i := range buf {
		buf[i] = byte(c.checkInt(i + 1))
	}
	c.Return(c.m.newString(string(buf)))
}

// place makes an offset of an index, which counts from 1, or from the end if it
// is negative.
func place(s string, i int, start bool) int {
	if start && i != 0 {
		i--
	}
	if i < 0 {
		i += len(s) + 1
	}
	i = max(i, 0)
	if !start {
		i = min(i, len(s))
	}
	return i
}

func stringSub(c *Call) {
	s := c.CheckString(1)
	from, to := place(s, c.checkInt(2), true), place(s, c.optInt(3, -1), false)
	if from >= len(s) || to <= from {
		c.Return(own(""))
		return
	}
	c.Return(c.m.String(s[from:to]))
}

func stringRep(c *Call) {
	s, n := c.CheckString(1), c.checkInt(2)
	if n <= 0 || s == "" {
		c.Return(own(""))
		return
	}
	if int64(n) > c.m.limits.MaxMemory/int64(len(s)) {
		c.m.Fail(ErrMemory)
	}
	size := int64(n) * int64(len(s))
	c.m.alloc(size + valueSize)
	c.m.work(size / 64)
	c.Return(own(strings.Repeat(s, n)))
}

// subject returns the text that a pattern is looked for in.
func (c *Call) subject() *text {
	s := c.CheckString(1)
	if t, ok := c.Arg(1).o.(*text); ok {
		return t
	}
	return &text{s: s}
}

func stringFind(c *Call) {
	t, pat := c.subject(), c.CheckString(2)
	if pat == "" {
		c.Return(Number(1), Number(0))
		return
	}
	from := place(t.s, c.optInt(3, 1), true)
	if c.n == 4 && c.Arg(4).Truth() {
		if from > len(t.s) {
			c.Return(Value{})
			return
		}
		c.m.work(int64(len(t.s)-from) / 16)
		i := strings.Index(t.s[from:], pat)
		if i < 0 {
			c.Return(Value{})
			return
		}
		c.Return(Number(float64(from+i+1)), Number(float64(from+i+len(pat))))
		return
	}
	caps := c.m.nextMatch(c.m.newMatches(t, pat, from))
	if caps == nil {
		c.Return(Value{})
		return
	}
	m := c.m
	rets := []Value{Number(float64(caps[0].from + 1)), Number(float64(caps[0].to))}
	for _, s := range caps[1:] {
		rets = append(rets, m.captured(t.s, s))
	}
	c.Return(rets...)
}

// results are the captures of a match, or the whole if there are none.
func (m *Machine) results(s string, caps match) []Value {
	if len(caps) > 1 {
		caps = caps[1:]
	}
	rets := make([]Value, 0, len(caps))
	for _, sp := range caps {
		rets = append(rets, m.captured(s, sp))
	}
	return rets
}

func stringMatch(c *Call) {
	t, pat := c.subject(), c.CheckString(2)
	from := c.optInt(3, 1)
	if from < 0 {
		from += len(t.s) + 1
	}
	caps := c.m.nextMatch(c.m.newMatches(t, pat, max(from-1, 0)))
	if caps == nil {
		c.Return()
		return
	}
	c.Return(c.m.results(t.s, caps)...)
}

func stringGmatch(c *Call) {
	f := c.m.newMatches(c.subject(), c.CheckString(2), 0)
	c.m.alloc(functionSize)
	c.Return(Value{o: &Function{state: f, native: func(c *Call) {
		caps := c.m.nextMatch(f)
		if caps == nil {
			c.Return()
			return
		}
		c.Return(c.m.results(f.text.s, caps)...)
	}}})
}

func stringGsub(c *Call) {
	m, t, pat := c.m, c.subject(), c.CheckString(2)
	repl := c.Any(3)
	switch repl.Kind() {
	case KindString, KindTable, KindFunction:
	default:
		c.argError(3, "string or table or function expected, got "+repl.Kind().String())
	}
	limit := c.optInt(4, -1)
	f := m.newMatches(t, pat, 0)
	var (
		out  []byte
		held int64
		done int // up to here the text is in out
		n    int
	)
	add := func(s string) {
		if len(out)+len(s) > cap(out) {
			size := int64(len(out)+len(s))*2 + 64
			m.pin(size)
			held += size
		}
		m.work(int64(len(s)) / 64)
		out = append(out, s...)
	}
	for n != limit {
		caps := m.nextMatch(f)
		if caps == nil {
			break
		}
		n++
		with, ok := m.replacement(repl, t.s, caps)
		if !ok {
			continue
		}
		add(t.s[done:caps[0].from])
		add(with)
		done = caps[0].to
		if limit == 0 {
			break
		}
	}
	if done == 0 && len(out) == 0 {
		c.Return(Value{o: t}, Number(float64(n)))
		return
	}
	add(t.s[done:])
	m.unpin(held)
	c.Return(m.newString(string(out)), Number(float64(n)))
}

// replacement says what takes the place of a match; ok is false when it stays.
func (m *Machine) replacement(repl Value, s string, caps match) (with string, ok bool) {
	var v Value
	switch o := repl.o.(type) {
	case *text:
		return m.template(o.s, s, caps), true
	case *Table:
		v = m.index(repl, m.results(s, caps)[0])
	default:
		v = m.callValue(repl, m.results(s, caps)...)
	}
	if !v.Truth() {
		return "", false
	}
	with, _ = v.Text()
	return with, true
}

// template fills captures into a replacement text.
func (m *Machine) template(repl, s string, caps match) string {
	if strings.IndexByte(repl, '%') < 0 {
		return repl
	}
	var out []byte
	var held int64
	for i := 0; i < len(repl); i++ {
		ch := repl[i]
		if ch != '%' || i+1 == len(repl) {
			out = append(out, ch)
			continue
		}
		i++
		d := repl[i]
		switch {
		case d == '%':
			out = append(out, d)
		case d < '0' || d > '9':
			out = append(out, '%', d)
		default:
			at := int(d - '0')
			if at == 1 && len(caps) == 1 {
				at = 0
			}
			if at >= len(caps) {
				m.fail("invalid capture index")
			}
			text, _ := m.captured(s, caps[at]).Text()
			m.pin(2 * int64(len(text)))
			held += 2 * int64(len(text))
			m.work(1 + int64(len(text))/64)
			out = append(out, text...)
		}
	}
	m.unpin(held)
	return string(out)
}

// format is string.format: the verbs of Go's fmt, as in gopher-lua, whose
// values are what fmt is given.
func (c *Call) format() string {
	m, s := c.m, c.CheckString(1)
	var out []byte
	var held int64
	grow := func(n int) {
		size := 2 * int64(n)
		m.pin(size)
		held += size
		m.work(1 + int64(n)/64)
	}
	arg := 2
	for len(s) > 0 {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			i = len(s)
		}
		grow(i)
		out = append(out, s[:i]...)
		if s = s[i:]; s == "" {
			break
		}
		end := verbEnd(s)
		verb := s[:end]
		s = s[end:]
		if verb == "%%" {
			out = append(out, '%')
			continue
		}
		if strings.ContainsAny(verb, "*[") {
			c.Fail("invalid conversion '%s' to 'format'", verb)
		}
		var values []any
		if arg <= c.n {
			values = []any{formatArg(c.Arg(arg))}
		}
		room := fmtSize(verb, c.Arg(arg))
		arg++
		m.pin(room)
		part := fmt.Sprintf(verb, values...)
		m.unpin(room)
		grow(len(part))
		out = append(out, part...)
	}
	m.unpin(held)
	return string(out)
}

// verbEnd returns the length of the verb that s starts with.
func verbEnd(s string) int {
	for i := 1; i < len(s); i++ {
		if strings.IndexByte("+-# 0123456789.*[]", s[i]) < 0 {
			for i++; i < len(s) && s[i]&0xc0 == 0x80; i++ { // the rest of a letter in UTF-8
			}
			return i
		}
	}
	return len(s)
}

// fmtSize returns at most how many bytes it takes to format a value: a byte is
// quoted with up to six, and fmt refuses a width above a million.
func fmtSize(verb string, v Value) int64 {
	const most = 1_000_000
	n, number := 6*len(v.Str())+512, 0
	for i := range len(verb) {
		if d := verb[i] - '0'; d <= 9 {
			number = min(10*number+int(d), most)
			continue
		}
		n += 2 * number
		number = 0
	}
	return int64(n)
}

// formatArg makes of v what gopher-lua hands to fmt.
func formatArg(v Value) any {
	switch o := v.o.(type) {
	case nil:
		return glua.LNil
	case bool:
		return glua.LBool(o)
	case number:
		return glua.LNumber(v.n)
	case *text:
		return glua.LString(o.s)
	}
	return glua.LString(v.String())
}
