package aof

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"evenkeel/internal/fsx"
)

// BaseReader reads the base for somebody who starts from nothing: Size bytes of
// a base file as Receive takes them. It stays readable when the base is replaced
// meanwhile. It belongs to one goroutine.
type BaseReader struct {
	epoch string
	mark  Mark
	size  int64
	src   io.Reader
	f     fsx.File // nil: there is no base
}

// OpenBase opens the base. Without one the history begins at offset 0, and the
// reader is empty there.
func (l *Log) OpenBase() (*BaseReader, error) {
	for {
		l.mu.Lock()
		closed, epoch, base := l.closed, l.epoch, l.base
		var file replayFile
		if base != nil {
			file = replayFile{base, base.size, base.end, base.digestKnown}
		}
		l.mu.Unlock()
		if closed {
			return nil, ErrClosed
		}
		if base == nil {
			return &BaseReader{epoch: epoch}, nil
		}
		b, err := l.openBase(epoch, file)
		if !errors.Is(err, fs.ErrNotExist) {
			return b, err
		}
		l.mu.Lock()
		replaced := l.base != base
		l.mu.Unlock()
		if !replaced {
			return nil, err
		}
	}
}

func (l *Log) openBase(epoch string, file replayFile) (*BaseReader, error) {
	if !file.digestKnown {
		return nil, fmt.Errorf("open the base: %w", ErrNoDigest)
	}
	f, err := l.fs.OpenFile(l.path(file.name), os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("open the base: %w", err)
	}
	b := &BaseReader{epoch: epoch, mark: file.end, f: f}
	if file.kind == kindBase {
		b.size, b.src = file.size, io.NewSectionReader(f, 0, file.size)
		return b, nil
	}
	// An adopted file gets the form of a base on its way. Its size is not known
	// before it was read once.
	if b.size, err = io.Copy(io.Discard, newRenderer(f, file)); err != nil {
		return nil, errors.Join(fmt.Errorf("open the base %s: %w", l.path(file.name), err), f.Close())
	}
	b.src = newRenderer(f, file)
	return b, nil
}

// Position returns the epoch and offset of the base.
func (b *BaseReader) Position() Position { return Position{Epoch: b.epoch, Offset: b.mark.Offset} }

// Mark returns the base's offset, time and digest.
func (b *BaseReader) Mark() Mark { return b.mark }

// Size returns how many bytes Read delivers in all.
func (b *BaseReader) Size() int64 { return b.size }

// Read implements io.Reader.
func (b *BaseReader) Read(p []byte) (int, error) {
	if b.src == nil {
		return 0, io.EOF
	}
	return b.src.Read(p)
}

// Close releases the file.
func (b *BaseReader) Close() error {
	if b.f == nil {
		return nil
	}
	return b.f.Close()
}

// renderer reads an adopted file in the form of a base.
type renderer struct {
	s    commandScanner
	end  Mark
	buf  []byte
	at   int
	done bool
}

func newRenderer(f fsx.File, file replayFile) *renderer {
	return &renderer{s: commandScanner{newWindow(f, 0, file.size), batchBytes}, end: file.end}
}

// Read implements io.Reader.
func (r *renderer) Read(p []byte) (int, error) {
	if r.at == len(r.buf) {
		if r.done {
			return 0, io.EOF
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.buf[r.at:])
	r.at += n
	return n, nil
}

func (r *renderer) fill() error {
	run, err := r.s.next()
	r.at = 0
	switch {
	case err == nil:
		m := Mark{Offset: r.end.Offset, Time: r.end.Time}
		r.buf = append(r.buf[:0], run...)
		r.buf = appendAnnotation(r.buf, m, int64(len(run)), checksum(0, run))
	case errors.Is(err, io.EOF):
		r.done = true
		r.buf = appendAnnotation(r.buf[:0], r.end, 0, 0)
	default:
		return err
	}
	return nil
}

// Receiver takes a base that replaces the whole history. It belongs to one
// goroutine.
type Receiver struct {
	l    *Log
	t    *tempFile // nil: the new history is empty
	h    History
	m    Mark
	size int64
	scan *baseScan // after a successful Verify
}

// Receive begins to take size bytes of a base at m of the history h. They
// are written with Write; one of Install and Abort must be called. Size 0 at
// offset 0 is a history from its beginning.
func (l *Log) Receive(h History, m Mark, size int64) (*Receiver, error) {
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("receive a base: %w", err)
	}
	if m.Offset < 0 || size < 0 || (size == 0 && m != Mark{Time: m.Time}) {
		return nil, fmt.Errorf("receive a base of %d bytes at offset %d", size, m.Offset)
	}
	l.mu.Lock()
	closed := l.closing
	l.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	r := &Receiver{l: l, h: h, m: m, size: size}
	if size == 0 {
		return r, nil
	}
	var err error
	if r.t, err = l.newTemp(m.Offset); err != nil {
		return nil, fmt.Errorf("receive a base: %w", err)
	}
	return r, nil
}

// Write implements io.Writer.
func (r *Receiver) Write(p []byte) (int, error) {
	if r.t == nil {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, fmt.Errorf("receive the base at offset %d: more than the 0 bytes announced", r.m.Offset)
	}
	if r.t.pos+int64(len(p)) > r.size {
		return 0, fmt.Errorf("receive the base at offset %d: more than the %d bytes announced", r.m.Offset, r.size)
	}
	before := r.t.pos
	err := r.t.write(p)
	if err != nil {
		err = fmt.Errorf("receive the base at offset %d: %w", r.m.Offset, err)
	}
	r.scan = nil
	return int(r.t.pos - before), err
}

