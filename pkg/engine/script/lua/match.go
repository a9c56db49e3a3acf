package lua

// match is what a pattern has found: of every capture where it begins and ends.
// The first is the whole.
type match []span

type span struct {
	from, to int
	place    bool // a capture () : from is the number
	set      bool
}

// value returns what a capture holds.
func (m *Machine) captured(s string, c span) Value {
	if c.place {
		return Number(float64(c.from + 1))
	}
	return m.String(s[c.from:c.to])
}

// choice is where a match goes on when another way has failed.
type choice struct{ pc, at int }

const choiceSize = 16

// matchAt tries a pattern at one place; ok is false when it does not fit.
func (m *Machine) matchAt(p *pattern, s string, at int, caps match) (end int, ok bool) {
	clear(caps)
	var (
		choices []choice
		held    int64
		pc      int
	)
	defer func() { m.unpin(held) }()
	for {
		m.work(1)
		o := &p.ops[pc]
		fits := true
		switch o.code {
		case opChar:
			if fits = at < len(s) && o.class.has(s[at]); fits {
				at++
				pc++
			}
		case opSplit:
			if len(choices) == cap(choices) {
				n := int64(max(16, cap(choices))) * choiceSize
				m.pin(n)
				held += n
			}
			choices = append(choices, choice{o.b, at})
			pc = o.a
		case opJump:
			pc = o.a
		case opSave:
			c := &caps[o.a/2]
			if o.a%2 == 0 {
				c.from = at
			} else {
				c.to, c.set = at, true
			}
			pc++
		case opPlace:
			caps[o.a/2] = span{from: at, to: at, place: true, set: true}
			pc++
		case opBrace:
			if at, fits = m.brace(s, at, o.a, o.b); fits {
				pc++
			}
		case opBack:
			if at, fits = m.back(s, at, caps, o.a); fits {
				pc++
			}
		case opEnd:
			if fits = at == len(s); fits {
				return at, true
			}
		case opMatch:
			return at, true
		}
		if fits {
			continue
		}
		if len(choices) == 0 {
			return 0, false
		}
		last := choices[len(choices)-1]
		choices = choices[:len(choices)-1]
		pc, at = last.pc, last.at
	}
}

// brace matches %bxy: a text from x to the y that closes it.
func (m *Machine) brace(s string, at, open, closing int) (end int, ok bool) {
	if at >= len(s) || int(s[at]) != open {
		return at, false
	}
	depth := 1
	for i := at + 1; i < len(s); i++ {
		m.work(1)
		if int(s[i]) == closing {
			if depth--; depth == 0 {
				return i + 1, true
			}
		}
		if int(s[i]) == open {
			depth++
		}
	}
	return at, false
}

// back matches what a capture holds.
func (m *Machine) back(s string, at int, caps match, i int) (end int, ok bool) {
	if i >= len(caps) || !caps[i].set {
		m.fail("invalid capture index")
	}
	want := s[caps[i].from:max(caps[i].to, caps[i].from)]
	m.work(int64(len(want)) / 16)
	if len(s)-at < len(want) || s[at:at+len(want)] != want {
		return at, false
	}
	return at + len(want), true
}

// matches finds a pattern again and again.
type matches struct {
	text *text
	pat  *pattern
	at   int // where the next search begins; beyond the text: nowhere
	caps match
}

func (m *Machine) newMatches(t *text, pat string, at int) *matches {
	m.work(int64(len(pat)))
	m.alloc(int64(len(pat)) * 96)
	p, err := compilePattern(pat)
	if err != "" {
		m.fail("%s", err)
	}
	return &matches{text: t, pat: p, at: at, caps: make(match, p.captures/2)}
}

// size returns the bytes that the pattern takes.
func (f *matches) size() int64 { return int64(len(f.pat.ops))*64 + int64(len(f.caps))*32 }

// next returns the next match, which is valid until the following call, or nil.
func (m *Machine) nextMatch(f *matches) match {
	s := f.text.s
	for f.at <= len(s) {
		from := f.at
		end, ok := m.matchAt(f.pat, s, from, f.caps)
		f.at++
		if f.pat.head {
			f.at = len(s) + 1
		}
		if ok {
			f.at = max(f.at, end)
			f.caps[0] = span{from: from, to: end, set: true}
			return f.caps
		}
	}
	return nil
}
