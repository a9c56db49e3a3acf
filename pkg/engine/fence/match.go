package fence

import (
	"time"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/search"
)

// matcher is the work on one operation; its memory is used again.
type matcher struct {
	finder finder
	hits   []hit
	writer writer
}

// hit is a fence that has something to say.
type hit struct {
	f       *Fence
	detects search.DetectSet
	roams   bool // instead of detects
	near    []neighbour
	group   group
}

// release forgets what the last operation was about, and large memory.
func (m *matcher) release() {
	const keep = 1024
	if cap(m.hits) > keep {
		m.hits = nil
	}
	if cap(m.finder.found) > keep {
		m.finder.found = nil
	}
	clear(m.hits[:cap(m.hits)])
	clear(m.finder.found[:cap(m.finder.found)])
	m.hits, m.finder.found = m.hits[:0], m.finder.found[:0]
	m.writer.release()
}

// shownAs are the commands as messages name them. Others concern no fence:
// Tile38 does not tell of JDEL.
func shownAs(name string) string {
	switch name {
	case "set", "jset":
		return "set"
	case "fset", "expire", "persist":
		return name
	case "del", "pdel":
		return "del"
	case "drop":
		return "drop"
	}
	return ""
}

func (s *Set) match(w *watch, st *collection.State, name string, at time.Time, op *collection.Op, emit func(*Fence, []byte)) {
	name = shownAs(name)
	s.tick++
	s.m.finder = finder{tick: s.tick, found: s.m.finder.found[:0]}
	s.m.hits = s.m.hits[:0]
	s.m.writer.begin(name, at)
	switch op.Kind {
	case collection.OpDrop:
		w.memory = nil
		if name == "drop" {
			s.drop(w, emit)
		}
	case collection.OpRemove:
		delete(w.memory, op.Old.ID())
		if name == "del" && op.Old.IsSpatial() {
			s.deleted(w, op.Old, emit)
		}
	case collection.OpPut:
		if name != "" && op.New.IsSpatial() {
			s.put(w, st, name, op, emit)
		}
	}
}

// drop tells those who report what is outside, and all connections.
func (s *Set) drop(w *watch, emit func(*Fence, []byte)) {
	w.always.Scan(func(f *Fence) bool {
		if f.class() != toConnection && f.search.Accepts("drop") {
			emit(f, s.m.writer.gone(f, nil))
		}
		return true
	})
	w.lives.Scan(func(f *Fence) bool {
		if f.search.Accepts("drop") {
			emit(f, s.m.writer.gone(f, nil))
		}
		return true
	})
}

// deleted tells that an object is gone. As in Tile38, the rectangle decides
// which hooks hear of it, and all connections do.
func (s *Set) deleted(w *watch, it *collection.Item, emit func(*Fence, []byte)) {
	tell := func(f *Fence) {
		if f.search.Accepts("del") && f.search.Named(it.ID()) {
			emit(f, s.m.writer.gone(f, it))
		}
	}
	w.meeting(&s.m.finder, it)
	w.each(&s.m.finder, func(f *Fence) {
		if f.class() != toConnection {
			tell(f)
		}
	})
	w.lives.Scan(func(f *Fence) bool {
		tell(f)
		return true
	})
}

// put tells of an object that was set.
func (s *Set) put(w *watch, st *collection.State, name string, op *collection.Op, emit func(*Fence, []byte)) {
	m := newMove(name, op)
	w.meeting(&s.m.finder, m.it)
	w.meeting(&s.m.finder, m.old)
	if name == "set" && m.old != nil {
		w.between(&s.m.finder, m.from, m.to)
	}
	w.each(&s.m.finder, func(f *Fence) {
		if !f.search.Silent() && f.search.Named(m.it.ID()) && !(name == "fset" && f.search.NoFields()) {
			s.look(w, st, f, &m)
		}
	})
	s.send(st, m.it, emit)
}

// look finds out what a fence has to say.
func (s *Set) look(w *watch, st *collection.State, f *Fence, m *move) {
	if f.search.Roam() != nil {
		s.lookAround(w, st, f, m)
		return
	}
	detects, visit := m.reports(f.search)
	if visit {
		s.births++
		s.object(w, st, m.it.ID()).mark(f.serial).visit = s.births
	}
	if detects != 0 && f.search.Accepts(m.name) {
		s.hit(w, st, m.it, hit{f: f, detects: detects})
	}
}

// lookAround is look for a fence that roams. What does not move the object is
// told without neighbours.
func (s *Set) lookAround(w *watch, st *collection.State, f *Fence, m *move) {
	if f.search.Picky() || !f.search.Accepts(m.name) {
		return
	}
	h := hit{f: f, roams: true}
	if m.name == "set" {
		h.near = s.roam(st, f, m)
		if len(h.near) == 0 {
			return
		}
	}
	s.hit(w, st, m.it, h)
}

func (s *Set) hit(w *watch, st *collection.State, it *collection.Item, h hit) {
	h.group = s.group(s.object(w, st, it.ID()), h.f.serial)
	s.m.hits = append(s.m.hits, h)
}

// send emits the messages about an object: those of channels ordered by what
// was detected, then those of hooks and connections, each one's in that order.
func (s *Set) send(st *collection.State, it *collection.Item, emit func(*Fence, []byte)) {
	hits := s.m.hits
	n := 0
	for n < len(hits) && hits[n].f.class() == toChannel {
		n++
	}
	s.sendRanks(st, it, hits[:n], emit)
	for i := n; i < len(hits); i++ {
		s.sendRanks(st, it, hits[i:i+1], emit)
	}
}

// sendRanks emits messages ordered by what was detected. What roams comes with
// what crosses, as in Tile38.
func (s *Set) sendRanks(st *collection.State, it *collection.Item, hits []hit, emit func(*Fence, []byte)) {
	for d := search.Cross; d <= search.Inside; d++ {
		for i := range hits {
			h := &hits[i]
			if h.detects.Has(d) {
				emit(h.f, s.m.writer.moved(h, d, it))
			}
			if d == search.Cross && h.roams {
				s.sendRoam(st, it, h, emit)
			}
		}
	}
}

func (s *Set) sendRoam(st *collection.State, it *collection.Item, h *hit, emit func(*Fence, []byte)) {
	if len(h.near) == 0 {
		emit(h.f, s.m.writer.roamed(h, it, nil, nil))
	}
	roam := h.f.search.Roam()
	for i := range h.near {
		n := &h.near[i]
		var shown []*collection.Item
		if roam.Scan != "" {
			shown = s.shown(st, roam, n.it)
		}
		emit(h.f, s.m.writer.roamed(h, it, n, shown))
	}
}
