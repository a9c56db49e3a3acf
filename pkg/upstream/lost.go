package upstream

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"evenkeel/pkg/proxy"
	"evenkeel/pkg/resp"

	"github.com/tidwall/gjson"
)

var (
	// errOver: the session ends; nobody is to be told.
	errOver = errors.New("the connection ends")
	// errCut: an engine was lost that had got a part of a command.
	errCut = errors.New("connection lost within a command; it has not run")
)

// MayHaveRun says of a command that was sent, and not answered because of err, what
// is known of it.
func MayHaveRun(err error) error {
	return fmt.Errorf("%w: the command may or may not have run", err)
}

// ended is about an engine that has closed the connection, or a network that
// has lost it.
func (l *link) ended(err error) {
	s := l.s
	s.mu.Lock()
	expected := l.lost || s.ending || s.over
	l.lost = true
	n, mid, quit := l.pending.n, l.rep.begun, s.quit
	owed := l.pending.list()
	s.mu.Unlock()
	if expected {
		return
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("connection closed")
	}
	text := MayHaveRun(l.t.wrap(err)).Error()
	if l.unanswered() {
		l.sorry(text)
		return
	}
	local := l.t == s.b.engine
	// An engine that is there has ended the connection on purpose, as it does on QUIT, CLIENT
	// KILL, behind an HTTP answer or bytes that it does not understand. So would it have
	// without us.
	purpose := !mid && (s.opaque.Load() || quit || local && l.t.lives(s.ctx))
	if !purpose {
		s.b.count.lost.Add(1)
	}
	if purpose || mid {
		s.finish(proxy.ClosedByEngine, nil)
		return
	}
	if n == 0 {
		s.b.count.kept.Add(1)
		return
	}
	s.b.count.lostCommands.Add(int64(n))
	if err := s.say(text, owed); err != nil {
		s.finish(proxy.ClosedByReset, err)
		return
	}
	s.finish(proxy.ClosedEngineLost, nil)
}

// refuse answers the commands of the batch with an error, and those of an opaque
// session with its end.
func (s *session) refuse(err error) {
	if errors.Is(err, errOver) || s.isOver() {
		return
	}
	n := 0
	for i := range s.batch {
		n += int(s.batch[i].n)
	}
	owed := s.batch
	s.batch = s.batch[:0] // nothing is added until this returns
	s.settle()
	s.b.count.refused.Add(int64(n))
	switch {
	case s.opaque.Load():
		_, werr := s.r.Write(opaqueError(s.req.kind, err.Error()))
		s.finish(proxy.ClosedEngineLost, werr)
		return
	case errors.Is(err, errCut):
		one := []entry{{n: 1, native: s.req.kind == resp.Native}}
		werr := s.say(fmt.Sprintf("%v", s.b.engine.wrap(err)), one)
		s.finish(proxy.ClosedEngineLost, werr)
		return
	}
	if werr := s.say(err.Error(), owed); werr != nil {
		s.finish(proxy.ClosedByReset, werr)
	}
}

// sayPiece is how much of many errors is written at once, in bytes.
const sayPiece = 16 << 10

// say answers commands with an error, each in its form.
func (s *session) say(text string, owed []entry) error {
	s.mu.Lock()
	json := s.json
	s.mu.Unlock()
	plain := errorReply(text, json)
	native := resp.Native.Wrap(nativeError(text, json), 0)
	var b []byte
	for _, e := range owed {
		one := plain
		if e.native {
			one = native
		}
		for n := e.n; n > 0; {
			for b = b[:0]; n > 0 && len(b) < sayPiece; n-- {
				b = append(b, one...)
			}
			if _, err := s.r.Write(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// nativeError is an error as the native protocol puts it into its envelope.
func nativeError(text string, json bool) []byte {
	if json {
		return jsonError(text)
	}
	return errorReply(text, false)
}

// errorReply is an error in the form that the client has asked for.
func errorReply(text string, json bool) []byte {
	if json {
		j := jsonError(text)
		return fmt.Appendf(nil, "$%d\r\n%s\r\n", len(j), j)
	}
	text = strings.NewReplacer("\r", " ", "\n", " ").Replace(text)
	return []byte("-ERR " + text + "\r\n")
}

func jsonError(text string) []byte {
	b := gjson.AppendJSONString([]byte(jsonFailed+`,"err":`), text)
	return append(b, `,"elapsed":"0s"}`...)
}

// opaqueError is an error in the form of another transport.
func opaqueError(k resp.Kind, text string) []byte {
	switch j := jsonError(text); k {
	case resp.Native:
		return resp.Native.Wrap(j, 0)
	case resp.HTTP:
		return fmt.Appendf(nil, "HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s\r\n",
			resp.TypeJSON, len(j)+2, j)
	}
	return errorReply(text, false)
}

// ownWrites is what a session remembers of writes that it sent to the leader.
type ownWrites struct {
	some   bool      // the engine here may not have them yet
	missed time.Time // when waiting for them was last in vain
}
