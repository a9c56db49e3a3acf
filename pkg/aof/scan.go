package aof

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"evenkeel/internal/fsx"
)

// chunkBytes is how much is read from a file at once.
const chunkBytes = 1 << 20

// window reads a file from front to back through one buffer.
type window struct {
	f     fsx.File
	pos   int64  // file position of buf[r]
	limit int64  // file position at which the content ends
	crc   uint32 // of everything read so far
	buf   []byte
	r, n  int // buf[r:n] is read and not consumed
}

func newWindow(f fsx.File, pos, limit int64) *window {
	return newWindowOf(f, pos, limit, chunkBytes)
}

// newWindowOf is newWindow with a buffer for so many bytes at first.
func newWindowOf(f fsx.File, pos, limit, chunk int64) *window {
	size := min(chunk, max(limit-pos, 1))
	return &window{f: f, pos: pos, limit: limit, buf: make([]byte, size)}
}

// bytes returns what is read and not consumed.
func (w *window) bytes() []byte { return w.buf[w.r:w.n] }

// left returns how many bytes of the file are not consumed.
func (w *window) left() int64 { return w.limit - w.pos }

// more reads on until at least need bytes (of the left ones) are in the window.
// It returns false when the content has no more than what is there.
func (w *window) more(need int) (bool, error) {
	have := w.n - w.r
	if int64(need) > w.left() {
		need = int(w.left())
	}
	if need <= have {
		return false, nil
	}
	if need > len(w.buf)-w.r {
		if need > len(w.buf) {
			// Doubling keeps the work linear when a batch turns out larger and larger.
			size := min(max(int64(need), 2*int64(len(w.buf))), w.left())
			bigger := make([]byte, size)
			copy(bigger, w.bytes())
			w.buf = bigger
		} else {
			copy(w.buf, w.bytes())
		}
		w.r, w.n = 0, have
	}
	at := w.pos + int64(have)
	room := w.buf[w.n:min(int64(len(w.buf)), int64(w.n)+w.limit-at)]
	n, err := w.f.ReadAt(room, at)
	w.crc = checksum(w.crc, room[:n])
	w.n += n
	if n == len(room) {
		return true, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return false, fmt.Errorf("read at %d: %w", at+int64(n), err)
}

func (w *window) consume(n int) {
	w.r += n
	w.pos += int64(n)
}

// scanner finds the batches of a file.
type scanner struct{ *window }

// next returns the next batch; raw, payload and annotation, is valid until the
// next call. io.EOF: the content ended after a whole batch. A *formatError says
// where else it does not go on, and torn whether everything up to the end of the
// content could be the beginning of a batch.
func (s scanner) next() (raw []byte, f frame, err error) {
	for {
		if s.left() == 0 {
			return nil, frame{}, io.EOF
		}
		f, need, st := decodeFrame(s.bytes())
		switch st {
		case found:
			raw = s.bytes()[:f.size]
			s.consume(f.size)
			return raw, f, nil
		case bad:
			return nil, frame{}, &formatError{at: s.pos + int64(need), reason: st.reason()}
		}
		more, err := s.more(need)
		if err != nil {
			return nil, frame{}, err
		}
		if !more {
			return nil, frame{}, &formatError{at: s.pos, reason: st.reason()}
		}
	}
}

// commandScanner finds the commands of a plain Tile38 AOF. Stretches of zero
// bytes between commands, which Tile38 tolerates, are skipped.
type commandScanner struct {
	*window
	most int // bytes of commands a call of next returns, unless one is larger
}

// next returns whole commands that follow each other without a gap, valid until
// the next call. io.EOF: the content ended after a whole command. errTorn: it
// ends in the middle of the one that begins at s.pos.
func (s commandScanner) next() ([]byte, error) {
	if err := s.skipZeros(); err != nil {
		return nil, err
	}
	for {
		if s.left() == 0 {
			return nil, io.EOF
		}
		b := s.bytes()
		end, stop, st := commandRun(b, s.most)
		if end > 0 {
			s.consume(end)
			return b[:end], nil
		}
		if st == bad {
			if s.zeroTail(stop) {
				return nil, errTorn
			}
			return nil, &formatError{at: s.pos + int64(stop), reason: "not a command of an append-only file"}
		}
		more, err := s.more(stop)
		if err != nil {
			return nil, err
		}
		if !more {
			return nil, errTorn
		}
	}
}

var errTorn = errors.New("ends in the middle of a command")

// commandRun walks over the whole commands at the start of b, up to most bytes
// of them; end is where they end, stop and s say why it went no further.
func commandRun(b []byte, most int) (end, stop int, s status) {
	for end < most {
		next, s := skipCommand(b, end)
		if s != found {
			return end, next, s
		}
		end = next
	}
	return end, end, found
}

func (s commandScanner) skipZeros() error {
	for {
		b := s.bytes()
		n := 0
		for n < len(b) && b[n] == 0 {
			n++
		}
		s.consume(n)
		if n < len(b) || s.left() == 0 {
			return nil
		}
		if _, err := s.more(1); err != nil {
			return err
		}
	}
}

// zeroTail says whether everything from the offending byte at bytes()[i] to the
// end of the content is zero: the crash of a machine can leave a file with its
// new length and without its last data.
func (s commandScanner) zeroTail(i int) bool {
	isZero := func(c byte) bool { return c == 0 }
	rest := s.bytes()[i:]
	if len(rest) == 0 || slices.ContainsFunc(rest, func(c byte) bool { return !isZero(c) }) {
		return false
	}
	buf := make([]byte, 64<<10)
	for at := s.pos + int64(s.n-s.r); at < s.limit; {
		n, err := s.f.ReadAt(buf[:min(int64(len(buf)), s.limit-at)], at)
		if n == 0 && err != nil {
			return false
		}
		if slices.ContainsFunc(buf[:n], func(c byte) bool { return !isZero(c) }) {
			return false
		}
		at += int64(n)
	}
	return true
}
