package collection

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/bits"

	"github.com/tidwall/geojson"
	"github.com/tidwall/gjson"
	"github.com/zeebo/xxh3"
)

// Digest is a 128-bit sum of hashes: equal states have equal digests whatever
// the order of the writes that led there, and one write costs one subtraction
// and one addition. It finds divergence; it is not a defence against somebody
// who makes collisions on purpose.
//
//	item       = XXH3-128(id, object, fields, deadline)
//	collection = Σ item                        mod 2^128
//	state      = Σ XXH3-128(name, collection)  mod 2^128
//
// The two levels make RENAME and DROP O(1).
type Digest struct{ Hi, Lo uint64 }

// Add returns d + o.
func (d Digest) Add(o Digest) Digest {
	lo, carry := bits.Add64(d.Lo, o.Lo, 0)
	hi, _ := bits.Add64(d.Hi, o.Hi, carry)
	return Digest{hi, lo}
}

// Sub returns d - o.
func (d Digest) Sub(o Digest) Digest {
	lo, borrow := bits.Sub64(d.Lo, o.Lo, 0)
	hi, _ := bits.Sub64(d.Hi, o.Hi, borrow)
	return Digest{hi, lo}
}

// String returns 32 hexadecimal digits.
func (d Digest) String() string { return string(d.AppendHex(nil)) }

// AppendHex appends 32 hexadecimal digits.
func (d Digest) AppendHex(dst []byte) []byte {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], d.Hi)
	binary.BigEndian.PutUint64(b[8:], d.Lo)
	return hex.AppendEncode(dst, b[:])
}

// ParseDigest reads what String writes.
func ParseDigest(s string) (Digest, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 16 {
		return Digest{}, fmt.Errorf("digest %q: want 32 hexadecimal digits", s)
	}
	return Digest{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}, nil
}

// hasher turns items into digests; its buffer is reused.
type hasher struct{ buf []byte }

// Kinds of object, so that no two of them can look alike.
const (
	kindJSON  = 'j'
	kindText  = 't'
	kindPoint = 'p'
	kindTall  = 'z' // a point with a height or members
	kindRect  = 'r'
)

// item hashes what a client can see of an item, and nothing else.
func (h *hasher) item(it *Item) Digest {
	if l, ok := it.object.(*large); ok {
		return l.digest(it)
	}
	h.buf = appendItem(h.buf[:0], it)
	return sum(h.buf)
}

// appendItem appends what is hashed of an item.
func appendItem(b []byte, it *Item) []byte {
	b = appendObject(appendString(b, it.id), it.Object())
	b = binary.LittleEndian.AppendUint64(b, uint64(it.deadline))
	return append(b, it.fields.Packed()...)
}

// appendObject appends what is hashed of an object.
func appendObject(b []byte, object geojson.Object) []byte {
	switch o := object.(type) {
	case *geojson.SimplePoint:
		return appendFloats(append(b, kindPoint), o.X, o.Y)
	case *geojson.Point:
		// JSON writes infinities and NaN alike.
		p := o.Base()
		b = appendFloats(append(b, kindTall), p.X, p.Y, o.Z())
		return append(o.AppendJSON(b), 0)
	case *geojson.Rect:
		r := o.Rect()
		return appendFloats(append(b, kindRect), r.Min.X, r.Min.Y, r.Max.X, r.Max.Y)
	case Text:
		return appendString(append(b, kindText), string(o))
	}
	return append(object.AppendJSON(append(b, kindJSON)), 0)
}

// keepBuffer is how large a buffer a hasher keeps: a hook, or many fields, may
// have made it larger.
const keepBuffer = 64 << 10

// trim gives back a large buffer.
func (h *hasher) trim() {
	if cap(h.buf) > keepBuffer {
		h.buf = nil
	}
}

func (h *hasher) collection(name string, d Digest) Digest {
	h.buf = append(h.buf[:0], name...)
	h.buf = binary.LittleEndian.AppendUint64(h.buf, d.Hi)
	h.buf = binary.LittleEndian.AppendUint64(h.buf, d.Lo)
	return sum(h.buf)
}

func sum(b []byte) Digest {
	s := xxh3.Hash128(b)
	return Digest{s.Hi, s.Lo}
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendFloats(b []byte, fs ...float64) []byte {
	for _, f := range fs {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
	}
	return b
}

func appendJSONString(b []byte, s string) []byte { return gjson.AppendJSONString(b, s) }
