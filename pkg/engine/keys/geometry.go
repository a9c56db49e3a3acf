package keys

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/reply"
)

// parseObject reads GeoJSON. The object keeps no reference to the text.
func (l *Limits) parseObject(text string) (geojson.Object, error) {
	if p, ok := parsePoint(text); ok {
		return geojson.NewSimplePoint(p), nil
	}
	shape := survey(text)
	if shape.depth > l.MaxJSONDepth {
		return nil, errDepth(shape.depth, l.MaxJSONDepth)
	}
	if shape.positions > l.MaxPoints {
		return nil, reply.Plain(fmt.Sprintf("too many points: %d, the limit is %d",
			shape.positions, l.MaxPoints))
	}
	// Members of the object are pieces of what the parser is given.
	obj, err := geojson.Parse(strings.Clone(text), geojson.DefaultParseOptions)
	if err != nil {
		return nil, reply.Plain(err.Error())
	}
	if p, ok := obj.(*geojson.Point); ok && p.IsSimple() {
		return geojson.NewSimplePoint(p.Base()), nil
	}
	if shape.extreme || strings.Contains(text, "Circle") {
		return settle(obj)
	}
	return obj, nil
}

func errDepth(depth, limit int) error {
	return reply.Plain(fmt.Sprintf("JSON is nested too deep: %d levels, the limit is %d", depth, limit))
}

// settle makes of an object the one that its own JSON stands for, because that
// is all that an answer, the log's base files and a resync can carry: numbers
// beyond float64 became infinite when they were read, and are null in JSON.
// Points (without members) keep them, as the log has another form for points.
func settle(obj geojson.Object) (geojson.Object, error) {
	if p, ok := obj.(*geojson.Point); ok && PlainHeight(p) {
		return obj, nil
	}
	json := obj.JSON()
	for {
		next, err := geojson.Parse(json, geojson.DefaultParseOptions)
		if err != nil {
			return nil, reply.Plain(err.Error())
		}
		again := next.JSON()
		if again == json {
			return next, nil
		}
		json = again
	}
}

// PlainHeight says whether a point is nothing but two coordinates and a height,
// so that POINT lat lon z makes it.
func PlainHeight(p *geojson.Point) bool {
	return bytes.Equal(geojson.NewPointZ(p.Base(), p.Z()).AppendJSON(nil), p.AppendJSON(nil))
}

// form is what one pass over a JSON text finds out.
type form struct {
	depth     int  // of nesting
	positions int  // arrays that start with a number or null
	extreme   bool // it may hold numbers that are no float64
}

// longDigits is more digits than a number within float64 needs.
const longDigits = 300

// survey looks over a JSON text, which need not be valid.
func survey(text string) form {
	var f form
	depth, digits := 0, 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c >= '0' && c <= '9' {
			digits++
			f.extreme = f.extreme || digits >= longDigits
			continue
		}
		f.extreme = f.extreme || digits > 0 && c|0x20 == 'e'
		digits = 0
		switch c {
		case '{':
			depth++
		case '[':
			depth++
			if startsPosition(text[i+1:]) {
				f.positions++
			}
		case '}', ']':
			depth--
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		}
		f.depth = max(f.depth, depth)
	}
	return f
}

func startsPosition(s string) bool {
	for i := range len(s) {
		switch c := s[i]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c >= '0' && c <= '9' || c == '-' || c == 'n'
		}
	}
	return false
}

// parsePoint reads {"type":"Point","coordinates":[x,y]} spelt exactly so, which
// is how the log's base files and most clients spell it. What it takes it reads
// as geojson.Parse does; the rest it leaves to it.
func parsePoint(text string) (p geometry.Point, ok bool) {
	s, ok := strings.CutPrefix(text, `{"type":"Point","coordinates":[`)
	if !ok {
		return p, false
	}
	if p.X, s, ok = coordinate(s); !ok || s == "" || s[0] != ',' {
		return p, false
	}
	if p.Y, s, ok = coordinate(s[1:]); !ok || s != "]}" {
		return p, false
	}
	return p, true
}

// coordinate reads the JSON number that s starts with.
func coordinate(s string) (f float64, rest string, ok bool) {
	n := numberLen(s)
	if n == 0 {
		return 0, s, false
	}
	f, _ = strconv.ParseFloat(s[:n], 64) // out of range is infinite, as gjson has it
	return f, s[n:], true
}

// numberLen returns the length of the JSON number that s starts with, 0 when it
// starts with none.
func numberLen(s string) int {
	i := 0
	if i < len(s) && s[i] == '-' {
		i++
	}
	n := digitsLen(s[i:])
	if n == 0 || n > 1 && s[i] == '0' {
		return 0
	}
	i += n
	if i < len(s) && s[i] == '.' {
		if n = digitsLen(s[i+1:]); n == 0 {
			return 0
		}
		i += 1 + n
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if n = digitsLen(s[i:]); n == 0 {
			return 0
		}
		i += n
	}
	return i
}

func digitsLen(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

// maxDeadline, in the year 10889, and its negative bound all deadlines. Between
// them a float64 number of seconds with three decimals says exactly which
// millisecond is meant, also as a distance from one to another.
const maxDeadline = 1 << 48

// Deadline returns when secs from now is; never 0, which would be no deadline.
// Infinite and huge times are as far away as it gets; so is NaN, as it is
// better to keep an object than to lose it.
func Deadline(now int64, secs float64) int64 {
	if math.IsNaN(secs) {
		return maxDeadline
	}
	ms := min(max(secs*1000, -2*maxDeadline), 2*maxDeadline)
	d := now + int64(math.Round(ms))
	if d == 0 {
		d = -1
	}
	return min(max(d, -maxDeadline), maxDeadline)
}

// maxTTL is the most that TTL answers, which is as far as Tile38 counts.
const maxTTL = math.MaxInt64 / int64(1e9)
