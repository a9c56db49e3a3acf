// Package hook holds the commands that define webhooks and channels: SETHOOK,
// SETCHAN, DELHOOK, PDELHOOK, HOOKS and their kin. Definitions are data: they
// are logged, replicated, kept by a compaction and counted in the digest.
package hook

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/match"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

// Commands lists the commands of this package.
func Commands() []command.Spec {
	return []command.Spec{
		{Name: "sethook", Write: set(false)},
		{Name: "setchan", Write: set(true)},
		{Name: "delhook", Write: del(false)},
		{Name: "delchan", Write: del(true)},
		{Name: "pdelhook", Write: pdel(false)},
		{Name: "pdelchan", Write: pdel(true)},
		{Name: "hooks", Read: list(false)},
		{Name: "chans", Read: list(true)},
	}
}

var errShared = reply.Plain("hooks and channels cannot share the same name")

// set is SETHOOK name endpoints [META name value …] [EX seconds] search, or
// SETCHAN without the endpoints.
func set(channel bool) command.Write {
	return func(req *command.Request, st *collection.State, ch *collection.Change, out *reply.Reply) error {
		hk, err := parse(req, channel)
		if err != nil {
			return err
		}
		old := st.Hook(hk.Name)
		switch {
		case old != nil && old.Channel != channel:
			return errShared
		case old != nil && equal(old, hk):
			out.Int(0)
			return nil
		}
		ch.SetHook(hk)
		out.Int(1)
		return nil
	}
}

// parse reads the definition. Everything is cloned: it outlives the request.
func parse(req *command.Request, channel bool) (*collection.Hook, error) {
	args := req.Args[1:]
	hk := &collection.Hook{Channel: channel}
	want := 2
	if channel {
		want = 1
	}
	if len(args) < want {
		return nil, reply.ErrNumArgs
	}
	hk.Name = strings.Clone(args[0])
	if !channel {
		for _, e := range strings.Split(args[1], ",") {
			hk.Endpoints = append(hk.Endpoints, strings.Clone(strings.TrimSpace(e)))
		}
	}
	args, err := options(hk, args[want:], req.Now)
	if err != nil {
		return nil, err
	}
	if len(args) < 2 {
		return nil, reply.ErrNumArgs
	}
	switch strings.ToLower(args[0]) {
	case "nearby", "within", "intersects":
	default:
		return nil, reply.InvalidArgument(args[0])
	}
	hk.Key = strings.Clone(args[1])
	for _, a := range args {
		hk.Command = append(hk.Command, strings.Clone(a))
	}
	return hk, nil
}

// options reads META and EX and returns the words behind them.
func options(hk *collection.Hook, args []string, now int64) ([]string, error) {
	meta := map[string]string{}
	for len(args) > 0 {
		switch strings.ToLower(args[0]) {
		case "meta":
			if len(args) < 3 {
				return nil, reply.ErrNumArgs
			}
			meta[strings.Clone(args[1])] = strings.Clone(args[2])
			args = args[3:]
			continue
		case "ex":
			if len(args) < 2 {
				return nil, reply.ErrNumArgs
			}
			secs, err := strconv.ParseFloat(args[1], 64)
			if err != nil || math.IsNaN(secs) {
				return nil, reply.InvalidArgument(args[1])
			}
			hk.Deadline = now + int64(math.Round(max(min(secs, 1e11), -1e11)*1000))
			args = args[2:]
			continue
		}
		break
	}
	for _, name := range slices.Sorted(maps.Keys(meta)) {
		hk.Meta = append(hk.Meta, collection.Meta{Name: name, Value: meta[name]})
	}
	return args, nil
}

// equal says whether b says nothing new.
func equal(a, b *collection.Hook) bool {
	return slices.Equal(a.Endpoints, b.Endpoints) && slices.Equal(a.Meta, b.Meta) &&
		slices.Equal(a.Command, b.Command) && cmp.Compare(a.Deadline, b.Deadline) == 0
}

// del is DELHOOK name, DELCHAN name.
func del(channel bool) command.Write {
	return func(req *command.Request, st *collection.State, ch *collection.Change, out *reply.Reply) error {
		if len(req.Args) != 2 {
			return reply.ErrNumArgs
		}
		hk := st.Hook(req.Args[1])
		if hk == nil || hk.Channel != channel {
			out.Int(0)
			return nil
		}
		ch.RemoveHook(hk)
		out.Int(1)
		return nil
	}
}

// pdel is PDELHOOK pattern, PDELCHAN pattern.
func pdel(channel bool) command.Write {
	return func(req *command.Request, st *collection.State, ch *collection.Change, out *reply.Reply) error {
		if len(req.Args) != 2 {
			return reply.ErrNumArgs
		}
		n := 0
		st.ScanHooks(func(hk *collection.Hook) bool {
			if hk.Channel == channel && match.Match(hk.Name, req.Args[1]) {
				ch.RemoveHook(hk)
				n++
			}
			return true
		})
		out.Int(n)
		return nil
	}
}

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
		ttl = max(0, hk.Deadline-now) / 1000
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
