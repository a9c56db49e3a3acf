package hook

import (
	"strconv"

	"github.com/tidwall/match"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

// list is HOOKS pattern, CHANS pattern.
func list(channel bool) command.Read {
	return func(req *command.Request, st *collection.State, out *reply.Reply) error {
		if len(req.Args) != 2 {
			return reply.ErrNumArgs
		}
		var found []*collection.Hook
		st.ScanHooks(func(hk *collection.Hook) bool {
			if hk.Channel == channel && match.Match(hk.Name, req.Args[1]) {
				found = append(found, hk)
			}
			return true
		})
		if out.JSON {
			listJSON(found, channel, req.Now, out)
			return nil
		}
		out.Array(len(found))
		for _, hk := range found {
			listRESP(hk, out)
		}
		return nil
	}
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

func listJSON(found []*collection.Hook, channel bool, now int64, out *reply.Reply) {
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
		hookJSON(hk, now, out)
	}
	out.Buf = append(out.Buf, ']')
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
