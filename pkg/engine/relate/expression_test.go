package relate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/geojson"

	"evenkeel/pkg/engine/area"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/reply"
)

// Expressions are written with small letters for areas on the left, capitals for
// those on the right, and & | ! for AND, OR and NOT. Sums such as "aA + !bA" are
// what Tile38 makes of them: aA is true when a meets A.

// spell turns an expression into words. Each area on the left is a point, each
// on the right a MultiPoint of those that it meets.
func spell(expr string, meets map[string]bool) []string {
	var words []string
	for _, r := range expr {
		switch {
		case r >= 'a' && r <= 'z':
			words = append(words, "POINT", "0", fmt.Sprint(r-'a'))
		case r >= 'A' && r <= 'Z':
			points := []string{fmt.Sprintf("[%d,80]", 80+r-'A')}
			for l := 'a'; l <= 'h'; l++ {
				if meets[string(l)+string(r)] {
					points = append(points, fmt.Sprintf("[%d,0]", l-'a'))
				}
			}
			words = append(words, "OBJECT", `{"type":"MultiPoint","coordinates":[`+strings.Join(points, ",")+`]}`)
		default:
			words = append(words, map[rune]string{'&': "AND", '|': "OR", '!': "NOT", '(': "(", ')': ")"}[r])
		}
	}
	return words
}

func holds(sum string, meets map[string]bool) bool {
	switch sum {
	case "0", "1":
		return sum == "1"
	}
	for _, product := range strings.Split(sum, " + ") {
		all := true
		for product != "" {
			want := product[0] != '!'
			product = strings.TrimPrefix(product, "!")
			all = all && meets[product[:2]] == want
			product = product[2:]
		}
		if all {
			return true
		}
	}
	return false
}

func letters(s string, from, to rune) []string {
	var found []string
	for _, r := range s {
		if r >= from && r <= to && !slices.Contains(found, string(r)) {
			found = append(found, string(r))
		}
	}
	return found
}

// TestMeaning holds expressions to what Tile38 answers in every case.
func TestMeaning(t *testing.T) {
	st := collection.NewState()
	for _, c := range []struct{ left, right, want string }{
		{"a", "A", "aA"},
		{"a", "!!!A", "!aA"},
		{"a", "A|B&C", "aA + aB + aC"},
		{"a", "A&B|C&D", "aAaB + aC + aD"},
		{"a", "AB", "aA"},
		{"a", "AB&C", "aAaC"},
		{"a", "A|BC", "aA + aB + aC"},
		{"a", "(A)", "0"},
		{"a", "!(A)", "1"},
		{"a", "((A))&B", "0"},
		{"a", "((A))|B", "aB"},
		{"a", "(A)&B", "aAaB"},
		{"a", "A&(B)", "0"},
		{"a", "A|(B&C)", "aBaC"},
		{"a", "(A|B)&C", "aA + aB + aC"},
		{"a", "(A|B)&(C|D)", "aC + aD"},
		{"a", "((A|B)&C)", "0"},
		{"a", "((A|B)&(C&D))|E", "aA + aB + aCaD + aE"},
		{"a", "(&A&!B)", "aA!aB"},
		{"a", "()|A", "aA"},
		{"a", "A(B)&C", "aBaC"},
		{"a", "!(!A|B)", "!aA!aB"},
		{"!a", "!A", "!aA"},
		{"!a", "!A&B", "!aB + !aA"},
		{"!a", "!(!A|B)", "aA!aB"},
		{"!a", "(&!(!A|B))", "aA!aB"},
		{"(a)", "!A", "1"},
		{"a|b", "A&B", "aAaB + aAbB + bAaB + bAbB"},
		{"a&b", "A|B", "aAbA + aBbB"},
		{"a&b", "!(A|B)", "!aA!aB + !bA!bB + !aA!bB + !bA!aB"},
		{"!a|b", "!(!A|B)", "aAaB!bA!bB"},
		{"!(a|b)", "!(!A|B)", "aA!aB!bB + bA!aB!bB"},
		{"!(!a|b)", "A&B", "aA!bA + aB!bB"},
		{"!(!a|b)", "(&!(!A|B))", "!aAaB!bB + bAaB!bB"},
	} {
		var pairs []string
		for _, l := range letters(c.left, 'a', 'z') {
			for _, r := range letters(c.right, 'A', 'Z') {
				pairs = append(pairs, l+r)
			}
		}
		for bits := range 1 << len(pairs) {
			meets := map[string]bool{}
			for i, p := range pairs {
				meets[p] = bits>>i&1 == 1
			}
			for _, relation := range []string{"INTERSECTS", "WITHIN"} {
				args := slices.Concat([]string{"TEST"}, spell(c.left, meets), []string{relation}, spell(c.right, meets))
				want := ":0\r\n"
				if holds(c.want, meets) {
					want = ":1\r\n"
				}
				if got := do(Limits{}, st, false, args...); got != want {
					t.Fatalf("%s %s %s with %v: %q, want %q", c.left, relation, c.right, meets, got, want)
				}
			}
		}
	}
}

