package script_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/field"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/engine/script"
)

// Nothing of a run is seen by the next one.
func TestIsolation(t *testing.T) {
	s := newServer(script.Limits{})
	for _, c := range []struct{ leave, look, want string }{
		{"tostring = 5", "return tostring(7)", "$1\r\n7\r\n"},
		{"string.foo = 5", "return string.foo", "$-1\r\n"},
		{"string.rep = nil", "return string.rep('x', 2)", "$2\r\nxx\r\n"},
		{"string.__add = function() return 1 end", "return 'a' + 'b'", "-ERR"},
		{"string.__index = nil", "return ('x'):rep(2)", "$2\r\nxx\r\n"},
		{"math.pi = 3", "return math.pi > 3", ":1\r\n"},
		{"tile38.call = nil json.encode = nil", "return json.encode(1)", "$1\r\n1\r\n"},
		{"_G.tostring = nil", "return tostring(1)", "$1\r\n1\r\n"},
		{"KEYS.x = 1 ARGV.y = 1", "return KEYS.x or ARGV.y", "$-1\r\n"},
		{"EVAL_CMD = nil", "return EVAL_CMD", "$4\r\neval\r\n"},
		{"math.randomseed(1)", "return math.random() ~= math.random()", ":1\r\n"},
	} {
		s.do([]string{"EVAL", c.leave, "0"}, false)
		if got := s.do([]string{"EVAL", c.look, "0"}, false); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s; %s: got %q, want %q", c.leave, c.look, got, c.want)
		}
	}
}

// What kills or blocks Tile38 is an ordinary error.
func TestLimits(t *testing.T) {
	limits := script.Limits{
		Now: time.Now, MaxTime: 100 * time.Millisecond, MaxItemTime: 50 * time.Millisecond,
		MaxMemory: 4 << 20, MaxItemMemory: 2 << 20, MaxScript: 1000,
	}
	hasty := newServer(limits)
	// What is not about time must not depend on how busy the machine is.
	limits.MaxTime, limits.MaxItemTime = time.Minute, time.Minute
	patient := newServer(limits)
	for _, s := range []*server{hasty, patient} {
		s.do([]string{"SET", "k", "a", "POINT", "1", "1"}, false)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"EVAL", "while true do end", "0"}, "-ERR script ran longer than 100ms: "},
		{[]string{"EVAL", "while true do tile38.pcall('GET') end", "0"}, "-ERR script ran longer than 100ms: "},
		{[]string{"EVAL", "local s = 'x' while true do s = s .. s end", "0"}, "-ERR script holds more than 2097152 bytes: "},
		{[]string{"EVAL", "local t = {} t.t = t return t", "0"}, "-ERR result is nested too deep"},
		{[]string{"EVAL", "local t = {} t[1] = t return t", "0"}, "-ERR result is nested too deep"},
		{[]string{"EVAL", "local t = {} for i = 1, 60 do t = {t, t} end return t", "0"}, "-ERR script "},
		{[]string{"EVAL", "local t = {} for i = 1, 5000 do t = {t} end return t", "0"}, "-ERR result is nested too deep"},
		{[]string{"EVAL", "local t = {} for i = 1, 900 do t = {t} end return {json.encode(t)}", "0"}, "*1\r\n$1802\r\n"},
		{[]string{"EVAL", "return #json.decode(string.rep('[', 1000) .. string.rep(']', 1000))", "0"}, ":1\r\n"},
		{[]string{"EVAL", "return json.decode(string.rep('[', 1e6))", "0"}, "$-1\r\n"},
		{[]string{"EVAL", "return json.decode('[' .. string.rep('{},', 4e5) .. '1]')", "0"}, "-ERR script holds"},
		{[]string{"EVAL", "return json.encode(string.rep('\\1', 1e6))", "0"}, "-ERR script holds"},
		{[]string{"EVAL", "return 1", "18446744073709551615"}, "-ERR wrong number"},
		{[]string{"EVAL", "return 1 --" + strings.Repeat("x", 1000), "0"}, "-ERR script is too long: 1011 bytes"},
		{[]string{"EVAL", "return " + strings.Repeat("{", 400) + strings.Repeat("}", 400), "0"}, "-ERR f_"},
		{[]string{"SCAN", "k", "WHEREEVAL", "while true do end", "0"}, "-ERR script ran longer than 50ms: "},
		{[]string{"SCAN", "k", "WHEREEVAL", "return string.rep('x', 1e7)", "0"}, "-ERR script holds more than 1048576 bytes"},
	} {
		s := patient
		if strings.Contains(c.want, "ran longer") {
			s = hasty
		}
		got := s.do(c.args, false)
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%.80q: got %.200q, want %q", c.args, got, c.want)
		}
		if asJSON := s.do(c.args, true); strings.HasPrefix(c.want, "-") != strings.HasPrefix(asJSON, `{"ok":false,"err":"`) {
			t.Errorf("%.80q: JSON %.200q", c.args, asJSON)
		}
	}
}

