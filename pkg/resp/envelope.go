package resp

import "strconv"

// Wrap puts what stands in buf[start:], the reply to one command, into the
// envelope of the transport, in place:
//
//	RESP, Inline   none
//	Native         $length reply\r\n
//	HTTP           a whole answer, status 200, with reply\r\n as its body
//	WebSocket      one text frame
func (k Kind) Wrap(buf []byte, start int) []byte {
	switch k {
	case Native:
		buf = append(buf, "\r\n"...)
		return prefix(buf, start, nativeHead(len(buf)-start-2))
	case HTTP:
		return WrapHTTP(buf, start, StatusOK, TypeJSON)
	case WebSocket:
		return prefix(buf, start, frameHead(opText, len(buf)-start))
	}
	return buf
}

// WrapPush is Wrap for what is pushed on a live connection, and for replies
// there: kind is the form of the command that made it live. A live HTTP
// connection is never told anything, as in Tile38.
func (k Kind) WrapPush(buf []byte, start int) []byte {
	if k == HTTP {
		return buf[:start]
	}
	return k.Wrap(buf, start)
}

// AppendReply appends reply, which is whole as a RESP client would get it, as
// WrapPush has it.
func (k Kind) AppendReply(dst, reply []byte) []byte {
	return k.WrapPush(append(dst, reply...), len(dst))
}

// AppendMessage appends text, one JSON value, as it is pushed on a live
// connection: a bulk string, or as AppendReply.
func (k Kind) AppendMessage(dst, text []byte) []byte {
	if k > Inline {
		return k.AppendReply(dst, text)
	}
	dst = append(dst, '$')
	dst = strconv.AppendInt(dst, int64(len(text)), 10)
	dst = append(dst, "\r\n"...)
	dst = append(dst, text...)
	return append(dst, "\r\n"...)
}

func nativeHead(n int) []byte {
	return append(strconv.AppendInt([]byte{'$'}, int64(n), 10), ' ')
}

// prefix inserts head at buf[at].
func prefix(buf []byte, at int, head []byte) []byte {
	n := len(buf)
	buf = append(buf, head...)
	copy(buf[at+len(head):], buf[at:n])
	copy(buf[at:], head)
	return buf
}

// Content types of answers.
const (
	TypeJSON = "application/json; charset=utf-8"
	TypeTile = "application/vnd.mapbox-vector-tile"
	TypeHTML = "text/html"
)

// Answers over HTTP that are always the same.
const (
	// Preflight answers OPTIONS: any page may use this server.
	Preflight = "HTTP/1.1 204 No Content\r\nConnection: close\r\n" + anyOrigin +
		"Access-Control-Allow-Headers: *, Authorization\r\nAccess-Control-Allow-Methods: POST, GET, OPTIONS\r\n\r\n"
	// NoName is what Tile38 answers to a command without a name, over any
	// transport.
	NoName = "HTTP/1.1 500 Bad Request\r\nConnection: close\r\n\r\n"

	anyOrigin = "Access-Control-Allow-Origin: *\r\n"
)

// Status lines of answers over HTTP, in the words of Tile38.
const (
	StatusOK        = "200 OK"
	StatusRedirect  = "307 Redirect"
	StatusNotFound  = "404 Not Found"
	StatusBody      = "413 Content Too Large"
	StatusHead      = "431 Request Header Fields Too Large"
	StatusBadResult = "500 Internal Server Error"
)

// WrapHTTP makes buf[start:] the body of an HTTP answer, in place, with a line
// end behind it. header: further header lines, "Name: value\r\n" each.
func WrapHTTP(buf []byte, start int, status, contentType string, header ...string) []byte {
	buf = append(buf, "\r\n"...)
	return prefix(buf, start, httpHead(len(buf)-start, status, contentType, header))
}

// AppendHTTP appends an HTTP answer with exactly this body.
func AppendHTTP(dst []byte, status, contentType, body string, header ...string) []byte {
	return append(append(dst, httpHead(len(body), status, contentType, header)...), body...)
}

func httpHead(length int, status, contentType string, header []string) []byte {
	h := make([]byte, 0, 256)
	h = append(h, "HTTP/1.1 "...)
	h = append(h, status...)
	h = append(h, "\r\nConnection: close\r\nContent-Type: "...)
	h = append(h, contentType...)
	h = append(h, "\r\nContent-Length: "...)
	h = strconv.AppendInt(h, int64(length), 10)
	h = append(h, "\r\n"+anyOrigin...)
	for _, line := range header {
		h = append(h, line...)
	}
	return append(h, "\r\n"...)
}
