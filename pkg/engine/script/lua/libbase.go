package lua

import (
	"maps"
	"math"
	"strconv"
	"strings"
)

// Env is what machines start with: their global variables. It is made once, and
// any number of machines share it.
type Env struct {
	globals   map[string]Value
	libs      []Library
	protected *Table // the metatable of the globals
}

// Library is a global table of functions and constants.
type Library struct {
	Name   string
	Funcs  map[string]Native
	Consts map[string]Value
	values map[string]Value
}

// NewEnv returns what scripts of Tile38 find, and more libraries: no io, no
// load, no pcall, and no way to walk over a table or to set a metatable.
func NewEnv(more ...Library) *Env {
	e := &Env{globals: map[string]Value{
		"_VERSION":            constant("Lua 5.1"),
		"_GOPHER_LUA_VERSION": constant("GopherLua 0.1"),
		"tonumber":            NewFunction(toNumber),
		"tostring":            NewFunction(toString),
	}}
	str := Library{Name: "string", Funcs: stringFuncs()}
	str.Funcs["gfind"] = str.Funcs["gmatch"]
	e.libs = append([]Library{
		str,
		{Name: "table", Funcs: tableFuncs()},
		{Name: "math", Funcs: mathFuncs(), Consts: map[string]Value{"pi": Number(math.Pi), "huge": Number(math.MaxFloat64)}},
		{Name: "os", Funcs: osFuncs()},
	}, more...)
	for i := range e.libs {
		l := &e.libs[i]
		l.values = make(map[string]Value, len(l.Funcs)+len(l.Consts))
		maps.Copy(l.values, l.Consts)
		for name, f := range l.Funcs {
			l.values[name] = NewFunction(f)
		}
	}
	e.protected = &Table{lent: true, fixed: true, strs: map[string]Value{"__newindex": NewFunction(func(c *Call) {
		c.Fail("attempt to create global variable '%s'", clip(c.Arg(2).String()))
	})}}
	return e
}

// constant makes a string that all machines share.
func constant(s string) Value { return Value{o: &text{s: s, shared: true}} }

// open gives a machine its global variables. A library's table refers to what
// all machines share until it is written to.
func (e *Env) open(m *Machine) {
	m.globals = &Table{strs: make(map[string]Value, 2*len(e.globals)+len(e.libs)), meta: e.protected}
	maps.Copy(m.globals.strs, e.globals)
	m.globals.strs["_G"] = Value{o: m.globals}
	for i := range e.libs {
		t := &Table{strs: e.libs[i].values, lent: true}
		m.globals.strs[e.libs[i].Name] = Value{o: t}
		if i == 0 {
			m.strings = t
			m.SetField(t, "__index", Value{o: t})
		}
	}
}

func toNumber(c *Call) {
	base := c.optInt(2, 10)
	noBase := c.Arg(2).IsNil()
	v := c.Any(1)
	if v.isNumber() {
		c.Return(v)
		return
	}
	if v.Kind() != KindString {
		c.Return(Value{})
		return
	}
	c.m.reads(v)
	s := strings.Trim(v.Str(), " \n\t")
	if strings.Contains(s, ".") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			c.Return(Value{})
			return
		}
		c.Return(Number(f))
		return
	}
	if noBase && len(s) >= 2 && strings.EqualFold(s[:2], "0x") {
		base, s = 16, s[2:]
	}
	n, err := strconv.ParseInt(s, base, 64)
	if err != nil {
		c.Return(Value{})
		return
	}
	c.Return(Number(float64(n)))
}

func toString(c *Call) {
	v := c.Any(1)
	if f := c.m.metaOf(v, "__tostring"); f.Kind() == KindFunction {
		c.Return(c.m.callValue(f, v))
		return
	}
	if v.Kind() == KindString {
		c.Return(v)
		return
	}
	c.Return(c.m.newString(v.String()))
}

func osFuncs() map[string]Native {
	return map[string]Native{
		"clock": func(c *Call) { c.Return(Number(c.m.clock())) },
		"difftime": func(c *Call) {
			c.Return(Number(float64(c.checkInt(1)) - float64(c.checkInt(2))))
		},
	}
}

// clock returns seconds that pass; what they count from says nothing.
func (m *Machine) clock() float64 {
	if m.limits.Now != nil {
		const day = 86400
		now := m.limits.Now()
		return float64(now.Unix()%day) + float64(now.Nanosecond())/1e9
	}
	return float64(m.steps+slice-m.fuel) * stepTime.Seconds()
}
