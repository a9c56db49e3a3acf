package replication

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"evenkeel/pkg/aof"
)

// DefaultMaxBatch is the longest payload of one batch that a BatchReader takes,
// in bytes.
const DefaultMaxBatch = 1 << 30

const (
	readBuffer    = 256 << 10 // bytes; what a BatchReader keeps while batches are small
	maxHeader     = 32        // bytes of "*<n>\r\n" and "$<n>\r\n"
	maxAnnotation = 256       // bytes of an annotation line, its end included
)

// Frame is one item of a stream: a batch, a heartbeat, or something else that
// the leader says.
type Frame struct {
	// Batch that ends at Mark. Its payload is valid until the next call of
	// Next. A heartbeat has none; its Mark is where the leader's log ends.
	aof.Batch
	Heartbeat bool
	// Control is the words of a line that is neither, see CtlSync and its like.
	Control []string
}

// BatchReader cuts the bytes that follow an Answer into frames. It verifies
// checksums, lengths and offsets. Only whole frames come out.
type BatchReader struct {
	r     io.Reader
	limit int
	pos   int64 // logical offset at which the next batch begins

	buf        []byte
	start, end int // what has been read and not returned

	// How far the frame at start has been scanned, so that bytes that arrive
	// late are not scanned twice.
	scan int // from start: the next header
	args int // bulk strings still missing from the command before scan
}

// NewBatchReader reads from r the batches that begin at offset. A payload
// longer than limit bytes is an error; 0 means DefaultMaxBatch.
func NewBatchReader(r io.Reader, offset int64, limit int) *BatchReader {
	if limit == 0 {
		limit = DefaultMaxBatch
	}
	return &BatchReader{r: r, pos: offset, limit: limit, buf: make([]byte, readBuffer)}
}

// Buffered returns the number of bytes read from the stream and not returned:
// while it is 0 the next Next will wait for the network.
func (b *BatchReader) Buffered() int { return b.end - b.start }

// Next returns the next frame. io.EOF: the stream ended between two frames;
// io.ErrUnexpectedEOF: inside one. Damage wraps ErrCorrupt; what is too long
// wraps ErrTooLarge. After an error the reader is of no more use.
func (b *BatchReader) Next() (Frame, error) {
	for {
		line, err := b.advance()
		if err != nil {
			return Frame{}, fmt.Errorf("stream at offset %d: %w", b.pos, err)
		}
		if line > 0 {
			f, err := b.frame(line)
			if err != nil {
				return Frame{}, fmt.Errorf("stream at offset %d: %w", b.pos, err)
			}
			return f, nil
		}
		if err := b.fill(); err != nil {
			if errors.Is(err, io.EOF) {
				if b.end == b.start {
					return Frame{}, io.EOF
				}
				err = io.ErrUnexpectedEOF
			}
			return Frame{}, fmt.Errorf("stream at offset %d: %w", b.pos, err)
		}
	}
}

// advance scans headers until it stands at a whole annotation line, and returns
// the line's length with its end; 0: more bytes are needed.
func (b *BatchReader) advance() (int, error) {
	for {
		if b.scan > b.limit {
			return 0, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, b.limit)
		}
		at := b.start + b.scan
		if at >= b.end {
			return 0, nil
		}
		limit := maxHeader
		line := b.args == 0 && (b.buf[at] == '#' || b.scan == 0 && b.buf[at] == '+')
		if line {
			limit = maxAnnotation
		}
		avail := b.buf[at:min(b.end, at+limit)]
		nl := bytes.IndexByte(avail, '\n')
		switch {
		case nl >= 0 && line:
			return nl + 1, nil
		case nl >= 0:
			if err := b.header(avail[:nl+1]); err != nil {
				return 0, err
			}
		case len(avail) == limit:
			return 0, fmt.Errorf("%w: no line end within %d bytes: %.32q", ErrCorrupt, limit, avail)
		default:
			return 0, nil
		}
	}
}

// AppendHeartbeat appends what a leader sends every second: the annotation line
// of a batch without payload, at m. It is no part of the log.
func AppendHeartbeat(dst []byte, m aof.Mark) []byte {
	start := len(dst)
	dst = fmt.Appendf(dst, "#%d 0 %d %s ", m.Offset, m.Time, m.Digest)
	return fmt.Appendf(dst, "%08x\r\n", castagnoli(dst[start:]))
}

// header takes "*<n>\r\n" or "$<n>\r\n" and moves scan behind it, and behind
// the bulk string that it announces.
func (b *BatchReader) header(line []byte) error {
	kind := byte('*')
	if b.args > 0 {
		kind = '$'
	}
	n, ok := headerNumber(line)
	if line[0] != kind || !ok {
		return fmt.Errorf("%w: want %q and a number, or an annotation, got %.32q", ErrCorrupt, kind, line)
	}
	b.scan += len(line)
	if kind == '*' {
		b.args = n
		return nil
	}
	if n > b.limit {
		return fmt.Errorf("%w: bulk string of %d bytes, the limit is %d", ErrTooLarge, n, b.limit)
	}
	b.scan += n + 2
	b.args--
	return nil
}

// headerNumber reads the digits of "x<digits>\r\n", up to 2^31-1.
func headerNumber(line []byte) (int, bool) {
	if len(line) < 4 || line[len(line)-2] != '\r' {
		return 0, false
	}
	n := 0
	for _, c := range line[1 : len(line)-2] {
		if c < '0' || c > '9' || n > (1<<31-10)/10 {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// frame verifies and returns the frame whose annotation line of the given
// length stands at scan.
func (b *BatchReader) frame(line int) (Frame, error) {
	size := b.scan + line
	var f Frame
	if b.buf[b.start] == '+' {
		var err error
		f.Control, err = parseControl(b.buf[b.start : b.start+size])
		b.start += size
		return f, err
	}
	err := aof.ParseBatches(b.buf[b.start:b.start+size], func(batch aof.Batch) error {
		f.Batch = batch
		return nil
	})
	if err != nil {
		return Frame{}, fmt.Errorf("%w: %d bytes of payload and %.200q: %w",
			ErrCorrupt, b.scan, b.buf[b.start+b.scan:b.start+size], err)
	}
	if f.Heartbeat = b.scan == 0; !f.Heartbeat {
		if f.Offset != b.pos+int64(b.scan) {
			return Frame{}, fmt.Errorf("%w: a batch of %d bytes ends at offset %d", ErrCorrupt, b.scan, f.Offset)
		}
		b.pos = f.Offset
	}
	b.start += size
	b.scan = 0
	return f, nil
}

// fill reads more bytes behind end and makes room for them first.
func (b *BatchReader) fill() error {
	rest := b.end - b.start
	switch {
	case rest == 0 && len(b.buf) > 4*readBuffer:
		b.buf = make([]byte, readBuffer) // one long batch must not stay in memory
		b.start, b.end = 0, 0
	case b.start > 0 && (rest == 0 || b.end == len(b.buf)):
		copy(b.buf, b.buf[b.start:b.end])
		b.start, b.end = 0, rest
	}
	if b.end == len(b.buf) {
		grown := make([]byte, 2*len(b.buf))
		copy(grown, b.buf)
		b.buf = grown
	}
	for range 100 {
		n, err := b.r.Read(b.buf[b.end:])
		b.end += n
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}
