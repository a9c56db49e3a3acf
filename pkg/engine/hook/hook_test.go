package hook

import (
	"strings"
	"testing"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

const now = 1_700_000_000_000

// bench carries out the commands of the package on a state.
type bench struct {
	t     *testing.T
	st    *collection.State
	specs []command.Spec // nil: Commands()
}

// do returns the answer, "" marking an empty word of the line.
func (b *bench) do(line string, json bool) string {
	b.t.Helper()
	args := strings.Fields(line)
	for i, a := range args {
		if a == `""` {
			args[i] = ""
		}
	}
	req := &command.Request{Args: args, Name: strings.ToLower(args[0]), Now: now}
	out := &reply.Reply{JSON: json}
	var err error
	specs := b.specs
	if specs == nil {
		specs = Commands()
	}
	for _, spec := range specs {
		if spec.Name != req.Name {
			continue
		}
		if spec.Read != nil {
			err = spec.Read(req, b.st, out)
			break
		}
		var ch collection.Change
		if err = spec.Write(req, b.st, &ch, out); err == nil && !ch.Empty() {
			b.st.Apply(&ch)
		}
	}
	if err != nil {
		out.Buf = out.Buf[:0]
		out.Fail(req.Name, err)
	}
	if err := b.st.Check(); err != nil {
		b.t.Errorf("after %s: %v", line, err)
	}
	return string(out.Buf)
}

func TestDefinitions(t *testing.T) {
	b := &bench{t: t, st: collection.NewState()}
	const fence = " NEARBY fleet FENCE POINT 33 -112 1000"
	for _, c := range []struct{ line, want string }{
		{"SETHOOK h http://a, kafka://b/c" + fence, "-ERR invalid argument ''\r\n"},
		{"SETHOOK h http://a,kafka://b/c" + fence, ":1\r\n"},
		{"SETHOOK h http://a,kafka://b/c" + fence, ":0\r\n"}, // the same again
		{"SETHOOK h http://a" + fence, ":1\r\n"},
		{"SETHOOK h http://a META k v" + fence, ":1\r\n"},
		{"SETHOOK h http://a META k v EX 100" + fence, ":1\r\n"},
		{"SETCHAN h" + fence, "-ERR hooks and channels cannot share the same name\r\n"},
		{"SETCHAN c" + fence, ":1\r\n"},
		{"SETCHAN c2 EX inf" + fence, ":1\r\n"},
		{"SETCHAN c3 EX nan" + fence, ":1\r\n"}, // as in Tile38: over at once
		{"SETCHAN c3 EX x" + fence, "-ERR invalid argument 'x'\r\n"},
		{"SETCHAN c3 EX", "-ERR wrong number of arguments for 'setchan' command\r\n"},
		{"SETCHAN c3 META a", "-ERR wrong number of arguments for 'setchan' command\r\n"},
		{"SETCHAN c3 GET a b", "-ERR invalid argument 'GET'\r\n"},
		{"SETCHAN c3 NEARBY", "-ERR wrong number of arguments for 'setchan' command\r\n"},
		{"SETCHAN", "-ERR wrong number of arguments for 'setchan' command\r\n"},
		{"SETHOOK h", "-ERR wrong number of arguments for 'sethook' command\r\n"},
		{"SETHOOK c http://a" + fence, "-ERR hooks and channels cannot share the same name\r\n"},
		{"HOOKS", "-ERR wrong number of arguments for 'hooks' command\r\n"},
		{"HOOKS nosuch*", "*0\r\n"},
		{"CHANS c", "*1\r\n*5\r\n$1\r\nc\r\n$5\r\nfleet\r\n*1\r\n$9\r\nlocal://c\r\n*7\r\n$6\r\nNEARBY\r\n$5\r\nfleet\r\n$5\r\nFENCE\r\n$5\r\nPOINT\r\n$2\r\n33\r\n$4\r\n-112\r\n$4\r\n1000\r\n*0\r\n"},
		{"DELHOOK c", ":0\r\n"}, // a channel is no hook
		{"DELCHAN h", ":0\r\n"},
		{"DELHOOK", "-ERR wrong number of arguments for 'delhook' command\r\n"},
		{"PDELHOOK", "-ERR wrong number of arguments for 'pdelhook' command\r\n"},
		{"PDELHOOK *", ":1\r\n"},
		{"PDELHOOK *", ":0\r\n"},
		{"DELCHAN c", ":1\r\n"},
		{"DELCHAN c", ":0\r\n"},
		{"PDELCHAN c?", ":2\r\n"},
	} {
		if got := b.do(c.line, false); got != c.want {
			t.Errorf("%s: %q, want %q", c.line, got, c.want)
		}
	}
	if d := b.st.Digest(); d != (collection.NewState()).Digest() {
		t.Errorf("with all deleted the digest is %v", d)
	}
}

// TestPatterns: a pattern lists only names that begin as it does before its
// first special character; a backslash is none there.
func TestPatterns(t *testing.T) {
	b := &bench{t: t, st: collection.NewState()}
	for _, name := range []string{"h1", "h*", "?", "[a]"} {
		b.do("SETCHAN "+name+" NEARBY k FENCE POINT 1 1 1", false)
	}
	for pattern, want := range map[string]string{
		"*": "*4", "h*": "*2", "h?": "*2", "h1": "*1", "?": "*1", "?*": "*0", "[^h]*": "*0", "[a]": "*0",
		`\h1`: "*0", `h\*`: "*0", `""`: "-ERR wrong number of arguments for 'chans' command",
	} {
		if got, _, _ := strings.Cut(b.do("CHANS "+pattern, false), "\r\n"); got != want {
			t.Errorf("CHANS %s: %s, want %s", pattern, got, want)
		}
	}
	if got := b.do(`DELCHAN ""`, false); got != "-ERR wrong number of arguments for 'delchan' command\r\n" {
		t.Errorf(`DELCHAN "": %q`, got)
	}
}

// TestListJSON: members, order by name, and what is left of the time to live.
func TestListJSON(t *testing.T) {
	b := &bench{t: t, st: collection.NewState()}
	b.do(`SETHOOK z http://a,http://b META q "x" META a 1 EX 99.9 WITHIN fleet FENCE BOUNDS 1 1 2 2`, false)
	b.do("SETHOOK a http://a INTERSECTS fleet FENCE BOUNDS 1 1 2 2", false)
	b.do("SETCHAN c EX -5 NEARBY fleet FENCE POINT 1 1 1", false)
	const hookA = `{"name":"a","key":"fleet","ttl":-1,"endpoints":["http://a"],"command":["INTERSECTS","fleet","FENCE","BOUNDS","1","1","2","2"],"meta":{}}`
	const hookZ = `{"name":"z","key":"fleet","ttl":99,"endpoints":["http://a","http://b"],"command":["WITHIN","fleet","FENCE","BOUNDS","1","1","2","2"],"meta":{"a":"1","q":"\"x\""}}`
	for line, want := range map[string]string{
		"HOOKS *":      `{"ok":true,"hooks":[` + hookA + "," + hookZ + "]",
		"HOOKS z":      `{"ok":true,"hooks":[` + hookZ + "]",
		"CHANS *":      `{"ok":true,"chans":[{"name":"c","key":"fleet","ttl":0,"command":["NEARBY","fleet","FENCE","POINT","1","1","1"],"meta":{}}]`,
		"CHANS nosuch": `{"ok":true,"chans":[]`,
		"DELHOOK none": `{"ok":true`,
		"CHANS":        `{"ok":false,"err":"invalid number of arguments"`,
	} {
		if got := b.do(line, true); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", line, got, want)
		}
	}
}

