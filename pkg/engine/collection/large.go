package collection

import (
	"encoding/binary"
	"strings"

	"github.com/tidwall/geojson"
	"github.com/zeebo/xxh3"
)

// LargeText is the length of an object's JSON, in bytes, from which on it is
// worth to be prepared; see Prepare.
const LargeText = 32 << 10

// large is a large object in an item: it stands for the object, with what would
// take long to find out again each time when the item comes, goes or gets other
// fields. That is about 1.3 KB.
type large struct {
	geojson.Object
	id     string
	points int
	hashed xxh3.Hasher // what of the item's digest is about its id and the object
}

// Prepare does ahead what takes long when a large object, with LargeText bytes
// of JSON or more, comes into a collection as the item id: it may be called
// without a lock, and what it returns is for NewItem with this id and for
// nothing else. Small objects come back as they are; size is about the length
// of the JSON. Preparing changes nothing but when the work is done.
func Prepare(id string, object geojson.Object, size int) geojson.Object {
	if size < LargeText {
		return object
	}
	switch object.(type) {
	case nil, *large, *geojson.SimplePoint, *geojson.Rect:
		return object
	}
	l := &large{Object: object, id: strings.Clone(id), points: object.NumPoints()}
	l.hashed.Reset()
	b := appendString(nil, l.id)
	if t, ok := object.(Text); ok {
		b = binary.AppendUvarint(append(b, kindText), uint64(len(t)))
		_, _ = l.hashed.Write(b)
		_, _ = l.hashed.WriteString(string(t))
		return l
	}
	b = append(make([]byte, 0, len(b)+size+size/8), b...)
	_, _ = l.hashed.Write(appendObject(b, object))
	return l
}

// digest is the digest of an item with this object.
func (l *large) digest(it *Item) Digest {
	h := l.hashed
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(it.deadline))
	_, _ = h.Write(b[:])
	_, _ = h.WriteString(it.fields.Packed())
	s := h.Sum128()
	return Digest{s.Hi, s.Lo}
}

// plain returns the object itself.
func plain(object geojson.Object) geojson.Object {
	if l, ok := object.(*large); ok {
		return l.Object
	}
	return object
}

// Heavy says whether the item is so large that what looks at all of it, to
// answer it or to compare it, takes long.
func (it *Item) Heavy() bool {
	if _, ok := it.object.(*large); ok {
		return true
	}
	return len(it.fields.Packed()) >= LargeText
}
