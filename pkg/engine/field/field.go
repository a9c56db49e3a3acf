package field

import (
	"math"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/pretty"
)

// Kind is the type of a Value; the order is the order in which values of
// different kinds compare.
type Kind int8

// The kinds. Number is 0, so that the zero Value is the number 0.
const (
	Null Kind = iota - 2
	False
	Number
	String
	True
	JSON // an object or an array
)

// maxNesting is how deep an object or array may be nested to be JSON; deeper
// texts are Strings. It keeps the recursive JSON functions off the end of the
// stack for every caller of ValueOf, and it is no option, because what a text
// means must not differ between two engines.
const maxNesting = 4096

// Value is one field's value. The zero Value is the number 0, which is what a
// missing field has. A Value that ValueOf returned may share memory with the
// text it was made of; a List keeps a copy.
type Value struct {
	kind Kind
	data string
	num  float64
}

// ValueOf returns the value that a text stands for. White space around it does
// not count.
//
//   - true, false, null: as in JSON, lower case only
//   - a JSON number: a Number that keeps its spelling; when it is too large for
//     a float64, the Number +Inf or -Inf (only digits: a String)
//   - inf, infinity (any case, with a sign or without) and nan: Numbers
//   - a JSON object or array: JSON, without its white space
//   - a JSON string: a String, unquoted
//   - all else: a String
func ValueOf(text string) Value {
	text = strings.TrimSpace(text)
	if text == "" {
		return Value{kind: String}
	}
	switch c := text[0]; {
	case c >= '0' && c <= '9' || c == '-':
		if v, ok := number(text); ok {
			return v
		}
	case c == '{' || c == '[':
		if Nesting(text) <= maxNesting && gjson.Valid(text) {
			return Value{kind: JSON, data: string(pretty.Ugly([]byte(text)))}
		}
	case c == '"':
		if gjson.Valid(text) {
			return Value{kind: String, data: gjson.Parse(text).String()}
		}
	case text == "true":
		return Value{kind: True, data: text, num: 1}
	case text == "false":
		return Value{kind: False, data: text}
	case text == "null":
		return Value{kind: Null, data: text}
	}
	if f, ok := special(text); ok {
		return Value{kind: Number, data: formatSpecial(f), num: f}
	}
	return Value{kind: String, data: text}
}

// number reads a JSON number.
func number(s string) (Value, bool) {
	integer, ok := scanNumber(s)
	if !ok {
		return Value{}, false
	}
	f, err := parseFloat(s)
	switch {
	case err == nil:
		return Value{kind: Number, data: s, num: f}, true
	case integer:
		return Value{}, false
	default: // out of range, f is infinite
		return Value{kind: Number, data: formatSpecial(f), num: f}, true
	}
}

// scanNumber says whether s is a number in JSON's grammar, and whether it has
// neither fraction nor exponent.
func scanNumber(s string) (integer, ok bool) {
	s = strings.TrimPrefix(s, "-")
	rest := digits(s)
	if len(rest) == len(s) || s[0] == '0' && len(s)-len(rest) > 1 {
		return false, false
	}
	integer = rest == ""
	if rest != "" && rest[0] == '.' {
		s, rest = rest[1:], digits(rest[1:])
		if len(rest) == len(s) {
			return false, false
		}
	}
	if rest != "" && rest[0]|0x20 == 'e' {
		s = rest[1:]
		if s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		if rest = digits(s); len(rest) == len(s) {
			return false, false
		}
	}
	return integer, rest == ""
}

// digits returns s without the decimal digits that it starts with.
func digits(s string) string {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return s[i:]
}

// parseFloat is strconv.ParseFloat with a short way for small integers.
func parseFloat(s string) (float64, error) {
	if len(s) > 0 && len(s) < 16 && s[0] != '-' {
		n := 0
		for i := range len(s) {
			d := s[i] - '0'
			if d > 9 {
				return strconv.ParseFloat(s, 64)
			}
			n = n*10 + int(d)
		}
		return float64(n), nil
	}
	return strconv.ParseFloat(s, 64)
}

// special reads the spellings of infinities and of NaN; other than
// strconv.ParseFloat it takes no sign before nan.
func special(s string) (float64, bool) {
	if len(s) < 3 || len(s) > 9 {
		return 0, false
	}
	unsigned, sign := s, 1
	switch s[0] {
	case '+', '-':
		unsigned = s[1:]
		if s[0] == '-' {
			sign = -1
		}
	default:
		if equalFold(s, "nan") {
			return math.NaN(), true
		}
	}
	if equalFold(unsigned, "inf") || equalFold(unsigned, "infinity") {
		return math.Inf(sign), true
	}
	return 0, false
}

// formatSpecial returns +Inf, -Inf or NaN.
func formatSpecial(f float64) string {
	switch {
	case f > 0:
		return "+Inf"
	case f < 0:
		return "-Inf"
	}
	return "NaN"
}

// Nesting returns how deep objects and arrays are nested in a JSON text, which
// need not be valid. It takes time in proportion to the text and no stack.
func Nesting(json string) int {
	depth, deepest := 0, 0
	for i := 0; i < len(json); i++ {
		switch json[i] {
		case '{', '[':
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			depth--
		case '"':
			for i++; i < len(json) && json[i] != '"'; i++ {
				if json[i] == '\\' {
					i++
				}
			}
		}
	}
	return deepest
}

// Kind returns the value's type.
func (v Value) Kind() Kind { return v.kind }

// Data returns the value as text: numbers as they were spelt, JSON without
// white space, strings without quotes.
func (v Value) Data() string {
	if v.kind == Number && v.data == "" {
		return "0"
	}
	return v.data
}

// Num returns a Number's value, 1 for True, and 0 for all else.
func (v Value) Num() float64 { return v.num }

// JSON returns the value as it stands in a JSON answer.
func (v Value) JSON() string { return string(v.AppendJSON(nil)) }

// AppendJSON appends the value as it stands in a JSON answer: infinities and
// NaN, which JSON does not have, as strings.
func (v Value) AppendJSON(dst []byte) []byte {
	quoted := v.kind == String || v.kind == Number && (math.IsInf(v.num, 0) || v.num != v.num)
	if quoted {
		return gjson.AppendJSONString(dst, v.data)
	}
	return append(dst, v.Data()...)
}

// IsZero says whether a field of this value is the same as no field: it is the
// number spelt 0. The numbers 0.0 and -0 are not.
func (v Value) IsZero() bool { return v.kind == Number && (v.data == "0" || v.data == "") }

// Equals says whether neither value is less than the other. So 1 equals 1.0,
// abc equals ABC, and NaN equals every number.
func (v Value) Equals(o Value) bool { return !v.Less(o) && !o.Less(v) }

// Less orders values by kind, numbers by value, strings without regard to the
// case of ASCII letters, JSON by its text.
func (v Value) Less(o Value) bool {
	if v.kind != o.kind {
		return v.kind < o.kind
	}
	switch v.kind {
	case Number:
		return v.num < o.num
	case String:
		return lessFold(v.data, o.data)
	case JSON:
		return v.data < o.data
	}
	return false
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

func lessFold(a, b string) bool {
	for i := range min(len(a), len(b)) {
		if x, y := lower(a[i]), lower(b[i]); x != y {
			return x < y
		}
	}
	return len(a) < len(b)
}

func equalFold(s, lowered string) bool {
	if len(s) != len(lowered) {
		return false
	}
	for i := range len(s) {
		if lower(s[i]) != lowered[i] {
			return false
		}
	}
	return true
}
