// Package glob matches names against the patterns of KEYS, PDEL and MATCH.
//
//   - any text
//     ?        any character
//     [a-z]    a character of a set; [^a-z] one that is not
//     \x       the character x
//
// Patterns are those of path.Match, but for the slash, which is a character
// like any other. A malformed pattern matches nothing. Time is bounded by the
// product of the lengths.
package glob

import (
	"strings"
	"unicode/utf8"
)

// Match says whether the pattern matches all of s.
func Match(pattern, s string) bool {
	star, from := -1, 0 // where to go on when what follows the last * fails
	p, i := 0, 0
	for {
		if p < len(pattern) && pattern[p] == '*' {
			star, from = p+1, i
			p++
			continue
		}
		if p == len(pattern) && i == len(s) {
			return true
		}
		if p < len(pattern) && i < len(s) {
			n, size, ok := one(pattern[p:], s[i:])
			if n == 0 {
				return false // malformed
			}
			if ok {
				p, i = p+n, i+size
				continue
			}
		}
		if star < 0 || from >= len(s) {
			return false
		}
		from++
		p, i = star, from
	}
}

// one matches the first element of the pattern, which is no star, against the
// first character of s, literal text byte by byte. It returns the sizes of both;
// n is 0 for a malformed pattern.
func one(pattern, s string) (n, size int, ok bool) {
	switch pattern[0] {
	case '?':
		_, size = utf8.DecodeRuneInString(s)
		return 1, size, true
	case '[':
		r, size := utf8.DecodeRuneInString(s)
		n, ok = set(pattern, r)
		return n, size, ok
	case '\\':
		if len(pattern) == 1 {
			return 0, 0, false
		}
		return 2, 1, pattern[1] == s[0]
	}
	return 1, 1, pattern[0] == s[0]
}

// set matches r against the set that the pattern starts with.
func set(pattern string, r rune) (n int, ok bool) {
	rest := pattern[1:]
	negated := strings.HasPrefix(rest, "^")
	if negated {
		rest = rest[1:]
	}
	for ranges := 0; ; ranges++ {
		if strings.HasPrefix(rest, "]") && ranges > 0 {
			return len(pattern) - len(rest) + 1, ok != negated
		}
		var lo, hi rune
		if lo, rest = member(rest); rest == "" {
			return 0, false
		}
		hi = lo
		if rest[0] == '-' {
			if hi, rest = member(rest[1:]); rest == "" {
				return 0, false
			}
		}
		ok = ok || lo <= r && r <= hi
	}
}

// member reads a character of a set; rest is empty when the set is malformed.
func member(s string) (r rune, rest string) {
	if s == "" || s[0] == '-' || s[0] == ']' {
		return 0, ""
	}
	if s[0] == '\\' {
		s = s[1:]
	}
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n <= 1 {
		return 0, ""
	}
	return r, s[n:]
}

// Prefix returns the text before the pattern's first special character, for
// which a scan of sorted names looks first. As in Tile38, a backslash is not
// special here, so a pattern with one finds little, and a pattern that starts
// with a special character other than * finds nothing: ok is false.
func Prefix(pattern string) (prefix string, ok bool) {
	i := strings.IndexAny(pattern, "*?[")
	switch {
	case i < 0:
		return pattern, true
	case i == 0:
		return "", pattern[0] == '*'
	}
	return pattern[:i], true
}
