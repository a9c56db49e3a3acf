package lua

import (
	"maps"
	"math"
	"slices"
	"strings"
)

// Table is a Lua table. Its behaviour follows gopher-lua, whose length operator
// returns the index of the last element that is not nil.
type Table struct {
	list []Value          // of the keys 1, 2, 3 …; may have holes
	strs map[string]Value // of the keys that are strings
	hash map[Value]Value  // of all other keys
	meta *Table
	mark uint32 // the last tally that has seen it
	lent bool   // strs belongs to all machines: it is copied before it changes
	// fixed says that the table itself belongs to all machines; scripts cannot
	// reach it.
	fixed bool
}

// Bytes that a table is counted with, a little more than it takes.
const (
	tableSize = 128
	valueSize = 24
	entrySize = 120
)

// maxHole is up to which index a list is filled with nil when there is a hole
// in it; behind that, keys go to the hash. gopher-lua fills a gigabyte.
const maxHole = 1 << 16

// maxList is the greatest index of a list.
const maxList = 1 << 26

// Len returns the index of the last element of the list that is not nil.
func (t *Table) Len() int {
	for i := len(t.list) - 1; i >= 0; i-- {
		if t.list[i].o != nil {
			return i + 1
		}
	}
	return 0
}

// At returns the element with the index i, which counts from 1.
func (t *Table) At(i int) Value {
	if i >= 1 && i <= len(t.list) {
		return t.list[i-1]
	}
	return Value{}
}

// Field returns the element with a string as its key.
func (t *Table) Field(name string) Value { return t.strs[name] }

// listIndex returns the place in a list that a key stands for.
func listIndex(f float64) (int, bool) {
	if f < 1 || f >= maxList || f != math.Trunc(f) {
		return 0, false
	}
	return int(f) - 1, true
}

// get returns an element without metamethods.
func (t *Table) get(key Value) Value {
	switch o := key.o.(type) {
	case number:
		if i, ok := listIndex(key.n); ok && i < len(t.list) {
			return t.list[i]
		}
	case *text:
		return t.strs[o.s]
	}
	return t.hash[key]
}

// set changes an element without metamethods. The key is neither nil nor NaN.
func (m *Machine) set(t *Table, key, v Value) {
	switch o := key.o.(type) {
	case number:
		i, ok := listIndex(key.n)
		if ok && (i <= len(t.list) || i < maxHole) {
			m.setAt(t, i, v)
			return
		}
	case *text:
		m.SetField(t, o.s, v)
		return
	}
	if v.o == nil {
		delete(t.hash, key)
		return
	}
	if _, ok := t.hash[key]; !ok {
		m.alloc(entrySize)
	}
	if t.hash == nil {
		t.hash = make(map[Value]Value)
	}
	t.hash[key] = v
}

// setAt changes list[i] and fills the list up to there.
func (m *Machine) setAt(t *Table, i int, v Value) {
	if i < len(t.list) {
		t.list[i] = v
		return
	}
	if v.o == nil {
		return
	}
	m.grow(t, i+1-len(t.list))
	t.list = t.list[:i+1]
	t.list[i] = v
	m.absorb(t)
}

// absorb moves the elements that follow the list from the hash into it.
func (m *Machine) absorb(t *Table) {
	for len(t.hash) > 0 {
		next := Number(float64(len(t.list) + 1))
		v, ok := t.hash[next]
		if !ok {
			return
		}
		delete(t.hash, next)
		m.grow(t, 1)
		t.list = append(t.list, v)
	}
}

// grow makes room for n more elements in the list. What lies between its
// length and its capacity is nil.
func (m *Machine) grow(t *Table, n int) {
	need := len(t.list) + n
	if need <= cap(t.list) {
		return
	}
	size := max(need, 2*cap(t.list), 4)
	if size > 1024 {
		size = max(need, cap(t.list)+cap(t.list)/4)
	}
	m.alloc(int64(size) * valueSize)
	list := make([]Value, len(t.list), size)
	copy(list, t.list)
	t.list = list
}

// SetField changes the element with a string as its key.
func (m *Machine) SetField(t *Table, name string, v Value) {
	if t.lent {
		m.alloc(int64(len(t.strs)) * entrySize)
		t.strs, t.lent = maps.Clone(t.strs), false
	}
	if v.o == nil {
		delete(t.strs, name)
		return
	}
	if _, ok := t.strs[name]; !ok {
		m.alloc(entrySize + int64(len(name)))
	}
	if t.strs == nil {
		t.strs = make(map[string]Value)
	}
	t.strs[name] = v
}

// Append adds an element to the end of the list; nil adds nothing.
func (m *Machine) Append(t *Table, v Value) {
	if v.o != nil {
		m.setAt(t, t.Len(), v)
	}
}

// NewTable makes an empty table.
func (m *Machine) NewTable() *Table {
	m.alloc(tableSize)
	return &Table{}
}

// TableValue makes a Value of a table.
func TableValue(t *Table) Value { return Value{o: t} }

// Each visits all elements: the list, then strings in their order, then the
// other keys in an order that depends on them alone.
func (t *Table) Each(visit func(key, v Value) bool) {
	for i, v := range t.list {
		if v.o != nil && !visit(Number(float64(i+1)), v) {
			return
		}
	}
	if len(t.strs) > 0 {
		names := make([]string, 0, len(t.strs))
		for name := range t.strs {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			if !visit(Value{o: &text{s: name}}, t.strs[name]) {
				return
			}
		}
	}
	if len(t.hash) == 0 {
		return
	}
	keys := make([]Value, 0, len(t.hash))
	for k := range t.hash {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b Value) int {
		switch {
		case a.isNumber() && b.isNumber() && a.n != b.n:
			if a.n < b.n {
				return -1
			}
			return 1
		case a.Kind() != b.Kind():
			return int(a.Kind()) - int(b.Kind())
		}
		return strings.Compare(a.String(), b.String())
	})
	for _, k := range keys {
		if !visit(k, t.hash[k]) {
			return
		}
	}
}

// Size returns the number of elements.
func (t *Table) Size() int {
	n := len(t.strs) + len(t.hash)
	for i := range t.list {
		if t.list[i].o != nil {
			n++
		}
	}
	return n
}
