package proxy

import (
	"context"
	"net"

	"evenkeel/pkg/resp"
)

// Backend is what the proxy needs from whoever carries out commands.
type Backend interface {
	// Open is called once for each connection that is served, before its first
	// command, on the goroutine of the connection.
	Open(c *Conn) Session
}

// Session carries out the commands of one connection. The proxy calls it from
// one goroutine at a time, and Close last.
type Session interface {
	// Do carries out cmds in order, appends their replies, in order, to out and
	// returns it. There is at least one command, and a command has at least one
	// argument, which may be empty. The slices (not the strings) of cmds are
	// valid until Do returns.
	//
	// ctx ends when the connection is cut: nobody will see the replies.
	//
	// A batch may be left early (see Verdict.Done). A session should do so when
	// out has grown over Conn.BatchOutput, or a pipeline of large queries holds
	// all of its replies at once, and should give up a reply that grows over
	// Conn.MaxOutput, which the proxy would refuse to send.
	Do(ctx context.Context, cmds []resp.Command, out []byte) ([]byte, Verdict)
	// AppendError appends to out an error reply with this text, in the form that
	// the client has asked for and the envelope of its last command: the proxy's own errors (of the protocol, and of
	// limits) are "-text\r\n" or the JSON of the same. The text may hold line
	// ends, which a RESP error must not.
	AppendError(out []byte, text string) []byte
	// Close is called once, when the connection has ended.
	Close()
}

// Verdict tells what is to happen after the replies have been sent.
type Verdict struct {
	// Done is the number of commands carried out; 0 means all. After fewer, the
	// replies are sent and Do is called again with the rest, unless Close or
	// Hijack is set.
	Done int
	// Close ends the connection.
	Close bool
	// Hijack owns the connection until it returns; then the connection ends. It
	// runs on the goroutine of the connection. Commands behind the Done ones are
	// unread first, and so are found in Reader.
	//
	// ctx ends when the connection is killed or the server begins to shut down;
	// reads from the connection that wait then fail with a timeout. IdleTimeout
	// and WriteTimeout do not apply: the function sets deadlines as it needs. Its
	// error is logged.
	Hijack func(ctx context.Context, h Hijacked) error
}

// Hijacked is a connection that its Verdict.Hijack owns.
type Hijacked struct {
	// Conn is for writing, deadlines and, where no more commands are expected,
	// for reading behind Reader.Buffered.
	Conn net.Conn
	// Reader has what the client sent behind the command that hijacked. On a
	// WebSocket it gives a command for each message, answers pings and the closing
	// of the conversation (io.EOF), and may therefore write to Conn, under a
	// deadline of its own, whole frames with one Write; so must whoever else
	// writes.
	Reader *resp.Reader
	// Kind is the form of the command that hijacked. Whatever is pushed, and the
	// replies to all commands that follow, in whatever form they are sent, are put
	// into its envelope: see AppendReply and AppendMessage.
	Kind resp.Kind
}

// AppendReply appends a whole RESP reply or push in the envelope of the
// transport.
func (h Hijacked) AppendReply(dst, reply []byte) []byte { return h.Kind.AppendReply(dst, reply) }

// AppendMessage appends one JSON text in the envelope of the transport: a bulk
// string for RESP and plain lines, nothing over HTTP.
func (h Hijacked) AppendMessage(dst, text []byte) []byte { return h.Kind.AppendMessage(dst, text) }
