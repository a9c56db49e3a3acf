package pubsub

import (
	"strings"
	"unicode/utf8"
)

// glob is a pattern of PSUBSCRIBE: * is any text, ? any character, \x the
// character x; everything else, brackets too, is itself. A pattern that ends in
// a single backslash matches nothing.
type glob struct {
	text   string
	prefix string // what every match begins with
	exact  bool   // prefix is all there is
}

func newGlob(pattern string) glob {
	g := glob{text: pattern, prefix: pattern, exact: true}
	if i := strings.IndexAny(pattern, `*?\`); i >= 0 {
		g.prefix, g.exact = pattern[:i], false
	}
	return g
}

// match says whether g matches all of s. It counts the characters it looks at
// down from *steps, and gives up, without a match, when there are none left.
func (g *glob) match(s string, steps *int) bool {
	if !strings.HasPrefix(s, g.prefix) {
		return false
	}
	if g.exact {
		return len(s) == len(g.prefix)
	}
	s = s[len(g.prefix):]
	p := g.text[len(g.prefix):]
	if p == "*" {
		return true
	}
	// star is what follows the last *, from the text that it has to match next:
	// when that fails, the * takes one character more.
	star, from := "", ""
	starred := false
	for {
		if *steps--; *steps < 0 {
			*steps = 0
			return false
		}
		if p != "" && p[0] == '*' {
			p = p[1:]
			if p == "" {
				return true
			}
			star, from, starred = p, s, true
			continue
		}
		if p == "" && s == "" {
			return true
		}
		if rest, after, ok := one(p, s); ok {
			p, s = rest, after
			continue
		}
		if !starred || from == "" {
			return false
		}
		from = from[first(from):]
		p, s = star, from
	}
}

// one takes one character from p, which does not begin with a star, and s.
func one(p, s string) (rest, after string, ok bool) {
	if p == "" || s == "" {
		return p, s, false
	}
	if p[0] == '?' {
		return p[1:], s[first(s):], true
	}
	if p[0] == '\\' {
		if p = p[1:]; p == "" {
			return p, s, false
		}
	}
	pr, pn := utf8.DecodeRuneInString(p)
	sr, sn := utf8.DecodeRuneInString(s)
	return p[pn:], s[sn:], pr == sr
}

// first returns the size of the first character of s.
func first(s string) int {
	if s[0] < utf8.RuneSelf {
		return 1
	}
	_, n := utf8.DecodeRuneInString(s)
	return n
}
