package field

import "testing"

func TestLookup(t *testing.T) {
	var l List
	for _, s := range [][2]string{
		{"a", `{"b":0,"c":{"d":[1,2]},"n":null,"t":"5","e":1e3}`}, {"a.b", "7"}, {"a.x", "8"}, {"s", "text"}, {"s.y", "9"},
	} {
		l = l.Set(s[0], ValueOf(s[1]))
	}
	for _, c := range []struct {
		name, data string
		kind       Kind
		ok         bool
	}{
		{"a.b", "0", Number, true}, {"a.c.d.1", "2", Number, true}, {"a.c", `{"d":[1,2]}`, JSON, true},
		{"a.n", "null", Null, true}, {"a.t", "5", String, true}, {"a.e", "1000", Number, true},
		{"a.x", "8", Number, true}, {"s.y", "9", Number, true}, {"s.z", "0", Number, false},
		{"a.nope", "0", Number, false}, {"a.@this", "0", Number, false}, {"a.c.[d,d]", "0", Number, false}, {"none.b", "0", Number, false},
	} {
		v, ok := l.Lookup(c.name)
		if ok != c.ok || v.Data() != c.data || v.Kind() != c.kind {
			t.Errorf("%s: %q of kind %d, %v; want %q of kind %d, %v", c.name, v.Data(), v.Kind(), ok, c.data, c.kind, c.ok)
		}
	}
}
