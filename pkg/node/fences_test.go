package node

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/tidwall/redcon"
)

var changing = regexp.MustCompile(`"(group|time)":"[^"]*"`)

// hear returns the next message, without what differs from run to run.
func (c *client) hear() string {
	c.t.Helper()
	return changing.ReplaceAllString(say(c.reply()), `"$1":""`)
}

func TestLiveFence(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	a, f, j := s.dial(), s.dial(), s.dial()
	f.talk([][2]string{
		{"NEARBY k FENCE POINT 1", "-ERR wrong number of arguments for 'nearby' command"},
		{"SCAN k FENCE", "-FENCE is not allowed for SCAN"},
		{"WITHIN k FENCE DETECT enter,exit BOUNDS 0 0 10 10", "+OK"},
	})
	j.talk([][2]string{{"OUTPUT json", `{"ok":true}`}, {"NEARBY k FENCE DETECT inside IDS POINT 5 5 1000", `{"ok":true,"live":true}`}})
	a.talk([][2]string{{"SET k a POINT 5 5", "+OK"}, {"SET k a POINT 50 5", "+OK"}})
	const object = `"time":"","id":"a","object":{"type":"Point","coordinates":[5,`
	for _, want := range []string{
		`{"command":"set","group":"","detect":"enter","key":"k",` + object + `5]}}`,
		`{"command":"set","group":"","detect":"exit","key":"k",` + object + `50]}}`,
	} {
		if got := f.hear(); got != want {
			t.Errorf("heard %s\nwant %s", got, want)
		}
	}
	if got, want := j.hear(), `{"command":"set","group":"","detect":"inside","key":"k","time":"","id":"a"}`; got != want {
		t.Errorf("heard %s\nwant %s", got, want)
	}
	f.send("PING") // anything ends it, without an answer
	f.ended()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "no connection to listen", func() bool { return s.node.opt.Hub.Stats().Listeners == 0 })
	a.talk([][2]string{{"SET k a POINT 5 5", "+OK"}})
}

func TestWebhook(t *testing.T) {
	got := make(chan string, 10)
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- changing.ReplaceAllString(string(body), `"$1":""`)
	}))
	defer web.Close()
	dir := t.TempDir()
	s := serve(t, dir, config{})
	a := s.dial()
	a.talk([][2]string{
		{"SETHOOK h " + web.URL + "/x META m 1 WITHIN k FENCE DETECT enter IDS BOUNDS 0 0 10 10", ":1"},
		{"SET k a POINT 5 5", "+OK"},
	})
	const want = `{"command":"set","group":"","detect":"enter","hook":"h","meta":{"m":"1"},"key":"k","time":"","id":"a"}`
	if msg := <-got; msg != want {
		t.Errorf("delivered %s\nwant %s", msg, want)
	}
	// A follower leaves it to its leader.
	lead := serve(t, t.TempDir(), config{})
	lead.dial().talk([][2]string{
		{"SETHOOK h " + web.URL + "/x WITHIN k FENCE DETECT enter IDS BOUNDS 0 0 10 10", ":1"},
		{"SETCHAN c WITHIN k FENCE DETECT enter BOUNDS 0 0 10 10", ":1"},
	})
	a.talk([][2]string{{"FOLLOW 127.0.0.1 " + lead.port(), "+OK"}})
	level(t, lead, s)
	here, there := s.dial(), lead.dial()
	for _, c := range []*client{here, there} {
		c.talk([][2]string{{"SUBSCRIBE c", "[subscribe c :1]"}})
	}
	lead.dial().talk([][2]string{{"SET k b POINT 5 5", "+OK"}, {"PUBLISH c hello", ":1"}})
	for range 2 { // the same bytes on both, groups included
		if l, f := say(there.reply()), say(here.reply()); l != f || !strings.HasPrefix(l, "[message c ") {
			t.Errorf("on the leader %s\non the follower %s", l, f)
		}
	}
	if msg := <-got; !strings.Contains(msg, `"id":"b"`) {
		t.Errorf("delivered %s", msg)
	}
	// The next message is the one of the new leader: the follower delivered none.
	a.talk([][2]string{{"FOLLOW no one", "+OK"}, {"SET k c POINT 5 5", "+OK"}})
	if msg := <-got; !strings.Contains(msg, `"id":"c"`) {
		t.Errorf("delivered %s", msg)
	}
}

func TestScripts(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	c := s.dial()
	c.send("SET k n STRING 0")
	c.reply()
	run := func(words ...string) string {
		t.Helper()
		c.raw(array(words...))
		return say(c.reply())
	}
	const add = `local n = tonumber(tile38.call("GET", "k", "n")); tile38.call("SET", "k", "n", "STRING", tostring(n + 1)); return n + 1`
	// Nobody comes between the commands of an EVAL.
	const clients, rounds = 4, 50
	done := make(chan bool)
	for range clients {
		other := s.dial()
		go func() {
			for range rounds {
				other.raw(array("EVAL", add, "0"))
				other.reply()
			}
			done <- true
		}()
	}
	for range clients {
		<-done
	}
	if got := run("GET", "k", "n"); got != "200" {
		t.Errorf("counted to %s", got)
	}
	for _, step := range [][2]string{
		{`EVALRO|return tile38.call("GET", "k", "n")|0`, "200"},
		{`EVALRO|return tile38.pcall("SET", "k", "n", "STRING", "x").err|0`, "read only"},
		{`EVAL|return #tile38.call("SERVER") > 10|0`, ":1"},
		{`EVALRO|return #tile38.call("SERVER") > 10|0`, ":1"},
		{`EVALNA|return #tile38.call("SERVER") > 10|0`, ":1"},
		{`TIMEOUT|0.1|EVAL|while true do end|0`, "-ERR timeout"},
		{`TIMEOUT|0.1|EVALRO|while true do end|0`, "-ERR timeout"},
		{`TIMEOUT|5|EVALRO|return DEADLINE > 0|0`, ":1"},
		{`EVAL|return tile38.pcall("NEARBY", "k", "FENCE", "POINT", "1", "1", "1").err|0`, "going live"},
		// One that takes longer than a read may hold up the others goes on.
		{`EVALRO|local n = 0; for i = 1, 200000 do n = n + 1 end; return tile38.call("GET", "k", "n")|0`, "200"},
		{"READONLY|yes", "+OK"},
		{`EVAL|return 1|0`, "-ERR read only"},
		{`EVALNA|return tile38.pcall("SET", "k", "n", "STRING", "x").err|0`, "read only"},
		{`EVALRO|return 1|0`, ":1"},
		{"READONLY|no", "+OK"},
	} {
		if got := run(strings.Split(step[0], "|")...); got != step[1] {
			t.Errorf("%s: %s, want %s", step[0], got, step[1])
		}
	}
	digest, _ := s.store.Digest()
	s.stop()
	s = serve(t, s.dir, config{})
	s.dial().talk([][2]string{{"GET k n", "200"}})
	if again, _ := s.store.Digest(); again != digest {
		t.Error("a restart leads to another state")
	}
}

// array is one command, word by word.
func array(words ...string) string {
	b := redcon.AppendArray(nil, len(words))
	for _, w := range words {
		b = redcon.AppendBulkString(b, w)
	}
	return string(b)
}
