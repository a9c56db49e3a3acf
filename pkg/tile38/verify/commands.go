package verify

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"evenkeel/pkg/engine/field"
	"evenkeel/pkg/engine/keys"
)

func nowMillis() int64 { return time.Now().UnixMilli() }

// sentName spells the name of a field: white space around it does not count.
func sentName(name string) string {
	if keys.Reserved(name) {
		return " " + name
	}
	return name
}

// Difference is an object, a hook or a channel that is not the same on both
// sides, as it was when it was last looked at.
type Difference struct {
	Key string // the collection; of a hook, the one that it watches
	ID  string // of the object, or the name of the hook
	Why Why

	Want, Have         *Object // nil: it is not there
	WantHook, HaveHook *Hook   // instead of those, for a hook
}

// Hook says whether it is about a hook or a channel.
func (d Difference) Hook() bool { return d.WantHook != nil || d.HaveHook != nil }

// Commands returns what makes have what want is, when it is carried out on have
// now.
func (d Difference) Commands() [][]string { return d.CommandsAt(nowMillis()) }

// CommandsAt is Commands for those that are carried out at the time now, in Unix
// milliseconds.
func (d Difference) CommandsAt(now int64) [][]string {
	switch {
	case d.Hook():
		return d.hookCommands(now)
	case d.Want == nil && d.Have == nil:
		return nil
	case d.Want == nil:
		return [][]string{{"DEL", d.Key, d.ID}}
	}
	var cmds [][]string
	if names := stuck(d.Want, d.Have); len(names) > 0 {
		loosen := []string{"FSET", d.Key, d.ID}
		for _, name := range names {
			loosen = append(loosen, sentName(name), otherValue)
		}
		cmds = append(cmds, loosen)
	}
	if d.Have == nil || d.Why&(Kind|Value) != 0 {
		return append(cmds, setCommand(d.Key, d.Want, d.Have, now))
	}
	if d.Why&Fields != 0 {
		cmds = append(cmds, appendFields([]string{"FSET", d.Key, d.ID}, "", d.Want, d.Have))
	}
	switch {
	case d.Why&Expiry == 0:
	case d.Want.Expires == 0:
		cmds = append(cmds, []string{"PERSIST", d.Key, d.ID})
	default:
		cmds = append(cmds, []string{"EXPIRE", d.Key, d.ID, seconds(d.Want.Expires - now)})
	}
	return cmds
}

// otherValue is of another kind than all fields that get stuck.
const otherValue = "true"

// stuck returns the names of fields that cannot be set from what have has to what
// want has, because Tile38 takes the two values for the same and leaves the old
// one: NaN for every number, ABC for abc.
func stuck(want, have *Object) []string {
	if have == nil {
		return nil
	}
	wanted := make(map[string]string, len(want.Fields))
	for _, f := range want.Fields {
		wanted[f.Name] = f.Value
	}
	old := make(map[string]string, len(have.Fields))
	for _, f := range have.Fields {
		old[f.Name] = f.Value
	}
	var names []string
	look := func(name string) {
		w, h := cmp.Or(wanted[name], "0"), cmp.Or(old[name], "0")
		if !sameField(w, h) && field.ValueOf(w).Equals(field.ValueOf(h)) {
			names = append(names, name)
		}
	}
	for _, f := range want.Fields {
		look(f.Name)
	}
	for _, f := range have.Fields {
		if _, ok := wanted[f.Name]; !ok {
			look(f.Name)
		}
	}
	return names
}

// setCommand is a SET that makes have, which may be nil, what want is. SET keeps
// fields, so those that are to go are set to 0.
func setCommand(key string, want, have *Object, now int64) []string {
	args := appendFields([]string{"SET", key, want.ID}, "FIELD", want, have)
	if want.Expires != 0 {
		args = append(args, "EX", seconds(want.Expires-now))
	}
	return append(args, valueArgs(want)...)
}

// appendFields adds the fields that differ, each behind word unless that is empty.
func appendFields(args []string, word string, want, have *Object) []string {
	add := func(name, value string) {
		if word != "" {
			args = append(args, word)
		}
		args = append(args, sentName(name), value)
	}
	old := map[string]string{}
	if have != nil {
		for _, f := range have.Fields {
			old[f.Name] = f.Value
		}
	}
	for _, f := range want.Fields {
		if v, ok := old[f.Name]; !ok || v != f.Value {
			add(f.Name, f.Value)
		}
		delete(old, f.Name)
	}
	var gone []string
	for name := range old {
		gone = append(gone, name)
	}
	slices.Sort(gone)
	for _, name := range gone {
		add(name, "0")
	}
	return args
}

// seconds spells milliseconds as seconds; what is over ends at once.
func seconds(ms int64) string {
	return strconv.FormatFloat(float64(max(ms, 1))/1000, 'f', -1, 64)
}

// valueArgs are the last words of a SET.
func valueArgs(o *Object) []string {
	if o.Text {
		return []string{"STRING", o.Value}
	}
	if c := plainPoint(o.Value); c != nil {
		args := []string{"POINT", c[1], c[0]}
		return append(args, c[2:]...)
	}
	return []string{"OBJECT", o.Value}
}

// plainPoint returns the coordinates of a point that is nothing else, or nil.
// POINT takes less memory than an OBJECT which says the same.
func plainPoint(json string) []string {
	rest, ok := strings.CutPrefix(json, `{"type":"Point","coordinates":[`)
	if !ok {
		return nil
	}
	if rest, ok = strings.CutSuffix(rest, "]}"); !ok {
		return nil
	}
	c := strings.Split(rest, ",")
	if len(c) < 2 || len(c) > 3 {
		return nil
	}
	for _, s := range c {
		if v := gjson.Parse(s); v.Type != gjson.Number || v.Raw != s || !gjson.Valid(s) {
			return nil
		}
	}
	return c
}

func (d Difference) hookCommands(now int64) [][]string {
	want, have := d.WantHook, d.HaveHook
	var cmds [][]string
	if have != nil && (want == nil || want.Channel != have.Channel) {
		cmds = append(cmds, []string{hookWord("DEL", have), have.Name})
	}
	if want == nil {
		return cmds
	}
	if have != nil && len(cmds) == 0 && d.Why&Expiry != 0 && want.Expires == 0 {
		// Nothing but the absence of EX has changed, which may be taken for nothing.
		cmds = append(cmds, []string{hookWord("DEL", have), have.Name})
	}
	return append(cmds, hookCommand(want, now))
}

func hookWord(verb string, h *Hook) string {
	if h.Channel {
		return verb + "CHAN"
	}
	return verb + "HOOK"
}

// hookCommand is the SETHOOK or SETCHAN that makes a hook.
func hookCommand(h *Hook, now int64) []string {
	args := []string{hookWord("SET", h), h.Name}
	if !h.Channel {
		args = append(args, strings.Join(h.Endpoints, ","))
	}
	for _, m := range h.Meta {
		args = append(args, "META", m.Name, m.Value)
	}
	if h.Expires != 0 {
		args = append(args, "EX", seconds(h.Expires-now))
	}
	return append(args, h.Command...)
}

func sameDefinition(a, b *Hook) bool {
	return a.Key == b.Key && slices.Equal(a.Endpoints, b.Endpoints) &&
		slices.Equal(a.Meta, b.Meta) && slices.Equal(a.Command, b.Command)
}
