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
// The slice is reused: visit must not keep it.
func Items(st *collection.State, now int64, visit func(args []string) error) error {
	var w writer
	return w.all(st, now, func() error { return visit(w.args()) })
}

// Words is Items for a visit that keeps nothing: the words are valid until it
// returns. It makes next to no garbage.
func Words(st *collection.State, now int64, visit func(words [][]byte) error) error {
	var w writer
	return w.all(st, now, func() error { return visit(w.words()) })
}

// writer builds one command at a time; its memory is reused.
type writer struct {
	text  []byte // all words of the command
	ends  []int  // where each ends
	bytes [][]byte
	texts []string
}

// all builds every command of a state.
func (w *writer) all(st *collection.State, now int64, visit func() error) (err error) {
	st.Scan("", func(c *collection.Collection) bool {
		c.Scan("", false, func(it *collection.Item) bool {
			w.item(c.Name(), it, nil, now)
			err = visit()
			return err == nil
		})
		return err == nil
	})
	if err != nil {
		return err
	}
	st.ScanHooks(func(hk *collection.Hook) bool {
		w.hook(hk, now)
		err = visit()
		return err == nil
	})
	return err
}

func (w *writer) begin() { w.text, w.ends = w.text[:0], w.ends[:0] }

func (w *writer) add(words ...string) {
	for _, word := range words {
		w.text = append(w.text, word...)
		w.end()
	}
}

// end ends the word that was appended to text.
func (w *writer) end() { w.ends = append(w.ends, len(w.text)) }

// words returns the command; it is valid until the next one is begun.
func (w *writer) words() [][]byte {
	w.bytes = w.bytes[:0]
	from := 0
	for _, to := range w.ends {
		w.bytes = append(w.bytes, w.text[from:to:to])
		from = to
	}
	return w.bytes
}

// args returns the command in words that may be kept.
func (w *writer) args() []string {
	w.texts = w.texts[:0]
	text, from := string(w.text), 0
	for _, to := range w.ends {
		w.texts = append(w.texts, text[from:to])
		from = to
	}
	return w.texts
}

// item builds set key id [field name value …] [ex seconds] value, for an id that
// is not there, or has the item old: SET keeps fields, so those that are to go are
// set to zero.
func (w *writer) item(key string, it, old *collection.Item, now int64) *writer {
	w.begin()
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
		w.seconds(d - now)
	}
	w.value(it.Object())
	return w
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
	w.add("object")
	w.text = obj.AppendJSON(w.text)
	w.end()
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

// seconds adds ex and milliseconds as seconds: 1500 is 1.5.
func (w *writer) seconds(ms int64) {
	w.add("ex")
	w.text = appendSeconds(w.text, ms)
	w.end()
}

func appendSeconds(b []byte, ms int64) []byte {
	if ms < 0 {
		b, ms = append(b, '-'), -ms
	}
	b = strconv.AppendInt(b, ms/1000, 10)
	if ms %= 1000; ms > 0 {
		b = append(b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
		for b[len(b)-1] == '0' {
			b = b[:len(b)-1]
		}
	}
	return b
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
