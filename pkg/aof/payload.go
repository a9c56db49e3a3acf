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

// PayloadSize returns the size of the log as a plain Tile38 append-only file:
// the commands of the base and of the segments behind it, as far as they are
// written.
func (l *Log) PayloadSize() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.payloadSizeLocked()
}

func (l *Log) payloadSizeLocked() int64 {
	if l.base == nil {
		return l.seen.Offset
	}
	return l.base.payload + l.seen.Offset - l.base.end.Offset
}

// PayloadReader reads the log as a plain Tile38 append-only file: the commands
// of the base and of the segments behind it, without annotation lines. Read
// returns io.EOF at the end of what is written; after Wait it goes on. It
// belongs to one goroutine.
type PayloadReader struct {
	l       *Log
	base    *logFile // that the file began with
	f       fsx.File // of the base, until it is read
	next    func() ([]byte, error)
	c       *cursor
	rest    []byte // of the payload that was read last
	batches []byte // of segments, behind rest
	skip    int64  // bytes of payload to pass over
}

// PayloadReader reads from byte from of the plain file. An offset beyond its end
// is ErrGone.
func (l *Log) PayloadReader(from int64) (*PayloadReader, error) {
	for {
		p, err := l.payloadReader(from)
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrGone) || !p.Replaced() {
			if err != nil {
				return nil, fmt.Errorf("read the log from byte %d: %w", from, errors.Join(err, p.Close()))
			}
			return p, nil
		}
		// The base was replaced before its file, or what is behind it, was opened.
		if err := p.Close(); err != nil {
			return nil, err
		}
	}
}

func (l *Log) payloadReader(from int64) (*PayloadReader, error) {
	l.mu.Lock()
	base, size := l.base, l.payloadSizeLocked()
	l.mu.Unlock()
	p := &PayloadReader{l: l, base: base}
	if from < 0 || from > size {
		return p, fmt.Errorf("%w: it has %d bytes", ErrGone, size)
	}
	offset := from
	if base != nil {
		offset = base.end.Offset + max(from-base.payload, 0)
	}
	c, err := l.register(offset)
	if err != nil {
		return p, err
	}
	p.c = c
	if err := c.moveTo(offset, nil); err != nil {
		return p, err
	}
	p.skip = offset - c.offset
	if base == nil || from >= base.payload {
		return p, nil
	}
	err = p.openBase(from)
	return p, err
}

func (p *PayloadReader) openBase(from int64) (err error) {
	if p.f, err = p.l.fs.OpenFile(p.l.path(p.base.name), os.O_RDONLY, 0); err != nil {
		return err
	}
	p.l.mu.Lock()
	at := seek(p.base.index, 0, from)
	p.l.mu.Unlock()
	w := newWindow(p.f, at.pos, p.base.size)
	p.skip = from - at.off
	if p.base.kind == kindAdopted {
		p.next = commandScanner{w, replayBytes}.next
		return nil
	}
	s := scanner{w}
	p.next = func() ([]byte, error) {
		raw, f, err := s.next()
		return raw[:f.payload], err
	}
	return nil
}

// Read implements io.Reader.
func (p *PayloadReader) Read(b []byte) (int, error) {
	for len(p.rest) == 0 {
		if err := p.fill(); err != nil {
			return 0, err
		}
		n := min(p.skip, int64(len(p.rest)))
		p.rest, p.skip = p.rest[n:], p.skip-n
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// fill gets the payload of the next batch.
func (p *PayloadReader) fill() error {
	if p.next != nil {
		run, err := p.next()
		if err == nil {
			p.rest = run
			return nil
		}
		if !errors.Is(err, io.EOF) {
			return p.damage(err)
		}
		p.next = nil
	}
	if len(p.batches) == 0 {
		raw, _, err := p.c.tryNext()
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		if raw == nil {
			return io.EOF
		}
		p.batches = raw
	}
	f, _, _ := decodeFrame(p.batches) // whole and valid: tryNext has looked
	p.rest = p.batches[:f.payload]
	p.batches = p.batches[f.size:]
	return nil
}

func (p *PayloadReader) damage(err error) error {
	path := p.l.path(p.base.name)
	if fe, ok := errors.AsType[*formatError](err); ok {
		return &DamageError{File: path, Offset: fe.at, Reason: fe.reason}
	}
	return fmt.Errorf("read %s: %w", path, err)
}

// Wait returns when Read has more. It may return earlier.
func (p *PayloadReader) Wait(ctx context.Context) error {
	if len(p.rest) > 0 || len(p.batches) > 0 || p.next != nil {
		return nil
	}
	limit, sealed, next, err := p.c.look()
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	if next != nil || (p.c.seg != nil && (sealed || p.c.pos < limit)) {
		return nil
	}
	return p.c.wait(ctx)
}

// Replaced says whether the log rests on another base by now, so that the plain
// file is another one; this reader goes on as if it were not. It may be called
// from any goroutine.
func (p *PayloadReader) Replaced() bool {
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	return p.l.base != p.base
}

// Held is as of a Tail.
func (p *PayloadReader) Held() int64 { return p.c.held() }

// Close releases what the reader holds.
func (p *PayloadReader) Close() error {
	var errs []error
	if p.c != nil {
		errs = append(errs, p.c.stop())
	}
	if p.f != nil {
		errs = append(errs, p.f.Close())
		p.f = nil
	}
	return errors.Join(errs...)
}
