package resp

import "bytes"

// Kind is the form in which a command was sent; it decides the form of the
// reply.
type Kind uint8

// Forms of commands. Those from Native on answer JSON unless the connection has
// chosen otherwise, and their replies are put into an envelope (see Wrap).
const (
	RESP      Kind = iota // array of bulk strings
	Inline                // plain line
	Native                // $length line
	HTTP                  // HTTP request
	WebSocket             // WebSocket handshake, or a message behind one
	NumKinds
)

var kindNames = [NumKinds]string{"resp", "inline", "native", "http", "websocket"}

// String returns a short name, fit for a metric label.
func (k Kind) String() string {
	if k < NumKinds {
		return kindNames[k]
	}
	return "unknown"
}

// transport is what the first byte of a message says about its form. This file
// is the only place that tells transports apart.
type transport uint8

const (
	transportRESP   transport = iota // *count
	transportNative                  // $length command
	transportLine                    // a plain command or the first line of an HTTP request
)

func transportOf(first byte) transport {
	switch first {
	case '*':
		return transportRESP
	case '$':
		return transportNative
	}
	return transportLine
}

// isHTTP tells whether line, with its line end, begins an HTTP request (a
// WebSocket handshake is one too). Like Tile38 it looks at the first letter (of
// GET, POST, PUT, PATCH, OPTIONS) and the end alone, " HTTP/" and any three
// bytes: "DEL key HTTP/1.1" is a command, "PING HTTP/1.1" is none.
func isHTTP(line []byte) bool {
	switch line[0] {
	case 'G', 'P', 'O':
	default:
		return false
	}
	const mark, version = " HTTP/", "1.1\r\n"
	at := len(line) - len(mark) - len(version)
	return at >= 0 && string(line[at:at+len(mark)]) == mark && bytes.HasSuffix(line, []byte("\r\n"))
}
