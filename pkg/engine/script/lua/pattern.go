package lua

import "fmt"

// Patterns are those of gopher-lua: its grammar, its errors and what it finds.
// Its matcher recurses once a character; this one has a stack of its own, which
// is counted, and each step counts as one of the script.

// opcode is what an instruction of a pattern does.
type opcode uint8

const (
	opChar  opcode = iota // one character of a class
	opSplit               // first a, and b if that fails
	opJump
	opSave  // the place goes to capture a
	opPlace // () goes to capture a
	opBrace // %bxy
	opBack  // what capture a holds
	opEnd   // the end of the text
	opMatch
)

type op struct {
	code  opcode
	class class
	a, b  int
}

// pattern is a compiled pattern.
type pattern struct {
	ops      []op
	captures int  // places of all captures, two each
	head     bool // only at the start
}

// class is a set of bytes.
type class interface{ has(ch byte) bool }

type anyByte struct{}

func (anyByte) has(byte) bool { return true }

type oneByte byte

func (c oneByte) has(ch byte) bool { return byte(c) == ch }

// letterClass is %a, %d, …, and their opposites in upper case.
type letterClass byte

func (c letterClass) has(ch byte) bool {
	lower := byte(c) | 0x20
	digit := ch >= '0' && ch <= '9'
	letter := ch|0x20 >= 'a' && ch|0x20 <= 'z'
	var in bool
	switch lower {
	case 'a':
		in = letter
	case 'c':
		in = ch <= 0x1f || ch == 0x7f
	case 'd':
		in = digit
	case 'l':
		in = ch >= 'a' && ch <= 'z'
	case 'p':
		in = ch > 0x20 && ch < 0x7f && !digit && !letter
	case 's':
		in = ch == ' ' || ch >= '\t' && ch <= '\r'
	case 'u':
		in = ch >= 'A' && ch <= 'Z'
	case 'w':
		in = digit || letter
	case 'x':
		in = digit || ch|0x20 >= 'a' && ch|0x20 <= 'f'
	case 'z':
		in = ch == 0
	default:
		return ch == byte(c)
	}
	return in == (byte(c) == lower)
}

type setClass struct {
	not  bool
	list []class
}

func (c *setClass) has(ch byte) bool {
	for _, in := range c.list {
		if in.has(ch) {
			return !c.not
		}
	}
	return c.not
}

type rangeClass struct{ from, to class }

func (c rangeClass) has(ch byte) bool {
	from, ok := c.from.(oneByte)
	to, ok2 := c.to.(oneByte)
	return ok && ok2 && byte(from) <= ch && ch <= byte(to)
}

// patternParser reads a pattern.
type patternParser struct {
	src   string
	pos   int
	out   pattern
	depth int
}

// patternError ends the reading of a pattern.
type patternError string

// maxPatternDepth is how deep captures may be nested.
const maxPatternDepth = 32

// compilePattern reads a pattern; err is the text of the error.
func compilePattern(src string) (p *pattern, err string) {
	defer func() {
		if e, ok := recover().(patternError); ok {
			p, err = nil, string(e)
		}
	}()
	r := patternParser{src: src}
	r.out.captures = 2
	r.emit(op{code: opSave})
	if r.peek() == '^' {
		r.pos++
		r.out.head = true
	}
	r.sequence(true)
	r.emit(op{code: opSave, a: 1})
	r.emit(op{code: opMatch})
	return &r.out, ""
}

const endOfPattern = -1

func (r *patternParser) peek() int {
	if r.pos >= len(r.src) {
		return endOfPattern
	}
	return int(r.src[r.pos])
}

func (r *patternParser) next() int {
	ch := r.peek()
	r.pos++
	return ch
}

// fail names the place as gopher-lua does.
func (r *patternParser) fail(what string) {
	if r.pos >= len(r.src) {
		panic(patternError(what + " at EOS"))
	}
	panic(patternError(fmt.Sprintf("%s at %d", what, max(r.pos-1, 0))))
}

func (r *patternParser) emit(o op) { r.out.ops = append(r.out.ops, o) }

