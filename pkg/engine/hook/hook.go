package hook

import (
	"slices"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/engine/search"
)

// Rules says what definitions are accepted.
type Rules struct {
	// Search bounds what the search of a definition may cost.
	Search search.Limits
	// logged says that definitions were accepted once.
	logged bool
}

// Commands lists the commands of this package with the default rules.
func Commands() []command.Spec { return Rules{}.Commands() }

// Logged lists the commands as a log or a leader has them: definitions are not
// checked again.
// PUBLISH is in logs so that it reaches those who listen on followers; it
// changes nothing.
func Logged() []command.Spec {
	publish := func(*command.Request, *collection.State, *collection.Change, *reply.Reply) error { return nil }
	return append(Rules{logged: true}.Commands(), command.Spec{Name: "publish", Write: publish})
}

// Commands lists the commands of this package.
func (r Rules) Commands() []command.Spec {
	return []command.Spec{
		{Name: "sethook", Write: r.set(false), Ahead: r.ahead},
		{Name: "setchan", Write: r.set(true), Ahead: r.ahead},
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
func (r Rules) set(channel bool) command.Write {
	return func(req *command.Request, st *collection.State, ch *collection.Change, out *reply.Reply) error {
		hk, err := r.parse(req, channel)
		if err != nil {
			return err
		}
		var compiled any
		if !r.logged {
			f, err := r.compile(req, hk, st)
			if err != nil {
				return err
			}
			compiled = f
		}
		old := st.Hook(hk.Name)
		switch {
		case old != nil && old.Channel != channel:
			return errShared
		case old != nil && equal(old, hk):
			out.Int(0)
			return nil
		}
		ch.SetCompiledHook(hk, compiled)
		out.Int(1)
		return nil
	}
}

// equal says whether b says nothing new. What ends always does: it ends later.
func equal(a, b *collection.Hook) bool {
	return slices.Equal(a.Endpoints, b.Endpoints) && slices.Equal(a.Meta, b.Meta) &&
		slices.Equal(a.Command, b.Command) && a.Deadline == 0 && b.Deadline == 0
}

// del is DELHOOK name, DELCHAN name.
func del(channel bool) command.Write {
	return func(req *command.Request, st *collection.State, ch *collection.Change, out *reply.Reply) error {
		if len(req.Args) != 2 || req.Args[1] == "" {
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
		if len(req.Args) != 2 || req.Args[1] == "" {
			return reply.ErrNumArgs
		}
		n := 0
		each(st, channel, req.Args[1], func(hk *collection.Hook) {
			ch.RemoveHook(hk)
			n++
		})
		out.Int(n)
		return nil
	}
}
