package store

import (
	"strconv"
	"strings"
	"testing"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

// send carries out one write and returns its answer.
func (f *fixture) send(words ...string) string {
	f.t.Helper()
	var out reply.Reply
	name := strings.ToLower(words[0])
	f.Write([]Write{{Spec: f.Lookup(name), Request: command.Request{Name: name, Args: words}}}, &out)
	return string(out.Buf)
}

// TestLargeIsReadWithoutLock: what looks at a large object goes on on a snapshot.
func TestLargeIsReadWithoutLock(t *testing.T) {
	f := open(t, t.TempDir())
	json := ring(5000)
	f.send("SET", "k", "a", "OBJECT", json)
	f.mustWrite("SET k b POINT 5 5")
	for _, tc := range []struct {
		words string
		large bool
		want  string // in the answer
	}{
		{"GET k a", true, "Polygon"},
		{"GET k a WITHFIELDS BOUNDS", true, "10"},
		{"GET k a BOUNDS", false, "10"},
		{"GET k b", false, "[5,5]"},
		{"JGET k a type", true, "Polygon"},
		{"SCAN k IDS", false, "a"},
		{"SCAN k", true, "Polygon"},
		{"NEARBY k IDS POINT 5 5", true, "b"},
		{"INTERSECTS k IDS GET k a", true, "b"},
		{"INTERSECTS k BUFFER 10 IDS GET k a", true, "b"},
		{"INTERSECTS k IDS GET k b", true, "a"},
		{"TEST GET k a INTERSECTS POINT 5 5", true, ":1"},
		{"TEST GET k b INTERSECTS POINT 5 5", false, ":1"},
	} {
		words := strings.Fields(tc.words)
		name := strings.ToLower(words[0])
		before := f.Stats().ReadSnapshots
		var out reply.Reply
		f.Read(f.Lookup(name), &command.Request{Name: name, Args: words}, &out)
		if got := string(out.Buf); !strings.Contains(got, tc.want) || strings.HasPrefix(got, "-") {
			t.Errorf("%s: answer %.200q, want %q in it", tc.words, got, tc.want)
		}
		if large := f.Stats().ReadSnapshots > before; large != tc.large {
			t.Errorf("%s: on a snapshot %v, want %v", tc.words, large, tc.large)
		}
	}
	if _, err := f.Atomic(func(tx *Tx) {
		var out reply.Reply
		if err := tx.Do(f.Lookup("get"), &command.Request{Name: "get", Args: []string{"GET", "k", "a"}}, &out); err != nil {
			t.Errorf("in a script: %v", err)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// TestLargeIsAnsweredWithoutLock: RETURN writes a large object when the lock is
// free again, and the answers behind it follow in order.
func TestLargeIsAnsweredWithoutLock(t *testing.T) {
	f := open(t, t.TempDir())
	text := strings.Repeat("x", collection.LargeText)
	spec := *f.Lookup("set")
	write := spec.Write
	spec.Write = func(req *command.Request, st *collection.State, ch *collection.Change, out *reply.Reply) error {
		err := write(req, st, ch, out)
		if later := out.Later; later != nil {
			out.Later = func() {
				if f.locked() {
					t.Error("an answer is made under the lock")
				}
				later()
			}
		} else if req.Args[2] == "a" {
			t.Error("the answer is not left for later")
		}
		return err
	}
	large := command.Request{Name: "set", Args: []string{"SET", "k", "a", "RETURN", "OBJECT", "STRING", text}}
	small := command.Request{Name: "set", Args: []string{"SET", "k", "b", "POINT", "1", "2"}}
	var out reply.Reply
	ws := []Write{{Spec: &spec, Request: small}, {Spec: &spec, Request: large}, {Spec: &spec, Request: small}}
	f.Write(ws, &out)
	answer := "$" + strconv.Itoa(len(text)) + "\r\n" + text + "\r\n"
	if got, want := string(out.Buf), "+OK\r\n"+answer+"+OK\r\n"; got != want {
		t.Errorf("answers %.100q", got)
	}
	if ws[0].End != 5 || ws[1].End != 5+len(answer) || ws[2].End != len(out.Buf) {
		t.Errorf("answers end at %d, %d, %d", ws[0].End, ws[1].End, ws[2].End)
	}
}

// TestEditAhead: JSET of a large document is done without the lock, and done
// again when the document has changed meanwhile.
func TestEditAhead(t *testing.T) {
	f := open(t, t.TempDir())
	pad := `"pad":"` + strings.Repeat("x", collection.LargeText) + `"`
	f.send("SET", "k", "a", "FIELD", "f", "1", "STRING", `{"n":1,`+pad+`}`)
	spec := *f.Lookup("jset")
	ahead := spec.Ahead
	meanwhile := ""
	spec.Ahead = func(req *command.Request, now command.View) {
		if f.locked() {
			t.Error("the work is done under the lock")
		}
		ahead(req, now)
		if req.Ahead == nil {
			t.Error("the work is not done ahead")
		}
		if meanwhile != "" {
			f.send("SET", "k", "a", "FIELD", "f", "2", "STRING", meanwhile)
		}
	}
	for _, tc := range []struct{ meanwhile, m, n, f string }{
		{"", "7", "1", "1"},
		{`{"n":5,` + pad + `}`, "7", "5", "2"},
	} {
		meanwhile = tc.meanwhile
		var out reply.Reply
		f.Write([]Write{{Spec: &spec, Request: command.Request{Name: "jset", Args: []string{"JSET", "k", "a", "m", "7"}}}}, &out)
		it := f.Item("k", "a")
		if !strings.Contains(it.Value(), `"m":7`) || !strings.Contains(it.Value(), `"n":`+tc.n) || it.Fields().Get("f").Data() != tc.f {
			t.Errorf("%s: document %.20s … fields %v", out.Buf, it.Value(), it.Fields())
		}
	}
}

// TestDeleteInParts: PDEL of a large collection deletes what it would at once.
func TestDeleteInParts(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	const n = 3000
	for i := range n {
		f.send("SET", "k", "id"+strconv.Itoa(i), "FIELD", "f", "1", "POINT", "1", "2")
	}
	for _, tc := range []struct {
		pattern    string
		gone, left int
	}{{"nothing*", 0, n}, {"id1*", 1111, n - 1111}, {"*7", 189, n - 1300}, {"*", n - 1300, 0}} {
		if got := f.send("PDEL", "k", tc.pattern); got != ":"+strconv.Itoa(tc.gone)+"\r\n" {
			t.Errorf("PDEL k %s: %q, want %d", tc.pattern, got, tc.gone)
		}
		left := 0
		if c := f.Snapshot().Collection("k"); c != nil {
			left = c.Len()
		}
		if left != tc.left {
			t.Errorf("PDEL k %s leaves %d, want %d", tc.pattern, left, tc.left)
		}
	}
	if got := f.send("PDEL", "k"); !strings.HasPrefix(got, "-") {
		t.Errorf("PDEL k: %q", got)
	}
}

// TestManyFields: SET and FSET of many fields do what they do one by one.
func TestManyFields(t *testing.T) {
	f := open(t, t.TempDir())
	many := []string{"SET", "k", "many"}
	f.send("SET", "k", "few", "POINT", "1", "2")
	for i := range 200 {
		name, value := "f"+strconv.Itoa(i*7%50), []string{"0", "1", "1.0", "text", `{"a": 1}`}[i*i%5]
		many = append(many, "FIELD", name, value)
		f.send("SET", "k", "few", "FIELD", name, value, "POINT", "1", "2")
	}
	if got := f.send(append(many, "POINT", "1", "2")...); got != "+OK\r\n" {
		t.Fatal(got)
	}
	got, want := f.Item("k", "many").Fields(), f.Item("k", "few").Fields()
	if got.Packed() != want.Packed() || got.Len() < 20 {
		t.Errorf("%d fields, want %d", got.Len(), want.Len())
	}
	words, updated := []string{"FSET", "k", "many"}, 0
	for i := range 60 {
		name, value := "f"+strconv.Itoa(i%40), strconv.Itoa(i%3)
		words = append(words, name, value)
		if f.send("FSET", "k", "few", name, value) == ":1\r\n" {
			updated++
		}
	}
	if got := f.send(words...); got != ":"+strconv.Itoa(updated)+"\r\n" {
		t.Errorf("FSET answers %q, want %d", got, updated)
	}
	if f.Item("k", "many").Fields().Packed() != f.Item("k", "few").Fields().Packed() {
		t.Error("FSET of many fields leads to others")
	}
}

// TestFenceIsReadWithoutLock: a fence around a large area is compiled while
// others write.
func TestFenceIsReadWithoutLock(t *testing.T) {
	f := open(t, t.TempDir())
	f.send("SET", "k", "a", "OBJECT", ring(5000))
	snapshot := f.Lookup("setchan").Ahead
	req := command.Request{Name: "setchan", Args: strings.Fields("SETCHAN ch INTERSECTS p FENCE BUFFER 10 GET k a")}
	if snapshot(&req, f.Store); req.Ahead == nil {
		t.Fatal("the definition is not compiled ahead")
	}
	small := command.Request{Name: "setchan", Args: strings.Fields("SETCHAN ch INTERSECTS p FENCE BOUNDS 0 0 1 1")}
	if snapshot(&small, f.Store); small.Ahead != nil {
		t.Error("a small definition is compiled ahead")
	}
	if got := f.send(req.Args...); got != ":1\r\n" {
		t.Errorf("SETCHAN: %q", got)
	}
	if got := f.send(strings.Fields("SETCHAN bad INTERSECTS p FENCE GET k none")...); !strings.HasPrefix(got, "-") {
		t.Errorf("SETCHAN of what is not there: %q", got)
	}
	fence, err := f.Watch(strings.Fields("INTERSECTS p FENCE GET k a"), nil)
	if err != nil || fence.Key() != "p" {
		t.Fatalf("a live fence: %v", err)
	}
	f.Unwatch(fence)
	if _, err := f.Watch(strings.Fields("INTERSECTS p FENCE GET k none"), nil); err == nil {
		t.Error("a live fence around what is not there")
	}
}
