package verify

import (
	"math"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"evenkeel/pkg/engine/field"
)

// Why says how two objects, or hooks, differ: any of these.
type Why uint8

// The kinds of differences.
const (
	Missing Why = 1 << iota // only want has it
	Extra                   // only have has it: a ghost
	Kind                    // a STRING here, an object there
	Value                   // another text or geometry; of a hook, another definition
	Fields
	Expiry // one ends and the other does not, or at another time
	kinds  = iota
)

var whyNames = [kinds]string{"missing", "extra", "kind", "value", "fields", "expiry"} //nolint:gochecknoglobals // never written

// String lists the kinds: "value, fields".
func (w Why) String() string { return strings.Join(w.Names(), ", ") }

// Names lists the kinds.
func (w Why) Names() []string {
	var names []string
	for i, name := range whyNames {
		if w&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// compareObjects says how two objects differ, either of which may be nil.
func compareObjects(want, have *Object, tolerance time.Duration) Why {
	switch {
	case want == nil && have == nil:
		return 0
	case have == nil:
		return Missing
	case want == nil:
		return Extra
	}
	var w Why
	switch {
	case want.Text != have.Text:
		w |= Kind
	case want.Value != have.Value && (want.Text || !sameJSON(want.Value, have.Value)):
		w |= Value
	}
	if !sameFields(want.Fields, have.Fields) {
		w |= Fields
	}
	if !sameTime(want.Expires, have.Expires, tolerance) {
		w |= Expiry
	}
	return w
}

func sameTime(a, b int64, tolerance time.Duration) bool {
	if a == 0 || b == 0 {
		return a == b
	}
	return max(a-b, b-a) <= tolerance.Milliseconds()
}

// sameFields compares fields. One that is 0, however it is spelt, is the same as
// none.
func sameFields(a, b []Field) bool {
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Name < b[0].Name:
			if !zero(a[0]) {
				return false
			}
			a = a[1:]
		case len(a) == 0 || b[0].Name < a[0].Name:
			if !zero(b[0]) {
				return false
			}
			b = b[1:]
		default:
			if !sameField(a[0].Value, b[0].Value) {
				return false
			}
			a, b = a[1:], b[1:]
		}
	}
	return true
}

func zero(f Field) bool { return sameField(f.Value, "0") }

// sameField compares two values: numbers by what they are worth, JSON without
// regard to its spelling.
func sameField(a, b string) bool {
	if a == b {
		return true
	}
	x, y := field.ValueOf(a), field.ValueOf(b)
	if x.Kind() != y.Kind() {
		return false
	}
	switch x.Kind() {
	case field.Number:
		return x.Num() == y.Num() || math.IsNaN(x.Num()) && math.IsNaN(y.Num())
	case field.JSON:
		return sameJSON(x.Data(), y.Data())
	}
	return x.Data() == y.Data()
}

// deepest is how deep JSON may be nested to be compared by what it means.
const deepest = 1024

// sameJSON compares two texts of JSON: numbers by what they are worth, strings
// without regard to escapes; the order of members counts.
func sameJSON(a, b string) bool {
	if a == b {
		return true
	}
	if field.Nesting(a) > deepest || field.Nesting(b) > deepest || !gjson.Valid(a) || !gjson.Valid(b) {
		return false
	}
	return sameResult(gjson.Parse(a), gjson.Parse(b))
}

func sameResult(a, b gjson.Result) bool {
	if a.Raw == b.Raw {
		return true
	}
	switch {
	case a.Type != b.Type || a.IsArray() != b.IsArray():
		return false
	case a.Type == gjson.Number:
		return a.Num == b.Num
	case a.Type == gjson.JSON:
		return sameMembers(a, b)
	}
	return a.String() == b.String()
}

func sameMembers(a, b gjson.Result) bool {
	var names, members []gjson.Result
	b.ForEach(func(k, v gjson.Result) bool {
		names, members = append(names, k), append(members, v)
		return true
	})
	i, same := 0, true
	a.ForEach(func(k, v gjson.Result) bool {
		same = i < len(members) && k.String() == names[i].String() && sameResult(v, members[i])
		i++
		return same
	})
	return same && i == len(members)
}

// compareHooks says how two hooks differ, either of which may be nil.
func compareHooks(want, have *Hook, tolerance time.Duration) Why {
	switch {
	case want == nil && have == nil:
		return 0
	case have == nil:
		return Missing
	case want == nil:
		return Extra
	}
	var w Why
	if want.Channel != have.Channel {
		w |= Kind
	}
	if !sameDefinition(want, have) {
		w |= Value
	}
	if !sameTime(want.Expires, have.Expires, tolerance) {
		w |= Expiry
	}
	return w
}
