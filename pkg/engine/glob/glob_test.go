package glob

import (
	"path"
	"strings"
	"testing"
	"time"
)

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"**", "abc", true},
		{"fleet:*", "fleet:eu", true}, {"fleet:??", "fleet:eu", true}, {"fleet:??", "fleet:e", false},
		{"*us*", "fleet:us:west", true}, {"a*b", "a/c/b", true}, {"a?b", "a/b", true}, {"ü?ï", "ünï", true},
		{"k?", "k\xff", true}, {"[a-c]x", "bx", true}, {"[^a-c]x", "bx", false}, {"[^a-c]x", "dx", true},
		{"[!a]", "!", true}, {"[.-/]", "/", true}, {"[]a]", "a", false}, {"[]", "", false}, {"[a", "a", false}, {"[a-", "a", false},
		{`\*`, "*", true}, {`\*`, "a", false}, {`*\*r`, "st*r", true}, {`a\`, `a\`, false}, {`[\]]`, "]", true},
		{"z**", "zone", true}, {"*z", "zone", false}, {"*[", "a[", false},
	} {
		if got := Match(tc.pattern, tc.name); got != tc.want {
			t.Errorf("Match(%q, %q) = %v", tc.pattern, tc.name, got)
		}
	}
}

func TestMatchTakesNoExponentialTime(t *testing.T) {
	start := time.Now()
	if Match(strings.Repeat("a*", 2000)+"b", strings.Repeat("a", 20000)) {
		t.Error("it matches")
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestPrefix(t *testing.T) {
	for _, tc := range []struct {
		pattern, prefix string
		ok              bool
	}{{"", "", true}, {"abc", "abc", true}, {"ab*c", "ab", true}, {"a[b]", "a", true}, {"*x", "", true},
		{"?x", "", false}, {"[x]", "", false}, {`st\*`, `st\`, true}} {
		if prefix, ok := Prefix(tc.pattern); prefix != tc.prefix || ok != tc.ok {
			t.Errorf("Prefix(%q) = %q, %v", tc.pattern, prefix, ok)
		}
	}
}

// Without slashes a pattern means what it means to path.Match.
func FuzzMatch(f *testing.F) {
	for _, s := range []string{"a*b", "[a-z]?", `\**`, "[^x]", "[]", "é*"} {
		f.Add(s, "abé")
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if strings.Contains(pattern+name, "/") {
			return
		}
		want, err := path.Match(pattern, name)
		if err != nil {
			want = false
		}
		if got := Match(pattern, name); got != want {
			t.Fatalf("Match(%q, %q) = %v, path.Match says %v", pattern, name, got, want)
		}
	})
}
