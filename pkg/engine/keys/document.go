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
	if req.Locked && it.Heavy() {
		return command.ErrLong
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

// edit is what JSET or JDEL makes of a document.
type edit struct{ object geojson.Object }

// edited is an edit that was done ahead.
type edited struct {
	edit
	of  geojson.Object // what it is an edit of
	err error
}

// ahead is the Ahead step of JSET and JDEL: it does the work on a large document.
func (l *Limits) ahead(do func(req *command.Request, old *collection.Item) (edit, error)) func(*command.Request, command.View) {
	return func(req *command.Request, now command.View) {
		if len(req.Args) < 4 {
			return
		}
		old := now.Item(req.Args[1], req.Args[2])
		if req.Size() < largeEdit && (old == nil || !old.Heavy()) && !farIndex(req.Args[3]) {
			return
		}
		e := &edited{of: objectOf(old)}
		e.edit, e.err = do(req, old)
		req.Ahead = e
	}
}

// largeEdit is the size of a JSET from which on it is done ahead, in bytes.
const largeEdit = 32 << 10

// farIndex says whether a path may make a large document of a small one.
func farIndex(path string) bool {
	for part := range strings.SplitSeq(path, ".") {
		if len(part) > 3 && digitsLen(part) == len(part) {
			return true
		}
	}
	return false
}

func objectOf(it *collection.Item) geojson.Object {
	if it == nil {
		return nil
	}
	return it.Object()
}

// take returns what was done ahead if it was done to the document as it is now,
// and does it otherwise.
func take(req *command.Request, old *collection.Item, do func(*command.Request, *collection.Item) (edit, error)) (edit, error) {
	if e, ok := req.Ahead.(*edited); ok && e.of == objectOf(old) {
		return e.edit, e.err
	}
	return do(req, old)
}

// jset is JSET key id path value [RAW|STR]. As in Tile38, the item loses its
// deadline.
func (l *Limits) jset(req *command.Request, st *collection.State, ch *collection.Change, out *reply.Reply) error {
	if len(req.Args) < 5 || len(req.Args) > 6 {
		return reply.ErrNumArgs
	}
	key, id := req.Args[1], req.Args[2]
	old, _ := st.Get(key, id)
	e, err := take(req, old, l.editSet)
	if err != nil {
		return err
	}
	ch.Put(key, e.item(id, old), old)
	out.OK()
	return nil
}

// editSet is the work of JSET.
func (l *Limits) editSet(req *command.Request, old *collection.Item) (edit, error) {
	args := req.Args
	if len(args) < 5 {
		return edit{}, reply.ErrNumArgs
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
			return edit{}, reply.InvalidArgument(args[5])
		}
	}
	var json string
	if old != nil {
		json = old.Value()
	}
	if !writable(path) {
		return edit{}, errBigPath
	}
	// A value that nests deeper than documents may could be put together from
	// two that do not.
	if err := l.checkDocument(json, value, path); err != nil {
		return edit{}, err
	}
	var err error
	if raw {
		json, err = sjson.SetRaw(json, path, value)
	} else {
		json, err = sjson.Set(json, path, value)
	}
	if err != nil {
		return edit{}, reply.Plain(err.Error())
	}
	return l.document(args[2], json, old)
}

// jdel is JDEL key id path. As in Tile38, the item loses its deadline; other
// than there, the command is logged.
func (l *Limits) jdel(req *command.Request, st *collection.State, ch *collection.Change, out *reply.Reply) error {
	if len(req.Args) != 4 {
		return reply.ErrNumArgs
	}
	key, id := req.Args[1], req.Args[2]
	old, ok := st.Get(key, id)
	if !ok {
		return reply.ErrKeyZero
	}
	e, err := take(req, old, l.editDel)
	if err != nil {
		return err
	}
	ch.Put(key, e.item(id, old), old)
	if old != nil && old.IsSpatial() {
		out.OK()
		return nil
	}
	out.Int(1)
	return nil
}

// editDel is the work of JDEL.
func (l *Limits) editDel(req *command.Request, old *collection.Item) (edit, error) {
	path := req.Args[3]
	var before string
	if old != nil {
		before = old.Value()
	}
	if !writable(path) {
		return edit{}, errBigPath
	}
	if err := l.checkDocument(before, "", path); err != nil {
		return edit{}, err
	}
	json, err := sjson.Delete(before, path)
	if err != nil {
		return edit{}, reply.Plain(err.Error())
	}
	if json == before {
		return edit{}, errNoPath
	}
	return l.document(req.Args[2], json, old)
}

// document makes the object that takes the place of old's: a geometry stays one,
// all else is a text. As in Tile38, a Circle feature, which no search by place
// finds anyhow, becomes a text, too: it could not hold the new member.
func (l *Limits) document(id, json string, old *collection.Item) (edit, error) {
	var obj geojson.Object = collection.Text(strings.Clone(json))
	if old != nil && old.IsSpatial() {
		var err error
		if obj, err = l.parseObject(json); err != nil {
			return edit{}, err
		}
	}
	return edit{object: collection.Prepare(id, obj, len(json))}, nil
}

// item returns the item that takes the place of old.
func (e *edit) item(id string, old *collection.Item) *collection.Item {
	var fields field.List
	if old != nil {
		fields = old.Fields()
	}
	return collection.NewItem(id, e.object, fields, 0)
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
