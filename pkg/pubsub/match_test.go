package pubsub

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidwall/match"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a", "aa", false}, {"", "", true}, {"", "a", false},
		{"*", "", true}, {"*", "abc", true}, {"a*", "a", true}, {"a*", "ab", true}, {"a*", "ba", false},
		{"*a", "ba", true}, {"*a*", "xay", true}, {"a**b", "ab", true}, {"a*b*c", "aXbYbZc", true},
		{"a*b*c", "aXbYbZ", false}, {"a?", "ab", true}, {"a?", "a", false}, {"é?", "éé", true},
		{"?", "é", true}, {"??", "é", false}, {`\*x`, "*x", true}, {`\*x`, "ax", false}, {`a\`, "a", false},
		{"[ab]c", "ac", false}, {"[ab]c", "[ab]c", true}, {"h[^e]llo", "hallo", false}, {"*\\?", "a?", true},
	} {
		g, steps := newGlob(c.pattern), 1000
		if got := g.match(c.name, &steps); got != c.want {
			t.Errorf("%q, %q: %v", c.pattern, c.name, got)
		}
	}
}

func TestMatchIsBounded(t *testing.T) {
	g, steps := newGlob("*"+strings.Repeat("a", 2000)+"b*"), 1_000_000
	name := strings.Repeat("a", 100_000)
	if g.match(name, &steps) || steps != 0 {
		t.Errorf("match with %d steps left", steps)
	}
	h := newHub(t, func(o *Options) { o.MaxMatchSteps = 10_000 })
	l := h.NewListener()
	defer l.Close()
	for _, p := range []string{g.text, g.text + "c"} {
		if _, err := l.PSubscribe(p); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, "receivers", h.Publish(name, nil), 0)
	expect(t, "cut", h.Stats().MatchCut, 1)
}

// The patterns mean what they mean to Tile38.
func FuzzMatch(f *testing.F) {
	for _, s := range []string{"a*b?c|aXbYc", "*|", "**a|ba", `\*|*`, "é*|éa", "[a]|a", "*a*b|aab"} {
		p, n, _ := strings.Cut(s, "|")
		f.Add(p, n)
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 20 || len(name) > 40 || !utf8.ValidString(pattern) || !utf8.ValidString(name) || strings.HasSuffix(pattern, `\`) {
			return
		}
		g, steps := newGlob(pattern), 1<<20
		if got, want := g.match(name, &steps), match.Match(name, pattern); got != want {
			t.Errorf("%q, %q: %v, want %v", pattern, name, got, want)
		}
	})
}
