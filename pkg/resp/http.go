package resp

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // RFC 6455 asks for it; it protects nothing
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"
)

// Request is what an HTTP request says beside its command.
type Request struct {
	// Options: the method is OPTIONS, there is no command (Command.Args is one
	// empty word).
	Options bool
	// Authorization is the value of the last header of this name, without the
	// blanks around it.
	Authorization string
	// Handshake is the answer that begins a WebSocket connection, "" unless the
	// command is of Kind WebSocket.
	Handshake string
}

// request is how far an HTTP request has been looked at.
type request struct {
	Request
	path string // without its first slash, unescaped
	line int    // size of the first line
	head int    // size of everything up to the body; 0 as long as it is incomplete
	body int    // size of the body
}

// http looks at b, which begins with an HTTP request whose first line is whole,
// and returns its size once it is whole, before that 0.
//
// The command is the path, without its first slash, and the body behind it. Both
// go through the splitter of the native protocol. What Tile38 does with requests
// that are odd is kept: the last of several headers of one name counts, a name
// with blanks around it is another name, Expect and Transfer-Encoding are not
// looked at.
func (p *partial) http(b []byte, lim *Limits) (int, error) {
	q := p.web
	if q.head == 0 {
		i := bytes.Index(b[p.at:], []byte("\r\n\r\n"))
		seen := p.at + i
		if i < 0 {
			seen = max(q.line-2, len(b)-3)
		}
		if int64(seen-q.line) > lim.MaxHeader {
			return 0, httpLimit(StatusHead, "too large HTTP headers: at most %d bytes are allowed", lim.MaxHeader)
		}
		if p.at = seen; i < 0 {
			return 0, nil
		}
		q.head = seen + 4
		if err := q.begin(string(b[:q.line-2]), string(b[q.line:q.head-2]), lim); err != nil {
			return 0, err
		}
		p.at, p.bulk = q.head, q.body
	}
	size := q.head + q.body
	if len(b) < size {
		return 0, nil
	}
	return size, p.httpCommand(b[q.head:size], lim)
}

// begin reads a whole head: the first line, and the others with their line ends.
func (q *request) begin(first, lines string, lim *Limits) error {
	words := strings.Split(first, " ")
	if len(words) != 3 {
		return errHTTP()
	}
	path := words[1]
	switch words[0] {
	case "GET", "POST":
	case "OPTIONS":
		q.Options = true
		return q.headers(lines, lim)
	default:
		return errHTTP()
	}
	if path == "" || path[0] != '/' {
		return errHTTP()
	}
	var err error
	if q.path, err = url.QueryUnescape(path[1:]); err != nil {
		return errHTTP()
	}
	return q.headers(lines, lim)
}

// headers reads the lines of a head behind the first, each with its line end.
func (q *request) headers(lines string, lim *Limits) error {
	var upgrade, key, version, length string
	hasLength := false
	for line := range strings.SplitSeq(lines, "\r\n") {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "authorization":
			q.Authorization = strings.Clone(value)
		case "content-length":
			length, hasLength = value, true
		case "upgrade":
			upgrade = value
		case "sec-websocket-key":
			key = value
		case "sec-websocket-version":
			version = value
		}
	}
	if !q.Options && strings.EqualFold(upgrade, "websocket") && key != "" && version == "13" {
		q.Handshake = handshake(key)
		return nil // the body, if there is one, is no part of the command
	}
	if !hasLength {
		return nil
	}
	n, err := strconv.ParseUint(length, 10, 64)
	if err != nil {
		if q.Options {
			return nil // nothing that it says matters
		}
		return &ProtocolError{Text: err.Error()}
	}
	if most := min(lim.MaxCommand-int64(q.head), lim.MaxBulk); n > uint64(max(0, most)) {
		return httpLimit(StatusBody, "too large body: %d bytes, at most %d are allowed", n, most)
	}
	q.body = int(n)
	return nil
}

// handshake is the answer of RFC 6455, section 4.2.2.
func handshake(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // see above
	return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"
}

// httpCommand finds the words of a whole request.
func (p *partial) httpCommand(body []byte, lim *Limits) error {
	q := p.web
	if q.Options {
		p.words = append(p.words, word{0, 0})
		return nil
	}
	p.unquoted = append(append(make([]byte, 0, len(q.path)+len(body)), q.path...), body...)
	p.splitNative(p.unquoted, 0, len(p.unquoted))
	switch n := len(p.words); {
	case n == 0:
		return &ProtocolError{Text: "no command", Quiet: true, Raw: q.Handshake}
	case n > lim.MaxArgs:
		return httpLimit(StatusBody, "invalid multibulk length: %d arguments, at most %d are allowed", n, lim.MaxArgs)
	}
	return nil
}

func errHTTP() error { return &ProtocolError{Text: "invalid HTTP request"} }

func errNoHTTP() error {
	return &ProtocolError{Text: "HTTP and WebSocket requests are not served", Limit: true, Quiet: true}
}

// httpLimit is overLimit in the words of HTTP.
func httpLimit(status, format string, args ...any) error {
	e := limitError(format, args...)
	e.Raw = string(WrapHTTP(appendJSONError(nil, e.Text), 0, status, TypeJSON))
	return e
}
