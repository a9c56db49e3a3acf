package resp

import (
	"bytes"
	"strconv"
)

// Kind is the form in which a command was sent; it decides the form of the
// reply.
type Kind uint8

// Forms of commands.
const (
	RESP   Kind = iota // array of bulk strings
	Inline             // plain line
)

// transport is what the first bytes of a message say about its form. This file
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
// WebSocket handshake is one too). Like Tile38 it looks at the first letter
// only (GET, POST, PUT, PATCH, OPTIONS): "DEL key HTTP/1.1" is a command.
func isHTTP(line []byte) bool {
	switch line[0] {
	case 'G', 'P', 'O':
		return bytes.HasSuffix(line, []byte(" HTTP/1.1\r\n"))
	}
	return false
}

func errHTTP() error {
	const text = "HTTP and WebSocket requests are not served on this port"
	return &ProtocolError{
		Text:  protocolError + text,
		Limit: true,
		Raw: "HTTP/1.1 501 Not Implemented\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: " +
			strconv.Itoa(len(text)+1) + "\r\n\r\n" + text + "\n",
	}
}

func errNative() error {
	const json = `{"ok":false,"err":"Protocol error: the native protocol is not served, use RESP"}`
	return &ProtocolError{
		Text:  protocolError + "the native protocol is not served, use RESP",
		Limit: true,
		Raw:   "$" + strconv.Itoa(len(json)) + " " + json + "\r\n",
	}
}
