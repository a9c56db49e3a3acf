package field

import (
	"encoding/binary"
	"slices"
	"strings"
	"unsafe"
)

// Setting is a value that a field is to get.
type Setting struct {
	Name  string
	Value Value
}

// Settings are settings in the order of their names, those of one name in the
// order in which they are made.
type Settings struct{ sorted []Setting }

// Sorted returns settings, which are given in the order in which they are made,
// ready to be merged into a List. It sorts the slice itself.
func Sorted(settings []Setting) Settings {
	slices.SortStableFunc(settings, func(a, b Setting) int { return strings.Compare(a.Name, b.Name) })
	return Settings{settings}
}

// SetAll returns the list after all settings. It is as if Set was called for one
// after the other, but takes one pass over the list.
func (l List) SetAll(s Settings) List {
	merged, _ := l.merge(s, false)
	return merged
}

// UpdateAll is SetAll without the settings whose value equals that which the
// field has then, a missing one being 0; updated is how many there are besides.
func (l List) UpdateAll(s Settings) (merged List, updated int) { return l.merge(s, true) }

// merge makes all settings. With update, those that change nothing by Equals are
// not made, and the others are counted.
func (l List) merge(s Settings, update bool) (merged List, updated int) {
	packed, list := l.fields(), s.sorted
	size := len(packed)
	for i := range list {
		size += len(list[i].Name) + len(list[i].Value.data) + 8 // about
	}
	// The head is put in front at the end, at whatever length it has then.
	dst := make([]byte, maxHead, maxHead+size)
	kept := 0 // packed[:kept] is in dst
	at := 0
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].Name == list[0].Name {
			n++
		}
		var e entry
		found := false
		for at < len(packed) {
			if e = next(packed[at:]); e.name >= list[0].Name {
				found = e.name == list[0].Name
				break
			}
			at += e.size
		}
		now, count := slot{e, found}.after(list[:n], update)
		updated += count
		if !found || now != (slot{e, true}) {
			dst = append(dst, packed[kept:at]...)
			if found {
				at += e.size
			}
			kept = at
			if now.there {
				dst = now.append(dst)
			}
		}
		list = list[n:]
	}
	dst = append(dst, packed[kept:]...)
	return listOf(dst), updated
}

// listOf makes a list of packed fields behind maxHead bytes. The memory becomes
// the list's, unless much of it would be wasted.
func listOf(dst []byte) List {
	packed := dst[maxHead:]
	if len(packed) == 0 {
		return List{}
	}
	if cap(dst)-len(packed) > len(packed)/16+maxHead {
		return newList(unsafe.String(&packed[0], len(packed)))
	}
	var head [maxHead]byte
	h := binary.PutUvarint(head[:], uint64(len(packed)))
	copy(dst[maxHead-h:], head[:h])
	return List{&dst[maxHead-h]}
}

// slot is the place of one name in a list.
type slot struct {
	entry
	there bool
}

// after returns the slot after settings of its name.
func (s slot) after(list []Setting, update bool) (_ slot, updated int) {
	for i := range list {
		v := list[i].Value
		if update {
			old := Value{}
			if s.there {
				old = s.value()
			}
			if old.Equals(v) {
				continue
			}
			updated++
		}
		switch {
		case v.IsZero():
			s = slot{}
		case !s.there || !s.equals(v):
			s = slot{entry{name: list[i].Name, kind: v.kind, data: v.data}, true}
		}
	}
	return s, updated
}
