package aof

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"evenkeel/internal/fsx"
)

// tailBytes is how much a tail delivers at once, unless one batch is larger.
const tailBytes = 256 << 10

// cursor reads batches of segments, in order and as they are written. Its
// registration keeps the segments from its offset on.
type cursor struct {
	l     *Log
	gen   int
	epoch string // what is read belongs to it; "": to whatever the log goes on as
	wake  chan struct{}

	offset int64 // guarded by l.mu; changed by the reader only

	// The reader's own.
	seg   *logFile // nil: the segment that begins at offset is not opened yet
	f     fsx.File
	pos   int64
	buf   []byte
	close bool
}

func (c *cursor) notify() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Tail reads the log from a position on, for ever. It belongs to one goroutine.
type Tail struct{ c *cursor }

// Tail starts to read behind p. d is the digest that the caller has there: where
// the log had another one the histories differ, and the error is ErrDiverged;
// ErrEpoch and ErrGone tell of a history or an offset that the log does not have.
// The position may also be one of an epoch that the log's own goes on from. The
// tail ends with ErrEpoch when the log goes on as another epoch: its reader has to
// learn of it.
func (l *Log) Tail(p Position, d Digest) (*Tail, error) {
	l.mu.Lock()
	epoch, agrees := l.epoch, l.agreesLocked(p)
	l.mu.Unlock()
	if !agrees {
		return nil, fmt.Errorf("tail from %v: %w, which is %s", p, ErrEpoch, epoch)
	}
	c, err := l.register(p.Offset)
	if err != nil {
		return nil, fmt.Errorf("tail from %v: %w", p, err)
	}
	c.epoch = epoch
	if err := c.moveTo(p.Offset, &d); err != nil {
		return nil, errors.Join(fmt.Errorf("tail from %v: %w", p, err), c.stop())
	}
	return &Tail{c}, nil
}

// register makes a cursor that keeps everything from offset on. With ErrGone nothing is on
// its way out any more: who tries again finds what is there instead.
func (l *Log) register(offset int64) (*cursor, error) {
	c, err := l.tryRegister(offset)
	if errors.Is(err, ErrGone) {
		l.manifestMu.Lock()
		defer l.manifestMu.Unlock()
	}
	return c, err
}

func (l *Log) tryRegister(offset int64) (*cursor, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, ErrClosed
	}
	if first := l.firstLocked(); offset < first || offset > l.seen.Offset {
		return nil, fmt.Errorf("%w: it has %d to %d", ErrGone, first, l.seen.Offset)
	}
	c := &cursor{l: l, gen: l.gen, wake: make(chan struct{}, 1), offset: offset}
	l.cursors[c] = struct{}{}
	return c, nil
}

// find returns the visible segment that holds the byte behind offset, or ends
// there when there is none. The log's mu is held.
func (l *Log) find(offset int64) *logFile {
	for _, s := range l.segs {
		if s.dropping || s.start > offset {
			continue
		}
		if !s.sealed || s.end.Offset > offset {
			return s
		}
	}
	return nil
}

// moveTo places a new cursor at offset. With a digest a batch must end there in
// that state; without one the cursor goes to the start of the batch that holds
// the offset.
func (c *cursor) moveTo(offset int64, want *Digest) error {
	l := c.l
	l.mu.Lock()
	s := l.find(offset)
	var from indexEntry
	var limit int64
	if s != nil {
		limit = s.visible
		from = seek(s.index, s.start, offset)
	}
	got, known := l.digestAt(offset, s)
	atEnd := offset == l.seen.Offset
	l.mu.Unlock()
	if known && want != nil && got != *want {
		return fmt.Errorf("%w: digest %v, asked for %v", ErrDiverged, got, *want)
	}
	if s == nil || offset == s.start {
		if want != nil && !known {
			return fmt.Errorf("%w: its digest is not known", ErrDiverged)
		}
		return nil // Next opens the segment
	}
	if err := c.open(s); err != nil {
		return err
	}
	if atEnd && known {
		c.pos = limit
		return nil
	}
	return c.scan(from, limit, offset, want)
}