// TestDigest: every part of a definition counts, and the order of META does not.
func TestDigest(t *testing.T) {
	seen := map[collection.Digest]string{}
	for _, line := range []string{
		"SETHOOK h http://a NEARBY k FENCE POINT 1 1 1", "SETHOOK h http://b NEARBY k FENCE POINT 1 1 1",
		"SETHOOK h http://a NEARBY k FENCE POINT 1 1 2", "SETHOOK h http://a META a b NEARBY k FENCE POINT 1 1 1",
		"SETHOOK h http://a EX 5 NEARBY k FENCE POINT 1 1 1", "SETHOOK i http://a NEARBY k FENCE POINT 1 1 1",
		"SETCHAN h NEARBY k FENCE POINT 1 1 1",
	} {
		b := &bench{t: t, st: collection.NewState()}
		b.do(line, false)
		if other, found := seen[b.st.Digest()]; found {
			t.Errorf("%s has the digest of %s", line, other)
		}
		seen[b.st.Digest()] = line
	}
	one, two := &bench{t: t, st: collection.NewState()}, &bench{t: t, st: collection.NewState()}
	one.do("SETCHAN h META a 1 META b 2 META a 3 NEARBY k FENCE POINT 1 1 1", false)
	two.do("SETCHAN h META b 2 META a 3 NEARBY k FENCE POINT 1 1 1", false)
	if one.st.Digest() != two.st.Digest() {
		t.Error("the order of META counts")
	}
}

