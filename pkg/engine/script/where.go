package script

import (
	"errors"
	"strings"

	"github.com/tidwall/gjson"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/field"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/engine/script/lua"
)

// Where returns what a WHEREEVAL, or with sha a WHEREEVALSHA, asks of an item.
// Without args (nil) there is no ARGV, as in the fences of Tile38.
// The function belongs to one goroutine. It asks pause, if set, every few
// microseconds, and fails with its error.
//
// The items of a query are looked at by one machine, so that a script can keep
// something in ARGV, as in Tile38. The global variables FIELDS, PROPERTIES and
// ID are the item's. A script that looks into something that is no table does
// not keep the item.
func (s *Scripts) Where(text string, sha bool, args []string) (func(it *collection.Item, pause func() error) (bool, error), error) {
	var k *kept
	var err error
	if sha {
		if k = s.find(text); k == nil {
			return nil, errNoSHA
		}
	} else if k, err = s.compile(text, false); err != nil {
		return nil, err
	}
	w := &where{scripts: s, script: k}
	if args != nil {
		w.args = make([]string, 0, len(args))
	}
	for _, a := range args {
		w.args = append(w.args, strings.Clone(a))
	}
	return w.keeps, nil
}

// where is a WHEREEVAL of a query or of a fence.
type where struct {
	scripts *Scripts
	script  *kept
	args    []string     // nil: there is no ARGV
	m       *lua.Machine // nil: none yet, or the last one has failed
}

func (w *where) keeps(it *collection.Item, pause func() error) (bool, error) {
	fresh := w.m == nil
	if fresh {
		w.m = w.scripts.machine(true)
	}
	m := w.m
	err := m.Protect(pause, func() {
		if fresh && w.args != nil {
			m.SetGlobal("ARGV", texts(m, w.args))
		}
		w.globals(m, it)
	})
	var v lua.Value
	if err == nil {
		v, err = m.Run(w.script.prog, pause)
	}
	if err != nil {
		w.m = nil
		return w.failed(err)
	}
	switch v.Kind() {
	case lua.KindNumber:
		return v.Num() != 0, nil
	case lua.KindString:
		return v.Str() != "", nil
	case lua.KindTable:
		return v.Table().Size() > 0, nil
	case lua.KindFunction:
		return false, reply.Plain("script returned value of type " + v.Kind().String())
	}
	return v.Truth(), nil
}

// failed makes an answer of an error, line ends included.
func (w *where) failed(err error) (bool, error) {
	var e *lua.Error
	if errors.As(err, &e) {
		if strings.Contains(e.Text, "attempt to index a non-table object(") {
			return false, nil
		}
		return false, scriptError(e.Error())
	}
	l := &w.scripts.limits
	return false, failure(err, l.MaxItemTime, l.MaxItemMemory)
}

// globals sets what of the item the script may ask for.
func (w *where) globals(m *lua.Machine, it *collection.Item) {
	if w.script.id {
		m.SetGlobal("ID", m.String(it.ID()))
	}
	if w.script.fields {
		m.SetGlobal("FIELDS", fields(m, it))
	}
	if w.script.properties {
		m.SetGlobal("PROPERTIES", properties(m, it))
	}
}

// fields is a table of the item's fields, and of its height as z.
func fields(m *lua.Machine, it *collection.Item) lua.Value {
	t := m.NewTable()
	if !it.IsText() {
		m.SetField(t, "z", lua.Number(collection.Height(it.Object())))
	}
	it.Fields().Range(func(name string, v field.Value) bool {
		switch v.Kind() {
		case field.Null:
			m.SetField(t, name, lua.Value{})
		case field.False, field.True:
			m.SetField(t, name, lua.Bool(v.Kind() == field.True))
		case field.Number:
			m.SetField(t, name, lua.Number(v.Num()))
		default:
			m.SetField(t, name, m.String(v.Data()))
		}
		return true
	})
	return lua.TableValue(t)
}

// properties are those of a GeoJSON feature; without any, an empty table.
func properties(m *lua.Machine, it *collection.Item) lua.Value {
	if members := it.Object().Members(); members != "" {
		if p := gjson.Get(members, "properties"); p.Exists() {
			v, err := jsonValue(m, p)
			if err == nil {
				return v
			}
		}
	}
	return lua.TableValue(m.NewTable())
}
