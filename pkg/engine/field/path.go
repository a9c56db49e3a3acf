package field

import (
	"strings"

	"github.com/tidwall/gjson"
)

// maxPath is the length of a path into a field's JSON, in bytes; a longer one
// finds nothing. It is no option, because FSET compares with what a path finds.
const maxPath = 4096

// Lookup returns what a name stands for: a.b is the member b of the field a when
// that is JSON and has such a member, and the field a.b otherwise. What follows
// the first dot is a path of gjson without modifiers and without what puts
// several paths together, which could multiply the value.
func (l List) Lookup(name string) (v Value, ok bool) {
	packed := l.fields()
	if packed == "" {
		return Value{}, false
	}
	if dot := strings.IndexByte(name, '.'); dot >= 0 && len(name)-dot <= maxPath && plainPath(name[dot:]) {
		if e, _, ok := find(packed, name[:dot]); ok && e.kind == JSON {
			if r := gjson.Get(e.data, name[dot+1:]); r.Exists() {
				return valueOf(r), true
			}
		}
	}
	e, _, ok := find(packed, name)
	if !ok {
		return Value{}, false
	}
	return e.value(), true
}

// plainPath says whether no part of a path, which begins with a dot, is a
// modifier, a literal or a list of paths.
func plainPath(path string) bool {
	for i := range len(path) - 1 {
		if c := path[i]; c == '.' || c == '|' {
			switch path[i+1] {
			case '@', '!', '{', '[':
				return false
			}
		}
	}
	return true
}

// valueOf returns the value of a part of a field's JSON. Unlike the field
// itself, a text in it stays one, whatever it looks like.
func valueOf(r gjson.Result) Value {
	switch r.Type {
	case gjson.Null:
		return Value{kind: Null, data: "null"}
	case gjson.False:
		return Value{kind: False, data: "false"}
	case gjson.True:
		return Value{kind: True, data: "true", num: 1}
	case gjson.Number:
		return Value{kind: Number, data: r.String(), num: r.Num}
	case gjson.JSON:
		return Value{kind: JSON, data: r.Raw}
	}
	return Value{kind: String, data: r.Str}
}