// TestChecked: a client's definition is compiled; one from a log is taken as it
// is.
func TestChecked(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"SETHOOK h nothing", "-ERR invalid argument 'nothing'\r\n"},
		{"SETHOOK h nothing NEARBY k FENCE POINT x 1", "-ERR invalid argument 'nothing'\r\n"},
		{`SETHOOK h "" NEARBY k FENCE POINT 1 1 1`, "-ERR wrong number of arguments for 'sethook' command\r\n"},
		{`SETHOOK "" http://a NEARBY k FENCE POINT 1 1 1`, "-ERR wrong number of arguments for 'sethook' command\r\n"},
		{`SETHOOK h http://a META "" x NEARBY k FENCE POINT 1 1 1`, "-ERR wrong number of arguments for 'sethook' command\r\n"},
		{`SETHOOK h http://a EX "" NEARBY k FENCE POINT 1 1 1`, "-ERR wrong number of arguments for 'sethook' command\r\n"},
		{`SETHOOK h http://a NEARBY "" FENCE POINT 1 1 1`, "-ERR wrong number of arguments for 'sethook' command\r\n"},
		{"SETHOOK h http://a NEARBY k FENCE POINT x 1", "-ERR invalid argument 'x'\r\n"},
		{"SETHOOK h http://a FOO NEARBY k FENCE POINT 1 1 1", "-ERR invalid argument 'FOO'\r\n"},
		{"SETHOOK h http://a WITHIN k FENCE GET no such", "-ERR key not found\r\n"},
		{"SETCHAN c NEARBY k FENCE DETECT sideways POINT 1 1 1", "-ERR invalid argument 'sideways'\r\n"},
	} {
		b := &bench{t: t, st: collection.NewState()}
		if got := b.do(c.line, false); got != c.want {
			t.Errorf("%s: %q, want %q", c.line, got, c.want)
		}
	}
	b := &bench{t: t, st: collection.NewState(), specs: Logged()}
	for _, line := range []string{
		"SETHOOK h kafka:nothing WITHIN k FENCE GET no such",
		`SETCHAN c META "" x NEARBY k FENCE DETECT sideways`,
	} {
		if got := b.do(line, false); got != ":1\r\n" {
			t.Errorf("%s from a log: %q", line, got)
		}
	}
}

// TestDeadline: what Tile38 makes of seconds.
func TestDeadline(t *testing.T) {
	for word, want := range map[string]string{
		"5": `"ttl":4`, "500.9": `"ttl":500`, "1e9": `"ttl":999999999`, "9223372036": `"ttl":9223372035`,
		"9223372037": `"ttl":0`, "inf": `"ttl":0`, "nan": `"ttl":0`, "-1": `"ttl":0`, "0": `"ttl":0`,
	} {
		b := &bench{t: t, st: collection.NewState()}
		for range 2 { // the same again ends later
			if got := b.do("SETCHAN c EX "+word+" NEARBY k FENCE POINT 1 1 1", false); got != ":1\r\n" {
				t.Errorf("EX %s: %q", word, got)
			}
		}
		if got := b.do("CHANS *", true); !strings.Contains(got, want+",") {
			t.Errorf("EX %s: %s, want %s", word, got, want)
		}
		if due := b.due(now); due != (want == `"ttl":0`) {
			t.Errorf("EX %s is due now: %v", word, due)
		}
	}
}

// due says whether a hook is to go at this time.
func (b *bench) due(now int64) (due bool) {
	b.st.ExpiredHooks(now, func(*collection.Hook) bool {
		due = true
		return true
	})
	if next := b.st.NextDeadline(); due != (next <= now) {
		b.t.Errorf("due %v, the next deadline is %d", due, next)
	}
	return due
}
