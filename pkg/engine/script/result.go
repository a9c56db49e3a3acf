package script

import (
	"math"
	"strings"

	"github.com/tidwall/redcon"

	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/engine/script/lua"
)

// maxNesting is how deep tables may be nested in a result, or in JSON. A table
// that contains itself is deeper.
const maxNesting = 1000

// errNesting is the answer to a result that is nested deeper.
var errNesting = reply.Plain("result is nested too deep: a table may contain itself")

// writer writes what a script has returned.
type writer struct {
	m     *lua.Machine
	out   *reply.Reply
	limit int // of the whole buffer
}

// write appends a result to out, at most size bytes. What is wrong ends the run.
func write(m *lua.Machine, v lua.Value, name string, out *reply.Reply, size int) {
	w := writer{m, out, len(out.Buf) + size}
	if out.JSON {
		out.OK()
		out.Member("result")
		w.json(v, 0)
		return
	}
	kind, text := status(v)
	switch kind {
	case "err":
		out.Buf = reply.AppendError(out.Buf, errorText(name, text))
	case "function":
		out.Buf = reply.AppendError(out.Buf, "ERR "+text)
	default:
		w.resp(v, 0)
	}
}

// errorText is what follows the dash of an error that a script has returned.
// A first word in upper case is the kind of the error; without one, it is ERR.
func errorText(name, text string) string {
	if text == reply.ErrNumArgs.JSON {
		return "ERR wrong number of arguments for '" + name + "' command"
	}
	word, _, _ := strings.Cut(text, " ")
	for i := range len(word) {
		if word[i] < 'A' || word[i] > 'Z' {
			return "ERR " + text
		}
	}
	if word == "" {
		return "ERR " + text
	}
	return text
}

// status says whether v stands for a line and no value: a table with ok or err
// alone, or something that cannot be answered.
func status(v lua.Value) (kind, text string) {
	if v.Kind() == lua.KindFunction {
		return "function", unsupported(v)
	}
	t := v.Table()
	if t == nil || t.Len() > 0 || t.Size() != 1 {
		return "", ""
	}
	for _, kind := range []string{"ok", "err"} {
		if line := t.Field(kind); !line.IsNil() {
			return kind, line.String()
		}
	}
	return "", ""
}

func unsupported(v lua.Value) string { return "Unsupported lua type: " + v.Kind().String() }

// room ends the run when the answer has become too large.
func (w *writer) room(depth int) {
	w.m.Work(1)
	if len(w.out.Buf) > w.limit {
		w.m.Fail(lua.ErrMemory)
	}
	if depth > maxNesting {
		w.m.Fail(errNesting)
	}
}

func (w *writer) resp(v lua.Value, depth int) {
	w.room(depth)
	out := w.out
	switch v.Kind() {
	case lua.KindNil:
		out.Null()
	case lua.KindBool:
		if v.Truth() {
			out.Int(1)
		} else {
			out.Null()
		}
	case lua.KindNumber:
		if n := v.Num(); math.IsNaN(n) || math.IsInf(n, 0) {
			out.Bulk(v.String())
		} else {
			out.Buf = redcon.AppendInt(out.Buf, lua.ToInt(math.Floor(n)))
		}
	case lua.KindString:
		out.Bulk(v.Str())
	case lua.KindTable:
		w.respTable(v, depth)
	default:
		out.Buf = reply.AppendError(out.Buf, unsupported(v))
	}
}

func (w *writer) respTable(v lua.Value, depth int) {
	out, t := w.out, v.Table()
	switch kind, text := status(v); kind {
	case "ok":
		out.Simple(text)
		return
	case "err":
		out.Buf = reply.AppendError(out.Buf, text)
		return
	}
	isList := t.Len() > 0
	out.Array(t.Size())
	t.Each(func(key, elem lua.Value) bool {
		if !isList {
			out.Array(2)
			w.resp(key, depth+1)
		}
		w.resp(elem, depth+1)
		return true
	})
}

// json writes numbers and keys as Tile38 does, which is not always JSON.
func (w *writer) json(v lua.Value, depth int) {
	w.room(depth)
	out := w.out
	switch v.Kind() {
	case lua.KindNil:
		out.Buf = append(out.Buf, "null"...)
	case lua.KindString:
		out.Escaped(v.Str())
	case lua.KindTable:
		w.jsonTable(v.Table(), depth)
	case lua.KindFunction:
		out.Buf = append(out.Buf, unsupported(v)...)
	default:
		out.Buf = append(out.Buf, v.String()...)
	}
}

func (w *writer) jsonTable(t *lua.Table, depth int) {
	out := w.out
	isList := t.Len() > 0
	start, end := byte('{'), byte('}')
	if isList {
		start, end = '[', ']'
	}
	out.Buf = append(out.Buf, start)
	first := true
	t.Each(func(key, elem lua.Value) bool {
		if !first {
			out.Buf = append(out.Buf, ',')
		}
		first = false
		if !isList {
			if key.Kind() == lua.KindString {
				out.Escaped(key.Str())
			} else {
				out.Buf = append(out.Buf, key.String()...)
			}
			out.Buf = append(out.Buf, ':')
		}
		w.json(elem, depth+1)
		return true
	})
	out.Buf = append(out.Buf, end)
}
