package upstream

import (
	"bytes"

	"evenkeel/pkg/resp"
)

const (
	// fenceWord makes a search live.
	fenceWord = "fence"
	// holdBytes is how much of an incomplete command is held back. What decides
	// about a command, its name above all, is in that or not looked at.
	holdBytes = 512
	// headBytes is longer than the head of any array or bulk string.
	headBytes = 32
	// maxCount bounds lengths, so that adding them cannot overflow.
	maxCount = 1 << 40
)

// event says what requests.next has found.
type event uint8

const (
	eventCommand event = iota // a command ends
	eventMore                 // all of it belongs to a command that is not over
	eventHold                 // the same, and it is so little that it should be shown again with what follows
	eventNothing              // something that is no command and is not answered
	eventOpaque               // not for us to tell apart
)

// requests finds the ends of commands in what a client sends. It copies nothing
// and is told each byte once, but for what it asks to hold back.
type requests struct {
	table *table

	// Of the command that next has looked at last.
	cmd  *known
	kind resp.Kind
	live bool // it has the word FENCE

	// Of a command that is longer than what has come of it.
	inside bool
	line   bool // a plain line
	args   int64
	left   int64 // bytes of an argument, with its line end
	head   [headBytes]byte
	heads  int // bytes in head
}

// begin looks at the first bytes of a command.
func (r *requests) begin() { r.cmd, r.live, r.inside = nil, false, false }

// next looks at b, which goes on where the last call has ended, or begins again
// where it asked to hold back. It returns how many bytes it is about.
func (r *requests) next(b []byte) (int, event) {
	if r.inside {
		return r.goOn(b)
	}
	r.begin()
	switch b[0] {
	case '*':
		r.kind = resp.RESP
		return r.array(b)
	case '$':
		r.kind = resp.Native
		return r.native(b)
	}
	r.kind = resp.Inline
	return r.plain(b)
}

// array looks at the beginning of an array.
func (r *requests) array(b []byte) (int, event) {
	count, at, ok := header(b)
	switch {
	case !ok || count < 0:
		return len(b), eventOpaque
	case at == 0:
		return len(b), eventHold // header bounds its length
	case count == 0:
		return at, eventNothing
	}
	name := int64(0) // the number of the word that names the command
	for word := range count {
		size, n, ok := int64(0), 0, true
		if at < len(b) {
			if b[at] != '$' {
				return len(b), eventOpaque
			}
			size, n, ok = header(b[at:])
		}
		if !ok || size < 0 {
			return len(b), eventOpaque
		}
		if n == 0 || int64(len(b)-at-n) < size+2 {
			return r.leave(b, at, n, count-word, size)
		}
		at += n
		if word <= name || r.cmd != nil && r.cmd.fence && size == int64(len(fenceWord)) {
			if word == 0 && size == 0 {
				return len(b), eventOpaque // not answered like a command
			}
			name = r.word(word, name, b[at:at+int(size)])
		}
		at += int(size) + 2
	}
	return at, eventCommand
}

// native looks at the beginning of a message of the native protocol, "$length
// line\r\n".
func (r *requests) native(b []byte) (int, event) {
	size, at, ok := nativeHeader(b)
	switch {
	case !ok || size == 0 && at > 0:
		return len(b), eventOpaque
	case at == 0:
		return len(b), eventHold // nativeHeader bounds its length
	}
	end := int64(at) + size
	if whole := int64(len(b)) >= end+2; !whole {
		if len(b) <= holdBytes {
			return len(b), eventHold
		}
		if r.split(b[at:min(end, int64(len(b)))]) != eventCommand {
			return len(b), eventOpaque
		}
		r.inside, r.line, r.args, r.heads = true, false, 1, 0
		r.left = end + 2 - int64(len(b))
		return len(b), eventMore
	}
	if b[end] != '\r' || b[end+1] != '\n' || r.split(b[at:end]) != eventCommand {
		return len(b), eventOpaque
	}
	return int(end) + 2, eventCommand
}

// nativeHeader is header for the native protocol, whose lengths end with a space.
func nativeHeader(b []byte) (value int64, n int, ok bool) {
	i := 1
	for ; i < len(b); i++ {
		c := b[i] - '0'
		if c > 9 {
			break
		}
		if value = value*10 + int64(c); value > maxCount || i >= headBytes-2 {
			return 0, 0, false
		}
	}
	switch {
	case i == len(b):
		return 0, 0, true
	case b[i] != ' ' || i == 1:
		return 0, 0, false
	}
	return value, i + 1, true
}

// leave notes what is to come of an array whose argument at at, with a head of n
// bytes (0: incomplete) and so many of its own, is not whole. args counts it.
func (r *requests) leave(b []byte, at, n int, args, size int64) (int, event) {
	if len(b) <= holdBytes {
		return len(b), eventHold
	}
	r.inside, r.line, r.args = true, false, args
	if n == 0 {
		r.left, r.heads = 0, copy(r.head[:], b[at:])
		return len(b), eventMore
	}
	r.left, r.heads = size+2-int64(len(b)-at-n), 0
	return len(b), eventMore
}