// digestAt returns the digest at offset where it is known without reading; s is
// what find returned. The log's mu is held.
func (l *Log) digestAt(offset int64, s *logFile) (Digest, bool) {
	switch {
	case offset == 0:
		return Digest{}, true
	case offset == l.seen.Offset && (l.base == nil || l.base.digestKnown || offset != l.base.end.Offset):
		return l.seen.Digest, true
	case s != nil && offset == s.start && s.startKnown:
		return s.startDigest, true
	case l.base != nil && offset == l.base.end.Offset && l.base.digestKnown:
		return l.base.end.Digest, true
	}
	return Digest{}, false
}

// scan walks from an indexed batch to offset.
func (c *cursor) scan(from indexEntry, limit, offset int64, want *Digest) error {
	s := scanner{newWindow(c.f, from.pos, limit)}
	for off := from.off; off < offset; {
		at := s.pos
		_, f, err := s.next()
		if err != nil {
			return c.damage(err, at)
		}
		off = f.mark.Offset
		switch {
		case off > offset && want != nil:
			return fmt.Errorf("%w: no batch ends there", ErrDiverged)
		case off > offset:
			c.setOffset(off - int64(f.payload))
			c.pos = at
			return nil
		case off == offset && want != nil && f.mark.Digest != *want:
			return fmt.Errorf("%w: digest %v, asked for %v", ErrDiverged, f.mark.Digest, *want)
		}
	}
	c.pos = s.pos
	return nil
}

func (c *cursor) damage(err error, at int64) error {
	path := c.l.path(c.seg.name)
	if fe, ok := errors.AsType[*formatError](err); ok {
		return &DamageError{File: path, Offset: fe.at, Reason: fe.reason}
	}
	if errors.Is(err, io.EOF) {
		return &DamageError{File: path, Offset: at, Reason: "it ends too early"}
	}
	return fmt.Errorf("read %s: %w", path, err)
}

func (c *cursor) setOffset(off int64) {
	c.l.mu.Lock()
	c.offset = off
	c.l.mu.Unlock()
}

func (c *cursor) open(s *logFile) error {
	f, err := c.l.fs.OpenFile(c.l.path(s.name), os.O_RDONLY, 0)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %w", ErrGone, err)
		}
		return err
	}
	c.seg, c.f, c.pos = s, f, 0
	return nil
}

// Next returns the next batches in their file form, annotation lines included,
// and the mark of the last one. It waits until something is written (with
// FsyncAlways: synced). raw is valid until the next call.
func (t *Tail) Next(ctx context.Context) (raw []byte, m Mark, err error) {
	raw, m, err = t.c.next(ctx)
	if err != nil {
		return nil, Mark{}, fmt.Errorf("tail: %w", err)
	}
	return raw, m, nil
}

func (c *cursor) next(ctx context.Context) ([]byte, Mark, error) {
	for {
		raw, m, err := c.tryNext()
		if err != nil || raw != nil {
			return raw, m, err
		}
		if err := c.wait(ctx); err != nil {
			return nil, Mark{}, err
		}
	}
}