func TestSyntax(t *testing.T) {
	st := collection.NewState()
	numArgs := reply.ErrNumArgs.Error()
	for _, c := range []struct{ expr, want string }{
		{"a!", numArgs}, {"()", numArgs}, {"(", numArgs}, {"!()", numArgs}, {"a&()", numArgs},
		{"(a|b&)", "invalid argument ')'"}, {"(a!)", "invalid argument ')'"}, {"(a))", "invalid argument ')'"},
		{"!&a", "invalid argument 'and'"}, {"&a", "invalid argument 'and'"}, {"a||b", "invalid argument 'or'"},
		{"(&a&&b)", "invalid argument 'and'"},
		{"(&a|b)", numArgs}, {"(|a)&b", numArgs}, {"()&a|)", numArgs}, {"(|a&)", numArgs},
		{"(a&b|)", "invalid argument ')'"},
	} {
		p := parser{words: words{all: spell(c.expr, nil)}, limits: &Limits{}, state: st}
		p.limits.EnsureDefaults()
		if n, err := p.expression(false); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, %v, want %s", c.expr, n, err, c.want)
		}
	}
}

// FuzzTest reads words that are joined by newlines, and answers them.
func FuzzTest(f *testing.F) {
	f.Add("POINT\n1\n1\nINTERSECTS\nCLIP\nBOUNDS\n0\n0\n2\n2")
	f.Add("(\nPOINT\n1\n1\nAND\nNOT\nPOINT\n2\n2\n)\nWITHIN\nTILE\n-1\n0\n99\nOR\nGET\nk\ntext")
	f.Add("NOT\nGET\nk\ntext\nINTERSECTS\nclip\nHASH\ns0")
	f.Add("(\n(\nGET\nk\nsquare\n)\n)\nOR\nSECTOR\n1\n1\n1e9\n0\n90\nWITHIN\n)\n(")
	st := places(f)
	f.Fuzz(func(t *testing.T, text string) {
		l := Limits{MaxNodes: 50, Area: area.Limits{MaxJSONDepth: 20}}
		args := strings.Split("TEST\n"+text, "\n")
		resp, json := do(l, st, false, args...), do(l, st, true, args...)
		refused := strings.HasPrefix(resp, "-ERR ")
		if refused != strings.HasPrefix(json, `{"ok":false,`) || !refused && !strings.HasPrefix(json, `{"ok":true,"result":`) {
			t.Errorf("%q: %q and %q", args, resp, json)
		}
	})
}

// FuzzExpression reads expressions of a few areas and compares every one that is
// right with itself under NOT: the result is the opposite.
func FuzzExpression(f *testing.F) {
	for _, s := range []string{"a", "(a|b)&c", "!(a&!b)|c", "((a)(b))", "a(&b", "!!a|b&c(d&e)|f"} {
		f.Add(s)
	}
	for _, s := range []string{"()", "(&!a)"} {
		f.Add(s)
	}
	inside, err := geojson.Parse(square, geojson.DefaultParseOptions)
	if err != nil {
		f.Fatal(err)
	}
	right := &node{area: area.New(inside)}
	f.Fuzz(func(t *testing.T, expr string) {
		expr = strings.Map(func(r rune) rune {
			if strings.ContainsRune("abcdef&|!()", r) {
				return r
			}
			return -1
		}, expr)
		l := Limits{MaxNodes: 100}
		l.EnsureDefaults()
		p := parser{words: words{all: spell(expr, nil)}, limits: &l, state: collection.NewState()}
		n, err := p.expression(false)
		if err != nil {
			var answer *reply.Error
			if !errors.As(err, &answer) {
				t.Fatalf("%q: %v is no answer", expr, err)
			}
			return
		}
		if p.n != len(p.all) || p.nodes > l.MaxNodes {
			t.Fatalf("%q: %d of %d words, %d nodes", expr, p.n, len(p.all), p.nodes)
		}
		var c comparison
		yes := c.compare(n, false, right, false, false)
		if no := c.compare(n, true, right, false, false); no == yes {
			t.Errorf("%q: %v, and %v under NOT", expr, yes, no)
		}
	})
}
