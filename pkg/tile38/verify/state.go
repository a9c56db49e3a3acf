package verify

import (
	"context"
	"math"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/field"
)

// State returns a Source over a state of the embedded engine as it is at the time
// now, in Unix milliseconds: what is over by then is not there. The state must
// stay as it is; a snapshot does.
func State(st *collection.State, now int64) Source { return stateSource{st, now} }

type stateSource struct {
	st  *collection.State
	now int64
}

// Collections implements Source.
func (s stateSource) Collections(context.Context) ([]string, error) {
	names := make([]string, 0, s.st.Len())
	s.st.Scan("", func(c *collection.Collection) bool {
		names = append(names, c.Name())
		return true
	})
	return names, nil
}

// Scan implements Source.
func (s stateSource) Scan(ctx context.Context, key, from string, visit func(Object) bool) error {
	c := s.st.Collection(key)
	if c == nil {
		return nil
	}
	c.Scan(from, false, func(it *collection.Item) bool {
		return ctx.Err() == nil && (s.over(it.Deadline()) || visit(s.object(it)))
	})
	return ctx.Err()
}

// Look implements Source.
func (s stateSource) Look(_ context.Context, key string, ids []string) ([]*Object, error) {
	objects := make([]*Object, len(ids))
	for i, id := range ids {
		if it, _ := s.st.Get(key, id); it != nil && !s.over(it.Deadline()) {
			o := s.object(it)
			objects[i] = &o
		}
	}
	return objects, nil
}

// Hooks implements Source.
func (s stateSource) Hooks(context.Context) ([]Hook, error) {
	var hooks []Hook
	s.st.ScanHooks(func(hk *collection.Hook) bool {
		if s.over(hk.Deadline) {
			return true
		}
		h := Hook{
			Name: hk.Name, Channel: hk.Channel, Key: hk.Key, Endpoints: hk.Endpoints,
			Command: hk.Command, Expires: hk.Deadline,
		}
		for _, m := range hk.Meta {
			h.Meta = append(h.Meta, Field(m))
		}
		hooks = append(hooks, h)
		return true
	})
	return hooks, nil
}

func (s stateSource) over(deadline int64) bool { return deadline != 0 && deadline <= s.now }

func (s stateSource) object(it *collection.Item) Object {
	o := Object{ID: it.ID(), Value: it.Object().JSON(), Expires: it.Deadline()}
	_, o.Text = it.Object().(collection.Text)
	it.Fields().Range(func(name string, v field.Value) bool {
		o.Fields = append(o.Fields, Field{name, spell(v)})
		return true
	})
	return o
}

// spell returns a text that FIELD reads as v.
func spell(v field.Value) string {
	if v.Kind() == field.String && !infinite(v) {
		return quote(v.Data())
	}
	return v.Data()
}

// infinite says whether answers show a string as they show an infinite number, or
// NaN. Which of them it is cannot be told; clients hardly mean the string.
func infinite(v field.Value) bool {
	again := field.ValueOf(v.Data())
	return again.Kind() == field.Number && again.Data() == v.Data() && (math.IsInf(again.Num(), 0) || math.IsNaN(again.Num()))
}

// quote writes a JSON string with no more escapes than it needs; what is not UTF-8
// stays as it is.
func quote(s string) string {
	const hex = "0123456789abcdef"
	b := make([]byte, 0, len(s)+2)
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return string(append(b, '"'))
}
