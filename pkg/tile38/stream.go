package tile38

import (
	"errors"
	"fmt"
	"math"
	"os"
	"time"
)

const (
	// streamBuffer is what a stream holds at least, in bytes.
	streamBuffer = 128 << 10
	// DefaultMaxCommand is the longest command that a stream takes, in bytes.
	DefaultMaxCommand = 1 << 30
)

// ErrSilent says that the leader said nothing for as long as it may.
var ErrSilent = errors.New("the leader is silent")

// Stream reads a leader's file from some position, for ever. Between what stands in
// the file come messages, as PUBLISH, which do not, and count nowhere: not for
// AOF, AOFMD5 or aof_size.
type Stream struct {
	c    *Conn
	buf  []byte
	r, w int   // buf[r:w] is read and not taken
	pos  int64 // of buf[r] in the leader's file
	idle time.Duration

	// MaxCommand is the longest command that is taken, in bytes.
	MaxCommand int
}

func newStream(c *Conn, pos int64) *Stream {
	return &Stream{c: c, pos: pos, buf: make([]byte, streamBuffer), MaxCommand: DefaultMaxCommand}
}

// Pos returns where in the leader's file the next command begins, or zero bytes
// before it.
func (s *Stream) Pos() int64 { return s.pos }

// Idle sets how long the leader may say nothing; 0 is for ever.
func (s *Stream) Idle(d time.Duration) { s.idle = d }

// NoLimit is a limit for Next that is never reached.
const NoLimit = math.MaxInt64

// Next waits for a command and returns it, with those that came with it as far
// as they end at or before limit, a position, and no zero bytes are between. The
// last one ends at Pos. Messages come by themselves, see IsMessage, and leave Pos
// where it is. Nothing comes back when the limit is reached already. The bytes are
// valid until the next call.
func (s *Stream) Next(limit int64) ([]byte, error) {
	for {
		s.skipZeros()
		if s.pos >= limit {
			return nil, nil
		}
		end, need, err := s.run(limit)
		if err != nil {
			return nil, fmt.Errorf("at byte %d of the leader's file: %w", s.pos, err)
		}
		if end > s.r {
			b := s.buf[s.r:end]
			if !IsMessage(b) {
				s.pos += int64(len(b))
			}
			s.r = end
			return b, nil
		}
		if err := s.fill(need - s.r); err != nil {
			return nil, err
		}
	}
}

// run returns the end of the whole commands at buf[r]; need is how far buf must
// reach when there is none.
func (s *Stream) run(limit int64) (end, need int, err error) {
	end, need = s.r, s.r+1
	b := s.buf[:s.w]
	message := false
	for end < s.w && b[end] != 0 {
		next, more, err := command(b, end)
		if err != nil && end > s.r {
			return end, 0, nil // the next call finds it again
		}
		if next == 0 || err != nil {
			return end, more, err
		}
		if end > s.r && (s.pos+int64(next-s.r) > limit || message != IsMessage(b[end:next])) {
			break
		}
		message = IsMessage(b[end:next])
		end = next
	}
	return end, need, nil
}

func (s *Stream) skipZeros() {
	for s.r < s.w && s.buf[s.r] == 0 {
		s.r++
		s.pos++
	}
}

// fill reads once, with room for need bytes from buf[r] on.
func (s *Stream) fill(need int) error {
	if need > s.MaxCommand {
		return fmt.Errorf("%w: at byte %d of the leader's file: more than %d bytes", ErrFormat, s.pos, s.MaxCommand)
	}
	have := s.w - s.r
	switch {
	case have == 0 && len(s.buf) > 2*streamBuffer:
		s.buf = make([]byte, streamBuffer) // it had a large command
		s.r, s.w = 0, 0
	case s.r > 0 && (have == 0 || len(s.buf)-s.w < len(s.buf)/2):
		copy(s.buf, s.buf[s.r:s.w])
		s.r, s.w = 0, have
	}
	if s.w == len(s.buf) { // doubling: what a header promises may never come
		bigger := make([]byte, 2*len(s.buf))
		s.r, s.w = 0, copy(bigger, s.buf[s.r:s.w])
		s.buf = bigger
	}
	n, err := s.read(s.buf[s.w:])
	s.w += n
	if n > 0 {
		return nil
	}
	return err
}

// read reads once from the connection.
func (s *Stream) read(b []byte) (int, error) {
	if s.idle > 0 {
		if err := s.c.conn.SetReadDeadline(time.Now().Add(s.idle)); err != nil {
			return 0, err
		}
	}
	n, err := s.c.r.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%w: nothing for %s", ErrSilent, s.idle)
	}
	return n, err
}
