package reply

import (
	"errors"
	"strings"

	"github.com/tidwall/redcon"
)

// Error is an answer that tells the client what is wrong with its command.
// The two outputs word some of them differently.
type Error struct {
	// JSON is the text of the member "err".
	JSON string
	// RESP is the text after the dash, "ERR " included where there is one;
	// "" means "ERR " and the JSON text.
	RESP string
	// Null says that RESP answers null and no error.
	Null bool
	// Answer is a whole answer in RESP that is no error, ":0\r\n" for one; ""
	// means that there is none.
	Answer string
}

// Error returns the text as JSON has it.
func (e *Error) Error() string { return e.JSON }

// Errors that many commands answer.
var (
	// ErrNumArgs names the command in RESP; Fail fills it in.
	ErrNumArgs = &Error{JSON: "invalid number of arguments"}
	// ErrKeyNotFound and ErrIDNotFound are errors in both outputs.
	ErrKeyNotFound = &Error{JSON: "key not found"}
	ErrIDNotFound  = &Error{JSON: "id not found"}
	// ErrKeyNull and ErrIDNull are null in RESP and an error in JSON.
	ErrKeyNull = &Error{JSON: "key not found", Null: true}
	ErrIDNull  = &Error{JSON: "id not found", Null: true}
	// ErrKeyZero and ErrIDZero are the integer 0 in RESP and an error in JSON.
	ErrKeyZero = &Error{JSON: "key not found", Answer: ":0\r\n"}
	ErrIDZero  = &Error{JSON: "id not found", Answer: ":0\r\n"}
)

// Errorf-less constructors: the argument is quoted as it was sent.

// InvalidArgument says which argument cannot be understood.
func InvalidArgument(arg string) *Error { return &Error{JSON: "invalid argument '" + arg + "'"} }

// Plain is an error with the same text in both outputs, "ERR " before it in
// RESP.
func Plain(text string) *Error { return &Error{JSON: text} }

// Fail answers err for the command with this (lower-case) name. An error that
// is no *Error is answered by its text.
func (r *Reply) Fail(name string, err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{JSON: err.Error()}
	}
	switch {
	case r.JSON:
		r.Buf = append(r.Buf, `{"ok":false`...)
		r.Member("err")
		r.String(e.JSON)
	case e.Null:
		r.Null()
	case e.Answer != "":
		r.Buf = append(r.Buf, e.Answer...)
	case e == ErrNumArgs:
		r.Buf = AppendError(r.Buf, "ERR wrong number of arguments for '"+name+"' command")
	case e.RESP != "":
		r.Buf = AppendError(r.Buf, e.RESP)
	default:
		r.Buf = AppendError(r.Buf, "ERR "+e.JSON)
	}
}

// AppendError appends an error as RESP. As in Tile38, control characters become
// spaces.
func AppendError(b []byte, text string) []byte { return redcon.AppendError(b, line(text)) }

// line is a text as it stands in a RESP line.
func line(text string) string {
	control := func(r rune) bool { return r < ' ' }
	if !strings.ContainsFunc(text, control) {
		return text
	}
	b := []byte(text)
	for i, c := range b {
		if c < ' ' {
			b[i] = ' '
		}
	}
	return string(b)
}
