package dump

import (
	"math"
	"slices"
	"strconv"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/field"
	"evenkeel/pkg/engine/keys"
)

// Items visits, in the order of collections and ids, one command for each
// object of a state, then one for each hook and channel, until visit returns an error, which it returns. When the
// commands are carried out at the time now, in Unix milliseconds, on an empty
// state, they make an equal one.
//
// The words are reused: visit must not keep the slice.
func Items(st *collection.State, now int64, visit func(args []string) error) error {
	var w writer
	var err error
	st.Scan("", func(c *collection.Collection) bool {
		c.Scan("", false, func(it *collection.Item) bool {
			err = visit(w.item(c.Name(), it, nil, now))
			return err == nil
		})
		return err == nil
	})
	if err != nil {
		return err
	}
	st.ScanHooks(func(hk *collection.Hook) bool {
		err = visit(w.hook(hk, now))
		return err == nil
	})
	return err
}

// writer builds commands; its memory is reused, except for the words.
type writer struct {
	args []string
	json []byte
}

func (w *writer) add(words ...string) { w.args = append(w.args, words...) }

// item builds set key id [field name value …] [ex seconds] value, for an id that
// is not there, or has the item old: SET keeps fields, so those that are to go are
// set to zero.
func (w *writer) item(key string, it, old *collection.Item, now int64) []string {
	w.args = w.args[:0]
	w.add("set", key, it.ID())
	if old != nil {
		old.Fields().Range(func(name string, _ field.Value) bool {
			if !it.Fields().Has(name) {
				w.add("field", fieldName(name), "0")
			}
			return true
		})
	}
	it.Fields().Range(func(name string, v field.Value) bool {
		w.add("field", fieldName(name), spell(v))
		return true
	})
	if d := it.Deadline(); d != 0 {
		w.add("ex", seconds(d-now))
	}
	w.value(it.Object())
	return w.args
}

// fieldName spells the name of a field. White space around it does not count.
func fieldName(name string) string {
	if keys.Reserved(name) {
		return " " + name
	}
	return name
}

// value adds the words that make an object.
func (w *writer) value(obj geojson.Object) {
	switch o := obj.(type) {
	case collection.Text:
		w.add("string", string(o))
		return
	case *geojson.Rect:
		r := o.Base()
		w.add("bounds", float(r.Min.Y), float(r.Min.X), float(r.Max.Y), float(r.Max.X))
		return
	case *geojson.SimplePoint:
		if !finite(o.Point, 0) {
			w.add("point", float(o.Y), float(o.X))
			return
		}
	case *geojson.Point:
		if p := o.Base(); !finite(p, o.Z()) && keys.PlainHeight(o) {
			w.add("point", float(p.Y), float(p.X), float(o.Z()))
			return
		}
	}
	w.json = obj.AppendJSON(w.json[:0])
	w.add("object", string(w.json))
}

func finite(p geometry.Point, z float64) bool {
	for _, f := range [...]float64{p.X, p.Y, z} {
		if math.IsInf(f, 0) || math.IsNaN(f) {
			return false
		}
	}
	return true
}

func float(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// seconds writes milliseconds as seconds: 1500 is 1.5.
func seconds(ms int64) string {
	b := make([]byte, 0, 24)
	if ms < 0 {
		b, ms = append(b, '-'), -ms
	}
	b = strconv.AppendInt(b, ms/1000, 10)
	if ms %= 1000; ms > 0 {
		b = append(b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
		b = []byte(trimZeros(string(b)))
	}
	return string(b)
}

func trimZeros(s string) string {
	for s[len(s)-1] == '0' {
		s = s[:len(s)-1]
	}
	return s
}

// spell returns a text that field.ValueOf reads as v. Strings stand in quotes,
// as AOFSHRINK writes them.
func spell(v field.Value) string {
	if v.Kind() != field.String {
		return v.Data()
	}
	if json := v.JSON(); same(field.ValueOf(json), v) {
		return json
	}
	// It is not UTF-8: quote what must be and leave the rest as it is.
	return string(quote(v.Data()))
}

func same(a, b field.Value) bool { return a.Kind() == b.Kind() && a.Data() == b.Data() }

func quote(s string) []byte {
	const hex = "0123456789abcdef"
	b := slices.Grow([]byte(nil), len(s)+2)
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
	return append(b, '"')
}