func (c *cursor) wait(ctx context.Context) error {
	select {
	case <-c.wake:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tryNext returns nil when everything that is written was delivered.
func (c *cursor) tryNext() ([]byte, Mark, error) {
	for {
		limit, sealed, next, err := c.look()
		switch {
		case err != nil:
			return nil, Mark{}, err
		case c.seg != nil && c.pos < limit:
			return c.read(limit)
		case c.seg != nil && sealed:
			err := c.f.Close()
			c.seg, c.f = nil, nil
			// What is behind the cursor may go now.
			c.l.wakeWorker()
			if err != nil {
				return nil, Mark{}, err
			}
		case c.seg == nil && next != nil:
			if err := c.open(next); err != nil {
				return nil, Mark{}, err
			}
		default:
			return nil, Mark{}, nil
		}
	}
}

// look returns how far the current segment may be read, whether that is its end,
// and, without a current segment, the one to open.
func (c *cursor) look() (limit int64, sealed bool, next *logFile, err error) {
	l := c.l
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case c.close || l.closed:
		return 0, false, nil, ErrClosed
	case c.gen != l.gen:
		return 0, false, nil, fmt.Errorf("%w any more: its history was replaced", ErrEpoch)
	case c.epoch != "" && c.epoch != l.epoch:
		return 0, false, nil, fmt.Errorf("%w any more: it goes on as %s", ErrEpoch, l.epoch)
	case c.seg != nil:
		return c.seg.visible, c.seg.sealed && c.seg.visible == c.seg.size, nil, nil
	}
	switch s := l.find(c.offset); {
	case s != nil && s.start == c.offset && s.visible > 0:
		next = s
	case c.offset < l.seen.Offset: // nobody may remove what a cursor has still to read
		return 0, false, nil, fmt.Errorf("%w any more: it has %d to %d, and %d was to be read", ErrGone, l.firstLocked(), l.seen.Offset, c.offset)
	}
	return 0, false, next, nil
}

// read returns the whole batches in the next stretch of the segment.
func (c *cursor) read(limit int64) ([]byte, Mark, error) {
	if cap(c.buf) > keepBuffer {
		c.buf = nil
	}
	for want := int64(tailBytes); ; want *= 2 {
		n := min(want, limit-c.pos)
		if int64(cap(c.buf)) < n {
			c.buf = make([]byte, max(n, 32<<10))
		}
		b := c.buf[:n]
		if _, err := c.f.ReadAt(b, c.pos); err != nil {
			return nil, Mark{}, c.damage(err, c.pos)
		}
		end, m, err := c.wholeBatches(b)
		if err != nil {
			return nil, Mark{}, err
		}
		if end > 0 {
			c.pos += int64(end)
			c.setOffset(m.Offset)
			return b[:end], m, nil
		}
		if n == limit-c.pos {
			return nil, Mark{}, c.damage(io.EOF, c.pos)
		}
	}
}

func (c *cursor) wholeBatches(b []byte) (end int, m Mark, err error) {
	off := c.offset
	for end < len(b) {
		f, need, s := decodeFrame(b[end:])
		if s == short {
			return end, m, nil
		}
		if s == found && f.mark.Offset-int64(f.payload) != off {
			s = bad
		}
		if s == bad {
			if end > 0 {
				return end, m, nil // what is before is good; the next call tells
			}
			return 0, m, c.damage(&formatError{at: c.pos + int64(need), reason: s.reason()}, c.pos)
		}
		end, m, off = end+f.size, f.mark, f.mark.Offset
	}
	return end, m, nil
}

// Lag returns how many bytes of payload are written and not yet delivered. It
// may be called from any goroutine.
func (t *Tail) Lag() int64 {
	l := t.c.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.c.gen != l.gen {
		return 0
	}
	return l.seen.Offset - t.c.offset
}

// Held returns how many bytes of payload the log keeps for this tail alone: a
// compaction has made them dispensable, and they are no part of the backlog. It
// may be called from any goroutine.
func (t *Tail) Held() int64 { return t.c.held() }

func (c *cursor) held() int64 {
	l := c.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.gen != l.gen || l.base == nil {
		return 0
	}
	return max(0, l.base.end.Offset-max(l.backlog, 0)-c.offset)
}

// Close lets the log remove what only this tail needed.
func (t *Tail) Close() error { return t.c.stop() }

func (c *cursor) stop() error {
	if c.close {
		return nil
	}
	c.close = true
	c.l.mu.Lock()
	delete(c.l.cursors, c)
	c.l.mu.Unlock()
	c.l.wakeWorker()
	if c.f == nil {
		return nil
	}
	return c.f.Close()
}
