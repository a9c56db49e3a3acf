package lua

// alloc counts bytes before they are allocated. When there are too many, what
// is still in use is tallied.
func (m *Machine) alloc(n int64) {
	m.used += n
	if m.used+m.pinned > m.limits.MaxMemory {
		m.collect(n)
	}
}

// collect forgets what has become garbage. n bytes are about to be allocated,
// and not reachable yet.
func (m *Machine) collect(n int64) {
	limit := m.limits.MaxMemory / 2
	if n+m.pinned > limit {
		m.Fail(ErrMemory)
	}
	m.used = m.tally() + n
	if m.used+m.pinned > limit {
		m.Fail(ErrMemory)
	}
}

// pin counts bytes that a Go function holds until it calls unpin.
func (m *Machine) pin(n int64) {
	m.pinned += n
	if m.used+m.pinned > m.limits.MaxMemory {
		m.collect(0)
	}
}

func (m *Machine) unpin(n int64) { m.pinned -= n }

// tally returns the bytes of all that can be reached: from the stack, from the
// functions under way, from what was returned last, and from the global
// variables.
func (m *Machine) tally() int64 {
	m.mark++
	clear(m.stack[m.top:]) // nothing there is in use
	w := walk{mark: m.mark}
	w.table(m.globals)
	w.table(m.strings)
	for _, v := range m.stack[:m.top] {
		w.value(v)
	}
	for _, v := range m.rets {
		w.value(v)
	}
	for _, c := range m.calls[:m.depth] {
		w.value(Value{o: c.fn})
	}
	for len(w.queue) > 0 {
		t := w.queue[len(w.queue)-1]
		w.queue = w.queue[:len(w.queue)-1]
		for _, v := range t.list {
			w.value(v)
		}
		for _, v := range t.strs {
			w.value(v)
		}
		for k, v := range t.hash {
			w.value(k)
			w.value(v)
		}
	}
	m.work(w.seen / 8)
	return w.bytes
}

// walk visits everything once. Tables wait in a queue, so that a deep structure
// needs no deep recursion; closures nest no deeper than their text does, or wait
// in a list of cells.
type walk struct {
	mark  uint32
	bytes int64
	seen  int64
	queue []*Table
}

func (w *walk) value(v Value) {
	for {
		w.seen++
		switch o := v.o.(type) {
		case *text:
			if !o.shared && o.mark != w.mark {
				o.mark = w.mark
				w.bytes += int64(len(o.s)) + valueSize
			}
		case *Table:
			w.table(o)
		case *cell:
			if o.mark == w.mark {
				return
			}
			o.mark = w.mark
			w.bytes += cellSize
			v = o.v
			continue
		case *Function:
			w.function(o)
		}
		return
	}
}

func (w *walk) table(t *Table) {
	if t == nil || t.fixed || t.mark == w.mark {
		return
	}
	t.mark = w.mark
	w.bytes += tableSize + int64(cap(t.list))*valueSize + int64(len(t.strs)+len(t.hash))*entrySize
	for name := range t.strs {
		w.bytes += int64(len(name))
	}
	w.queue = append(w.queue, t)
}

// function queues what a closure refers to, as if it were a table's.
func (w *walk) function(f *Function) {
	if f.mark == w.mark || len(f.cells) == 0 && f.state == nil {
		return
	}
	f.mark = w.mark
	w.bytes += functionSize + int64(len(f.cells))*8
	list := make([]Value, 0, len(f.cells)+1)
	for _, c := range f.cells {
		list = append(list, Value{o: c})
	}
	if f.state != nil {
		w.bytes += f.state.size()
		list = append(list, Value{o: f.state.text})
	}
	w.queue = append(w.queue, &Table{list: list})
}
