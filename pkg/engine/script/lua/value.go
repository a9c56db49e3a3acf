package lua

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Value is a Lua value. The zero Value is nil.
//
// Numbers stand beside the interface, so that arithmetic allocates nothing.
type Value struct {
	o any // nil, bool, number, *text, *Table or *Function
	n float64
}

// number marks a Value whose n counts.
type number struct{}

// text is a string. It has an identity, so that a string that is referred to
// from several places is counted once.
type text struct {
	s      string
	mark   uint32 // the last tally that has seen it
	shared bool   // a constant of the program: other machines use it, too
}

// Kind is the type of a Value.
type Kind uint8

// The kinds that scripts can meet.
const (
	KindNil Kind = iota
	KindBool
	KindNumber
	KindString
	KindTable
	KindFunction
)

// String returns the name of the kind as error texts have it.
func (k Kind) String() string {
	return [...]string{"nil", "boolean", "number", "string", "table", "function"}[k]
}

// Bool makes a boolean.
func Bool(b bool) Value { return Value{o: b} }

// Number makes a number.
func Number(f float64) Value { return Value{o: number{}, n: f} }

// Kind returns the type of v.
func (v Value) Kind() Kind {
	switch v.o.(type) {
	case nil:
		return KindNil
	case bool:
		return KindBool
	case number:
		return KindNumber
	case *text:
		return KindString
	case *Table:
		return KindTable
	}
	return KindFunction
}

// IsNil says whether v is nil.
func (v Value) IsNil() bool { return v.o == nil }

// Truth says whether v counts as true: all but nil and false do.
func (v Value) Truth() bool { return v.o != nil && v.o != false }

// Num returns the number, or 0 if v is none.
func (v Value) Num() float64 { return v.n }

// Str returns the string, or "" if v is none.
func (v Value) Str() string {
	if t, ok := v.o.(*text); ok {
		return t.s
	}
	return ""
}

// Table returns the table, or nil if v is none.
func (v Value) Table() *Table {
	t, _ := v.o.(*Table)
	return t
}

func (v Value) isNumber() bool {
	_, ok := v.o.(number)
	return ok
}

// String returns the value as tostring has it.
func (v Value) String() string {
	switch o := v.o.(type) {
	case nil:
		return "nil"
	case bool:
		return strconv.FormatBool(o)
	case number:
		return FormatNumber(v.n)
	case *text:
		return o.s
	case *Table:
		return fmt.Sprintf("table: %p", o)
	}
	return fmt.Sprintf("function: %p", v.o)
}

// Text returns strings and numbers as a string; ok is false for all else.
func (v Value) Text() (s string, ok bool) {
	switch o := v.o.(type) {
	case *text:
		return o.s, true
	case number:
		return FormatNumber(v.n), true
	}
	return "", false
}

// FormatNumber writes whole numbers without exponent as far as an int64 goes.
func FormatNumber(f float64) string {
	if n, ok := whole(f); ok {
		return strconv.FormatInt(n, 10)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// whole returns the integer that f is.
func whole(f float64) (int64, bool) {
	n := ToInt(f)
	return n, float64(n) == f && f < 1<<63
}

// ToInt converts as the processors do that Tile38 runs on: what does not fit is
// the least integer.
func ToInt(f float64) int64 {
	if f >= -(1<<63) && f < 1<<63 {
		return int64(f)
	}
	return math.MinInt64
}

// parseNumber reads a number as arithmetic on strings does: with the prefixes
// and underscores of Go.
func parseNumber(s string) (float64, bool) {
	s = strings.Trim(s, " \t\n")
	if n, err := strconv.ParseInt(s, 0, 64); err == nil {
		return float64(n), true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, false
	}
	return f, true
}

// toNumber converts numbers and strings with numbers in them.
func (v Value) toNumber() (float64, bool) {
	switch o := v.o.(type) {
	case number:
		return v.n, true
	case *text:
		return parseNumber(o.s)
	}
	return 0, false
}

// equal compares without metamethods.
func equal(a, b Value) bool {
	switch x := a.o.(type) {
	case number:
		_, ok := b.o.(number)
		return ok && a.n == b.n
	case *text:
		y, ok := b.o.(*text)
		return ok && (x == y || x.s == y.s)
	}
	return a.o == b.o
}

// AsNumber returns a number, or the one that a string holds, or 0.
func (v Value) AsNumber() float64 {
	n, _ := v.toNumber()
	return n
}
