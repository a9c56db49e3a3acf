package resp

import "bytes"

// word is the place of an argument, in bytes from the start of its command.
type word struct{ from, to int }

// partial is how far an incomplete command has been looked at, so that its next
// bytes are looked at alone. All offsets count from the start of the command.
type partial struct {
	at       int    // next byte to look at
	count    int    // arguments announced; -1 before the header
	bulk     int    // length announced of the argument at at; -1 before its header
	words    []word // arguments that are whole
	unquoted []byte // what words refer to, instead of the raw bytes: of lines with quotes, of HTTP and WebSocket
	web      *request
}

func (p *partial) reset() {
	p.at, p.count, p.bulk, p.unquoted, p.web = 0, -1, -1, nil, nil
	if cap(p.words) > keepEntries {
		p.words = nil
	}
	p.words = p.words[:0]
}

// grown returns the size of the buffer to replace one of size bytes that the
// command does not fit in: twice as large, or just as large as the announced
// length asks for if that is less. Memory thus follows what has been received.
func (p *partial) grown(size int) int {
	const more = 512 // for the header of the next argument
	if need := p.at + p.bulk + 2 + more; p.bulk >= 0 && need > size && need < 2*size {
		return need
	}
	return 2 * size
}

// array looks at b, which begins with an array, and returns its size once it is
// whole, before that 0.
func (p *partial) array(b []byte, lim *Limits) (int, error) {
	if p.count < 0 {
		n, next, ok := number(b, 0)
		switch {
		case !ok || n < 0:
			return 0, errArrayLength()
		case next == 0:
			return 0, nil
		case n > int64(lim.MaxArgs):
			return 0, tooManyArgs(int(n), lim)
		}
		p.count, p.at = int(n), next
	}
	for len(p.words) < p.count {
		if p.bulk < 0 {
			if whole, err := p.bulkHeader(b, lim); !whole || err != nil {
				return 0, err
			}
		}
		end := p.at + p.bulk
		if len(b) < end+2 {
			return 0, nil
		}
		if b[end] != '\r' || b[end+1] != '\n' {
			return 0, errBulkLength()
		}
		p.words = append(p.words, word{p.at, end})
		p.at, p.bulk = end+2, -1
	}
	return p.at, nil
}

func (p *partial) bulkHeader(b []byte, lim *Limits) (whole bool, err error) {
	if p.at == len(b) {
		return false, nil
	}
	if b[p.at] != '$' {
		return false, errNotBulk(b[p.at])
	}
	n, next, ok := number(b, p.at)
	switch {
	case !ok || n < 0:
		return false, errBulkLength()
	case next == 0:
		return false, nil
	case n > lim.MaxBulk:
		return false, overLimit("invalid bulk length: %d bytes, at most %d are allowed", n, lim.MaxBulk)
	case int64(next)+n+2 > lim.MaxCommand:
		return false, overLimit("too big request: %d bytes or more, at most %d are allowed", int64(next)+n+2, lim.MaxCommand)
	}
	p.at, p.bulk = next, int(n)
	return true, nil
}

// number reads the decimal number behind the mark at b[at], up to its line end.
// next is the offset behind it, 0 when the line is incomplete. No digits mean 0,
// as in redcon.
func number(b []byte, at int) (n int64, next int, ok bool) {
	const maxDigits = 32 // more than any number that fits has, with leading zeros to spare
	i := at + 1
	negative := i < len(b) && b[i] == '-'
	if negative {
		i++
	}
	for ; i < len(b); i++ {
		c := b[i]
		if c < '0' || c > '9' {
			break
		}
		if n = n*10 + int64(c-'0'); n > maxLength || i-at > maxDigits {
			return 0, 0, false
		}
	}
	switch {
	case i == len(b):
		return 0, 0, true
	case b[i] != '\r':
		return 0, 0, false
	case i+1 == len(b):
		return 0, 0, true
	case b[i+1] != '\n':
		return 0, 0, false
	}
	if negative {
		n = -n
	}
	return n, i + 2, true
}

// line looks at b, which begins with a plain line, and returns its size once it
// is whole, before that 0.
func (p *partial) line(b []byte, lim *Limits) (int, error) {
	i := bytes.IndexByte(b[p.at:], '\n')
	length := int64(p.at + i)
	if i < 0 {
		length = int64(len(b))
	}
	if length > lim.MaxInline {
		return 0, overLimit("too big inline request: at most %d bytes are allowed", lim.MaxInline)
	}
	if i < 0 {
		p.at = len(b)
		return 0, nil
	}
	size := p.at + i + 1
	if isHTTP(b[:size]) {
		p.web, p.at = &request{line: size}, size-2
		return p.http(b, lim)
	}
	text := bytes.TrimSuffix(b[:size-1], []byte("\r"))
	if bytes.IndexByte(text, '"') < 0 && bytes.IndexByte(text, '\'') < 0 {
		p.split(text)
	} else if err := p.unquote(text); err != nil {
		return 0, err
	}
	if len(p.words) > lim.MaxArgs {
		return 0, tooManyArgs(len(p.words), lim)
	}
	return size, nil
}

// split finds the words of a line without quotes. Only the space separates.
func (p *partial) split(text []byte) {
	for from := 0; from < len(text); {
		to := len(text)
		if i := bytes.IndexByte(text[from:], ' '); i >= 0 {
			to = from + i
		}
		if to > from {
			p.words = append(p.words, word{from, to})
		}
		from = to + 1
	}
}

// unquote finds the words of a line with quotes and writes them, unescaped, to
// p.unquoted. A quote begins a word, and a word ends with its quote.
func (p *partial) unquote(text []byte) error {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		from, c := len(out), text[i]
		switch c {
		case ' ':
			i++
			continue
		case '"', '\'':
			var ok bool
			if out, i, ok = quoted(out, text, i); !ok {
				return errQuotes()
			}
		default:
			for ; i < len(text) && text[i] != ' '; i++ {
				if text[i] == '"' || text[i] == '\'' {
					return errQuotes()
				}
				out = append(out, text[i])
			}
		}
		p.words = append(p.words, word{from, len(out)})
	}
	p.unquoted = out
	return nil
}

// quoted appends the word in quotes that begins at text[i] and returns the
// offset behind it. ok: it is closed, and followed by a space or the end.
func quoted(out, text []byte, i int) (_ []byte, next int, ok bool) {
	quote := text[i]
	for i++; i < len(text); i++ {
		c := text[i]
		switch {
		case c == quote:
			i++
			return out, i, i == len(text) || text[i] == ' '
		case c == '\\' && i+1 < len(text):
			i++
			out = append(out, escaped(text[i]))
		default:
			out = append(out, c)
		}
	}
	return out, i, false
}

// escaped returns what c means behind a backslash.
func escaped(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}
