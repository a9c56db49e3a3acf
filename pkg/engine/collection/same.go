package collection

import (
	"bytes"
	"math"

	"github.com/tidwall/geojson"
)

// Same says whether two items of one id have the same object and the same
// fields. Their deadlines may differ.
func (it *Item) Same(o *Item) bool {
	if it == o {
		return true
	}
	if it.fields.Packed() != o.fields.Packed() {
		return false
	}
	switch a := it.object.(type) {
	case *geojson.SimplePoint:
		b, ok := o.object.(*geojson.SimplePoint)
		return ok && sameFloat(a.X, b.X) && sameFloat(a.Y, b.Y)
	case Text:
		b, ok := o.Object().(Text)
		return ok && a == b
	case *large:
		if b, ok := o.object.(*large); ok && a.id == b.id {
			x, y := a.hashed, b.hashed
			return x.Sum128() == y.Sum128()
		}
	}
	return bytes.Equal(appendObject(nil, it.Object()), appendObject(nil, o.Object()))
}

func sameFloat(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }
