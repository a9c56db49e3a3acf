package rig

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// words makes commands. Names are few, so that commands meet.
type words struct{ *rand.Rand }

// one returns one of list.
func one[T any](w words, list ...T) T { return list[w.IntN(len(list))] }

func (w words) key() string   { return one(w, "fleet", "fleet", "fleet", "zone:1", "k") }
func (w words) id() string    { return one(w, "a", "b", "truck:", "x") + strconv.Itoa(w.IntN(4)) }
func (w words) field() string { return one(w, "speed", "age", "name", "a.b") }
func (w words) hook() string  { return one(w, "h", "c", "x:") + strconv.Itoa(w.IntN(2)) }

func (w words) pattern() string {
	return one(w, "*", "truck:*", "a?", "[ab]1", "b2", "none*", "m*")
}

// degree is in a small area, so that objects meet, and has so many digits that
// no two objects lie equally far from a point outside: their order is not settled.
func (w words) degree() string {
	return strconv.FormatFloat(w.Float64()*10, 'f', 9, 64)
}

func (w words) point() []string {
	p := []string{"POINT", w.degree(), w.degree()}
	if w.IntN(4) == 0 {
		p = append(p, w.degree())
	}
	return p
}

func (w words) bounds() []string {
	lat, lon := w.Float64()*9, w.Float64()*9
	f := func(v float64) string { return strconv.FormatFloat(v, 'f', 6, 64) }
	return []string{"BOUNDS", f(lat), f(lon), f(lat + w.Float64()*3), f(lon + w.Float64()*3)}
}

func (w words) value() string {
	return one(w, "0", "1", "-5.25", "1e3", "90", "text", "true", "null", `{"a":1}`, `"q"`, "two words", "")
}

func (w words) json() string {
	pos := func() string { return "[" + w.degree() + "," + w.degree() + "]" }
	p := pos()
	switch w.IntN(6) {
	case 0:
		return `{"type":"Point","coordinates":` + p + `}`
	case 1:
		return `{"type":"LineString","coordinates":[` + p + "," + pos() + `]}`
	case 2:
		return `{"type":"Polygon","coordinates":[[` + strings.Join([]string{p, pos(), pos(), p}, ",") + `]]}`
	case 3:
		return `{"type":"Feature","geometry":{"type":"Point","coordinates":` + p + `},"properties":{"n":` + strconv.Itoa(w.IntN(99)) + `}}`
	case 4:
		return `{"type":"Feature","geometry":{"type":"Point","coordinates":` + p +
			`},"properties":{"type":"Circle","radius":` + strconv.Itoa(1+w.IntN(9999)) + `,"radius_units":"m"}}`
	}
	return `{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":` + p + `}]}`
}

// seconds end half a second away from every command, so that it does not matter
// how soon after its time an object goes.
func (w words) seconds() string { return strconv.Itoa(w.IntN(40)) + ".5" }

func (w words) object() []string {
	switch w.IntN(10) {
	case 0:
		return []string{"STRING", one(w, "text", "", "two\r\nlines", "ünï", strings.Repeat("long", 50))}
	case 1:
		return w.bounds()
	case 2:
		return []string{"HASH", "s0" + strconv.FormatUint(1<<29+w.Uint64N(1<<29), 8)}
	case 3, 4:
		return []string{"OBJECT", w.json()}
	}
	return w.point()
}

func (w words) set() []string {
	c := []string{"SET", w.key(), w.id()}
	for range w.IntN(3) {
		c = append(c, "FIELD", w.field(), w.value())
	}
	if w.IntN(5) == 0 {
		c = append(c, "EX", w.seconds())
	}
	if w.IntN(6) == 0 {
		c = append(c, one(w, "NX", "XX"))
	}
	return append(c, w.object()...)
}

func (w words) fset() []string {
	c := []string{"FSET", w.key(), w.id()}
	if w.IntN(4) == 0 {
		c = append(c, "XX")
	}
	for range 1 + w.IntN(3) {
		c = append(c, w.field(), w.value())
	}
	return c
}

func (w words) fence() []string {
	c := []string{one(w, "WITHIN", "INTERSECTS"), w.key(), "FENCE"}
	if w.IntN(3) == 0 {
		c = append(c, "DETECT", one(w, "enter", "enter,exit", "inside,outside", "cross"))
	}
	if w.IntN(4) == 0 {
		c = append(c, "COMMANDS", one(w, "set", "set,del", "fset,drop"))
	}
	return append(c, w.bounds()...)
}

func (w words) define() []string {
	c := []string{"SETCHAN", w.hook()}
	if w.IntN(2) == 0 {
		c = []string{"SETHOOK", w.hook(), one(w, "http://127.0.0.1:1/a", "http://127.0.0.1:1/a,http://127.0.0.1:1/b")}
	}
	if w.IntN(3) == 0 {
		c = append(c, "META", "k", w.value()+"v")
	}
	if w.IntN(5) == 0 {
		c = append(c, "EX", w.seconds())
	}
	return append(c, w.fence()...)
}

