package reply

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"
)

func TestFail(t *testing.T) {
	for _, tc := range []struct {
		err        error
		resp, json string
	}{
		{ErrNumArgs, "-ERR wrong number of arguments for 'set' command\r\n", `{"ok":false,"err":"invalid number of arguments"`},
		{ErrKeyNotFound, "-ERR key not found\r\n", `{"ok":false,"err":"key not found"`},
		{ErrIDNull, "$-1\r\n", `{"ok":false,"err":"id not found"`},
		{ErrKeyZero, ":0\r\n", `{"ok":false,"err":"key not found"`},
		{&Error{JSON: "a", RESP: "NOAUTH b"}, "-NOAUTH b\r\n", `{"ok":false,"err":"a"`},
		{InvalidArgument("x\r\ny"), "-ERR invalid argument 'x  y'\r\n", `{"ok":false,"err":"invalid argument 'x\r\ny'"`},
		{InvalidArgument("x\t\x00\xff"), "-ERR invalid argument 'x  \xff'\r\n", `{"ok":false,"err":"invalid argument 'x\t\u0000\ufffd'"`},
		{fmt.Errorf("while it ran: %w", ErrIDNull), "$-1\r\n", `{"ok":false,"err":"id not found"`},
		{errors.New("plain"), "-ERR plain\r\n", `{"ok":false,"err":"plain"`},
	} {
		resp, json := Reply{}, Reply{JSON: true}
		resp.Fail("set", tc.err)
		json.Fail("set", tc.err)
		if string(resp.Buf) != tc.resp || string(json.Buf) != tc.json {
			t.Errorf("%v:\n%q\n%s\nwant\n%q\n%s", tc.err, resp.Buf, json.Buf, tc.resp, tc.json)
		}
	}
}

func TestValues(t *testing.T) {
	for _, tc := range []struct {
		write      func(*Reply)
		resp, json string
	}{
		{(*Reply).OK, "+OK\r\n", `{"ok":true`},
		{func(r *Reply) { r.Int(7) }, ":7\r\n", `{"ok":true`},
		{func(r *Reply) { r.Bool("exists", true) }, ":1\r\n", `{"ok":true,"exists":true`},
		{func(r *Reply) { r.Bool("exists", false) }, ":0\r\n", `{"ok":true,"exists":false`},
	} {
		resp, json := Reply{}, Reply{JSON: true}
		tc.write(&resp)
		tc.write(&json)
		if string(resp.Buf) != tc.resp || string(json.Buf) != tc.json {
			t.Errorf("%q %s, want %q %s", resp.Buf, json.Buf, tc.resp, tc.json)
		}
	}
	var r Reply
	r.Float(-0.00000025)
	r.Float(math.Inf(1))
	r.Null()
	r.Bulk("é")
	r.Object(object(`{"a":1}`))
	if got, want := string(r.Buf), "$11\r\n-0.00000025\r\n$4\r\n+Inf\r\n$-1\r\n$2\r\né\r\n$7\r\n{\"a\":1}\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

type object string

func (o object) AppendJSON(dst []byte) []byte { return append(dst, o...) }

func TestFinish(t *testing.T) {
	r := Reply{JSON: true, Buf: []byte("+before\r\n")}
	start := len(r.Buf)
	r.OK()
	r.Finish(start, 1500*time.Nanosecond)
	if got, want := string(r.Buf), "+before\r\n$30\r\n{\"ok\":true,\"elapsed\":\"1.5µs\"}\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	r = Reply{JSON: true, Bare: true, Buf: []byte("before")}
	r.OK()
	r.Finish(len("before"), time.Second)
	if got, want := string(r.Buf), `before{"ok":true,"elapsed":"1s"}`; got != want {
		t.Errorf("bare: got %q, want %q", got, want)
	}
	r = Reply{}
	r.OK()
	r.Finish(0, time.Second)
	if got := string(r.Buf); got != "+OK\r\n" {
		t.Errorf("RESP got %q", got)
	}
}