// Verify reads back what was received, batch by batch as Replay would deliver
// it. visit may be nil.
func (r *Receiver) Verify(ctx context.Context, visit func(Batch) error) error {
	if r.t == nil {
		return nil
	}
	if r.t.pos != r.size {
		return fmt.Errorf("verify the base at offset %d: it has %d bytes, announced were %d", r.m.Offset, r.t.pos, r.size)
	}
	want := r.m
	want.Time = -1 // the file's own
	scan, err := r.t.verify(ctx, want, visit)
	if err != nil {
		return fmt.Errorf("verify the base at offset %d: %w", r.m.Offset, err)
	}
	r.scan = scan
	return nil
}

// Install replaces the history of the log by the one received: what was in the
// log is gone then, readers get ErrEpoch, and appending goes on behind the base.
// The caller sees to it that nobody appends meanwhile. After an error the log is
// as it was before.
func (r *Receiver) Install(ctx context.Context) error {
	if err := r.install(ctx); err != nil {
		return errors.Join(fmt.Errorf("install the base at offset %d of %s: %w", r.m.Offset, r.h.Epoch, err), r.Abort())
	}
	return nil
}

func (r *Receiver) install(ctx context.Context) error {
	l := r.l
	if r.scan == nil {
		if err := r.Verify(ctx, nil); err != nil {
			return err
		}
	}
	if r.t != nil {
		if r.t.closed {
			return os.ErrClosed
		}
		if err := r.t.sync(); err != nil {
			return err
		}
	}
	return l.replaceHistory(ctx, r.h, r.base)
}

// replaceHistory changes over to the history h, which begins with the base
// that name gives its name to; nil: at offset 0. After an error the log is as it
// was before.
func (l *Log) replaceHistory(ctx context.Context, h History, name func() (*logFile, error)) error {
	if err := l.takeTurn(ctx); err != nil {
		return err
	}
	defer l.giveTurn()
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.manifestMu.Lock()
	defer l.manifestMu.Unlock()
	base, err := name()
	var obsolete []string
	if err == nil {
		obsolete, err = l.swapHistory(h, base)
	}
	if err != nil {
		if base != nil {
			l.disown(base.name)
		}
		return err
	}
	handles := l.restart(h, base, obsolete)
	var errs []error
	for _, old := range handles {
		errs = append(errs, old.f.Close())
	}
	_, err = l.removeObsolete()
	if err := errors.Join(append(errs, err)...); err != nil {
		l.logger.Warn("remove the files of the replaced history; trying again", "error", err)
		l.wakeWorker()
	}
	return nil
}

// base gives the received file its name.
func (r *Receiver) base() (*logFile, error) {
	if r.t == nil {
		return nil, nil
	}
	size, crc := r.t.pos, r.t.crc
	name, err := r.t.name(r.m.Offset)
	if name == "" {
		return nil, err
	}
	end := r.m
	end.Time = r.scan.want.Time
	return &logFile{
		name: name, kind: kindBase, start: end.Offset, sealed: true, synced: true, end: end, digestKnown: true,
		payload: r.scan.payload, size: size, visible: size, crc: crc, index: r.scan.index,
	}, err
}

// swapHistory writes the manifest of the new history, which calls all else
// obsolete.
func (l *Log) swapHistory(h History, base *logFile) (obsolete []string, err error) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, ErrClosed
	}
	obsolete = l.obsoleteNames()
	if l.base != nil {
		obsolete = append(obsolete, l.base.name)
	}
	for _, s := range l.segs {
		obsolete = append(obsolete, s.name)
	}
	m := l.manifestLocked(base, nil, obsolete)
	l.mu.Unlock()
	m.Epoch, m.Previous = h.Epoch, append([]Fork{}, h.Forks...)
	return obsolete, l.writeManifest(m)
}

// restart lets the memory follow: an empty log behind base. It returns the files
// of the old history that are to be closed. The turn and syncMu are held.
func (l *Log) restart(h History, base *logFile, obsolete []string) []*handle {
	l.mu.Lock()
	defer l.mu.Unlock()
	handles := l.retired
	if l.current != nil {
		handles = append(handles, l.current)
	}
	var end Mark
	if base != nil {
		end = base.end
	}
	l.epoch, l.previous, l.base, l.segs = h.Epoch, slices.Clone(h.Forks), base, nil
	l.gen++
	l.active, l.cuts, l.openAt, l.segBytes, l.inFlight = l.active[:0], l.cuts[:0], 0, 0, 0
	l.last, l.boxed, l.seen = end, end, end
	l.synced = end.Offset
	l.fastSeen.Store(end.Offset)
	l.current, l.retired, l.published, l.dirty = nil, nil, true, false
	if !l.fatal {
		l.failure = nil
	}
	l.obsoleteLocked(obsolete)
	w := &l.w
	w.buf, w.cuts, w.touched = w.buf[:0], nil, w.touched[:0]
	w.mark, w.start, w.done, w.full, w.file = end, end, 0, false, nil
	for c := range l.cursors {
		c.notify()
	}
	return handles
}

// Abort gives up and removes what was received. After Install it does nothing.
func (r *Receiver) Abort() error {
	if r.t == nil {
		return nil
	}
	return r.t.close(true)
}
