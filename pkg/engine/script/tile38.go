package script

import (
	"errors"
	"strconv"
	"strings"

	"github.com/tidwall/geojson/geo"

	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/engine/script/lua"
)

// tile38Library is the table tile38 of scripts.
func tile38Library() lua.Library {
	return lua.Library{Name: "tile38", Funcs: map[string]lua.Native{
		"call": func(c *lua.Call) {
			v, err := callCommand(c)
			if err != "" {
				c.Fail("ERR %s", err)
			}
			c.Return(v)
		},
		"pcall": func(c *lua.Call) {
			v, err := callCommand(c)
			if err != "" {
				v = line(c.Machine(), "err", err)
			}
			c.Return(v)
		},
		"error_reply":  func(c *lua.Call) { c.Return(line(c.Machine(), "err", arg(c, 1))) },
		"status_reply": func(c *lua.Call) { c.Return(line(c.Machine(), "ok", arg(c, 1))) },
		"sha1hex": func(c *lua.Call) {
			text := arg(c, 1)
			c.Machine().Work(len(text) / 16)
			c.Return(c.Machine().String(shaOf(text)))
		},
		"distance_to": func(c *lua.Call) {
			var n [4]float64
			for i := range n {
				n[i] = c.Arg(i + 1).AsNumber()
			}
			c.Return(lua.Number(geo.DistanceTo(n[0], n[1], n[2], n[3])))
		},
	}}
}

// arg returns an argument as a text; what is neither string nor number is empty.
func arg(c *lua.Call, i int) string {
	s, _ := c.Arg(i).Text()
	return s
}

// line makes {ok=text} or {err=text}.
func line(m *lua.Machine, kind, text string) lua.Value {
	t := m.NewTable()
	m.SetField(t, kind, m.String(text))
	return lua.TableValue(t)
}

// callCommand carries out the command that the arguments are; fault is the text
// of its error.
func callCommand(c *lua.Call) (v lua.Value, fault string) {
	m := c.Machine()
	var args []string
	for i := range c.Len() {
		a := arg(c, i+1)
		if a == "" {
			break // as in Tile38, the command ends there
		}
		args = append(args, a)
	}
	if len(args) == 0 {
		return v, reply.ErrNumArgs.JSON
	}
	s, ok := m.Data.(*session)
	if !ok || s.call == nil {
		return v, errRefused.Error()
	}
	if err := check(args, s.readOnly); err != nil {
		return v, err.Error()
	}
	const cost = 50 // steps
	m.Work(cost)
	resp, err := s.call(args)
	if err != nil {
		var e *reply.Error
		switch {
		case errors.As(err, &e) && e.Null:
			return lua.Bool(false), ""
		case errors.As(err, &e) && e.Answer != "":
			resp = []byte(e.Answer)
		default:
			return v, err.Error()
		}
	}
	m.Hold(len(resp))
	v, fault = topLevel(m, resp)
	m.Release(len(resp))
	return v, fault
}

// topLevel reads a whole answer; an error in it is a fault.
func topLevel(m *lua.Machine, resp []byte) (v lua.Value, fault string) {
	if len(resp) > 0 && resp[0] == '-' {
		text := strings.TrimRight(string(resp[1:]), "\r\n")
		if strings.HasPrefix(text, "ERR wrong number of arguments for ") {
			return v, reply.ErrNumArgs.JSON
		}
		return v, strings.TrimPrefix(text, "ERR ")
	}
	r := answer{m: m, rest: resp}
	v, ok := r.value(0)
	if !ok {
		return v, "answer cannot be read"
	}
	return v, ""
}

// answer reads RESP.
type answer struct {
	m    *lua.Machine
	rest []byte
}

// line reads up to the end of the line.
func (a *answer) line() (kind byte, text string, ok bool) {
	for i, b := range a.rest {
		if b == '\n' && i >= 2 {
			kind, text = a.rest[0], string(a.rest[1:i-1])
			a.rest = a.rest[i+1:]
			return kind, text, true
		}
	}
	return 0, "", false
}

// value reads one value: an integer is a number, a string a string, null is
// false, a line {ok=…} or {err=…}, and an array a table.
func (a *answer) value(depth int) (v lua.Value, ok bool) {
	a.m.Work(1)
	kind, text, ok := a.line()
	if !ok || depth > maxNesting {
		return v, false
	}
	switch kind {
	case '+':
		return line(a.m, "ok", text), true
	case '-':
		return line(a.m, "err", text), true
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return v, false
	}
	switch {
	case kind == ':':
		return lua.Number(float64(n)), true
	case n < 0:
		return lua.Bool(false), true
	case kind == '$' && n <= int64(len(a.rest))-2:
		v = a.m.String(string(a.rest[:n]))
		a.rest = a.rest[n+2:]
		return v, true
	case kind == '*':
		t := a.m.NewTable()
		a.m.Hold(128) // it is not in reach of the script yet
		for range n {
			elem, ok := a.value(depth + 1)
			if !ok {
				return v, false
			}
			a.m.Append(t, elem)
		}
		a.m.Release(128)
		return lua.TableValue(t), true
	}
	return v, false
}
