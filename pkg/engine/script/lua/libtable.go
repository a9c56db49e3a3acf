package lua

import (
	"sort"
)

func tableFuncs() map[string]Native {
	return map[string]Native{
		"getn": func(c *Call) { c.Return(Number(float64(c.m.length(c.checkTable(1))))) },
		"maxn": func(c *Call) { c.Return(Number(float64(c.m.length(c.checkTable(1))))) },
		"insert": func(c *Call) {
			tableInsert(c)
			c.Return()
		},
		"remove": tableRemove,
		"concat": tableConcat,
		"sort":   tableSort,
	}
}

func tableInsert(c *Call) {
	m, t := c.m, c.checkTable(1)
	switch c.n {
	case 1:
		c.Fail("wrong number of arguments")
	case 2:
		m.work(int64(len(t.list)-t.Len()) / 16)
		m.Append(t, c.Arg(2))
		return
	}
	at, v := c.checkInt(2), c.Any(3)
	if at < 1 || at > len(t.list) {
		m.set(t, Number(float64(at)), v)
		return
	}
	m.work(int64(len(t.list)-at) / 16)
	m.grow(t, 1)
	t.list = append(t.list, Value{})
	copy(t.list[at:], t.list[at-1:])
	t.list[at-1] = v
	m.absorb(t)
}

func tableRemove(c *Call) {
	m, t := c.m, c.checkTable(1)
	n := len(t.list)
	at := n
	if c.n > 1 {
		at = c.checkInt(2)
	}
	switch {
	case n == 0 || at > n:
		c.Return(Value{})
		return
	case at < 1:
		at = n
	}
	m.work(int64(n-at) / 16)
	v := t.list[at-1]
	copy(t.list[at-1:], t.list[at:])
	t.list[n-1] = Value{}
	t.list = t.list[:n-1]
	c.Return(v)
}

func tableConcat(c *Call) {
	m, t := c.m, c.checkTable(1)
	sep := ""
	if v := c.Arg(2); !v.IsNil() {
		if v.Kind() != KindString {
			c.wrongKind(2, "string")
		}
		sep = v.Str()
	}
	n := m.length(t)
	from, to := c.optInt(3, 1), c.optInt(4, n)
	if c.n == 3 && (from > n || from < 1) {
		c.Return(own(""))
		return
	}
	from, to = max(min(from, n), 1), min(to, n)
	if from > to {
		c.Return(own(""))
		return
	}
	size := len(sep) * (to - from)
	for i := from; i <= to; i++ {
		v := t.At(i)
		switch v.Kind() {
		case KindString:
			size += len(v.Str())
		case KindNumber:
			size += 24
		default:
			c.Fail("invalid value (%s) at index %d in table for concat", v.Kind(), i)
		}
		if int64(size) > m.limits.MaxMemory {
			m.Fail(ErrMemory)
		}
	}
	if from == to {
		c.Return(t.At(from)) // as it is
		return
	}
	m.alloc(int64(size))
	m.work(int64(to-from) + int64(size)/64)
	buf := make([]byte, 0, size)
	for i := from; i <= to; i++ {
		s, _ := t.At(i).Text()
		buf = append(buf, s...)
		if i < to {
			buf = append(buf, sep...)
		}
	}
	c.Return(m.newString(string(buf)))
}

// sorter orders a copy of a list. A comparison by the script can change the
// table meanwhile, and can contradict itself: sort.Sort ends all the same.
type sorter struct {
	m    *Machine
	less Value // nil: by value
	list []Value
}

func (s *sorter) Len() int { return len(s.list) }

func (s *sorter) Swap(i, j int) { s.list[i], s.list[j] = s.list[j], s.list[i] }

func (s *sorter) Less(i, j int) bool {
	s.m.work(1)
	if s.less.IsNil() {
		return s.m.less(s.list[i], s.list[j])
	}
	return s.m.callValue(s.less, s.list[i], s.list[j]).Truth()
}

func tableSort(c *Call) {
	m, t := c.m, c.checkTable(1)
	s := &sorter{m: m}
	if c.n > 1 {
		s.less = c.checkFunction(2)
	}
	size := int64(len(t.list)) * valueSize
	m.pin(size)
	s.list = append(s.list, t.list...)
	sort.Sort(s)
	if len(t.list) == len(s.list) {
		copy(t.list, s.list)
	}
	m.unpin(size)
	c.Return()
}
