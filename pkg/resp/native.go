package resp

import (
	"bytes"
	"strings"
)

// maxNativeHead is where the space behind the length must have come.
const maxNativeHead = 32

// native looks at b, which begins with "$length line\r\n", and returns its size
// once it is whole, before that 0.
func (p *partial) native(b []byte, lim *Limits) (int, error) {
	space := bytes.IndexByte(b[:min(len(b), maxNativeHead)], ' ')
	if space < 0 {
		if len(b) >= maxNativeHead {
			return 0, errNative()
		}
		return 0, nil
	}
	n, ok := decimal(b[1:space])
	switch {
	case !ok:
		return 0, errNative()
	case n > lim.MaxBulk:
		return 0, nativeLimit("invalid bulk length: %d bytes, at most %d are allowed", n, lim.MaxBulk)
	case int64(space)+1+n+2 > lim.MaxCommand:
		return 0, nativeLimit("too big request: %d bytes, at most %d are allowed", int64(space)+1+n+2, lim.MaxCommand)
	}
	p.at, p.bulk = space+1, int(n) // lets the buffer grow to what is needed, no further
	end := p.at + p.bulk
	switch {
	case len(b) < end+2:
		return 0, nil
	case b[end] != '\r' || b[end+1] != '\n':
		return 0, errNative()
	}
	p.splitNative(b, p.at, end)
	if len(p.words) > lim.MaxArgs {
		e := tooManyArgs(len(p.words), lim)
		return 0, nativeLimit("%s", strings.TrimPrefix(e.Error(), protocolError))
	}
	return end + 2, nil
}

// decimal reads a number without a sign. It saturates.
func decimal(digits []byte) (n int64, ok bool) {
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = n*10 + int64(c-'0'); n > maxLength {
			n = maxLength
		}
	}
	return n, len(digits) > 0
}

// splitNative finds the words of text[from:to], the way of the native protocol,
// of HTTP and of WebSocket. Quotes mean nothing, but JSON may hold spaces: a
// word that begins with a brace goes to the end of the line, and so does the
// value of SET … STRING when the rest of the line is in double quotes, which are
// taken off.
func (p *partial) splitNative(text []byte, from, to int) {
	for from < to {
		rest := text[from:to]
		switch {
		case rest[0] == '{':
			p.words = append(p.words, word{from, to})
			return
		case rest[0] == '"' && rest[len(rest)-1] == '"' && p.beforeString(text):
			// One quote alone is both the first and the last.
			p.words = append(p.words, word{from + 1, max(from+1, to-1)})
			return
		}
		end := to
		if i := bytes.IndexByte(rest, ' '); i >= 0 {
			end = from + i
		}
		if end > from {
			p.words = append(p.words, word{from, end})
		}
		from = end + 1
	}
}

// beforeString says whether the words so far are SET … STRING.
func (p *partial) beforeString(text []byte) bool {
	if len(p.words) == 0 {
		return false
	}
	first, last := p.words[0], p.words[len(p.words)-1]
	return strings.EqualFold(string(text[first.from:first.to]), "set") &&
		strings.EqualFold(string(text[last.from:last.to]), "string")
}

func errNative() error { return broken("invalid message") }

// nativeLimit is overLimit in the words of the native protocol.
func nativeLimit(format string, args ...any) error {
	e := limitError(format, args...)
	e.Raw = string(Native.Wrap(appendJSONError(nil, e.Text), 0))
	return e
}
