package verify

import (
	"strings"
	"unicode/utf8"
)

const (
	// maxPrefix is how many bytes of an id a page is looked for by, at most.
	maxPrefix = 128
	// skip is how many objects a server may pass over for one page without a better
	// way being looked for: it takes some 15 ns for each.
	skip = 8192
)

// pager goes through a collection by SCAN, whose cursor is a number of objects to
// pass over. That number is wrong as soon as something is written before it, and
// grows expensive; so
//
//   - a page begins with the last object that was seen, or before it. A page that
//     does not is asked for again, further ahead;
//   - a page is asked for with MATCH prefix*, which the server finds by its index;
//     the cursor then counts from there. The prefix is that of the last id, and
//     as long as is needed for the cursor to stay small. Where no more ids begin
//     with it, shorter ones come, down to none at all.
type pager struct {
	fetch func(prefix string, cursor int64, limit int, onlyIDs bool) (page, error)

	from   string  // only ids at or behind it are new
	last   string  // the id that prefixes are taken from
	seen   []int64 // seen[n]: ids that begin with last[:n] and are before from
	width  int     // length of the prefix in use
	retry  int     // how many steps the prefix was shortened by since something new came
	limit  int
	cursor int64
	back   int64 // by how much the cursor is moved when it is too far ahead
}

func newPager(from string, limit int, fetch func(string, int64, int, bool) (page, error)) *pager {
	p := &pager{fetch: fetch, from: from, last: from, limit: limit}
	p.seen = make([]int64, usable(from)+1)
	p.aim(p.choose())
	return p
}

// usable returns how long a prefix of an id may be: it has no characters that are
// special in a pattern, and is UTF-8.
func usable(id string) int {
	n := 0
	for n < len(id) {
		r, size := utf8.DecodeRuneInString(id[n:])
		if r == utf8.RuneError || strings.ContainsRune(`*?[\`, r) || n+size > maxPrefix {
			break
		}
		n += size
	}
	return n
}

// choose returns the shortest prefix with which little is passed over.
func (p *pager) choose() int {
	for n := range p.seen {
		if p.seen[n] <= skip && p.whole(n) {
			return n
		}
	}
	return len(p.seen) - 1
}

// whole says whether n bytes of the id are whole characters.
func (p *pager) whole(n int) bool { return n == len(p.last) || utf8.RuneStart(p.last[n]) }

// aim takes a prefix, and begins with the last object that was seen.
func (p *pager) aim(width int) {
	p.width, p.back = width, 1
	p.cursor = max(p.seen[width]-1, 0)
}

// next returns objects that are new; none is the end.
func (p *pager) next() ([]Object, error) {
	for {
		pg, err := p.fetch(p.last[:p.width], p.cursor, p.limit, false)
		if err != nil {
			return nil, err
		}
		n := len(pg.objects)
		if p.cursor > 0 && (n == 0 || pg.objects[0].ID >= p.from) {
			// Objects before it went away. What is between is to be seen.
			p.back *= 8
			p.cursor = max(p.cursor-p.back, 0)
			continue
		}
		fresh := p.fresh(pg.objects)
		if len(fresh) > 0 {
			p.note(pg.objects, fresh)
			p.retry = 0
			p.aim(p.choose())
			return fresh, nil
		}
		p.seen[p.width] = p.cursor + int64(n)
		if pg.more {
			p.cursor += int64(n) - 1 // a page has two objects, or more
			if err := p.ahead(); err != nil {
				return nil, err
			}
			continue
		}
		if p.width == 0 {
			return nil, nil
		}
		p.shorten()
	}
}

// fresh returns the objects that are new.
func (p *pager) fresh(objects []Object) []Object {
	for i := range objects {
		if objects[i].ID >= p.from {
			return objects[i:]
		}
	}
	return nil
}

// shorten takes a shorter prefix: by 1 byte, then by 2, 4, … more.
func (p *pager) shorten() {
	n := max(p.width-1<<min(p.retry, 16), 0)
	for !p.whole(n) {
		n--
	}
	p.retry++
	p.aim(n)
}

// ahead moves the cursor towards from, as far as objects before it go.
func (p *pager) ahead() error {
	step := int64(p.limit)
	for grow := true; step > 0; {
		pg, err := p.fetch(p.last[:p.width], p.cursor+step, 1, true)
		if err != nil {
			return err
		}
		if len(pg.objects) == 1 && pg.objects[0].ID < p.from {
			p.cursor += step
			if grow {
				step *= 2
			}
			continue
		}
		grow = false
		if step /= 2; step < int64(p.limit)/2 {
			return nil
		}
	}
	return nil
}

// note counts the objects of a page by the prefixes of its last one.
func (p *pager) note(all, fresh []Object) {
	last := strings.Clone(fresh[len(fresh)-1].ID)
	seen := make([]int64, usable(last)+1)
	for i := range fresh {
		seen[common(fresh[i].ID, last, len(seen)-1)]++
	}
	for n := len(seen) - 2; n >= 0; n-- {
		seen[n] += seen[n+1]
	}
	for n := range min(common(p.last, last, len(seen)-1)+1, len(p.seen)) {
		seen[n] += p.seen[n]
	}
	if p.width < len(seen) {
		seen[p.width] = p.cursor + int64(len(all))
	}
	p.last, p.seen, p.from = last, seen, last+"\x00"
}

// common returns how many bytes two texts begin with in common, up to most.
func common(a, b string, most int) int {
	n := 0
	for n < len(a) && n < len(b) && n < most && a[n] == b[n] {
		n++
	}
	return n
}
