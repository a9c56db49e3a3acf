package hook

import (
	"slices"

	"github.com/tidwall/match"

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
func Logged() []command.Spec { return Rules{logged: true}.Commands() }

// Commands lists the commands of this package.
func (r Rules) Commands() []command.Spec {
	return []command.Spec{
		{Name: "sethook", Write: r.set(false)},
		{Name: "setchan", Write: r.set(true)},
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
		if !r.logged {
			if _, err := r.Search.ParseFence(hk.Command[0], hk.Command[1:], st, true); err != nil {
				return err
			}
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

// equal says whether b says nothing new. What ends always does: it ends later.
func equal(a, b *collection.Hook) bool {
	return slices.Equal(a.Endpoints, b.Endpoints) && slices.Equal(a.Meta, b.Meta) &&
		slices.Equal(a.Command, b.Command) && a.Deadline == 0 && b.Deadline == 0
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
