package aof

import (
	"hash/crc32"
	"strconv"
)

// castagnoli is the table of CRC-32C; the standard library uses the processor's
// instruction for it.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(crc uint32, b []byte) uint32 { return crc32.Update(crc, castagnoli, b) }

// maxAnnotation bounds the length of an annotation line: '#', three numbers of up
// to 19 digits, the digest, the checksum, four spaces and CR LF.
const maxAnnotation = 1 + 3*19 + 32 + 8 + 4 + 2

// appendAnnotation appends the line that ends a batch. crc is the checksum of
// the batch's payload.
func appendAnnotation(dst []byte, m Mark, payload int64, crc uint32) []byte {
	start := len(dst)
	dst = append(dst, '#')
	dst = strconv.AppendInt(dst, m.Offset, 10)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, payload, 10)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, m.Time, 10)
	dst = append(dst, ' ')
	dst = m.Digest.AppendHex(dst)
	dst = append(dst, ' ')
	dst = appendHex(dst, uint64(checksum(crc, dst[start:])), 8)
	return append(dst, '\r', '\n')
}

// annotation is a parsed annotation line.
type annotation struct {
	mark    Mark
	payload int64  // bytes of payload of the batch
	crc     uint32 // of the payload and the text before the checksum
	text    int    // length of the text that crc covers
	size    int    // length of the whole line
}

// status is the outcome of looking for something at the start of a buffer.
type status uint8

const (
	found status = iota
	short        // the buffer ends before it does
	bad          // it is not there
)

// parseAnnotation reads the line at the start of b. Only the exact text that
// appendAnnotation would write is accepted.
func parseAnnotation(b []byte) (a annotation, s status) {
	p := lineParser{b: b}
	p.literal('#')
	a.mark.Offset = p.number()
	p.literal(' ')
	a.payload = p.number()
	p.literal(' ')
	a.mark.Time = p.number()
	p.literal(' ')
	a.mark.Digest.Hi = p.hex(16)
	a.mark.Digest.Lo = p.hex(16)
	p.literal(' ')
	a.text = p.i
	a.crc = uint32(p.hex(8)) // #nosec G115 -- eight digits
	p.literal('\r')
	p.literal('\n')
	a.size = p.i
	return a, p.s
}

// lineParser reads the parts of an annotation; after the first failure it only
// keeps the status.
type lineParser struct {
	b []byte
	i int
	s status
}

func (p *lineParser) literal(c byte) {
	switch {
	case p.s != found:
	case p.i >= len(p.b):
		p.s = short
	case p.b[p.i] != c:
		p.s = bad
	default:
		p.i++
	}
}

// number reads a decimal number without sign or leading zeros.
func (p *lineParser) number() int64 {
	if p.s != found {
		return 0
	}
	var v int64
	start := p.i
	for ; p.i < len(p.b); p.i++ {
		c := p.b[p.i]
		if c < '0' || c > '9' {
			if p.i == start || (p.b[start] == '0' && p.i > start+1) {
				p.s = bad
			}
			return v
		}
		if p.i-start >= 18 {
			p.s = bad
			return 0
		}
		v = v*10 + int64(c-'0')
	}
	p.s = short
	return 0
}

func (p *lineParser) hex(digits int) uint64 {
	if p.s != found {
		return 0
	}
	if len(p.b)-p.i < digits {
		p.s = short
		// What is there must be right already: a wrong byte is damage, not a tear.
		if _, ok := parseHex(p.b[p.i:]); !ok {
			p.s = bad
		}
		return 0
	}
	v, ok := parseHex(p.b[p.i : p.i+digits])
	if !ok {
		p.s = bad
		return 0
	}
	p.i += digits
	return v
}

// maxBulk bounds one argument, so that a damaged length cannot make the reader
// wait for more than could have been written.
const maxBulk = 1 << 31

