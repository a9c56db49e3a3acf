package script

import (
	"encoding/json"
	"errors"
	"strconv"

	"github.com/tidwall/gjson"

	"evenkeel/pkg/engine/script/lua"
)

// jsonLibrary is the table json of scripts. Its errors have the texts of the
// library that Tile38 uses.
func jsonLibrary() lua.Library {
	return lua.Library{Name: "json", Funcs: map[string]lua.Native{
		"encode": func(c *lua.Call) {
			m := c.Machine()
			e := encoder{m: m, seen: map[*lua.Table]bool{}}
			err := e.value(c.Any(1), 0)
			m.Release(e.held)
			if err != nil {
				c.Return(lua.Value{}, m.String(err.Error()))
				return
			}
			c.Return(m.String(string(e.buf)))
		},
		"decode": func(c *lua.Call) {
			m := c.Machine()
			v, err := decode(m, c.CheckString(1))
			if err != nil {
				c.Return(lua.Value{}, m.String(err.Error()))
				return
			}
			c.Return(v)
		},
	}}
}

var (
	errNested = errors.New("cannot encode recursively nested tables to JSON")
	errSparse = errors.New("cannot encode sparse array")
	errKeys   = errors.New("cannot encode mixed or invalid key types")
)

// encoder writes JSON.
type encoder struct {
	m    *lua.Machine
	buf  []byte
	held int
	seen map[*lua.Table]bool
}

// add appends a text and counts it.
func (e *encoder) add(s string) {
	if len(e.buf)+len(s) > cap(e.buf) {
		n := 2*(len(e.buf)+len(s)) + 64
		e.m.Hold(n)
		e.held += n
	}
	e.buf = append(e.buf, s...)
}

// value appends a value. Errors are wrapped once a level, as encoding/json does.
func (e *encoder) value(v lua.Value, depth int) error {
	e.m.Work(1 + len(v.Str())/16)
	var err error
	switch v.Kind() {
	case lua.KindTable:
		switch t := v.Table(); {
		case e.seen[t] || depth > maxNesting:
			err = errNested
		default:
			e.m.Hold(64)
			e.held += 64
			e.seen[t] = true
			err = e.table(t, depth)
		}
	case lua.KindFunction:
		err = errors.New("cannot encode " + v.Kind().String() + " to JSON")
	case lua.KindNil:
		e.add("null")
	case lua.KindNumber:
		err = e.plain(v.Num())
	case lua.KindString:
		room := 6 * len(v.Str())
		e.m.Hold(room)
		err = e.plain(v.Str())
		e.m.Release(room)
	default:
		e.add(v.String())
	}
	if err != nil {
		return errors.New("json: error calling MarshalJSON for type json.jsonValue: " + err.Error())
	}
	return nil
}

func (e *encoder) plain(v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		e.add(string(b))
	}
	return err
}

func (e *encoder) table(t *lua.Table, depth int) (err error) {
	next := 1
	kind := lua.KindNil // of the keys
	t.Each(func(key, v lua.Value) bool {
		first := kind == lua.KindNil
		if first {
			kind = key.Kind()
		}
		switch {
		case key.Kind() != kind || kind != lua.KindNumber && kind != lua.KindString:
			err = errKeys
		case kind == lua.KindNumber && key.Num() != float64(next):
			err = errSparse
		}
		if err != nil {
			return false
		}
		next++
		switch {
		case !first:
			e.add(",")
		case kind == lua.KindNumber:
			e.add("[")
		default:
			e.add("{")
		}
		if kind == lua.KindString {
			if err = e.plain(key.Str()); err != nil {
				return false
			}
			e.add(":")
		}
		err = e.value(v, depth+1)
		return err == nil
	})
	if err != nil {
		return err
	}
	switch kind {
	case lua.KindNil:
		e.add("[]")
	case lua.KindNumber:
		e.add("]")
	default:
		e.add("}")
	}
	return nil
}

// decode reads JSON. In a list, null takes no place.
func decode(m *lua.Machine, text string) (lua.Value, error) {
	m.Work(len(text) / 8)
	m.Hold(2 * len(text))
	defer m.Release(2 * len(text))
	var raw json.RawMessage
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return lua.Value{}, err
	}
	return jsonValue(m, gjson.Parse(text))
}

// jsonValue makes a Lua value of valid JSON.
func jsonValue(m *lua.Machine, r gjson.Result) (v lua.Value, err error) {
	m.Work(1 + len(r.Raw)/16)
	switch r.Type {
	case gjson.True, gjson.False:
		return lua.Bool(r.Type == gjson.True), nil
	case gjson.Number:
		f, err := strconv.ParseFloat(r.Raw, 64)
		if err != nil {
			return v, errors.New("json: cannot unmarshal number " + r.Raw + " into Go value of type float64")
		}
		return lua.Number(f), nil
	case gjson.String:
		return jsonString(m, r)
	case gjson.JSON:
	default:
		return v, nil
	}
	t := m.NewTable()
	const size = 128
	m.Hold(size) // it is not in reach of the script yet
	isList := r.IsArray()
	r.ForEach(func(key, elem gjson.Result) bool {
		var e, k lua.Value
		if e, err = jsonValue(m, elem); err != nil {
			return false
		}
		if isList {
			m.Append(t, e)
			return true
		}
		if k, err = jsonString(m, key); err != nil {
			return false
		}
		m.SetField(t, k.Str(), e)
		return true
	})
	m.Release(size)
	return lua.TableValue(t), err
}

// jsonString reads escapes and bytes that are no UTF-8 as encoding/json does.
func jsonString(m *lua.Machine, r gjson.Result) (lua.Value, error) {
	s := r.Str
	for i := range len(r.Raw) {
		if c := r.Raw[i]; c == '\\' || c >= 0x80 {
			if err := json.Unmarshal([]byte(r.Raw), &s); err != nil {
				return lua.Value{}, err
			}
			break
		}
	}
	return m.String(s), nil
}