// word looks at a word up to the name, or at one that may be FENCE. It returns
// which word is the name: TIMEOUT has a command behind it.
func (r *requests) word(word, name int64, text []byte) int64 {
	if word > name {
		r.live = r.live || isFence(text)
		return name
	}
	if word == name {
		r.cmd = r.table.find(text)
		if r.cmd.wraps {
			return name + 2
		}
	}
	return name
}

// goOn is about a command whose beginning has been passed on.
func (r *requests) goOn(b []byte) (int, event) {
	if r.cmd == nil {
		r.cmd = &r.table.other
	}
	if r.line {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return len(b), eventMore
		}
		r.inside = false
		return i + 1, eventCommand
	}
	at := 0
	for {
		if r.left > 0 {
			if int64(len(b)-at) < r.left {
				r.left -= int64(len(b) - at)
				return len(b), eventMore
			}
			at += int(r.left)
			r.left = 0
			if r.args--; r.args == 0 {
				r.inside = false
				return at, eventCommand
			}
		}
		// The head of the next argument, maybe in parts.
		part := copy(r.head[r.heads:], b[at:])
		r.heads += part
		if r.heads == 0 {
			return len(b), eventMore
		}
		size, n, ok := header(r.head[:r.heads])
		switch {
		case !ok || size < 0 || r.head[0] != '$':
			return len(b), eventOpaque
		case n == 0:
			return len(b), eventMore
		}
		at += n - (r.heads - part)
		r.left, r.heads = size+2, 0
	}
}

// plain looks at a plain line.
func (r *requests) plain(b []byte) (int, event) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		if len(b) <= holdBytes {
			return len(b), eventHold
		}
		if mayBeHTTP(b[0]) { // the end of the line would tell
			r.kind = resp.HTTP
			return len(b), eventOpaque
		}
		if ev := r.split(b); ev != eventCommand {
			return len(b), eventOpaque
		}
		r.inside, r.line = true, true
		return len(b), eventMore
	}
	text := b[:i]
	if isHTTP(b[:i+1]) {
		r.kind = resp.HTTP
		return len(b), eventOpaque
	}
	if i > 0 && text[i-1] == '\r' {
		text = text[:i-1]
	}
	if ev := r.split(text); ev == eventOpaque {
		return len(b), eventOpaque
	} else if ev == eventNothing {
		return i + 1, eventNothing
	}
	return i + 1, eventCommand
}

// split looks at the words of a line. Quotes count within the words of no name
// only: a line that begins with one is left alone.
func (r *requests) split(text []byte) event {
	name := int64(0)
	words := int64(0)
	for len(text) > 0 {
		if text[0] == ' ' {
			text = text[1:]
			continue
		}
		size := bytes.IndexByte(text, ' ')
		if size < 0 {
			size = len(text)
		}
		if words == 0 && (text[0] == '"' || text[0] == '\'') {
			return eventOpaque
		}
		if words <= name || r.cmd.fence {
			name = r.word(words, name, text[:size])
		} else {
			break
		}
		words++
		text = text[size:]
	}
	if words == 0 {
		return eventNothing
	}
	return eventCommand
}

// mayBeHTTP says whether a line that begins so may be the first of a request.
func mayBeHTTP(first byte) bool { return first == 'G' || first == 'P' || first == 'O' }

// isHTTP says whether line, with its line end, begins an HTTP request.
func isHTTP(line []byte) bool {
	const end = " HTTP/1.1\r\n"
	at := len(line) - len(end)
	return mayBeHTTP(line[0]) && at >= 0 && bytes.HasPrefix(line[at:], []byte(" HTTP/")) && bytes.HasSuffix(line, []byte("\r\n"))
}

// header reads the number behind the mark at b[0]. n is the length of the line, 0
// when it is incomplete. No digits mean 0, as everywhere in Redis.
func header(b []byte) (value int64, n int, ok bool) {
	i := 1
	negative := false
	if i < len(b) && b[i] == '-' {
		negative, i = true, i+1
	}
	for ; i < len(b); i++ {
		c := b[i] - '0'
		if c > 9 {
			break
		}
		if value = value*10 + int64(c); value > maxCount || i >= headBytes-2 {
			return 0, 0, false
		}
	}
	switch {
	case i >= len(b) || i+1 == len(b) && b[i] == '\r':
		return 0, 0, true
	case b[i] != '\r' || b[i+1] != '\n':
		return 0, 0, false
	}
	if negative {
		value = -value
	}
	return value, i + 2, true
}

// isFence says whether a word of a search makes it live.
func isFence(word []byte) bool {
	return len(word) == len(fenceWord) && bytes.EqualFold(word, []byte(fenceWord))
}
