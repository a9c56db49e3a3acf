package upstream

import "time"

// entry is commands that have been sent together and not yet answered.
type entry struct {
	cmd    *known
	at     time.Duration // since the session's beginning, when they came
	n      int32
	live   bool  // has the word FENCE
	native bool  // came over the native protocol, and is answered so
	keep   *kept // what is to be remembered when it succeeds
}

// pending is a queue of commands under way, bounded by whoever adds.
type pending struct {
	ring  []entry // a power of two long
	first int
	used  int
	n     int // commands
}

const (
	// minRing and keepRing are the first size of a queue, and the largest that an
	// idle one keeps.
	minRing  = 4
	keepRing = 16
)

// add puts e behind the others, or to the last one when it is alike.
func (p *pending) add(e entry) {
	p.n += int(e.n)
	if p.used > 0 {
		last := &p.ring[(p.first+p.used-1)&(len(p.ring)-1)]
		if last.cmd == e.cmd && last.at == e.at && last.live == e.live && last.native == e.native && last.keep == nil && e.keep == nil {
			last.n += e.n
			return
		}
	}
	if p.used == len(p.ring) {
		ring := make([]entry, max(minRing, 2*p.used))
		for i := range p.used {
			ring[i] = p.ring[(p.first+i)&(len(p.ring)-1)]
		}
		p.ring, p.first = ring, 0
	}
	p.ring[(p.first+p.used)&(len(p.ring)-1)] = e
	p.used++
}

// next returns the entry of the oldest command.
func (p *pending) next() *entry { return &p.ring[p.first] }

// drop takes the oldest command away.
func (p *pending) drop() {
	p.n--
	e := &p.ring[p.first]
	if e.n--; e.n > 0 {
		return
	}
	*e = entry{}
	p.first = (p.first + 1) & (len(p.ring) - 1)
	if p.used--; p.used == 0 && len(p.ring) > keepRing {
		p.ring, p.first = nil, 0
	}
}

// list copies the entries, the oldest first.
func (p *pending) list() []entry {
	all := make([]entry, p.used)
	for i := range all {
		all[i] = p.ring[(p.first+i)&(len(p.ring)-1)]
	}
	return all
}

// clear takes all away and returns how many there were.
func (p *pending) clear() int {
	n := p.n
	*p = pending{}
	return n
}
