package search

import (
	"slices"
	"strconv"

	"github.com/mmcloughlin/geohash"
	"github.com/tidwall/geojson"
	"github.com/tidwall/redcon"

	"evenkeel/pkg/engine/area"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/field"
	"evenkeel/pkg/engine/reply"
)

// write answers what the walk picked.
func (r *run) write(out *reply.Reply) error {
	switch {
	case r.area != nil && r.area.Tile != nil:
		return r.writeTile(out)
	case out.JSON:
		return r.writeJSON(out)
	}
	return r.writeRESP(out)
}

// object returns the part of an item's object that is asked for.
func (r *run) object(it *collection.Item) geojson.Object {
	if r.kind == intersects && r.area.Clip != nil {
		return area.Clip(it.Object(), *r.area.Clip)
	}
	return it.Object()
}

// pauseBytes is how many bytes are written between two questions to pause.
const pauseBytes = 1 << 20

// breath asks pause while an answer is being written.
func (r *run) breath(i int, out *reply.Reply) error {
	if r.pause == nil || i%pauseEvery != pauseEvery-1 && len(out.Buf)-r.written < pauseBytes {
		return nil
	}
	r.written = len(out.Buf)
	return r.pause()
}

// tail closes a JSON answer.
func (r *run) tail(out *reply.Reply) {
	out.Member("count")
	out.Buf = strconv.AppendUint(out.Buf, r.picked, 10)
	out.Member("cursor")
	cursor := r.next()
	if r.output == count {
		cursor = 0
	}
	out.Buf = strconv.AppendUint(out.Buf, cursor, 10)
}

func (r *run) writeJSON(out *reply.Reply) error {
	out.OK()
	if r.output == count {
		r.tail(out)
		return nil
	}
	if r.output != ids && r.locked && slices.ContainsFunc(r.found, r.tooLong) {
		return r.err
	}
	names := r.fieldNames()
	if len(names) > 0 {
		out.Member("fields")
		for i, name := range names {
			out.Buf = append(out.Buf, separator(i, '['))
			out.String(name)
		}
		out.Buf = append(out.Buf, ']')
	}
	out.Member(outputs[r.output])
	out.Buf = append(out.Buf, '[')
	for i, it := range r.found {
		if err := r.breath(i, out); err != nil {
			return err
		}
		if i > 0 {
			out.Buf = append(out.Buf, ',')
		}
		r.itemJSON(out, it, names)
	}
	out.Buf = append(out.Buf, ']')
	r.tail(out)
	return nil
}

func separator(i int, first byte) byte {
	if i == 0 {
		return first
	}
	return ','
}

// fieldNames returns the names of all fields in the answer, in order.
func (r *run) fieldNames() []string {
	if r.noFields || r.output == ids {
		return nil
	}
	var names, more []string
	for _, it := range r.found {
		last := 0 // behind the name before: fields come in order, too
		it.Fields().Range(func(name string, _ field.Value) bool {
			if last < len(names) && names[last] == name {
				last++
				return true
			}
			i, ok := slices.BinarySearch(names, name)
			if !ok {
				more = append(more, name)
			} else {
				i++
			}
			last = i
			return true
		})
		// Now and then, so that many new names cost little more than to sort them.
		if len(more) > len(names) {
			names, more = sorted(names, more), more[:0]
		}
	}
	return sorted(names, more)
}

// sorted returns the names of both, each once.
func sorted(names, more []string) []string {
	names = append(names, more...)
	slices.Sort(names)
	return slices.Compact(names)
}

func (r *run) itemJSON(out *reply.Reply, it *collection.Item, names []string) {
	if r.output == ids && (!r.distance || r.kind != nearby) {
		out.String(it.ID())
		return
	}
	out.Buf = append(out.Buf, `{"id":`...)
	out.String(it.ID())
	r.objectJSON(out, r.object(it))
	if len(names) > 0 {
		out.Member("fields")
		out.Buf = append(out.Buf, '[')
		i := 0
		it.Fields().Range(func(name string, v field.Value) bool {
			for ; names[i] != name; i++ {
				out.Buf = append(out.Buf, "0,"...)
			}
			out.Buf = append(v.AppendJSON(out.Buf), ',')
			i++
			return true
		})
		for ; i < len(names); i++ {
			out.Buf = append(out.Buf, "0,"...)
		}
		out.Buf[len(out.Buf)-1] = ']'
	}
	if r.distance && r.kind == nearby {
		out.Member("distance")
		out.Buf = appendFloat(out.Buf, r.meters(it))
	}
	out.Buf = append(out.Buf, '}')
}

