package keys

import (
	"strconv"
	"strings"

	"github.com/tidwall/geojson"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/glob"
	"evenkeel/pkg/engine/reply"
)

var (
	errHooks    = reply.Plain("key has hooks set")
	errChannels = reply.Plain("key has channels set")
	errNoType   = &reply.Error{JSON: "key not found", Answer: "+none\r\n"}
)

// drop is DROP key.
func drop(req *command.Request, st *collection.State, ch *collection.Change, out *reply.Reply) error {
	if len(req.Args) != 2 {
		return reply.ErrNumArgs
	}
	if st.Collection(req.Args[1]) == nil {
		out.Int(0)
		return nil
	}
	ch.Drop(req.Args[1])
	out.Int(1)
	return nil
}

// flushdb is FLUSHDB. It is logged when there is nothing to flush, too.
func flushdb(req *command.Request, _ *collection.State, ch *collection.Change, out *reply.Reply) error {
	if len(req.Args) != 1 {
		return reply.ErrNumArgs
	}
	ch.Flush()
	out.OK()
	return nil
}

// rename is RENAME key newkey; a collection that is in the way goes.
func rename(req *command.Request, st *collection.State, ch *collection.Change, out *reply.Reply) error {
	if err := checkRename(req, st); err != nil {
		return err
	}
	ch.Rename(req.Args[1], req.Args[2])
	out.OK()
	return nil
}

// renamenx is RENAMENX key newkey; it does nothing when newkey exists.
func renamenx(req *command.Request, st *collection.State, ch *collection.Change, out *reply.Reply) error {
	if err := checkRename(req, st); err != nil {
		return err
	}
	if st.Collection(req.Args[2]) != nil {
		out.Int(0)
		return nil
	}
	ch.Rename(req.Args[1], req.Args[2])
	out.Int(1)
	return nil
}

// checkRename refuses to rename what hooks or channels watch, as they would go
// on watching the old name.
func checkRename(req *command.Request, st *collection.State) error {
	if len(req.Args) != 3 {
		return reply.ErrNumArgs
	}
	from, to := req.Args[1], req.Args[2]
	if st.Collection(from) == nil {
		return reply.ErrKeyNotFound
	}
	// A hook of either collection is told before any channel.
	one := st.HookOf(from)
	if hk := st.HookOf(to); one == nil || hk != nil && !hk.Channel {
		one = hk
	}
	switch {
	case one == nil:
		return nil
	case one.Channel:
		return errChannels
	}
	return errHooks
}

// keys is KEYS pattern.
func keys(req *command.Request, st *collection.State, out *reply.Reply) error {
	if len(req.Args) != 2 {
		return reply.ErrNumArgs
	}
	if req.Locked && st.Len() > manyKeys {
		return command.ErrLong
	}
	found := matchKeys(st, req.Args[1])
	if !out.JSON {
		out.Array(len(found))
		for _, name := range found {
			out.Bulk(name)
		}
		return nil
	}
	out.OK()
	out.Member("keys")
	out.Buf = append(out.Buf, '[')
	for i, name := range found {
		if i > 0 {
			out.Buf = append(out.Buf, ',')
		}
		out.Escaped(name)
	}
	out.Buf = append(out.Buf, ']')
	return nil
}

// manyKeys are more collections than KEYS looks at under a lock.
const manyKeys = 1000

func matchKeys(st *collection.State, pattern string) []string {
	var found []string
	prefix, ok := glob.Prefix(pattern)
	if !ok {
		// As in Tile38: it finds the key that is spelt like the pattern only.
		if st.Collection(pattern) != nil && glob.Match(pattern, pattern) {
			found = append(found, pattern)
		}
		return found
	}
	st.Scan(prefix, func(c *collection.Collection) bool {
		if !strings.HasPrefix(c.Name(), prefix) {
			return false
		}
		if glob.Match(pattern, c.Name()) {
			found = append(found, c.Name())
		}
		return true
	})
	return found
}

// typeOf is TYPE key.
func typeOf(req *command.Request, st *collection.State, out *reply.Reply) error {
	if len(req.Args) != 2 {
		return reply.ErrNumArgs
	}
	if st.Collection(req.Args[1]) == nil {
		return errNoType
	}
	if out.JSON {
		out.OK()
		out.Member("type")
		out.String("hash")
		return nil
	}
	out.Simple("hash")
	return nil
}

// bounds is BOUNDS key, in the order x, y. Without geometries all is 0.
func bounds(req *command.Request, st *collection.State, out *reply.Reply) error {
	if len(req.Args) != 2 {
		return reply.ErrNumArgs
	}
	c := st.Collection(req.Args[1])
	if c == nil {
		return reply.ErrKeyNull
	}
	r, _ := c.Bounds()
	if out.JSON {
		out.OK()
		out.Member("bounds")
		out.Buf = geojson.NewRect(r).AppendJSON(out.Buf)
		return nil
	}
	out.Array(2)
	out.Array(2)
	out.Float(r.Min.X)
	out.Float(r.Min.Y)
	out.Array(2)
	out.Float(r.Max.X)
	out.Float(r.Max.Y)
	return nil
}

// stats is STATS key ….
func stats(req *command.Request, st *collection.State, out *reply.Reply) error {
	names := req.Args[1:]
	if len(names) == 0 {
		return reply.ErrNumArgs
	}
	if !out.JSON {
		out.Array(len(names))
		for _, name := range names {
			statsRESP(st.Collection(name), out)
		}
		return nil
	}
	out.OK()
	out.Member("stats")
	for i, name := range names {
		out.Buf = append(out.Buf, "[,"[min(i, 1)])
		statsJSON(st.Collection(name), out)
	}
	out.Buf = append(out.Buf, ']')
	return nil
}

// count is a line of STATS.
type count struct {
	name string
	n    int
}

func counts(c *collection.Collection) [4]count {
	return [4]count{
		{"in_memory_size", c.Weight()},
		{"num_objects", c.Len()},
		{"num_points", c.Points()},
		{"num_strings", c.Texts()},
	}
}

func statsRESP(c *collection.Collection, out *reply.Reply) {
	if c == nil {
		out.Null()
		return
	}
	out.Array(8)
	for _, n := range counts(c) {
		out.Bulk(n.name)
		out.Bulk(strconv.Itoa(n.n))
	}
}

func statsJSON(c *collection.Collection, out *reply.Reply) {
	if c == nil {
		out.Buf = append(out.Buf, "null"...)
		return
	}
	for i, n := range counts(c) {
		out.Buf = append(out.Buf, "{,"[min(i, 1)])
		out.String(n.name)
		out.Buf = append(out.Buf, ':')
		out.Buf = strconv.AppendInt(out.Buf, int64(n.n), 10)
	}
	out.Buf = append(out.Buf, '}')
}
