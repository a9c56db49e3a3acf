package keys

import (
	"strconv"

	"github.com/mmcloughlin/geohash"
	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/field"
	"evenkeel/pkg/engine/reply"
)

// output is how GET and RETURN show an item.
type output struct {
	kind      outputKind
	precision uint // of a hash
	fields    bool
}

type outputKind uint8

const (
	asObject outputKind = iota
	asPoint
	asBounds
	asHash
)

// parse reads the words of an output. After one word that is none, further ones
// are still looked for; at the second it stops. It returns how many words it
// understood, which need not be the first ones: as in Tile38, the caller goes
// on behind as many words as were understood.
func (o *output) parse(args []string) (understood int, err error) {
	for i, missed := 0, false; i < len(args); i++ {
		if fold(args[i], "withfields") {
			o.fields = true
			understood++
			continue
		}
		kind, ok := kindOf(args[i])
		if !ok {
			if missed {
				break
			}
			missed = true
			continue
		}
		o.kind = kind
		understood++
		if kind != asHash {
			continue
		}
		if i++; i == len(args) {
			return 0, reply.ErrNumArgs
		}
		p, err := strconv.ParseUint(args[i], 10, 8)
		if err != nil || p < 1 || p > 12 {
			return 0, reply.InvalidArgument(args[i])
		}
		o.precision = uint(p)
		understood++
	}
	return understood, nil
}

func kindOf(word string) (outputKind, bool) {
	switch {
	case fold(word, "object"):
		return asObject, true
	case fold(word, "point"):
		return asPoint, true
	case fold(word, "bounds"):
		return asBounds, true
	case fold(word, "hash"):
		return asHash, true
	}
	return 0, false
}

// parseReturn reads RETURN and the words of its output, and returns their
// number.
func parseReturn(o **output, args []string) (int, error) {
	if *o != nil {
		return 0, reply.InvalidArgument(args[0])
	}
	*o = new(output)
	n, err := (*o).parse(args[1:])
	return 1 + n, err
}

// brief says whether the answer is short however large the item is.
func (o *output) brief() bool { return o.kind != asObject && !o.fields }

// answer answers the item that a write has made, of a large one not before the
// lock is released.
func (o *output) answer(it *collection.Item, out *reply.Reply) {
	if it.Heavy() && !o.brief() {
		out.Later = func() { o.write(it, out) }
		return
	}
	o.write(it, out)
}

// write answers an item.
func (o *output) write(it *collection.Item, out *reply.Reply) {
	if out.JSON {
		o.writeJSON(it, out)
		return
	}
	fields := 0
	if o.fields {
		fields = it.Fields().Len()
		if fields > 0 {
			out.Array(2)
		} else {
			out.Array(1)
		}
	}
	switch o.kind {
	case asObject:
		if t, ok := it.Object().(collection.Text); ok {
			out.Bulk(string(t))
		} else {
			out.Object(it.Object())
		}
	case asPoint:
		writePoint(it, out)
	case asBounds:
		r := it.Object().Rect()
		out.Array(2)
		corner(r.Min, out)
		corner(r.Max, out)
	case asHash:
		out.Bulk(o.hash(it))
	}
	if fields > 0 {
		out.Array(2 * fields)
		it.Fields().Range(func(name string, v field.Value) bool {
			out.Bulk(name)
			out.Bulk(v.Data())
			return true
		})
	}
}

func (o *output) hash(it *collection.Item) string {
	c := it.Object().Center()
	return geohash.EncodeWithPrecision(c.Y, c.X, o.precision)
}

func writePoint(it *collection.Item, out *reply.Reply) {
	c := it.Object().Center()
	out.Point(c.Y, c.X, collection.Height(it.Object()))
}

func corner(p geometry.Point, out *reply.Reply) {
	out.Array(2)
	out.Float(p.Y)
	out.Float(p.X)
}

func (o *output) writeJSON(it *collection.Item, out *reply.Reply) {
	out.OK()
	switch o.kind {
	case asObject:
		out.Member("object")
		if t, ok := it.Object().(collection.Text); ok {
			out.Escaped(string(t))
		} else {
			out.Buf = it.Object().AppendJSON(out.Buf)
		}
	case asPoint:
		c, z := it.Object().Center(), collection.Height(it.Object())
		out.Member("point")
		latLon(c, out)
		if z != 0 {
			out.Buf = out.Buf[:len(out.Buf)-1] // reopen
			out.Member("z")
			out.Number(z)
			out.Buf = append(out.Buf, '}')
		}
	case asBounds:
		r := it.Object().Rect()
		out.Member("bounds")
		out.Buf = append(out.Buf, `{"sw":`...)
		latLon(r.Min, out)
		out.Member("ne")
		latLon(r.Max, out)
		out.Buf = append(out.Buf, '}')
	case asHash:
		out.Member("hash")
		out.String(o.hash(it))
	}
	if o.fields && it.Fields().Len() > 0 {
		out.Member("fields")
		sep := byte('{')
		it.Fields().Range(func(name string, v field.Value) bool {
			out.Buf = append(out.Buf, sep)
			out.String(name)
			out.Buf = append(out.Buf, ':')
			out.Buf = v.AppendJSON(out.Buf)
			sep = ','
			return true
		})
		out.Buf = append(out.Buf, '}')
	}
}

func latLon(p geometry.Point, out *reply.Reply) {
	out.Buf = append(out.Buf, `{"lat":`...)
	out.Number(p.Y)
	out.Member("lon")
	out.Number(p.X)
	out.Buf = append(out.Buf, '}')
}
