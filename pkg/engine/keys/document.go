package keys

import (
	"strings"

	"github.com/tidwall/geojson"
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/field"
	"evenkeel/pkg/engine/reply"
)

var (
	errNoPath  = &reply.Error{JSON: "path not found", Answer: ":0\r\n"}
	errBigPath = reply.Plain("path is too long, or asks for too much work")
)

// jget is JGET key id [path] [RAW].
func jget(req *command.Request, st *collection.State, out *reply.Reply) error {
	args := req.Args
	if len(args) < 3 || len(args) > 5 {
		return reply.ErrNumArgs
	}
	raw := false
	if len(args) == 5 {
		if raw = fold(args[4], "raw"); !raw {
			return reply.InvalidArgument(args[4])
		}
	}
	it, err := find(st, args[1], args[2], reply.ErrKeyNull, reply.ErrIDNull)
	if err != nil {
		return err
	}
	json := it.Value()
	var res gjson.Result
	if len(args) > 3 {
		if !readable(args[3], json) {
			return errBigPath
		}
		res = gjson.Get(json, args[3])
	} else {
		res = gjson.Parse(json)
	}
	writeResult(res, raw, out)
	return nil
}

func writeResult(res gjson.Result, raw bool, out *reply.Reply) {
	text := res.Raw
	if !raw {
		text = res.String()
	}
	switch {
	case out.JSON:
		out.OK()
		if res.Exists() {
			out.Member("value")
			out.String(text)
		}
	case res.Exists():
		out.Bulk(text)
	default:
		out.Null()
	}
}

// jset is JSET key id path value [RAW|STR]. As in Tile38, the item loses its
// deadline.
func (l *Limits) jset(req *command.Request, st *collection.State, ch *collection.Change, out *reply.Reply) error {
	args := req.Args
	if len(args) < 5 || len(args) > 6 {
		return reply.ErrNumArgs
	}
	path, value := args[3], args[4]
	raw := plainJSON(value)
	if len(args) == 6 {
		switch {
		case fold(args[5], "raw"):
			raw = true
		case fold(args[5], "str"):
			raw = false
		default:
			return reply.InvalidArgument(args[5])
		}
	}
	old, _ := st.Get(args[1], args[2])
	var json string
	var fields field.List
	if old != nil {
		json, fields = old.Value(), old.Fields()
	}
	if !writable(path) {
		return errBigPath
	}
	// A value that nests deeper than documents may could be put together from
	// two that do not.
	if err := l.checkDocument(json, value, path); err != nil {
		return err
	}
	var err error
	if raw {
		json, err = sjson.SetRaw(json, path, value)
	} else {
		json, err = sjson.Set(json, path, value)
	}
	if err != nil {
		return reply.Plain(err.Error())
	}
	it, err := l.document(args[2], json, old, fields)
	if err != nil {
		return err
	}
	ch.Put(args[1], it, old)
	out.OK()
	return nil
}

// jdel is JDEL key id path. As in Tile38, the item loses its deadline; other
// than there, the command is logged.
func (l *Limits) jdel(req *command.Request, st *collection.State, ch *collection.Change, out *reply.Reply) error {
	args := req.Args
	if len(args) != 4 {
		return reply.ErrNumArgs
	}
	old, ok := st.Get(args[1], args[2])
	if !ok {
		return reply.ErrKeyZero
	}
	var before string
	var fields field.List
	if old != nil {
		before, fields = old.Value(), old.Fields()
	}
	if !writable(args[3]) {
		return errBigPath
	}
	if err := l.checkDocument(before, "", args[3]); err != nil {
		return err
	}
	json, err := sjson.Delete(before, args[3])
	if err != nil {
		return reply.Plain(err.Error())
	}
	if json == before {
		return errNoPath
	}
	it, err := l.document(args[2], json, old, fields)
	if err != nil {
		return err
	}
	ch.Put(args[1], it, old)
	if old != nil && old.IsSpatial() {
		out.OK()
		return nil
	}
	out.Int(1)
	return nil
}