func appendFloat(b []byte, f float64) []byte { return strconv.AppendFloat(b, f, 'f', -1, 64) }

func appendLatLon(b []byte, lat, lon float64) []byte {
	b = appendFloat(append(b, `{"lat":`...), lat)
	return appendFloat(append(b, `,"lon":`...), lon)
}

// objectJSON appends the member that shows an object in the form asked for.
func (q *query) objectJSON(out *reply.Reply, obj geojson.Object) {
	switch q.output {
	case objects:
		out.Member("object")
		if t, ok := obj.(collection.Text); ok {
			out.Escaped(string(t))
		} else {
			out.Buf = obj.AppendJSON(out.Buf)
		}
	case points:
		out.Member("point")
		c := obj.Center()
		out.Buf = appendLatLon(out.Buf, c.Y, c.X)
		if z := collection.Height(obj); z != 0 {
			out.Buf = appendFloat(append(out.Buf, `,"z":`...), z)
		}
		out.Buf = append(out.Buf, '}')
	case bounds:
		out.Member("bounds")
		b := obj.Rect()
		out.Buf = appendLatLon(append(out.Buf, `{"sw":`...), b.Min.Y, b.Min.X)
		out.Buf = appendLatLon(append(out.Buf, `},"ne":`...), b.Max.Y, b.Max.X)
		out.Buf = append(out.Buf, '}', '}')
	case hashes:
		out.Member("hash")
		out.String(q.hash(obj))
	}
}

func (q *query) hash(obj geojson.Object) string {
	c := obj.Center()
	return geohash.EncodeWithPrecision(c.Y, c.X, q.precision)
}

func (r *run) writeRESP(out *reply.Reply) error {
	if r.output == count {
		out.Int(int(r.picked))
		return nil
	}
	if r.output != ids && r.locked && slices.ContainsFunc(r.found, r.tooLong) {
		return r.err
	}
	out.Array(2)
	out.Buf = redcon.AppendUint(out.Buf, r.next())
	out.Array(len(r.found))
	var scratch []byte
	for i, it := range r.found {
		if i%pauseEvery == 0 {
			out.Buf = slices.Grow(out.Buf, idBytes(r.found[i:min(i+pauseEvery, len(r.found))]))
		}
		if err := r.breath(i, out); err != nil {
			return err
		}
		scratch = r.itemRESP(out, it, scratch)
	}
	return nil
}

// idBytes returns how many bytes the ids of items make, nearly. It is also the
// first to look at the items, and the processor loads many of them at a time
// when nothing else is to be done with them.
func idBytes(items []*collection.Item) int {
	const frame = 8 // of a short bulk string
	n := frame * len(items)
	for _, it := range items {
		n += len(it.ID())
	}
	return n
}

// itemRESP writes an item. The scratch memory is for what needs its length in
// front of it.
func (r *run) itemRESP(out *reply.Reply, it *collection.Item, scratch []byte) []byte {
	distance := r.distance && r.kind == nearby
	if r.output == ids {
		if distance {
			out.Array(2)
		}
		out.Bulk(it.ID())
	} else {
		fields := 0
		if !r.noFields {
			fields = it.Fields().Len()
		}
		n := 2
		if fields > 0 {
			n++
		}
		if distance {
			n++
		}
		out.Array(n)
		out.Bulk(it.ID())
		scratch = r.bodyRESP(out, it, scratch)
		if fields > 0 {
			out.Array(2 * fields)
			it.Fields().Range(func(name string, v field.Value) bool {
				out.Bulk(name)
				out.Bulk(v.Data())
				return true
			})
		}
	}
	if distance {
		out.Float(r.meters(it))
	}
	return scratch
}

func (r *run) bodyRESP(out *reply.Reply, it *collection.Item, scratch []byte) []byte {
	obj := r.object(it)
	switch r.output {
	case objects:
		scratch = obj.AppendJSON(scratch[:0])
		out.Buf = redcon.AppendBulk(out.Buf, scratch)
	case points:
		c := obj.Center()
		out.Point(c.Y, c.X, collection.Height(obj))
	case bounds:
		b := obj.Rect()
		out.Array(2)
		out.Array(2)
		out.Float(b.Min.Y)
		out.Float(b.Min.X)
		out.Array(2)
		out.Float(b.Max.Y)
		out.Float(b.Max.X)
	case hashes:
		out.Bulk(r.hash(obj))
	}
	return scratch
}
