package hook

import (
	"strconv"
	"strings"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/glob"
	"evenkeel/pkg/engine/reply"
)

// list is HOOKS pattern, CHANS pattern.
func list(channel bool) command.Read {
	return func(req *command.Request, st *collection.State, out *reply.Reply) error {
		if len(req.Args) != 2 || req.Args[1] == "" {
			return reply.ErrNumArgs
		}
		found, err := find(st, channel, req)
		if err != nil {
			return err
		}
		if out.JSON {
			return listJSON(found, channel, req, out)
		}
		out.Array(len(found))
		for i, hk := range found {
			if err := pause(req, i); err != nil {
				return err
			}
			listRESP(hk, out)
		}
		return nil
	}
}

// pause lets a long list be interrupted now and then.
func pause(req *command.Request, n int) error {
	if n%64 != 63 || req.Pause == nil {
		return nil
	}
	return req.Pause()
}

// find returns the hooks or the channels that are asked for.
func find(st *collection.State, channel bool, req *command.Request) (found []*collection.Hook, err error) {
	n := 0
	scan(st, req.Args[1], func(hk *collection.Hook) bool {
		if hk.Channel == channel && matches(req.Args[1], hk.Name) {
			found = append(found, hk)
		}
		err = pause(req, n)
		n++
		return err == nil
	})
	return found, err
}

// each visits the hooks or the channels whose names match a pattern.
func each(st *collection.State, channel bool, pattern string, visit func(*collection.Hook)) {
	scan(st, pattern, func(hk *collection.Hook) bool {
		if hk.Channel == channel && matches(pattern, hk.Name) {
			visit(hk)
		}
		return true
	})
}

// scan visits hooks and channels, in order, all those that match among them: the
// ones that begin as the pattern does before its first special character, or the
// one that is called like the pattern if no other can match.
func scan(st *collection.State, pattern string, visit func(*collection.Hook) bool) {
	prefix, ok := glob.Prefix(pattern)
	if !ok || prefix == pattern {
		if hk := st.Hook(pattern); hk != nil {
			visit(hk)
		}
		return
	}
	st.ScanHooksFrom(prefix, func(hk *collection.Hook) bool {
		return strings.HasPrefix(hk.Name, prefix) && visit(hk)
	})
}

// matches says whether the name of a hook matches a pattern. As in Tile38, it
// must begin with the text before the first special character, a backslash
// included; a pattern that starts with a special character other than * matches
// only what is called like it.
func matches(pattern, name string) bool {
	prefix, ok := glob.Prefix(pattern)
	if ok && !strings.HasPrefix(name, prefix) || !ok && name != pattern {
		return false
	}
	return glob.Match(pattern, name)
}

func listRESP(hk *collection.Hook, out *reply.Reply) {
	endpoints := hk.Endpoints
	if hk.Channel {
		endpoints = []string{"local://" + hk.Name}
	}
	out.Array(5)
	out.Bulk(hk.Name)
	out.Bulk(hk.Key)
	bulks(endpoints, out)
	bulks(hk.Command, out)
	out.Array(2 * len(hk.Meta))
	for _, m := range hk.Meta {
		out.Bulk(m.Name)
		out.Bulk(m.Value)
	}
}

func bulks(list []string, out *reply.Reply) {
	out.Array(len(list))
	for _, s := range list {
		out.Bulk(s)
	}
}

func listJSON(found []*collection.Hook, channel bool, req *command.Request, out *reply.Reply) error {
	out.OK()
	if channel {
		out.Member("chans")
	} else {
		out.Member("hooks")
	}
	out.Buf = append(out.Buf, '[')
	for i, hk := range found {
		if i > 0 {
			out.Buf = append(out.Buf, ',')
		}
		if err := pause(req, i); err != nil {
			return err
		}
		hookJSON(hk, req.Now, out)
	}
	out.Buf = append(out.Buf, ']')
	return nil
}

func hookJSON(hk *collection.Hook, now int64, out *reply.Reply) {
	out.Buf = append(out.Buf, `{"name":`...)
	out.String(hk.Name)
	out.Member("key")
	out.String(hk.Key)
	out.Member("ttl")
	ttl := int64(-1)
	if hk.Deadline != 0 {
		// A second has begun to pass when it is asked for.
		ttl = max(0, hk.Deadline-now-1) / 1000
	}
	out.Buf = strconv.AppendInt(out.Buf, ttl, 10)
	if !hk.Channel {
		out.Member("endpoints")
		stringsJSON(hk.Endpoints, out)
	}
	out.Member("command")
	stringsJSON(hk.Command, out)
	out.Member("meta")
	out.Buf = append(out.Buf, '{')
	for i, m := range hk.Meta {
		if i > 0 {
			out.Buf = append(out.Buf, ',')
		}
		out.String(m.Name)
		out.Buf = append(out.Buf, ':')
		out.String(m.Value)
	}
	out.Buf = append(out.Buf, '}', '}')
}

func stringsJSON(list []string, out *reply.Reply) {
	out.Buf = append(out.Buf, '[')
	for i, s := range list {
		if i > 0 {
			out.Buf = append(out.Buf, ',')
		}
		out.String(s)
	}
	out.Buf = append(out.Buf, ']')
}