// document makes the item that takes the place of old: a geometry stays one, all
// else is a text. As in Tile38, a Circle feature, which no search by place finds
// anyhow, becomes a text, too: it could not hold the new member.
func (l *Limits) document(id, json string, old *collection.Item, fields field.List) (*collection.Item, error) {
	var obj geojson.Object = collection.Text(strings.Clone(json))
	if old != nil && old.IsSpatial() {
		var err error
		if obj, err = l.parseObject(json); err != nil {
			return nil, err
		}
	}
	return collection.NewItem(id, obj, fields, 0), nil
}

// plainJSON says whether a value stands in the document as it was sent, because
// it is true, false, null or a number. The integer part of a number may be
// missing.
func plainJSON(s string) bool {
	switch s {
	case "true", "false", "null":
		return true
	}
	s = strings.TrimPrefix(s, "-")
	if s == "" {
		return false
	}
	n := digitsLen(s)
	if n > 1 && s[0] == '0' {
		return false
	}
	if s = s[n:]; s != "" && s[0] == '.' {
		if n = digitsLen(s[1:]); n == 0 {
			return false
		}
		s = s[1+n:]
	}
	if s != "" && s[0]|0x20 == 'e' {
		s = s[1:]
		if s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		if n = digitsLen(s); n == 0 {
			return false
		}
		s = s[n:]
	}
	return s == ""
}

// Bounds of a path. The path language can ask for far more than it is long:
// a.999999999 makes an array of as many nulls, @tostr|@tostr doubles all
// backslashes with each step, and a thousand steps are a thousand calls deep.
const (
	maxPath   = 4096
	maxIndex  = 1_000_000 // elements that one JSET can add
	maxResult = 64 << 20  // bytes that the modifiers of one JGET can make
)

// checkDocument checks that what JSET or JDEL work on is not nested too deep
// for the recursive functions that do it.
func (l *Limits) checkDocument(json, value, path string) error {
	depth := max(field.Nesting(json), field.Nesting(value)+strings.Count(path, ".")+1)
	if depth > l.MaxJSONDepth {
		return errDepth(depth, l.MaxJSONDepth)
	}
	return nil
}

// writable says whether a path can be given to sjson.
func writable(path string) bool {
	if len(path) > maxPath {
		return false
	}
	total := 0
	for part := range strings.SplitSeq(path, ".") {
		n := 0
		for i := range len(part) {
			if part[i] < '0' || part[i] > '9' {
				n = 0
				break
			}
			n = min(n*10+int(part[i]-'0'), maxIndex+1)
		}
		if total += n; total > maxIndex {
			return false
		}
	}
	return true
}

// readable says whether a path can be given to gjson. Paths without modifiers
// and multipaths give a part of the document. The others are let through when
// an upper bound of the texts that they make is small enough.
func readable(path, json string) bool {
	if len(path) > maxPath {
		return false
	}
	steps := strings.Count(path, "@") + strings.Count(path, "!")
	many := strings.Count(path, "[") + strings.Count(path, "{")
	if steps == 0 && many == 0 {
		return true
	}
	depth := field.Nesting(json)
	if depth > maxLoggedDepth {
		return false
	}
	size := float64(len(json) + len(path))
	// @pretty indents each element by its depth, @tostr writes six bytes for
	// one, a multipath repeats the document once for each of its parts.
	widest := 6.0
	if strings.Contains(path, "pretty") {
		indent := 2.0
		if strings.Contains(path, "indent") || strings.Contains(path, "prefix") {
			indent = float64(len(path))
		}
		widest = max(widest, 4+indent*float64(depth+many+1))
	}
	for range steps {
		if size *= widest; size > maxResult {
			return false
		}
	}
	for range many {
		if size *= float64(2 + strings.Count(path, ",")); size > maxResult {
			return false
		}
	}
	return true
}
