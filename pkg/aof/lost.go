package aof

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"evenkeel/internal/fsx"
)

// lostName begins the names of files with commands that were given up.
const lostName = "lost-"

// Lost says what KeepLost has put aside.
type Lost struct {
	Path     string
	From, To int64 // logical offsets
	Commands int
}

// KeepLost copies the commands behind offset from, which are about to be given
// up, to lost-<epoch>.aof in the data directory: plain RESP commands, as a client
// would send them. ErrGone says that the log begins behind from; what it has is
// in the copy then. Called again for the same commands it changes nothing.
func (l *Log) KeepLost(ctx context.Context, from int64) (Lost, error) {
	if err := l.Sync(ctx); err != nil {
		return Lost{}, fmt.Errorf("keep what is given up: %w", err)
	}
	lost, gone, err := l.keepLost(from)
	if err != nil {
		return lost, fmt.Errorf("keep what is given up behind offset %d: %w", from, err)
	}
	if gone {
		return lost, fmt.Errorf("%w: of what is given up behind offset %d, %d is the first that is still there", ErrGone, from, lost.From)
	}
	return lost, nil
}

func (l *Log) keepLost(from int64) (lost Lost, gone bool, err error) {
	c, err := l.register(from)
	if gone = errors.Is(err, ErrGone); gone {
		from = l.first()
		c, err = l.register(from)
	}
	if err != nil {
		return lost, gone, err
	}
	p := &PayloadReader{l: l, c: c}
	defer func() { err = errors.Join(err, p.Close()) }()
	if err := c.moveTo(from, nil); err != nil {
		return lost, gone, err
	}
	l.mu.Lock()
	lost = Lost{From: c.offset, To: l.seen.Offset}
	epoch := l.epoch
	l.mu.Unlock()
	if lost.Path, err = l.lostPath(epoch, lost.To-lost.From); err != nil {
		return lost, gone, err
	}
	r := &counting{p: p}
	if err := fsx.CopyFileAtomic(l.fs, lost.Path, r); err != nil {
		return lost, gone, err
	}
	lost.Commands = r.commands
	return lost, gone, nil
}

// first returns the offset at which the log begins.
func (l *Log) first() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.firstLocked()
}

// firstLocked goes by the segments alone: while a compaction changes over, the base that
// they stand behind is not in place yet.
func (l *Log) firstLocked() int64 {
	for _, s := range l.segs {
		if !s.dropping {
			return s.start
		}
	}
	return l.seen.Offset
}

// lostPath returns a free name, or that of a file which has the size: it is of an
// attempt before this one.
func (l *Log) lostPath(epoch string, size int64) (string, error) {
	for n := 1; ; n++ {
		name := lostName + epoch + fileSuffix
		if n > 1 {
			name = fmt.Sprintf("%s%s-%d%s", lostName, epoch, n, fileSuffix)
		}
		st, err := l.fs.Stat(l.path(name))
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && st.Size() == size:
			return l.path(name), nil
		case err != nil:
			return "", &ioError{path: l.path(name), err: err}
		}
	}
}

// counting reads payloads and counts their commands.
type counting struct {
	p        *PayloadReader
	commands int
}

// Read implements io.Reader.
func (r *counting) Read(b []byte) (int, error) {
	if len(r.p.rest) == 0 {
		if err := r.p.fill(); err != nil {
			return 0, err // io.EOF at the end of what is written
		}
		if err := EachRaw(r.p.rest, func([][]byte) error { r.commands++; return nil }); err != nil {
			return 0, err
		}
	}
	n := copy(b, r.p.rest)
	r.p.rest = r.p.rest[n:]
	return n, nil
}
