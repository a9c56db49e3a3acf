package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"evenkeel/pkg/settings"
)

// TestTalk: what the commands of a connection answer, in both outputs.
func TestTalk(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	for _, c := range []struct{ line, resp, json string }{
		{"PING", "+PONG", `{"ok":true,"ping":"pong"}`},
		{"ping hello", "hello", `{"ok":true,"ping":"hello"}`},
		{"PING a b", "a", `{"ok":true,"ping":"a"}`},
		{"ECHO hello", "hello", `{"ok":true,"echo":"hello"}`},
		{"OUTPUT", "resp", `{"ok":true,"output":"json"}`},
		{"OUTPUT xml", "-ERR invalid argument 'xml'", `{"ok":false,"err":"invalid argument 'xml'"}`},
		{"OUTPUT a b", "-ERR wrong number of arguments for 'output' command", `{"ok":false,"err":"invalid number of arguments"}`},
		{"AUTH x", "-ERR invalid password", `{"ok":false,"err":"invalid password"}`},
		{"AUTH", "-ERR invalid password", `{"ok":false,"err":"invalid password"}`},
		{"nosuch a b", "-ERR unknown command 'nosuch'", `{"ok":false,"err":"unknown command 'nosuch'"}`},
		{strings.Repeat("x", 100), "-ERR unknown command '" + strings.Repeat("x", 100) + "'", `{"ok":false,"err":"unknown command '` + strings.Repeat("x", 100) + `'"}`},
		{"sEt k a POINT 1 2", "+OK", `{"ok":true}`},
		{"GET k a POINT", "[1 2]", `{"ok":true,"point":{"lat":1,"lon":2}}`},
		{"GET k none", "null", `{"ok":false,"err":"id not found"}`},
		{"TIMEOUT 10 GET k a POINT", "[1 2]", `{"ok":true,"point":{"lat":1,"lon":2}}`},
		{"TIMEOUT 10 SCAN k COUNT", ":1", `{"ok":true,"count":1,"cursor":0}`},
		{"TIMEOUT 0 SCAN k COUNT", "-ERR timeout", `{"ok":false,"err":"timeout"}`},
		{"TIMEOUT inf SCAN k COUNT", ":1", `{"ok":true,"count":1,"cursor":0}`},
		{"TIMEOUT nan SCAN k COUNT", "-ERR invalid argument 'nan'", `{"ok":false,"err":"invalid argument 'nan'"}`},
		{"TIMEOUT -1 SCAN k COUNT", "-ERR invalid argument '-1'", `{"ok":false,"err":"invalid argument '-1'"}`},
		{"TIMEOUT 1", "-ERR wrong number of arguments for 'timeout' command", `{"ok":false,"err":"invalid number of arguments"}`},
		{"TIMEOUT 1 PING", "-ERR unknown command 'PING'", `{"ok":false,"err":"unknown command 'PING'"}`},
		{"TIMEOUT 0 nosuch", "-ERR timeout", `{"ok":false,"err":"timeout"}`},
		{"TIMEOUT 1 nosuch", "-ERR unknown command 'nosuch'", `{"ok":false,"err":"unknown command 'nosuch'"}`},
		{"TIMEOUT 1 SET k a POINT 1 1", "-ERR timeout not supported for 'set'", `{"ok":false,"err":"timeout not supported for 'set'"}`},
		{"TIMEOUT 1 SETHOOK h x", "-ERR timeout not supported for 'sethook'", `{"ok":false,"err":"timeout not supported for 'sethook'"}`},
		{"SET doc d STRING {\"n\":1}", "+OK", `{"ok":true}`},
		{"TIMEOUT 1 JDEL doc d n", ":1", `{"ok":true}`},
		{"TIMEOUT 1 SCAN", "-ERR wrong number of arguments for 'timeout' command", `{"ok":false,"err":"invalid number of arguments"}`},
		{"CLIENT", "-ERR wrong number of arguments for 'client' command", `{"ok":false,"err":"invalid number of arguments"}`},
		{"CLIENT nosuch", "-ERR Syntax error, try CLIENT (LIST | KILL | GETNAME | SETNAME)", `{"ok":false,"err":"Syntax error, try CLIENT (LIST | KILL | GETNAME | SETNAME)"}`},
		{"CLIENT GETNAME", "", `{"ok":true,"name":""}`},
		{"CLIENT SETNAME", "-ERR wrong number of arguments for 'client' command", `{"ok":false,"err":"invalid number of arguments"}`},
		{"CLIENT SETNAME a\x01b", "-ERR Client names cannot contain spaces, newlines or special characters.", `{"ok":false,"err":"Client names cannot contain spaces, newlines or special characters."}`},
		{`CLIENT SETNAME "quote\`, "+OK", `{"ok":true}`},
		{"CLIENT GETNAME", `"quote\`, `{"ok":true,"name":"\"quote\\"}`},
		{"CLIENT KILL", "-ERR wrong number of arguments for 'client' command", `{"ok":false,"err":"invalid number of arguments"}`},
		{"CLIENT KILL id", "-ERR wrong number of arguments for 'client' command", `{"ok":false,"err":"invalid number of arguments"}`},
		{"CLIENT KILL nosuch 1", "-ERR No such client", `{"ok":false,"err":"No such client"}`},
		{"CLIENT KILL 1.2.3.4:5 1", "-ERR wrong number of arguments for 'client' command", `{"ok":false,"err":"invalid number of arguments"}`},
		{"CLIENT KILL id 0", "-ERR No such client", `{"ok":false,"err":"No such client"}`},
		{"CLIENT KILL 1.2.3.4:5", "-ERR No such client", `{"ok":false,"err":"No such client"}`},
		{"HEALTHZ", "+OK", `{"ok":true}`},
		{"HEALTHZ x", "-ERR wrong number of arguments for 'healthz' command", `{"ok":false,"err":"invalid number of arguments"}`},
		{"GC", "+OK", `{"ok":true}`},
	} {
		plain, js := s.dial(), s.dial()
		if strings.Contains(c.line, "GETNAME") && strings.Contains(c.resp, "quote") {
			plain.do(`CLIENT SETNAME "quote\`)
			js.do(`CLIENT SETNAME "quote\`)
		}
		if got := js.do("OUTPUT json"); got != `{"ok":true}` {
			t.Fatalf("OUTPUT json: %s", got)
		}
		if got := plain.do(c.line); got != c.resp {
			t.Errorf("%s: %q, want %q", c.line, got, c.resp)
		}
		if strings.HasPrefix(c.line, "TIMEOUT 1 JDEL") {
			plain.do(`SET doc d STRING {"n":1}`)
		}
		if got := js.do(c.line); got != c.json {
			t.Errorf("%s: %q, want %q", c.line, got, c.json)
		}
		_, _ = plain.Close(), js.Close()
	}
}

// TestAuth: a password that is set while clients are connected holds for those
// who have not given it.
func TestAuth(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	a, b := s.dial(), s.dial()
	b.talk([][2]string{{"PING", "+PONG"}})
	a.talk([][2]string{
		{"SET k a POINT 1 1", "+OK"},
		{"CONFIG SET requirepass se", "+OK"},
		{"GET k a", "-ERR authentication required"},
		{"CONFIG SET requirepass other", "-ERR authentication required"},
		{"AUTH wrong", "-ERR invalid password"},
		{"AUTH s", "-ERR invalid password"},
		{"AUTH see", "-ERR invalid password"},
		{`AUTH ""`, "-ERR invalid password"},
		{"AUTH", "-ERR invalid password"},
		{"GET k a POINT", "-ERR authentication required"},
		{"AUTH se", "+OK"},
		{"GET k a POINT", "[1 1]"},
	})
	b.talk([][2]string{
		{"PING", "+PONG"}, {"ECHO x", "x"}, {"OUTPUT", "resp"}, {"HEALTHZ", "+OK"},
		{"SET k b POINT 1 1", "-ERR authentication required"},
		{"nosuch", "-ERR authentication required"},
		{"HELLO 3", "-ERR unknown command 'HELLO'"},
		{"CLIENT LIST", "-ERR authentication required"},
		{"AOF 0", "-ERR authentication required"},
		{"FOLLOW no one", "-ERR authentication required"},
		{"REPLICATE 1 a 0 b", "-ERR authentication required"},
		{"REPLCONF listening-port 1", "-ERR authentication required"},
		{"SHUTDOWN", "-ERR authentication required"},
		{"OUTPUT json", `{"ok":true}`},
		{"GET k a", `{"ok":false,"err":"authentication required"}`},
		{"AUTH se", `{"ok":true}`},
		{"EXISTS k b", `{"ok":true,"exists":false}`},
		{"AUTH wrong", `{"ok":false,"err":"invalid password"}`},
	})
	// The pipeline of one who authenticates in it.
	c := s.dial()
	c.send("SET k c POINT 1 1", "AUTH se", "SET k d POINT 1 1", "SCAN k IDS")
	for _, want := range []string{"-ERR authentication required", "+OK", "+OK", "[:0 [a d]]"} {
		if got := say(c.reply()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	// A new password does not throw out those who gave the old one.
	a.talk([][2]string{
		{"CONFIG SET requirepass new", "+OK"}, {"EXISTS k a", ":1"},
		{"CONFIG SET leaderauth", "-ERR wrong number of arguments for 'config' command"},
		{"CONFIG SET requirepass", "+OK"}, {`CONFIG SET requirepass ""`, "+OK"},
	})
	s.dial().talk([][2]string{{"EXISTS k a", ":1"}})
}

// TestClientList: every connection, with its name and address, the oldest
// first.
func TestClientList(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	a, b := s.dial(), s.dial()
	a.do("CLIENT SETNAME first")
	b.do(`CLIENT SETNAME se"c\ond`)
	var want strings.Builder
	for i, c := range []*client{a, b} {
		fmt.Fprintf(&want, "id=%d addr=%s name=%s age=0 idle=0\n", i+1, c.LocalAddr(), [...]string{"first", `se"c\ond`}[i])
	}
	if got := a.do("CLIENT LIST"); got != want.String() {
		t.Errorf("CLIENT LIST:\n%s\nwant\n%s", got, want.String())
	}
	b.do("OUTPUT json")
	var list struct {
		List []struct {
			Addr, Name string
			ID         int
		}
	}
	if err := json.Unmarshal([]byte(b.do("CLIENT LIST")), &list); err != nil {
		t.Fatal(err)
	}
	if l := list.List; len(l) != 2 || l[0].Addr != a.LocalAddr().String() || l[1].Name != `se"c\ond` || l[1].ID != 2 {
		t.Errorf("CLIENT LIST: %+v", l)
	}
	_ = a.Close()
	until(t, "the list to forget it", func() bool { return !strings.Contains(b.do("CLIENT LIST"), "first") })
}

// TestClientKill: others at once, oneself after the answer.
func TestClientKill(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	a, b, c := s.dial(), s.dial(), s.dial()
	for _, x := range []*client{a, b, c} {
		x.do("PING")
	}
	a.talk([][2]string{{"CLIENT KILL " + b.LocalAddr().String(), "+OK"}})
	b.ended()
	a.talk([][2]string{{"CLIENT KILL ID 3", "+OK"}, {"CLIENT KILL id 3", "-ERR No such client"}})
	c.ended()
	a.send("PING", "CLIENT KILL addr "+a.LocalAddr().String(), "PING")
	for _, want := range []string{"+PONG", "+OK"} {
		if got := say(a.reply()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	a.ended()
}

// TestSecretsAreNotLogged: whatever is done with a password, no log shows it.
func TestSecretsAreNotLogged(t *testing.T) {
	dir := t.TempDir()
	other := serve(t, t.TempDir(), config{})
	o := other.dial()
	o.do("CONFIG SET requirepass hush-theirs")
	s := serve(t, dir, config{})
	c := s.dial()
	_, port, _ := strings.Cut(other.addr, ":")
	c.talk([][2]string{
		{"CONFIG SET requirepass hush-ours", "+OK"}, {"AUTH hush-wrong", "-ERR invalid password"}, {"AUTH hush-ours", "+OK"},
		{"CONFIG SET leaderauth hush-false", "+OK"},
		{"FOLLOW 127.0.0.1 " + port, "-ERR cannot follow: ERR invalid password"},
		{"CONFIG SET leaderauth hush-theirs", "+OK"},
		{"FOLLOW 127.0.0.1 " + port, "+OK"},
		{"CONFIG REWRITE", "+OK"},
	})
	until(t, "the follower to be level", func() bool { return s.node.CaughtUpOnce() })
	s.stop()
	for _, l := range []*syncBuffer{s.logged, other.logged} {
		if text := l.String(); strings.Contains(text, "hush") {
			t.Errorf("a secret was logged:\n%s", text)
		} else if !strings.Contains(text, "level=DEBUG") {
			t.Error("nothing was logged that could hold a secret")
		}
	}
	if s.settings.Get(settings.LeaderAuth) != "hush-theirs" {
		t.Error("leaderauth is not in force")
	}
	_ = o.Close()
}

// TestOutputJSONOfOddBytes: names and arguments that are no UTF-8 do not break
// the JSON that shows them.
func TestOutputJSONOfOddBytes(t *testing.T) {
	s := serve(t, t.TempDir(), config{})
	c := s.dial()
	c.do("OUTPUT json")
	c.do("REPLCONF listening-port 77")
	c.do("REPLCONF ip-address a\x01\"\\\xff")
	for _, line := range []string{"ROLE", "INFO replication", "PING \xff\x00", "\x01\xff", "CONFIG GET \xff*", "OUTPUT \xfe", "CLIENT LIST"} {
		if got := c.do(line); !json.Valid(bytes.ToValidUTF8([]byte(got), nil)) {
			t.Errorf("%q: no JSON: %q", line, got)
		}
	}
}
