package upstream

import "bytes"

// Beginnings of JSON replies that matter.
const (
	jsonFailed = `{"ok":false`
	jsonLive   = `{"ok":true,"live"`
	jsonOK     = `{"ok":true`
)

// maxDepth is how deep replies may be nested to be told apart.
const maxDepth = 32

// answer is what is known of a reply.
type answer struct {
	first byte // its mark
	boxed bool // it is in the envelope of the native protocol, whatever it is
	text  [len(jsonLive)]byte
	size  int // bytes in text, the first ones of a bulk string
}

// failed says whether it is an error, in RESP or in JSON.
func (a *answer) failed() bool {
	return a.first == '-' || string(a.text[:min(a.size, len(jsonFailed))]) == jsonFailed || a.boxed && a.size > 0 && a.text[0] == '-'
}

// live says whether it begins a live fence. What an engine answers to a search
// over the native protocol is JSON, unless it is just that.
func (a *answer) live() bool {
	return a.first == '+' || string(a.text[:a.size]) == jsonLive || a.boxed && a.size > 0 && a.text[0] != '{'
}

// Replies finds the ends of replies in what an engine sends.
type Replies struct{ replies }

// Next looks at b, which goes on where the last call has ended, and returns how
// many bytes belong to the reply and whether it ends there. ok: it is a reply.
func (r *Replies) Next(b []byte) (n int, whole, ok bool) { return r.next(b) }

// replies finds the ends of replies in what an engine sends.
type replies struct {
	answer
	begun bool            // part of a reply has come
	open  [maxDepth]int64 // elements to come of the arrays around
	depth int
	left  int64 // bytes of a bulk string, with its line end
	line  bool  // within a line of text
	head  [headBytes]byte
	heads int // bytes in head
}

// next looks at b, which goes on where the last call has ended, and returns how
// many bytes belong to the reply and whether it ends there. ok: it is a reply.
func (r *replies) next(b []byte) (n int, whole, ok bool) {
	if !r.begun {
		r.begun, r.first, r.size, r.boxed = true, b[0], 0, false
	}
	at := 0
	for at < len(b) {
		used, ended, ok := r.element(b[at:])
		if !ok {
			return len(b), false, false
		}
		at += used
		for ended {
			if r.depth == 0 {
				r.begun = false
				return at, true, true
			}
			r.open[r.depth-1]--
			if ended = r.open[r.depth-1] == 0; ended {
				r.depth--
			}
		}
	}
	return at, false, true
}

// element goes on with an element: all bytes are used up, or it has ended, or
// is an array that has begun.
func (r *replies) element(b []byte) (n int, ended, ok bool) {
	switch {
	case r.left > 0:
		n = int(min(r.left, int64(len(b))))
		r.note(b[:n])
		r.left -= int64(n)
		return n, r.left == 0, true
	case r.line:
		return r.rest(b, 0)
	case r.heads == 0:
		switch b[0] {
		case '+', '-', ':', '_', ',', '#', '(': // the last four, as below, in version 3 of RESP
			r.line = true
			return r.rest(b, 1)
		case '$', '*', '=', '!', '~', '>', '%':
		default:
			return 0, false, false
		}
	}
	part, old := b, r.heads
	if old > 0 { // in parts
		r.heads += copy(r.head[r.heads:], b)
		part = r.head[:r.heads]
	}
	size, n, ok := header(part)
	if !ok && part[0] == '$' && r.depth == 0 {
		size, n, ok = nativeHeader(part)
		r.boxed = true
	}
	switch {
	case !ok:
		return 0, false, false
	case n == 0:
		if old == 0 {
			r.heads = copy(r.head[:], b)
		}
		return len(b), false, true
	}
	r.heads = 0
	return r.opened(part[0], size, n-old)
}

// opened is behind the head of a bulk string or an array.
func (r *replies) opened(mark byte, size int64, n int) (int, bool, bool) {
	bulk := mark == '$' || mark == '=' || mark == '!'
	if mark == '%' {
		size *= 2
	}
	switch {
	case size < 0 || !bulk && size == 0:
		return n, true, true
	case bulk:
		r.left = size + 2
		return n, false, true
	case r.depth == maxDepth:
		return n, false, false
	}
	r.open[r.depth] = size
	r.depth++
	return n, false, true
}

// rest goes on with a line of text.
func (r *replies) rest(b []byte, from int) (int, bool, bool) {
	i := bytes.IndexByte(b[from:], '\n')
	if i < 0 {
		return len(b), false, true
	}
	r.line = false
	return from + i + 1, true, true
}

// note keeps the beginning of a reply that is a bulk string.
func (r *replies) note(b []byte) {
	if r.first == '$' && r.size < len(r.text) {
		r.size += copy(r.text[r.size:], b)
	}
}
