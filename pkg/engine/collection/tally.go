package collection

import (
	"encoding/binary"

	"github.com/tidwall/geojson/geometry"
)

// Tally adds up the digests of items that pass by, without keeping them: it
// tells whether a file holds a state whose digest is known.
type Tally struct {
	h     hasher
	cols  map[string]*Digest
	hooks Digest
}

// Add counts the items and hooks that ch would put.
func (t *Tally) Add(ch *Change) {
	for i := range ch.Ops() {
		switch op := &ch.Ops()[i]; op.Kind {
		case OpPut:
			t.count([]byte(op.Key), t.h.item(op.New))
		case OpSetHook:
			t.hooks = t.hooks.Add(t.h.hook(op.Hook))
		}
	}
}

// AddPoint counts a 2-D point of collection key without an Item being made of
// it. Its fields are in packed form; deadline is in Unix milliseconds, 0 for
// none.
func (t *Tally) AddPoint(key, id []byte, p geometry.Point, fields []byte, deadline int64) {
	b := binary.AppendUvarint(t.h.buf[:0], uint64(len(id)))
	b = append(b, id...)
	b = appendFloats(append(b, kindPoint), p.X, p.Y)
	b = binary.LittleEndian.AppendUint64(b, uint64(deadline))
	b = append(b, fields...)
	t.h.buf = b
	t.count(key, sum(b))
}

func (t *Tally) count(key []byte, d Digest) {
	c := t.cols[string(key)]
	if c == nil {
		if t.cols == nil {
			t.cols = map[string]*Digest{}
		}
		c = new(Digest)
		t.cols[string(key)] = c
	}
	*c = c.Add(d)
}

// Sum returns the digest of the state that the items make up.
func (t *Tally) Sum() Digest {
	d := t.hooks
	for name, c := range t.cols {
		d = d.Add(t.h.collection(name, *c))
	}
	return d
}