// skipCommand walks over one RESP command (an array of bulk strings) at b[i].
//
//	found: next is the index after it
//	short: next is an index that b must reach at least
//	bad:   next is the index of the offending byte
func skipCommand(b []byte, i int) (next int, s status) {
	n, i, s := header(b, i, '*')
	if s != found {
		return i, s
	}
	for ; n > 0; n-- {
		var l int
		// The common lengths have one or two digits; reading them here, with one
		// bounds check, takes a third of the time of a replay away.
		p := b[i:]
		switch {
		case len(p) >= 5 && p[0] == '$' && p[1]-'0' <= 9 && p[2] == '\r' && p[3] == '\n':
			l, i = int(p[1]-'0'), i+4
		case len(p) >= 5 && p[0] == '$' && p[1]-'0' <= 9 && p[2]-'0' <= 9 && p[3] == '\r' && p[4] == '\n':
			l, i = int(p[1]-'0')*10+int(p[2]-'0'), i+5
		default:
			if l, i, s = header(b, i, '$'); s != found {
				return i, s
			}
		}
		end := i + l
		if len(b)-end < 2 {
			return end + 2, short
		}
		if b[end] != '\r' {
			return end, bad
		}
		if b[end+1] != '\n' {
			return end + 1, bad
		}
		i = end + 2
	}
	return i, found
}

// header reads "<kind><decimal>\r\n" at b[i]; next is as in skipCommand.
func header(b []byte, i int, kind byte) (v, next int, s status) {
	if i >= len(b) {
		return 0, i + 1, short
	}
	if b[i] != kind {
		return 0, i, bad
	}
	i++
	start := i
	for ; i < len(b); i++ {
		c := b[i]
		if c == '\r' && i > start {
			break
		}
		if c < '0' || c > '9' {
			return 0, i, bad
		}
		if v = v*10 + int(c-'0'); v > maxBulk {
			return 0, i, bad
		}
	}
	if i+1 >= len(b) {
		return 0, i + 2, short
	}
	if b[i+1] != '\n' {
		return 0, i + 1, bad
	}
	return v, i + 2, found
}

// frame is a whole, checksum-valid batch as it lies in a file.
type frame struct {
	mark    Mark
	payload int // bytes of payload, from the start of the frame
	size    int // bytes of payload and annotation
}

// decodeFrame finds the batch at the start of b.
//
//	short: need is a length that b must have at least
//	bad:   need is the index where reading stopped
//
// The commands are walked one by one: a value may contain anything, also what
// looks like an annotation, so looking for '#' at the start of a line would not do.
func decodeFrame(b []byte) (f frame, need int, s status) {
	i := 0
	for i < len(b) && b[i] == '*' {
		next, s := skipCommand(b, i)
		if s != found {
			return frame{}, next, s
		}
		i = next
	}
	if i == len(b) {
		return frame{}, i + 1, short
	}
	a, s := parseAnnotation(b[i:])
	switch {
	case s == short:
		return frame{}, len(b) + 1, short
	case s == bad, a.payload != int64(i), checksum(0, b[:i+a.text]) != a.crc:
		return frame{}, i, bad
	}
	return frame{mark: a.mark, payload: i, size: i + a.size}, 0, found
}

// ParseBatches calls visit for every batch in raw, which must be whole batches
// in their file form: what Tail.Next returns. Payloads point into raw.
func ParseBatches(raw []byte, visit func(Batch) error) error {
	for at := 0; at < len(raw); {
		f, need, s := decodeFrame(raw[at:])
		if s != found {
			return &formatError{at: int64(at + min(need, len(raw)-at)), reason: s.reason()}
		}
		b := Batch{Mark: f.mark, Payload: raw[at : at+f.payload]}
		if err := visit(b); err != nil {
			return err
		}
		at += f.size
	}
	return nil
}

func (s status) reason() string {
	if s == short {
		return "the batch is not whole"
	}
	return "no valid batch"
}

// formatError is a fault in bytes that a caller places into a file.
type formatError struct {
	at     int64
	reason string
}

func (e *formatError) Error() string {
	return "byte " + strconv.FormatInt(e.at, 10) + ": " + e.reason
}

// checkCommands says whether payload is whole commands and nothing else.
func checkCommands(payload []byte) error {
	for i := 0; i < len(payload); {
		next, s := skipCommand(payload, i)
		if s != found {
			return &formatError{at: int64(min(next, len(payload))), reason: "not a whole command"}
		}
		i = next
	}
	return nil
}
