package resp

import (
	"fmt"

	"github.com/tidwall/gjson"
)

// ProtocolError says that the client sent something that is not a command. The
// stream cannot be read further: the connection must end.
type ProtocolError struct {
	// Text is the message for the client, without the mark and the line end of
	// an error reply.
	Text string
	// Limit is set when the bytes are well-formed but over a limit of this
	// server, or belong to a transport that it does not serve.
	Limit bool
	// Raw, if not empty, is the whole reply in the words of the transport that
	// the client speaks, to be sent instead of an error reply with Text.
	Raw string
	// Quiet is set when the client is to be told nothing but Raw.
	Quiet bool
}

// Error returns Text.
func (e *ProtocolError) Error() string { return e.Text }

const protocolError = "Protocol error: "

func broken(text string) error {
	return &ProtocolError{Text: protocolError + text}
}

func limitError(format string, args ...any) *ProtocolError {
	return &ProtocolError{Text: protocolError + fmt.Sprintf(format, args...), Limit: true}
}

func overLimit(format string, args ...any) error { return limitError(format, args...) }

func tooManyArgs(n int, lim *Limits) error {
	return overLimit("invalid multibulk length: %d arguments, at most %d are allowed", n, lim.MaxArgs)
}

func errArrayLength() error { return broken("invalid multibulk length") }
func errBulkLength() error  { return broken("invalid bulk length") }
func errQuotes() error      { return broken("unbalanced quotes in request") }

// errNotBulk names the byte that stands where an argument should begin. A byte
// above 0x7f is shown as the character with that number, as Tile38 does.
func errNotBulk(c byte) error {
	return broken("expected '$', got '" + string(rune(c)) + "'")
}

func appendJSONError(dst []byte, text string) []byte {
	dst = append(dst, `{"ok":false,"err":`...)
	return append(gjson.AppendJSONString(dst, text), '}')
}