// sequence reads up to the end or, within a capture, up to its parenthesis.
func (r *patternParser) sequence(top bool) {
	for {
		switch ch := r.peek(); ch {
		case endOfPattern:
			return
		case ')':
			if top {
				r.fail("invalid ')'")
			}
			return
		case '(':
			r.pos++
			r.capture()
		case '$':
			r.pos++
			if top && r.pos == len(r.src) {
				r.emit(op{code: opSave, a: 1})
				r.emit(op{code: opEnd})
				continue
			}
			r.emit(op{code: opChar, class: oneByte('$')})
		case '%':
			if r.escape() {
				continue
			}
			r.single(r.class(true))
		case '.', '[', ']':
			r.single(r.class(true))
		default:
			r.pos++
			r.single(oneByte(byte(ch)))
		}
	}
}

func (r *patternParser) capture() {
	first := r.out.captures
	r.out.captures += 2
	if r.peek() == ')' {
		r.pos++
		r.emit(op{code: opPlace, a: first})
		return
	}
	if r.depth++; r.depth > maxPatternDepth {
		r.fail("too many captures")
	}
	r.emit(op{code: opSave, a: first})
	r.sequence(false)
	if r.next() != ')' {
		r.fail("unfinished capture")
	}
	r.emit(op{code: opSave, a: first + 1})
	r.depth--
}

// escape reads %b and %1 to %9; ok is false for a class.
func (r *patternParser) escape() (ok bool) {
	if r.pos+1 >= len(r.src) {
		return false
	}
	switch ch := r.src[r.pos+1]; {
	case ch == '0':
		r.pos++
		r.fail("invalid capture index")
	case ch >= '1' && ch <= '9':
		r.pos += 2
		r.emit(op{code: opBack, a: int(ch - '0')})
		return true
	case ch == 'b':
		r.pos += 2
		r.emit(op{code: opBrace, a: r.next(), b: r.next()})
		return true
	}
	return false
}

// single adds a class with what says how often.
func (r *patternParser) single(c class) {
	at := len(r.out.ops)
	one := op{code: opChar, class: c}
	switch r.peek() {
	case '*':
		r.emit(op{code: opSplit, a: at + 1, b: at + 3})
		r.emit(one)
		r.emit(op{code: opJump, a: at})
	case '+':
		r.emit(one)
		r.emit(op{code: opSplit, a: at, b: at + 2})
	case '-':
		r.emit(op{code: opSplit, a: at + 3, b: at + 1})
		r.emit(one)
		r.emit(op{code: opJump, a: at})
	case '?':
		r.emit(op{code: opSplit, a: at + 1, b: at + 2})
		r.emit(one)
	default:
		r.emit(one)
		return
	}
	r.pos++
}

func (r *patternParser) class(sets bool) class {
	ch := r.next()
	switch {
	case ch == endOfPattern:
		r.fail("unexpected EOS")
	case ch == '%':
		if e := r.next(); e != endOfPattern {
			return letterClass(byte(e))
		}
		return &setClass{} // matches nothing
	case ch == '.' && sets:
		return anyByte{}
	case ch == '[' && sets:
		return r.set()
	}
	return oneByte(byte(ch))
}

func (r *patternParser) set() class {
	s := &setClass{}
	if r.peek() == '^' {
		r.pos++
		s.not = true
	}
	ranged := false
	for {
		ch := r.peek()
		if ch == endOfPattern {
			r.pos = max(len(r.src)-1, 0)
			panic(patternError(fmt.Sprintf("unexpected EOS at %d", r.pos)))
		}
		if ch == ']' && len(s.list) > 0 {
			r.pos++
			break
		}
		if ch == '-' && len(s.list) > 0 {
			r.pos++
			ranged = true
			continue
		}
		s.list = append(s.list, r.class(false))
		if ranged {
			last := len(s.list) - 1
			s.list = append(s.list[:last-1], rangeClass{s.list[last-1], s.list[last]})
			ranged = false
		}
	}
	if ranged {
		s.list = append(s.list, oneByte('-'))
	}
	return s
}