// scripts write several times, fail in the middle, or write nothing.
const (
	scriptTwo   = `tile38.call('SET', KEYS[1], ARGV[1], 'POINT', ARGV[3], ARGV[4]); tile38.call('FSET', KEYS[1], ARGV[1], 'speed', 7); return tile38.call('SET', KEYS[2], ARGV[2], 'EX', '9.5', 'STRING', ARGV[1])`
	scriptMoves = `local n = 0; for i = 1, 4 do n = n + tile38.call('DEL', KEYS[1], ARGV[1] .. i); tile38.call('SET', KEYS[2], ARGV[2] .. i, 'POINT', ARGV[3], ARGV[4] + i) end; return n`
	scriptMany  = `for i = 1, ARGV[5] do tile38.call('SET', KEYS[1], 'm' .. i, 'FIELD', 'speed', i, 'POINT', ARGV[3] * (i % 40) / 50, ARGV[4] + i / 1000) end`
	scriptFails = `tile38.call('SET', KEYS[1], ARGV[1], 'POINT', ARGV[3], ARGV[4]); tile38.call('RENAME', 'none', 'other'); return 1`
	scriptKeeps = `local r = tile38.pcall('RENAME', 'none', 'other'); tile38.call('DEL', KEYS[1], ARGV[1]); return r['err']`
)

func (w words) eval() []string {
	if n := w.IntN(40); n < 3 { // so many that the index is of another kind, or a DROP goes in parts
		return []string{"EVAL", scriptMany, "1", w.key(), "-", "-", w.degree(), w.degree(), strconv.Itoa(80 + n/2*1000)}
	}
	return []string{"EVAL", one(w, scriptTwo, scriptMoves, scriptFails, scriptKeeps), "2", w.key(), w.key(),
		w.id(), w.id(), w.degree(), w.degree()}
}

func (w words) document() []string {
	path := one(w, "a", "a.b", "list.-1", "type", "geometry.coordinates.0", "properties.n")
	if w.IntN(3) == 0 {
		return []string{"JDEL", w.key(), w.id(), path}
	}
	c := []string{"JSET", w.key(), w.id(), path, one(w, "5", "text", `{"x":[1,2]}`, "true")}
	if w.IntN(4) == 0 {
		c = append(c, one(w, "RAW", "STR"))
	}
	return c
}

// write returns a command that changes something, if it does not fail.
func (w words) write() []string {
	switch n := w.IntN(100); {
	case n < 46:
		return w.set()
	case n < 55:
		return w.fset()
	case n < 63:
		c := []string{"DEL", w.key(), w.id()}
		if w.IntN(4) == 0 {
			c = append(c, "ERRON404")
		}
		return c
	case n < 66:
		return []string{"PDEL", w.key(), w.pattern()}
	case n < 67:
		return []string{"DROP", w.key()}
	case n < 70:
		return []string{one(w, "RENAME", "RENAMENX"), w.key(), one(w, "fleet", "zone:1", "new")}
	case n < 75:
		return []string{"EXPIRE", w.key(), w.id(), w.seconds()}
	case n < 78:
		return []string{"PERSIST", w.key(), w.id()}
	case n < 84:
		return w.document()
	case n < 90:
		return w.define()
	case n < 92:
		return []string{one(w, "DELHOOK", "DELCHAN"), w.hook()}
	case n < 93:
		return []string{one(w, "PDELHOOK", "PDELCHAN"), w.pattern()}
	case n < 97:
		return w.eval()
	case n < 99:
		return []string{"PUBLISH", w.hook(), one(w, "hello", `{"json":1}`)}
	case w.IntN(3) == 0:
		return []string{"FLUSHDB"}
	}
	return w.set()
}

// read returns a command that changes nothing.
func (w words) read() []string {
	line := func(format string, a ...any) []string { return strings.Fields(fmt.Sprintf(format, a...)) }
	key := w.key()
	switch w.IntN(18) {
	case 0:
		return line("GET %s %s WITHFIELDS", key, w.id())
	case 1:
		return line("GET %s %s %s", key, w.id(), one(w, "OBJECT", "POINT", "BOUNDS", "HASH 7"))
	case 2:
		return line("SCAN %s MATCH %s LIMIT %d", key, w.pattern(), 1+w.IntN(9))
	case 3:
		return line("SCAN %s WHERE speed 0 91 %s", key, one(w, "IDS", "COUNT", "OBJECTS", "DESC"))
	case 4:
		return line("SEARCH %s MATCH *t* %s", key, one(w, "ASC", "DESC"))
	case 5:
		return line("NEARBY %s LIMIT %d DISTANCE POINT -%s -1", key, 1+w.IntN(9), w.degree()) // outside of all objects
	case 6:
		return line("NEARBY %s IDS POINT -1 -%s 600000", key, w.degree())
	case 7:
		return append(line("%s %s %s", one(w, "WITHIN", "INTERSECTS"), key, one(w, "IDS", "COUNT", "POINTS", "HASHES 5")), w.bounds()...)
	case 8:
		return line("INTERSECTS %s CLIP BOUNDS 1 1 8 8", key)
	case 9:
		return line("KEYS %s", one(w, "*", "f*", "zone:?"))
	case 10:
		return line("%s %s", one(w, "HOOKS", "CHANS"), w.pattern())
	case 11:
		return line("TTL %s %s", key, w.id())
	case 12:
		return line("BOUNDS %s", key)
	case 13:
		return line("STATS fleet zone:1 none")
	case 14:
		return line("FGET %s %s %s", key, w.id(), w.field())
	case 15:
		return line("%s %s %s", one(w, "EXISTS", "JGET"), key, w.id())
	case 16:
		return append(line("TEST GET %s %s INTERSECTS", key, w.id()), w.bounds()...)
	}
	return line("TYPE %s", key)
}
