package reply

import (
	"strconv"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/redcon"
)

// Reply collects the answers of one connection, one after the other.
type Reply struct {
	// JSON says that the connection chose OUTPUT json.
	JSON bool
	// RESP3 says that the connection asked for version 3 of the protocol with
	// HELLO. What is legal in both versions stays as it is in version 2.
	RESP3 bool
	// Bare says that a finished JSON answer stays as it is: its transport puts it
	// into another envelope than a bulk string.
	Bare bool
	// Buf holds what is ready to be sent, and the answer in progress at its
	// end.
	Buf []byte
	// Later, if set, appends the answer of the command that has just been carried
	// out, which was left out because it takes long and needs no lock. Whoever
	// carries out a write calls it and sets it to nil.
	Later func()
}

// Rest appends what was left for later.
func (r *Reply) Rest() {
	if later := r.Later; later != nil {
		r.Later = nil
		later()
	}
}

// OK answers +OK, or {"ok":true.
func (r *Reply) OK() {
	if r.JSON {
		r.Buf = append(r.Buf, `{"ok":true`...)
		return
	}
	r.Buf = redcon.AppendOK(r.Buf)
}

// Int answers the integer n in RESP; in JSON it is {"ok":true.
func (r *Reply) Int(n int) {
	if r.JSON {
		r.OK()
		return
	}
	r.Buf = redcon.AppendInt(r.Buf, int64(n))
}

// Bool answers 1 or 0 in RESP; in JSON it is {"ok":true,"<member>":<b>.
func (r *Reply) Bool(member string, b bool) {
	if r.JSON {
		r.OK()
		r.Member(member)
		r.Buf = strconv.AppendBool(r.Buf, b)
		return
	}
	n := 0
	if b {
		n = 1
	}
	r.Buf = redcon.AppendInt(r.Buf, int64(n))
}

// Member appends ,"name": to a JSON object that has a member already. The name
// must need no escaping.
func (r *Reply) Member(name string) {
	r.Buf = append(r.Buf, ',', '"')
	r.Buf = append(r.Buf, name...)
	r.Buf = append(r.Buf, '"', ':')
}

// Decimal appends n to a JSON answer.
func (r *Reply) Decimal(n int) { r.Buf = strconv.AppendInt(r.Buf, int64(n), 10) }

// String appends s as a JSON string; see AppendString.
func (r *Reply) String(s string) { r.Buf = AppendString(r.Buf, s) }

// Escaped appends s as a JSON string in which <, > and & are always escaped:
// texts that are values.
func (r *Reply) Escaped(s string) { r.Buf = gjson.AppendJSONString(r.Buf, s) }

// AppendString appends s as a JSON string as Tile38 spells names and messages:
// <, > and & stay what they are, unless something else in s must be escaped.
func AppendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c > '~' {
			return gjson.AppendJSONString(dst, s)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

// Bulk appends s as a RESP bulk string.
func (r *Reply) Bulk(s string) { r.Buf = redcon.AppendBulkString(r.Buf, s) }

// Object appends the JSON of obj as a RESP bulk string.
func (r *Reply) Object(obj interface{ AppendJSON(dst []byte) []byte }) {
	start := len(r.Buf)
	r.Buf = obj.AppendJSON(r.Buf)
	r.wrap(start)
}

// Array appends the head of a RESP array of n values.
func (r *Reply) Array(n int) { r.Buf = redcon.AppendArray(r.Buf, n) }

// Null appends the RESP null: in version 2 the null bulk string.
func (r *Reply) Null() {
	if r.RESP3 {
		r.Buf = append(r.Buf, "_\r\n"...)
		return
	}
	r.Buf = redcon.AppendNull(r.Buf)
}

// Push appends the head of a message of n values that no command asked for: in
// version 2 an array.
func (r *Reply) Push(n int) {
	if r.RESP3 {
		r.Buf = append(r.Buf, '>')
		r.Buf = strconv.AppendInt(r.Buf, int64(n), 10)
		r.Buf = append(r.Buf, "\r\n"...)
		return
	}
	r.Array(n)
}

// Map appends the head of n pairs of names and values: in version 2 an array of
// 2n values.
func (r *Reply) Map(n int) {
	if r.RESP3 {
		r.Buf = append(r.Buf, '%')
		r.Buf = strconv.AppendInt(r.Buf, int64(n), 10)
		r.Buf = append(r.Buf, "\r\n"...)
		return
	}
	r.Array(2 * n)
}

// Simple appends s as a RESP simple string.
func (r *Reply) Simple(s string) { r.Buf = redcon.AppendString(r.Buf, line(s)) }

// Number appends f to a JSON answer as Tile38 writes numbers that are no
// GeoJSON: infinities and NaN by name, which is not JSON.
func (r *Reply) Number(f float64) { r.Buf = strconv.AppendFloat(r.Buf, f, 'f', -1, 64) }

// Float appends f as a RESP bulk string in the shortest decimal notation that
// gives f again.
func (r *Reply) Float(f float64) {
	var tmp [32]byte
	r.Buf = redcon.AppendBulk(r.Buf, strconv.AppendFloat(tmp[:0], f, 'f', -1, 64))
}

// Point appends a position as a RESP array: latitude, longitude and, when it is
// not 0, height.
func (r *Reply) Point(lat, lon, z float64) {
	if z == 0 {
		r.Array(2)
	} else {
		r.Array(3)
	}
	r.Float(lat)
	r.Float(lon)
	if z != 0 {
		r.Float(z)
	}
}

// Finish closes the answer that starts at Buf[start]: a JSON object gets its
// member "elapsed" and becomes a bulk string, unless it is to stay Bare. RESP
// answers are complete already.
func (r *Reply) Finish(start int, elapsed time.Duration) {
	if !r.JSON {
		return
	}
	r.Buf = append(r.Buf, `,"elapsed":"`...)
	r.Buf = append(r.Buf, elapsed.String()...)
	r.Buf = append(r.Buf, '"', '}')
	if !r.Bare {
		r.wrap(start)
	}
}

// wrap turns Buf[start:] into a bulk string in place.
func (r *Reply) wrap(start int) {
	var head [24]byte
	h := append(head[:0], '$')
	h = strconv.AppendInt(h, int64(len(r.Buf)-start), 10)
	h = append(h, '\r', '\n')
	n := len(r.Buf) - start
	r.Buf = append(r.Buf, h...) // grow by the head's length
	copy(r.Buf[start+len(h):], r.Buf[start:start+n])
	copy(r.Buf[start:], h)
	r.Buf = append(r.Buf, '\r', '\n')
}
