package aof

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tidwall/redcon"

	"evenkeel/internal/fsx"
)

// syncBytes is how much of a base is written between syncs: one sync at the end
// would make the disk busy with everything at once, and the log wait for it.
const syncBytes = 8 << 20

// verifyBytes is how much of a base is read back at once: a few batches. A
// compaction should need no memory to speak of, and is in no hurry.
const verifyBytes = 4 * batchBytes

// firstBuffer holds a batch of small objects, so that the buffer need not grow.
const firstBuffer = batchBytes + batchBytes/8

// tempFile is a base that is being written and has no name yet.
type tempFile struct {
	l      *Log
	f      fsx.File
	path   string
	pos    int64
	crc    uint32
	synced int64
	closed bool
}

func (l *Log) newTemp(offset int64) (*tempFile, error) {
	path := l.path(formatName(kindBase, offset, 1)) + fsx.TempSuffix
	f, err := l.fs.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &tempFile{l: l, f: f, path: path}, nil
}

func (t *tempFile) write(b []byte) error {
	if t.closed {
		return fmt.Errorf("write %s: %w", t.path, os.ErrClosed)
	}
	for len(b) > 0 {
		n, err := t.f.WriteAt(b, t.pos)
		t.crc = checksum(t.crc, b[:n])
		t.pos += int64(n)
		b = b[n:]
		if err == nil && n == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return &ioError{path: t.path, err: err}
		}
	}
	if t.pos-t.synced >= syncBytes {
		return t.sync()
	}
	return nil
}

func (t *tempFile) sync() error {
	if err := t.f.Sync(); err != nil {
		return &ioError{path: t.path, err: err}
	}
	t.synced = t.pos
	return nil
}

// close closes the file and, unless it has got its name, removes it.
func (t *tempFile) close(remove bool) error {
	if t.closed {
		return nil
	}
	t.closed = true
	err := t.f.Close()
	if remove {
		err = errors.Join(err, t.l.fs.Remove(t.path))
	}
	return err
}

// verify reads the file back from the start.
func (t *tempFile) verify(ctx context.Context, want Mark, visit func(Batch) error) (*baseScan, error) {
	b := &baseScan{scanner: scanner{newWindowOf(t.f, 0, t.pos, verifyBytes)}, want: want}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		batch, err := b.next()
		switch {
		case errors.Is(err, io.EOF):
			if b.crc != t.crc {
				return nil, &DamageError{File: t.path, Offset: -1, Reason: "it does not read back as it was written"}
			}
			return b, nil
		case err != nil:
			if fe, ok := errors.AsType[*formatError](err); ok {
				return nil, &DamageError{File: t.path, Offset: fe.at, Reason: fe.reason}
			}
			return nil, fmt.Errorf("read %s back: %w", t.path, err)
		}
		if visit == nil {
			continue
		}
		if err := visit(batch); err != nil {
			return nil, err
		}
	}
}

// name gives the finished file the name that a manifest may refer to.
func (t *tempFile) name(offset int64) (string, error) {
	name, err := t.l.freeName(kindBase, offset)
	if err != nil {
		return "", err
	}
	if err := t.l.fs.Rename(t.path, t.l.path(name)); err != nil {
		return "", err
	}
	t.closed = true
	return name, errors.Join(t.f.Close(), t.l.fs.SyncDir(t.l.o.Dir))
}

// BaseWriter writes a new base. It belongs to one goroutine.
type BaseWriter struct {
	l       *Log
	t       *tempFile
	m       Mark
	gen     int      // of the log's history
	history *History // the new history that begins with it; nil: it belongs to the log's own
	buf     []byte
	payload int64
	index   []indexEntry
	ended   bool
}

// CreateBase begins to write the state at m, a mark that Seal has returned, as
// a new base. One of Install and Abort must be called.
func (l *Log) CreateBase(m Mark) (*BaseWriter, error) {
	l.mu.Lock()
	closed, last, gen := l.closing, l.last.Offset, l.gen
	l.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if m.Offset < 0 || m.Offset > last || m.Time < 0 {
		return nil, fmt.Errorf("create a base at offset %d, time %d: the log ends at %d", m.Offset, m.Time, last)
	}
	t, err := l.newTemp(m.Offset)
	if err != nil {
		return nil, fmt.Errorf("create a base: %w", err)
	}
	return &BaseWriter{l: l, t: t, m: m, gen: gen, buf: make([]byte, 0, firstBuffer)}, nil
}

// CreateHistory begins to write the state at m of another history, which
// Install lets the log go on with: what was in the log is gone then. Nobody
// appends meanwhile; the caller sees to it.
func (l *Log) CreateHistory(h History, m Mark) (*BaseWriter, error) {
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("create a base: %w", err)
	}
	if m.Offset < 0 || m.Time < 0 {
		return nil, fmt.Errorf("create a base at offset %d, time %d", m.Offset, m.Time)
	}
	l.mu.Lock()
	closed, gen := l.closing, l.gen
	l.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	t, err := l.newTemp(m.Offset)
	if err != nil {
		return nil, fmt.Errorf("create a base: %w", err)
	}
	return &BaseWriter{l: l, t: t, m: m, gen: gen, history: &h, buf: make([]byte, 0, firstBuffer)}, nil
}

// Add appends one command.
func (b *BaseWriter) Add(args []string) error {
	if b.ended {
		return fmt.Errorf("write the base at offset %d: it is complete", b.m.Offset)
	}
	b.buf = redcon.AppendArray(b.buf, len(args))
	for _, arg := range args {
		b.buf = redcon.AppendBulkString(b.buf, arg)
	}
	return b.flushLarge()
}