// A pause that fails ends the script; its error is the answer.
func TestPause(t *testing.T) {
	s := script.New(script.Limits{})
	late := reply.Plain("timeout")
	asked := 0
	pause := func() error {
		if asked++; asked > 2 {
			return late
		}
		return nil
	}
	var out reply.Reply
	req := &command.Request{Args: []string{"EVAL", "while true do end", "0"}, Name: "eval", Pause: pause}
	if err := s.Eval(req, nil, &out); !errors.Is(err, late) {
		t.Errorf("EVAL: %v", err)
	}
	keeps, err := s.Where("while true do end", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	asked = 0
	if _, err := keeps(collection.NewPoint("p", geometry.Point{}, field.List{}, 0), pause); !errors.Is(err, late) {
		t.Errorf("WHEREEVAL: %v", err)
	}
}

func TestKept(t *testing.T) {
	s := newServer(script.Limits{MaxScripts: 3})
	load := func(text string) string { return s.do([]string{"SCRIPT", "LOAD", text}, false) }
	exists := func(answer string) bool {
		_, sha, _ := strings.Cut(strings.TrimSuffix(answer, "\r\n"), "\r\n")
		return s.do([]string{"SCRIPT", "EXISTS", sha}, false) == "*1\r\n:1\r\n"
	}
	one := load("return 'one'")
	for i := range 10 {
		if got, want := s.do([]string{"EVAL", fmt.Sprintf("return %d", i), "0"}, false), fmt.Sprintf(":%d\r\n", i); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if n, bytes := s.scripts.Len(); n != 3 || bytes < 100 {
		t.Errorf("%d scripts, %d bytes are kept", n, bytes)
	}
	two, three := load("return 'two'"), load("return 'three'")
	if !exists(one) || !exists(two) || !exists(three) {
		t.Error("a loaded script is gone")
	}
	if got := load("return 'four'"); got != "-ERR too many scripts are loaded: SCRIPT FLUSH makes room\r\n" {
		t.Errorf("one too many: %q", got)
	}
	if got := s.do([]string{"EVAL", "return 5", "0"}, false); got != ":5\r\n" {
		t.Errorf("a script that is not kept: %q", got)
	}
	s.do([]string{"SCRIPT", "FLUSH"}, false)
	if n, bytes := s.scripts.Len(); n != 0 || bytes != 0 || exists(one) {
		t.Errorf("after FLUSH %d scripts, %d bytes are kept", n, bytes)
	}
}

func TestAhead(t *testing.T) {
	s := script.New(script.Limits{})
	for _, args := range [][]string{{"EVAL", "return 1", "0"}, {"EVAL", "return (", "0"}, {"EVALSHA", "return 2", "0"}, {"EVAL"}} {
		s.Ahead(&command.Request{Args: args, Name: strings.ToLower(args[0])})
	}
	if n, _ := s.Len(); n != 1 {
		t.Errorf("%d scripts are kept", n)
	}
}

func TestValidate(t *testing.T) {
	var l script.Limits
	l.EnsureDefaults()
	if err := l.Validate(); err != nil {
		t.Error(err)
	}
	l.MaxTime, l.MaxScripts = -1, -1
	err := l.Validate()
	if err == nil || strings.Count(err.Error(), ";") != 1 {
		t.Errorf("two faults: %v", err)
	}
}

// Scripts are used by any number of goroutines.
func TestConcurrency(t *testing.T) {
	s := script.New(script.Limits{MaxScripts: 5})
	it := collection.NewPoint("p", geometry.Point{X: 1}, field.List{}.Set("n", field.ValueOf("5")), 0)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 100 {
				var out reply.Reply
				text := fmt.Sprintf("string.x = ARGV[1] tostring = nil return {%d, string.x, #'const'}", i%10)
				req := &command.Request{Args: []string{"EVAL", text, "0", fmt.Sprint(g)}, Name: "eval"}
				want := fmt.Sprintf("*3\r\n:%d\r\n$1\r\n%d\r\n:5\r\n", i%10, g)
				if err := s.Eval(req, nil, &out); err != nil || string(out.Buf) != want {
					t.Errorf("got %q, %v, want %q", out.Buf, err, want)
				}
				keeps, err := s.Where("return FIELDS.n == 5 and ID == 'p'", false, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if ok, err := keeps(it, nil); !ok || err != nil {
					t.Errorf("WHEREEVAL: %v, %v", ok, err)
				}
				if i%20 == 0 {
					if err := s.Script(&command.Request{Args: []string{"SCRIPT", "FLUSH"}, Name: "script"}, &out); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
}

// Without arguments, as in a fence, there is no ARGV; with none of them it is empty.
func TestWhereWithoutARGV(t *testing.T) {
	s := script.New(script.Limits{})
	it := collection.NewPoint("p", geometry.Point{X: 1}, field.List{}, 0)
	for _, c := range []struct {
		args []string
		want bool
	}{{nil, true}, {[]string{}, false}, {[]string{"a"}, false}} {
		keeps, err := s.Where("return ARGV == nil", false, c.args)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := keeps(it, nil); got != c.want || err != nil {
			t.Errorf("with %q there is no ARGV: %v, %v, want %v", c.args, got, err, c.want)
		}
	}
}

// A fence asks one function about any number of items.
func TestWhereAgainAndAgain(t *testing.T) {
	s := script.New(script.Limits{MaxItemMemory: 1 << 20})
	keeps, err := s.Where("local t = {} for i = 1, 10 do t[i] = ID .. i end return #t == 10 and FIELDS.n == 5", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	it := collection.NewPoint("p", geometry.Point{X: 1}, field.List{}.Set("n", field.ValueOf("5")), 0)
	for i := range 100_000 {
		if ok, err := keeps(it, nil); !ok || err != nil {
			t.Fatalf("item %d: %v, %v", i, ok, err)
		}
	}
	bad, err := s.Where("if FIELDS.n == 6 then return nil + 1 end return true", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	six := collection.NewPoint("p", geometry.Point{X: 1}, field.List{}.Set("n", field.ValueOf("6")), 0)
	for range 10 {
		if ok, err := bad(six, nil); ok || err == nil {
			t.Errorf("an item that the script fails at: %v, %v", ok, err)
		}
		if ok, err := bad(it, nil); !ok || err != nil {
			t.Errorf("the item behind it: %v, %v", ok, err)
		}
	}
}

func TestWhere(t *testing.T) {
	s := newServer(script.Limits{})
	for _, set := range [][]string{
		{"SET", "k", "a", "FIELD", "n", "5", "FIELD", "s", "str", "FIELD", "t", "true", "FIELD", "f", "false", "FIELD", "nul", "null", "FIELD", "js", `{"a":1}`,
			"OBJECT", `{"type":"Feature","geometry":{"type":"Point","coordinates":[1,2,3]},"properties":{"p":1,"l":[1,null,"x"],"f":false}}`},
		{"SET", "k", "b", "POINT", "1", "2"},
		{"SET", "k", "c", "STRING", "text"},
		{"SET", "k", "d", "OBJECT", `{"type":"Feature","geometry":{"type":"Point","coordinates":[1,2]},"properties":null}`},
	} {
		if got := s.do(set, false); got != "+OK\r\n" {
			t.Fatalf("%q: %q", set, got)
		}
	}
	ids := func(ids ...string) string {
		var out reply.Reply
		out.Buf = append(out.Buf, "*2\r\n:0\r\n"...)
		out.Array(len(ids))
		for _, id := range ids {
			out.Bulk(id)
		}
		return string(out.Buf)
	}
	for text, want := range map[string]string{
		"return FIELDS.n + 1 == 6": "-ERR f_",
		"return FIELDS.n == 5 and FIELDS.s == 'str' and FIELDS.t == true and FIELDS.f == false and FIELDS.nul == nil and FIELDS.js == '{\"a\":1}'": ids("a"),
		"return FIELDS.z == 3":                                      ids("a"),
		"return FIELDS.z == 0":                                      ids("b", "d"),
		"return json.encode(FIELDS) == '[]'":                        ids("c"),
		"return PROPERTIES == nil":                                  ids("d"),
		"return PROPERTIES and PROPERTIES.l and #PROPERTIES.l == 2": ids("a"),
		"return PROPERTIES.f == false":                              ids("a"),
		"return _G['PROP' .. 'ERTIES'].p == 1":                      ids("a"),
		"return _G['I' .. 'D'] == 'b'":                              ids("b"),
		"return KEYS == nil and EVAL_CMD == nil":                    ids("a", "b", "c", "d"),
		"return tile38.pcall('GET', 'k', 'a').err":                  ids("a", "b", "c", "d"),
		"return nothing.x":                                          ids(),
		"nothing.x = 1 return true":                                 ids(),
		"return 0/0":                                                ids("a", "b", "c", "d"),
		"return {false}":                                            ids("a", "b", "c", "d"),
		"ARGV.n = (ARGV.n or 0) + 1 return ARGV.n <= 2":             ids("a", "b"),
		"FIELDS.n = 7 return FIELDS.n == 7":                         ids("a", "b", "c", "d"),
		"return tile38.call":                                        "-ERR script returned value of type function\r\n",
		"x = 1":                                                     "-ERR f_",
	} {
		if got := s.do([]string{"SCAN", "k", "WHEREEVAL", text, "0", "IDS"}, false); !strings.HasPrefix(got, want) {
			t.Errorf("%s\n got %q\nwant %q", text, got, want)
		}
	}
}
