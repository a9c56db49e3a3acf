// Package resp reads the commands that clients send, within limits, from a
// stream of bytes, and knows the envelopes that their replies go into. One
// stream may use several forms, told apart by the first bytes of each command
// (transport.go):
//
//	*2\r\n$4\r\nECHO\r\n…   RESP: an array of bulk strings
//	ECHO text               a plain ("inline") line
//	$9 ECHO text            Tile38's native protocol
//	GET /ECHO+text HTTP/1.1 HTTP: the path, and the body behind it
//
// An HTTP request with the headers of a WebSocket handshake is its first
// command; what follows are frames (websocket.go, RFC 6455).
//
// Replies are written with the appenders of github.com/tidwall/redcon. Its
// command parser is not used for reading, because redcon.ReadNextCommand starts
// from the first byte again on each read of an incomplete command (quadratic for
// a large value that arrives in pieces), and knows no limits. The grammar is the
// same, which a differential fuzz test against it asserts; the deliberate
// differences are named there.
//
// Invariants:
//
//   - A byte is looked at once, however the stream is cut into reads, and where
//     it is cut never changes the commands that come out.
//   - Memory grows with bytes received, never with lengths announced. A length
//     over its limit is refused when its header has been read.
//   - Nothing returned refers to the read buffer: the arguments of a command are
//     substrings of one string of its own.
//   - A reader that waits holds 512 bytes once Release has been called.
//
// Whatever is odd in how Tile38 reads HTTP was measured, and is kept: clients
// may rely on it. The exceptions are in docs/COMPATIBILITY.md.
//
// The package touches bytes only: no socket, file or clock.
package resp