// AddRaw appends one command, as Add does.
func (b *BaseWriter) AddRaw(words [][]byte) error {
	if b.ended {
		return fmt.Errorf("write the base at offset %d: it is complete", b.m.Offset)
	}
	b.buf = redcon.AppendArray(b.buf, len(words))
	for _, word := range words {
		b.buf = redcon.AppendBulk(b.buf, word)
	}
	return b.flushLarge()
}

// flushLarge writes the batch once it is large enough.
func (b *BaseWriter) flushLarge() error {
	if len(b.buf) < batchBytes {
		return nil
	}
	return b.flush()
}

func (b *BaseWriter) flush() error {
	n := len(b.buf)
	if n == 0 {
		return nil
	}
	b.index = indexAt(b.index, b.payload, b.t.pos)
	m := Mark{Offset: b.m.Offset, Time: b.m.Time}
	b.buf = appendAnnotation(b.buf, m, int64(n), checksum(0, b.buf))
	err := b.t.write(b.buf)
	b.payload += int64(n)
	if cap(b.buf) > keepBuffer {
		b.buf = nil
	}
	b.buf = b.buf[:0]
	if err != nil {
		b.ended = true // what is in the file is no base any more
		return fmt.Errorf("write the base at offset %d: %w", b.m.Offset, err)
	}
	return nil
}

// Written returns the bytes in the file so far.
func (b *BaseWriter) Written() int64 { return b.t.pos }

// finish writes the last line.
func (b *BaseWriter) finish() error {
	if b.ended {
		return nil
	}
	if err := b.flush(); err != nil {
		return err
	}
	b.ended = true
	if err := b.t.write(appendAnnotation(nil, b.m, 0, 0)); err != nil {
		return fmt.Errorf("write the base at offset %d: %w", b.m.Offset, err)
	}
	return nil
}

// Verify completes the file and reads it back, batch by batch as Replay would
// deliver them. Nothing can be added after it.
func (b *BaseWriter) Verify(ctx context.Context, visit func(Batch) error) error {
	if err := b.finish(); err != nil {
		return err
	}
	if _, err := b.t.verify(ctx, b.m, visit); err != nil {
		return fmt.Errorf("verify the base at offset %d: %w", b.m.Offset, err)
	}
	return nil
}

// Install completes the base and lets the log rest on it: from now on a start
// reads it and the segments behind it. It returns the bytes of the files that
// were removed for it. After an error the log is as it was before.
func (b *BaseWriter) Install(ctx context.Context) (freed int64, err error) {
	freed, err = b.install(ctx)
	if err != nil {
		return freed, errors.Join(fmt.Errorf("install the base at offset %d: %w", b.m.Offset, err), b.Abort())
	}
	return freed, nil
}

func (b *BaseWriter) install(ctx context.Context) (int64, error) {
	if b.t.closed {
		return 0, os.ErrClosed
	}
	if err := b.finish(); err != nil {
		return 0, err
	}
	if err := b.t.sync(); err != nil {
		return 0, err
	}
	if b.history != nil {
		return 0, b.l.replaceHistory(ctx, *b.history, b.name)
	}
	// Everything before the base is written and its segments are sealed then.
	if err := b.l.Sync(ctx); err != nil {
		return 0, err
	}
	if err := b.l.checkBoundary(b.m.Offset); err != nil {
		return 0, err
	}
	base, err := b.name()
	if err == nil {
		return b.l.swapBase(base, b.gen)
	}
	if base != nil {
		b.l.disown(base.name)
	}
	return 0, err
}

// name gives the file its name. There may be a base beside an error: the name is
// taken then.
func (b *BaseWriter) name() (*logFile, error) {
	size, crc := b.t.pos, b.t.crc
	name, err := b.t.name(b.m.Offset)
	if name == "" {
		return nil, err
	}
	return &logFile{
		name: name, kind: kindBase, start: b.m.Offset, sealed: true, synced: true, end: b.m, digestKnown: true,
		payload: b.payload, size: size, visible: size, crc: crc, index: b.index,
	}, err
}

// swapBase changes over to base; when that fails its file is disowned. Trouble
// with removing old files is no failure: the worker tries again.
func (l *Log) swapBase(base *logFile, gen int) (int64, error) {
	freed, err := l.trim(base, gen)
	l.mu.Lock()
	swapped := l.base == base
	l.mu.Unlock()
	if swapped {
		if err != nil {
			l.logger.Warn("remove old files of the log; trying again", "error", err)
			l.wakeWorker()
		}
		return freed, nil
	}
	l.disown(base.name)
	return 0, err
}

// disown lets the next manifest call a file obsolete that this process has given
// its name but could not install. It must not be removed before: the failed
// replacement may have left a manifest on the disk that relies on it.
func (l *Log) disown(name string) {
	l.mu.Lock()
	l.onDisk[name] = false
	l.untrimmed = true
	l.mu.Unlock()
	l.wakeWorker()
}

// checkBoundary says whether a base can lie at offset: no segment goes across.
func (l *Log) checkBoundary(offset int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.base != nil && l.base.end.Offset > offset {
		return fmt.Errorf("there is one at offset %d", l.base.end.Offset)
	}
	for _, s := range l.segs {
		if s.start < offset && (!s.sealed || s.end.Offset > offset) {
			return fmt.Errorf("segment %s goes across it: the log was not sealed there", s.name)
		}
	}
	return nil
}

// Abort gives up and removes the file. After Install it does nothing.
func (b *BaseWriter) Abort() error {
	b.ended = true
	return b.t.close(true)
}
