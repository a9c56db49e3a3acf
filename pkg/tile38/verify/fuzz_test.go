package verify

import (
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"evenkeel/pkg/tile38"
)

// FuzzPage reads what may be no answer of a server at all.
func FuzzPage(f *testing.F) {
	for _, s := range []string{
		`{"ok":true,"fields":["b","n"],"objects":[{"id":"p","object":{"type":"Point","coordinates":[2,1]},"fields":[0,"x"]}],"count":1,"cursor":5,"elapsed":"1µs"}`,
		`{"ok":true,"objects":[{"id":"\ufffd","object":"a\u0000"}],"count":1,"cursor":0}`,
		`{"ok":true,"ids":["a","b"],"count":2,"cursor":0}`,
		`{"ok":false,"err":"catching up to leader"}`,
		`{"ok":true,"object":{"type":"Point"},"fields":{"a":1}}`,
		`{"ok":true,"hooks":[{"name":"h","ttl":5}]}`,
		`{"ok":true,"objects":[{"id":1,"fields":[[[[`, "", "{}", "[]",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePage(text)
		if err == nil && int64(len(p.objects)) != gjson.Get(text, "count").Int() && gjson.Valid(text) {
			// A member may stand there twice; then the last one counts.
			t.Skip()
		}
		for _, o := range p.objects {
			if err == nil && !sameFields(o.Fields, o.Fields) {
				t.Fatalf("%+v is not equal to itself", o)
			}
		}
		_ = p.exact(tile38.Answer{Items: []tile38.Answer{{}, {Items: make([]tile38.Answer, len(p.objects))}}})
		if o, _, err := parseObject(text); err == nil && o != nil {
			if why := compareObjects(o, o, 0); why != 0 {
				t.Fatalf("%+v differs from itself: %s", o, why)
			}
			if cmds := (Difference{Key: "k", ID: "i", Why: Missing, Want: o}).Commands(); len(cmds) != 1 || cmds[0][0] != "SET" {
				t.Fatalf("%q", cmds)
			}
		}
		if v, err := answerJSON(text); err == nil {
			_, _ = addExpiries([]Hook{{Name: "h"}}, v.Get("hooks").Array(), time.Now())
		}
	})
}

// FuzzSame compares texts that may be JSON.
func FuzzSame(f *testing.F) {
	f.Add(`{"a":1.0,"b":[1,"\u00e9"]}`, `{"a":1,"b":[1e0,"é"]}`)
	f.Add(`NaN`, `"x"`)
	f.Fuzz(func(t *testing.T, a, b string) {
		if sameJSON(a, b) != sameJSON(b, a) || sameField(a, b) != sameField(b, a) {
			t.Fatalf("%q and %q: the order matters", a, b)
		}
		if !sameJSON(a, a) || !sameField(a, a) {
			t.Fatalf("%q is not equal to itself", a)
		}
	})
}
