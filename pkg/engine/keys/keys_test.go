package keys

import (
	"math"
	"strings"
	"testing"

	"github.com/tidwall/geojson"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

// session runs commands as a server does.
type session struct {
	t    *testing.T
	cmds map[string]command.Spec
	st   *collection.State
	now  int64
	json bool
}

func newSession(t *testing.T, limits Limits) *session {
	s := &session{t: t, cmds: map[string]command.Spec{}, st: collection.NewState(), now: 1_700_000_000_000}
	for _, spec := range Commands(limits) {
		s.cmds[spec.Name] = spec
	}
	t.Cleanup(func() {
		if err := s.st.Check(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// do returns the answer to a command, and whether it changed the state. CRLF is
// shown as a space.
func (s *session) do(args ...string) (answer string, changed bool) {
	s.t.Helper()
	out := reply.Reply{JSON: s.json}
	req := command.Request{Args: args, Name: strings.ToLower(args[0]), Now: s.now}
	spec, ok := s.cmds[req.Name]
	if !ok {
		s.t.Fatalf("no command %q", req.Name)
	}
	var err error
	if spec.Read != nil {
		err = spec.Read(&req, s.st, &out)
	} else {
		before := s.st.Digest()
		var ch collection.Change
		err = spec.Write(&req, s.st, &ch, &out)
		if s.st.Digest() != before {
			s.t.Errorf("%q touched the state", args)
		}
		if err == nil {
			changed = !ch.Empty()
			s.st.Apply(&ch)
		}
	}
	if err != nil {
		out.Buf = out.Buf[:0]
		out.Fail(req.Name, err)
	}
	return strings.TrimSpace(strings.ReplaceAll(string(out.Buf), "\r\n", " ")), changed
}

// want checks the answer to a command, the words of which are separated by
// single spaces.
func (s *session) want(line, answer string) {
	s.t.Helper()
	if got, _ := s.do(strings.Split(line, " ")...); got != answer {
		s.t.Errorf("%s\n got %.300s\nwant %.300s", line, got, answer)
	}
}

func TestSetAndGet(t *testing.T) {
	s := newSession(t, Limits{})
	s.want("SET k a FIELD f 1.50 POINT 33.5 -115.25", "+OK")
	s.want("GET k a", `$45 {"type":"Point","coordinates":[-115.25,33.5]}`)
	s.want("GET k a WITHFIELDS POINT", "*2 *2 $4 33.5 $7 -115.25 *2 $1 f $4 1.50")
	s.want("GET k a HASH 5", "$5 9myn9")
	s.want("SET k a STRING text NX", "$-1")
	s.want("SET k b XX STRING text", "$-1")
	s.want("SET k b STRING text RETURN", "$4 text")
	s.want("GET k b FOO", "-ERR wrong number of arguments for 'get' command")
	s.json = true
	s.want("GET k a WITHFIELDS", `{"ok":true,"object":{"type":"Point","coordinates":[-115.25,33.5]},"fields":{"f":1.50}`)
	s.want("GET k c", `{"ok":false,"err":"id not found"`)
	s.want("SET k a STRING text NX", `{"ok":false,"err":"id already exists"`)
	s.want("GET k a BOUNDS", `{"ok":true,"bounds":{"sw":{"lat":33.5,"lon":-115.25},"ne":{"lat":33.5,"lon":-115.25}}`)
}

// RETURN has rules of its own about what it takes for an output.
func TestReturn(t *testing.T) {
	s := newSession(t, Limits{})
	s.want("SET k i RETURN POINT POINT 1 2", "-ERR invalid argument '1'")
	s.want("SET k i RETURN OBJECT RETURN POINT POINT 1 2", "*2 $1 1 $1 2")
	s.want("SET k i RETURN RETURN POINT 1 2", "*2 $1 1 $1 2")
	s.want("SET k i RETURN XX WITHFIELDS POINT 1 2", "*1 *2 $1 1 $1 2")
	s.want("SET k i RETURN FIELD a 1 POINT 1 2", `$36 {"type":"Point","coordinates":[2,1]}`)
	s.want("SET k i RETURN FOO BAR POINT 1 2", "-ERR invalid argument 'FOO'")
	s.want("SET k i POINT 1 2 RETURN RETURN", "-ERR invalid argument 'RETURN'")
	s.want("FSET k i RETURN XX POINT 1", "*2 $1 1 $1 2")
	s.want("FSET k missing XX a 1 RETURN", "$-1") // where Tile38 ends
}

func TestChangesOnlyWhatChanges(t *testing.T) {
	s := newSession(t, Limits{})
	for _, tc := range []struct {
		line    string
		changes bool
	}{
		{"SET k a FIELD f 1 POINT 1 2", true}, {"SET k a FIELD f 1 POINT 1 2", true},
		{"FSET k a f 1.0", false}, {"FSET k a f 2", true}, {"PERSIST k a", false},
		{"EXPIRE k a 10", true}, {"PERSIST k a", true}, {"EXPIRE k none 10", false},
		{"DEL k none", false}, {"PDEL k x*", false}, {"DROP none", false},
		{"RENAMENX k k", false}, {"RENAME k l", true}, {"JDEL l a none", false},
		{"JSET l a note x", true}, {"JDEL l a note", true}, {"PDEL l *", true},
	} {
		if _, changed := s.do(strings.Split(tc.line, " ")...); changed != tc.changes {
			t.Errorf("%s: changed is %v", tc.line, changed)
		}
	}
}

func TestExpiry(t *testing.T) {
	s := newSession(t, Limits{})
	for _, tc := range []struct {
		ex       string
		deadline int64
		ttl      string
	}{
		{"10", s.now + 10_000, ":9"}, {"1.0005", s.now + 1001, ":1"}, {"0", s.now, ":0"}, {"-5", s.now - 5000, ":0"},
		{"nan", maxDeadline, ":9223372036"}, {"inf", maxDeadline, ":9223372036"}, {"1e300", maxDeadline, ":9223372036"},
		{"-inf", -maxDeadline, ":0"}, {"-1e300", -maxDeadline, ":0"}, {"9e9", s.now + 9e12, ":8999999999"},
		{"-1700000000", -1, ":0"},
	} {
		for _, line := range []string{"SET k a EX " + tc.ex + " POINT 1 1", "EXPIRE k a " + tc.ex} {
			s.do(strings.Split(line, " ")...)
			it, _ := s.st.Get("k", "a")
			if it == nil || it.Deadline() != tc.deadline {
				t.Errorf("%s: item %v, want the deadline %d", line, it, tc.deadline)
			}
			s.want("TTL k a", tc.ttl)
		}
	}
	s.want("SET k a EX 1e400 POINT 1 1", "-ERR invalid argument '1e400'")
	s.want("SET k a POINT 1 1", "+OK")
	s.want("TTL k a", ":-1")
	s.want("TTL k none", ":-2")
}

func TestJSONDepth(t *testing.T) {
	const million = 1_000_000
	nested := func(open, inner, end string, n int) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(end, n)
	}
	arrays := nested("[", "", "]", million)
	objects := nested(`{"a":`, "1", "}", million)
	point := `{"type":"Point","coordinates":[1,2]}`
	collections := nested(`{"type":"GeometryCollection","geometries":[`, point, "]}", 100_000)
	features := nested(`{"type":"FeatureCollection","features":[`, point, "]}", 100_000)
	single := nested(`{"type":"Feature","geometry":`, point, "}", 100_000)
	for _, limits := range []Limits{{}, Unlimited()} {
		s := newSession(t, limits)
		s.do("SET", "k", "deep", "STRING", arrays)
		s.do("SET", "k", "doc", "STRING", `{"a":1}`)
		for _, args := range [][]string{
			{"SET", "k", "i", "OBJECT", arrays}, {"SET", "k", "i", "OBJECT", objects},
			{"SET", "k", "i", "OBJECT", "{" + arrays}, {"SET", "k", "i", "OBJECT", collections},
			{"SET", "k", "i", "OBJECT", features}, {"SET", "k", "i", "OBJECT", single},
			{"SET", "k", "i", "OBJECT", `{"type":"Point","coordinates":[1,2],"x":` + arrays + "}"},
			{"SET", "k", "i", "FIELD", "f", arrays, "POINT", "1", "1"},
			{"FSET", "k", "doc", "f", objects},
			{"JSET", "k", "doc", "b", arrays, "RAW"}, {"JSET", "k", "deep", "0", "1"}, {"JDEL", "k", "deep", "0"},
		} {
			if got, changed := s.do(args...); !strings.Contains(got, "nested too deep") || changed {
				t.Errorf("%s with %d bytes: %.100s, %v", args[0], len(args[len(args)-1]), got, changed)
			}
		}
		for _, path := range []string{"0.0.0.0", "@pretty", "@ugly", "@valid", "@tostr", "@this|@tostr", "#", "*", "@reverse", "[0,0]", "@flatten:{\"deep\":true}"} {
			s.do("JGET", "k", "deep", path) // need not succeed, but return
		}
	}
	s := newSession(t, Limits{MaxJSONDepth: 6})
	ok := `{"type":"GeometryCollection","geometries":[{"type":"MultiPoint","coordinates":[[1,2]]}]}`
	if got, _ := s.do("SET", "k", "a", "OBJECT", ok); got != "+OK" {
		t.Errorf("5 levels: %s", got)
	}
	over := `{"type":"GeometryCollection","geometries":[{"type":"Polygon","coordinates":[[[1,2]]],"x":[[[[1]]]]}]}`
	if got, _ := s.do("SET", "k", "a", "OBJECT", over); got != "-ERR JSON is nested too deep: 7 levels, the limit is 6" {
		t.Errorf("7 levels: %s", got)
	}
}

func TestPoints(t *testing.T) {
	s := newSession(t, Limits{MaxPoints: 3})
	if got, _ := s.do("SET", "k", "a", "OBJECT", `{"type":"LineString","coordinates":[[1,2],[3,4],[5,6]]}`); got != "+OK" {
		t.Error(got)
	}
	if got, _ := s.do("SET", "k", "b", "OBJECT", `{"type":"LineString","coordinates":[[1,2],[ -3,4],[5,6],
		[7,8]]}`); got != "-ERR too many points: 4, the limit is 3" {
		t.Error(got)
	}
}

func TestLimitsFaults(t *testing.T) {
	var l Limits
	l.EnsureDefaults()
	if l.MaxJSONDepth != 64 || l.MaxPoints != 1_000_000 || len(l.Faults()) != 0 {
		t.Errorf("defaults are %+v with faults %q", l, l.Faults())
	}
	l = Limits{MaxJSONDepth: -1, MaxPoints: -1}
	if got := l.Faults(); len(got) != 2 {
		t.Errorf("faults are %q, want both", got)
	}
	u := Unlimited()
	if got := u.Faults(); len(got) != 0 {
		t.Errorf("faults of Unlimited are %q", got)
	}
}

// Paths that would make megabytes or gigabytes of nothing are refused.
func TestPathsAreBounded(t *testing.T) {
	s := newSession(t, Limits{})
	s.do("SET", "k", "doc", "STRING", `{"a":["\\\"x",2],"b":{"c":1}}`)
	for _, path := range []string{"a.999999999", "500000.600000", strings.Repeat("a.", 3000), "a.99999999999999999999"} {
		if got, _ := s.do("JSET", "k", "doc", path, "1"); got != "-"+"ERR "+errBigPath.JSON {
			t.Errorf("JSET at %.30s: %.100s", path, got)
		}
	}
	for _, path := range []string{
		strings.Repeat("@tostr|", 40) + "@this", strings.Repeat("[@this,@this]|", 40) + "@this",
		strings.Repeat("@this|", 2_000_000), strings.Repeat("{a,b,a,b}.", 30),
	} {
		if got, _ := s.do("JGET", "k", "doc", path); got != "-ERR "+errBigPath.JSON {
			t.Errorf("JGET at %.30s: %.100s", path, got)
		}
	}
	s.want("JGET k doc b.c", "$1 1")
	s.want("JGET k doc @keys", `$9 ["a","b"]`)
	s.want("JGET k doc [a.1,b.c]", "$5 [2,1]")
	s.want("JSET k doc a.5 x", "+OK")
	s.want("JGET k doc a.#", "$1 6")
}

func TestJSetValues(t *testing.T) {
	for value, raw := range map[string]bool{
		"1": true, "-1.5e3": true, ".5": true, "e5": true, "1e400": true, "-0.0": true, "true": true, "null": true,
		"007": false, "5.": false, "-": false, "": false, "1e": false, "-e": false, ".e1": false, "+5": false, "TRUE": false, "1\x20": false,
	} {
		if got := plainJSON(value); got != raw {
			t.Errorf("plainJSON(%q) = %v", value, got)
		}
	}
}

// JSET and JDEL keep what an object is, and its fields.
func TestDocuments(t *testing.T) {
	s := newSession(t, Limits{})
	s.want("SET k g FIELD f 1 EX 100 POINT 1 2", "+OK")
	s.want("JSET k g note x", "+OK")
	s.want("GET k g WITHFIELDS", `*2 $47 {"type":"Point","coordinates":[2,1],"note":"x"} *2 $1 f $1 1`)
	s.want("TTL k g", ":-1")
	s.want("JDEL k g note", "+OK")
	s.want("JDEL k g coordinates", "-ERR missing coordinates")
	it, _ := s.st.Get("k", "g")
	if _, ok := it.Object().(*geojson.SimplePoint); !ok {
		t.Errorf("the object is a %T", it.Object())
	}
	s.want("JSET k new a.b 1", "+OK")
	s.want("JDEL k new a.b", ":1")
	s.want("JDEL k new a.b", ":0")
	s.want("JGET k new", `$8 {"a":{}}`)
	s.want("JSET k new a.# 1", "+OK")
	s.want("JDEL k none a", ":0")
}

// A state must not depend on whether its objects went through their JSON.
func TestObjectsAreWhatTheirJSONIs(t *testing.T) {
	s := newSession(t, Limits{})
	for _, text := range []string{
		`{"type":"Feature","geometry":{"type":"Point","coordinates":[1e400,2]},"properties":{}}`,
		`{"type":"Point","coordinates":[1e400,2],"a":1}`,
		`{"type":"Point","coordinates":[1,2,3,1e400]}`,
		`{"type":"Feature","geometry":{"type":"Point","coordinates":[1,2]},"properties":{"type":"Circle","radius":"inf"}}`,
		`{"type":"FeatureCollection","features":[{"type":"Feature","geometry":{"type":"Point","coordinates":[1,2]},"properties":{"type":"Circle","radius":1e400}}]}`,
	} {
		if got, _ := s.do("SET", "k", "a", "OBJECT", text); got != "+OK" {
			t.Errorf("%s: %s", text, got)
			continue
		}
		it, _ := s.st.Get("k", "a")
		again, err := geojson.Parse(it.Object().JSON(), geojson.DefaultParseOptions)
		if err != nil || again.JSON() != it.Object().JSON() || !sameRect(again, it.Object()) {
			t.Errorf("%s became %s, which reads as %v, %v", text, it.Object().JSON(), again, err)
		}
	}
	// GET could not give it back, and a base file could not hold it.
	s.want(`SET k l OBJECT {"type":"LineString","coordinates":[[1e400,1],[2,2]]}`, "-ERR invalid coordinates")
	// Points are kept, as they have another form.
	s.want(`SET k p OBJECT {"type":"Point","coordinates":[1e400,1]}`, "+OK")
	s.want("GET k p POINT", "*2 $1 1 $4 +Inf")
}

func sameRect(a, b geojson.Object) bool {
	x, y := a.Rect(), b.Rect()
	for _, p := range [][2]float64{{x.Min.X, y.Min.X}, {x.Min.Y, y.Min.Y}, {x.Max.X, y.Max.X}, {x.Max.Y, y.Max.Y}} {
		if p[0] != p[1] && !(math.IsNaN(p[0]) && math.IsNaN(p[1])) {
			return false
		}
	}
	return true
}

func TestRenameOfWhatIsWatched(t *testing.T) {
	s := newSession(t, Limits{})
	s.want("SET a 1 POINT 1 1", "+OK")
	s.want("SET b 1 POINT 1 1", "+OK")
	var ch collection.Change
	ch.SetHook(&collection.Hook{Name: "h", Key: "a"})
	ch.SetHook(&collection.Hook{Name: "i", Key: "c", Channel: true})
	ch.SetHook(&collection.Hook{Name: "c", Key: "a", Channel: true})
	s.st.Apply(&ch)
	s.want("RENAME a x", "-ERR key has hooks set")
	s.want("RENAME b a", "-ERR key has hooks set")
	s.want("RENAMENX b c", "-ERR key has channels set")
	s.want("SET c 1 POINT 1 1", "+OK")
	s.want("RENAME c a", "-ERR key has hooks set")
	s.want("RENAME a c", "-ERR key has hooks set")
	s.want("RENAME b d", "+OK")
}

func TestKeysPatterns(t *testing.T) {
	s := newSession(t, Limits{})
	for _, k := range []string{"zone", "Zone", "?one", "st*r", ""} {
		s.do("SET", k, "1", "STRING", "x")
	}
	s.want("KEYS ?one*", "*0")
	s.want("KEYS ?one", "*1 $4 ?one")
	s.want("KEYS *one", "*3 $4 ?one $4 Zone $4 zone")
	s.want("KEYS z[o]ne", "*1 $4 zone")
	s.want(`KEYS st\*r`, "*0")
	if got, _ := s.do("KEYS", ""); got != "*1 $0" {
		t.Error(got)
	}
}

// The short way for points gives exactly what the long one does.
func FuzzParsePoint(f *testing.F) {
	const head = `{"type":"Point","coordinates":[`
	for _, s := range []string{"1,2]}", "-0,0.0]}", "01,2]}", "1e400,-1E-5]}", "1,2]} ", ".5,1]}", "1,2,3]}", "1 ,2]}", "1,2]", "1e,2]}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, tail string) {
		p, ok := parsePoint(head + tail)
		if !ok {
			return
		}
		obj, err := geojson.Parse(head+tail, geojson.DefaultParseOptions)
		if err != nil {
			t.Fatalf("%q: geojson says %v", tail, err)
		}
		want, isPoint := obj.(*geojson.Point)
		if !isPoint || !want.IsSimple() || math.Float64bits(want.Base().X) != math.Float64bits(p.X) ||
			math.Float64bits(want.Base().Y) != math.Float64bits(p.Y) {
			t.Fatalf("%q: %v, want %v", tail, p, obj)
		}
	})
}

// No command ends in a panic, changes the state outside of its change, or
// leaves indexes that do not fit the data.
func FuzzCommands(f *testing.F) {
	for _, line := range []string{
		"SET k a FIELD f 1 EX 5 POINT 1 2 3 RETURN WITHFIELDS HASH 5", "FSET k a XX f 2 RETURN POINT", "GET k a BOUNDS",
		"JSET k a coordinates.0 5", "JDEL k d a.b", "JGET k d @pretty:{\"indent\":\"x\"}", "PDEL k [a-c]*", "RENAME k l",
		"STATS k l", "EXPIRE k a nan", `SET k c OBJECT {"type":"Feature","geometry":{"type":"Point","coordinates":[1,2]},"properties":{"type":"Circle","radius":"inf"}}`,
		"SET k b BOUNDS nan inf -inf 1e300", "JSET k d #(a==1)#.x 1 RAW", "SET k h HASH ~", "KEYS [a-", "DEL k a ERRON404",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		s := newSession(t, Limits{})
		s.do("SET", "k", "a", "FIELD", "f", "1", "POINT", "1", "2")
		s.do("SET", "k", "d", "STRING", `{"a":{"b":[1,"x"]}}`)
		args := strings.Split(line, " ")
		if _, ok := s.cmds[strings.ToLower(args[0])]; !ok {
			return
		}
		s.do(args...)
		s.json = true
		s.do(args...)
		s.do("GET", "k", "a", "WITHFIELDS")
	})
}
