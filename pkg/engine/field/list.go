package field

import (
	"encoding/binary"
	"unsafe"
)

// List is an immutable set of fields, sorted by name. The zero List is empty.
//
// It is a pointer to one block of bytes:
//
//	uvarint  length of what follows
//	fields   uvarint length, name; kind + 2 (one byte); uvarint length, text
//
// The text is missing for true, false and null. A pointer instead of a string
// saves 8 bytes an item, which brings an item that is a point from the
// allocator's 80-byte class to the 64-byte one.
type List struct{ block *byte }

// maxHead is the most bytes that the length of a block takes.
const maxHead = binary.MaxVarintLen64

// fields returns the packed fields.
func (l List) fields() string {
	if l.block == nil {
		return ""
	}
	var n uint64
	for head, shift := 0, 0; ; head, shift = head+1, shift+7 {
		// The block holds its own length, so every byte read is inside.
		b := *(*byte)(unsafe.Add(unsafe.Pointer(l.block), head))
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return unsafe.String((*byte)(unsafe.Add(unsafe.Pointer(l.block), head+1)), n)
		}
	}
}

// newList packs the concatenation of parts into a block of its own.
func newList(parts ...string) List {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	if n == 0 {
		return List{}
	}
	var head [maxHead]byte
	h := binary.PutUvarint(head[:], uint64(n))
	block := make([]byte, 0, h+n)
	block = append(block, head[:h]...)
	for _, p := range parts {
		block = append(block, p...)
	}
	return List{&block[0]}
}

// entry is one packed field.
type entry struct {
	name, data string
	kind       Kind
	size       int // of the packed form
}

// next reads the field that packed starts with.
func next(packed string) entry {
	var e entry
	rest := packed
	e.name, rest = cut(rest)
	e.kind, rest = Kind(rest[0])-2, rest[1:]
	if e.kind.hasText() {
		e.data, rest = cut(rest)
	}
	e.size = len(packed) - len(rest)
	return e
}

func (k Kind) hasText() bool { return k == Number || k == String || k == JSON }

// cut reads a length and as many bytes.
func cut(s string) (part, rest string) {
	n, i := uint64(s[0]), 1
	if n >= 0x80 {
		n &= 0x7f
		for shift := 7; ; shift += 7 {
			b := s[i]
			i++
			n |= uint64(b&0x7f) << shift
			if b < 0x80 {
				break
			}
		}
	}
	end := i + int(n)
	return s[i:end], s[end:]
}

func (e entry) value() Value {
	v := Value{kind: e.kind, data: e.data}
	switch e.kind {
	case Number:
		v.num = storedNumber(e.data)
	case True:
		v.data, v.num = "true", 1
	case False:
		v.data = "false"
	case Null:
		v.data = "null"
	}
	return v
}

// equals is Value.Equals.
func (e *entry) equals(v Value) bool {
	return e.kind == v.kind && (e.data == v.data || e.value().Equals(v))
}

// storedNumber parses a text that was found to be a number before.
func storedNumber(s string) float64 {
	if f, ok := special(s); ok {
		return f
	}
	f, _ := parseFloat(s) // an underflow is no error, an overflow was stored as ±Inf
	return f
}

func (e *entry) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(e.name)))
	dst = append(dst, e.name...)
	dst = append(dst, byte(e.kind+2))
	if e.kind.hasText() {
		dst = binary.AppendUvarint(dst, uint64(len(e.data)))
		dst = append(dst, e.data...)
	}
	return dst
}

// find returns the field with this name and its place in packed, or, when
// there is none, ok false and the place where it would stand.
func find(packed, name string) (e entry, at int, ok bool) {
	for at < len(packed) {
		e = next(packed[at:])
		if e.name == name {
			return e, at, true
		}
		if e.name > name {
			break
		}
		at += e.size
	}
	return entry{}, at, false
}

// Get returns the value of a field; a missing one is the zero Value.
func (l List) Get(name string) Value {
	if e, _, ok := find(l.fields(), name); ok {
		return e.value()
	}
	return Value{}
}

// Has says whether there is a field of this name.
func (l List) Has(name string) bool {
	_, _, ok := find(l.fields(), name)
	return ok
}

// Set returns the list with one field set. A zero value removes the field, and
// any other value that equals the present one leaves it as it is spelt.
func (l List) Set(name string, v Value) List {
	packed := l.fields()
	e, at, ok := find(packed, name)
	switch {
	case ok && v.IsZero():
		return newList(packed[:at], packed[at+e.size:])
	case !ok && v.IsZero(), ok && e.equals(v):
		return l
	}
	var tmp [128]byte
	n := entry{name: name, kind: v.kind, data: v.data}
	return newList(packed[:at], string(n.append(tmp[:0])), packed[at+e.size:])
}

// Len returns the number of fields.
func (l List) Len() int {
	n := 0
	for packed := l.fields(); packed != ""; n++ {
		packed = packed[next(packed).size:]
	}
	return n
}

// Range visits the fields in the order of their names.
func (l List) Range(visit func(name string, v Value) bool) {
	for packed := l.fields(); packed != ""; {
		e := next(packed)
		if !visit(e.name, e.value()) {
			return
		}
		packed = packed[e.size:]
	}
}

// Packed returns the fields as one text: equal lists, and only they, have
// equal texts. It shares the list's memory.
func (l List) Packed() string { return l.fields() }

// Weight returns the bytes of the fields in Tile38's measure, which does not
// count names.
func (l List) Weight() int {
	n := 0
	for packed := l.fields(); packed != ""; {
		e := next(packed)
		n += 2
		if e.kind.hasText() {
			n += uvarintLen(len(e.data)) + len(e.data)
		}
		packed = packed[e.size:]
	}
	if n > 0 {
		n += uvarintLen(n)
	}
	return n
}

func uvarintLen(n int) int {
	var tmp [maxHead]byte
	return binary.PutUvarint(tmp[:], uint64(n))
}

// AppendPacked appends one field to the packed form of a list, as Packed
// returns it: the names must come in order, and v must not be zero.
func AppendPacked(dst []byte, name string, v Value) []byte {
	e := entry{name: name, kind: v.kind, data: v.data}
	return e.append(dst)
}
