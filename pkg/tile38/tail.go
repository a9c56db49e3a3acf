package tile38

// DefaultTail is how much of what was taken is kept, in bytes.
const DefaultTail = 64 << 10

// Tail is the last bytes of a leader's file that were taken, and where they end.
// It is what a follower needs to go on behind them, and lives in memory only: a
// restarted follower does not know what its leader's file was.
type Tail struct {
	ID string // the leader's
	// Beats finds heartbeats: one of them is anchor enough. The zero Beats finds none.
	Beats Beats
	most  int

	pos  int64  // in the leader's file: where buf ends
	buf  []byte // whole commands, but for a first one that is longer than most
	ends []int  // of commands, in buf
}

// NewTail returns an empty tail at pos of the file of the leader with this id.
// most is how much it keeps, in bytes; 0 is DefaultTail.
func NewTail(id string, pos int64, most int) *Tail {
	if most == 0 {
		most = DefaultTail
	}
	return &Tail{ID: id, most: most, pos: pos}
}

// Pos returns up to where the file was taken.
func (t *Tail) Pos() int64 { return t.pos }

// Len returns how many bytes are kept.
func (t *Tail) Len() int { return len(t.buf) }

// Add takes whole commands, which end at pos of the file. Messages, which do not
// stand there, are left out.
func (t *Tail) Add(b []byte, pos int64) {
	if IsMessage(b) {
		return
	}
	if pos-int64(len(b)) != t.pos { // zero bytes in between
		t.buf, t.ends = t.buf[:0], t.ends[:0]
	}
	t.pos = pos
	for len(b) > 0 {
		n, _, err := command(b, 0)
		if err != nil || n == 0 {
			n = len(b) // cannot be: they are whole
		}
		t.buf = append(t.buf, b[max(0, n-t.most):n]...)
		t.ends = append(t.ends, len(t.buf))
		b = b[n:]
		if len(t.buf) > 2*t.most {
			t.trim()
		}
	}
	t.trim()
}

// trim leaves the last whole commands, most bytes together.
func (t *Tail) trim() {
	if len(t.buf) <= t.most {
		return
	}
	cut := 0
	for t.ends[cut] < len(t.buf)-t.most {
		cut++
	}
	at := t.ends[cut]
	t.buf = t.buf[:copy(t.buf, t.buf[at:])]
	t.ends = t.ends[:copy(t.ends, t.ends[cut+1:])]
	for i := range t.ends {
		t.ends[i] -= at
	}
}

// moved returns the tail as it stands in another file of the same leader, where
// its last n bytes end at pos.
func (t *Tail) moved(pos int64, n int) *Tail {
	m := NewTail(t.ID, pos, t.most)
	m.Beats = t.Beats
	from := len(t.buf) - n
	m.buf = append(m.buf, t.buf[from:]...)
	for _, e := range t.ends {
		if e > from {
			m.ends = append(m.ends, e-from)
		}
	}
	return m
}

// Unchanged says whether the leader's file still has at its place what was taken
// last. When the tail is not all that was taken,
// it is long, so that a file that was rewritten does not have the same bytes at
// the same place by chance.
func (t *Tail) Unchanged(c *Conn, s Server) (bool, error) {
	if s.ID != t.ID || s.AOFSize < t.pos {
		return false, nil
	}
	if t.pos == 0 {
		return true, nil
	}
	if int64(len(t.buf)) < t.pos && len(t.buf) < minBytes && t.beat() < 0 {
		return false, nil
	}
	return c.Equal(t.pos-int64(len(t.buf)), t.buf)
}

// beat returns where in buf the last heartbeat begins, -1 when there is none.
func (t *Tail) beat() int {
	if len(t.Beats.prefix) == 0 {
		return -1
	}
	for i := len(t.ends) - 2; i >= -1; i-- {
		from := 0
		if i >= 0 {
			from = t.ends[i]
		}
		if t.Beats.Is(t.buf[from:t.ends[i+1]]) {
			return from
		}
	}
	return -1
}
