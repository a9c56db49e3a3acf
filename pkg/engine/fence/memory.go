package fence

import (
	"encoding/binary"
	"encoding/hex"
	"slices"

	"github.com/zeebo/xxh3"

	"evenkeel/pkg/engine/collection"
)

// remembered is what a watch knows of an object beyond what the state holds.
type remembered struct {
	birth   uint64 // tells the object from one that had its id before
	removed uint64 // of the watch when marks were last cleaned
	marks   []mark // by fence
}

// mark is what a fence has to do with an object.
type mark struct {
	fence uint64 // its serial
	visit uint64 // the last time that it entered or crossed
}

// group is the id that all messages of a visit share.
type group [24]byte

// sweepSlack is how many objects more than there are may be remembered, beside
// as many again: RENAME leaves memory behind, which a later change may use, as
// in Tile38.
const sweepSlack = 1024

// object returns what is remembered of an object, which begins now if need be.
func (s *Set) object(w *watch, st *collection.State, id string) *remembered {
	r := w.memory[id]
	if r == nil {
		w.sweep(st)
		s.births++
		r = &remembered{birth: s.births, removed: w.removed}
		w.memory[id] = r
	}
	w.clean(r)
	return r
}

// sweep drops what is remembered of objects that are gone, if it is much.
func (w *watch) sweep(st *collection.State) {
	if w.memory == nil {
		w.memory = map[string]*remembered{}
	}
	c := st.Collection(w.key)
	n := 0
	if c != nil {
		n = c.Len()
	}
	if len(w.memory) < 2*n+sweepSlack {
		return
	}
	for id := range w.memory {
		if c == nil || c.Get(id) == nil {
			delete(w.memory, id)
		}
	}
}

// clean drops the marks of fences that are gone.
func (w *watch) clean(r *remembered) {
	if r.removed == w.removed {
		return
	}
	r.removed = w.removed
	r.marks = slices.DeleteFunc(r.marks, func(m mark) bool {
		_, ok := w.alive[m.fence]
		return !ok
	})
}

// find returns where the mark of a fence is or would be.
func (r *remembered) find(serial uint64) (int, bool) {
	return slices.BinarySearchFunc(r.marks, serial, func(m mark, serial uint64) int {
		switch {
		case m.fence < serial:
			return -1
		case m.fence > serial:
			return 1
		}
		return 0
	})
}

// mark returns the mark of a fence, which is made if need be. It is valid until
// the next one is made.
func (r *remembered) mark(serial uint64) *mark {
	i, ok := r.find(serial)
	if !ok {
		r.marks = slices.Insert(r.marks, i, mark{fence: serial})
	}
	return &r.marks[i]
}

// group returns the group of the current visit of an object to a fence. It is
// computed, so that objects which never visited cost no memory.
func (s *Set) group(r *remembered, serial uint64) (g group) {
	var visit uint64
	if i, ok := r.find(serial); ok {
		visit = r.marks[i].visit
	}
	var in [32]byte
	binary.LittleEndian.PutUint64(in[0:], s.opt.Seed)
	binary.LittleEndian.PutUint64(in[8:], serial)
	binary.LittleEndian.PutUint64(in[16:], r.birth)
	binary.LittleEndian.PutUint64(in[24:], visit)
	sum := xxh3.Hash128(in[:]).Bytes()
	hex.Encode(g[:], sum[:len(g)/2])
	return g
}
