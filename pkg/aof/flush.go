package aof

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"evenkeel/internal/fsx"
)

// writer is the side of the log that writes to the active segment. Whoever has
// the turn owns it.
type writer struct {
	buf  []byte // taken from the log's active buffer; whole batches
	cuts []cut  // in buf
	mark Mark   // where buf leads to
	done int    // bytes of buf that are in the file
	full bool   // buf is taken and not yet revealed

	file  *handle // nil: the next byte begins a segment at start
	start Mark    // the state at which the next segment begins

	touched []extent // what reveal will show
}

// extent is how far a segment is written.
type extent struct {
	seg  *logFile
	size int64
}

// handle is an open segment file.
type handle struct {
	f    fsx.File
	seg  *logFile
	path string

	// Guarded by turn.
	pos int64  // bytes written
	crc uint32 // of these bytes

	// Guarded by mu: pos and crc after the last write that succeeded.
	known    int64
	knownCRC uint32

	// Guarded by syncMu.
	synced    int64  // bytes known to be durable
	syncedCRC uint32 // of these bytes
	suspect   bool   // a sync failed: bytes after synced must be written again
}

// Commit returns when everything up to offset is written to the file and, with
// FsyncAlways, synced. The first of several callers writes for all who wait. An
// error of the log wraps ErrUnwritable: the commands stay in memory and will be
// written when that is possible again, but they are not safe now. When ctx ends
// first the outcome is not known.
func (l *Log) Commit(ctx context.Context, offset int64) error {
	if l.fastSeen.Load() >= offset {
		return nil
	}
	if err := l.takeTurn(ctx); err != nil {
		// Nobody else might come to write what this caller leaves behind.
		l.mu.Lock()
		l.left = true
		l.mu.Unlock()
		l.wakeWorker()
		return fmt.Errorf("wait for the log to be written: %w", err)
	}
	defer l.giveTurn()
	for l.fastSeen.Load() < offset {
		if err := l.blocked(); err != nil {
			return err
		}
		wrote, err := l.flush()
		if err != nil {
			return err
		}
		if !wrote {
			return fmt.Errorf("commit at offset %d: the log ends at %d", offset, l.Last().Offset)
		}
	}
	return nil
}

// Sync writes everything and forces it to the disk now.
func (l *Log) Sync(ctx context.Context) error {
	if err := l.takeTurn(ctx); err != nil {
		return fmt.Errorf("wait for the log to be synced: %w", err)
	}
	defer l.giveTurn()
	if err := l.blocked(); err != nil {
		return err
	}
	return l.flushAndSync()
}

// flushAndSync writes and syncs everything. The caller has the turn.
func (l *Log) flushAndSync() error {
	for {
		wrote, err := l.flush()
		if err != nil {
			return err
		}
		if !wrote {
			break
		}
	}
	if err := l.syncFiles(true); err != nil {
		return l.failed(err)
	}
	return nil
}

// blocked returns why writing is not even tried.
func (l *Log) blocked() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	return l.failure
}

// flush writes what is appended, or goes on with what an earlier flush could not
// finish, and shows it to readers. It returns false when there was nothing to
// do. The caller has the turn.
func (l *Log) flush() (bool, error) {
	if !l.w.full && !l.take() {
		return false, nil
	}
	if err := l.beforeWrite(); err != nil {
		return false, l.failed(err)
	}
	if err := l.writeOut(); err != nil {
		return false, l.failed(err)
	}
	l.mu.Lock()
	always := l.policy == FsyncAlways
	l.mu.Unlock()
	if always {
		if err := l.syncFiles(true); err != nil {
			return false, l.failed(err)
		}
	}
	l.reveal()
	return true, nil
}

// BeforeWrite sets what has to be done before commands are written: f is called
// when it is settled which ones are, and they are not written unless it
// succeeds. So what belongs to a command can be on the disk before it, whoever
// commits it. f may be called again for the same commands.
func (l *Log) BeforeWrite(f func() error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.before = f
}

func (l *Log) beforeWrite() error {
	l.mu.Lock()
	f := l.before
	l.mu.Unlock()
	if f == nil {
		return nil
	}
	return f()
}

// take swaps the active buffer with the written one.
func (l *Log) take() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closeBatchLocked()
	if len(l.active) == 0 && len(l.cuts) == 0 {
		return false
	}
	w := &l.w
	buf, cuts := w.buf[:0], w.cuts[:0]
	if cap(buf) > keepBuffer {
		buf = nil
	}
	w.buf, w.cuts, w.mark = l.active, l.cuts, l.boxed
	w.done, w.full = 0, true
	l.active, l.cuts, l.openAt = buf, cuts, 0
	l.inFlight = int64(len(w.buf))
	return true
}

// writeOut brings the rest of the buffer into segment files.
func (l *Log) writeOut() error {
	w := &l.w
	for {
		end := len(w.buf)
		if len(w.cuts) > 0 {
			end = w.cuts[0].pos
		}
		if w.done < end {
			if err := l.writeTo(end); err != nil {
				return err
			}
		}
		if len(w.cuts) == 0 {
			return nil
		}
		l.finishSegment(w.cuts[0].mark)
		w.cuts = w.cuts[1:]
	}
}

// writeTo writes the buffer up to end into the active segment, which it creates
// when there is none. After an error w.done says how far it came, so that the
// next call goes on there.
func (l *Log) writeTo(end int) error {
	w := &l.w
	if w.file == nil {
		if err := l.createSegment(); err != nil {
			return err
		}
	}
	h := w.file
	for w.done < end {
		n, err := h.f.WriteAt(w.buf[w.done:end], h.pos)
		h.crc = checksum(h.crc, w.buf[w.done:w.done+n])
		h.pos += int64(n)
		w.done += n
		if err == nil && n == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return &ioError{path: h.path, err: err}
		}
	}
	w.touch(extent{h.seg, h.pos})
	l.mu.Lock()
	h.known, h.knownCRC = h.pos, h.crc
	l.mu.Unlock()
	return nil
}

func (w *writer) touch(e extent) {
	if n := len(w.touched); n > 0 && w.touched[n-1].seg == e.seg {
		w.touched[n-1] = e
		return
	}
	w.touched = append(w.touched, e)
}

// createSegment makes the file of the next segment. It is cheap: the name is
// made durable by syncFiles.
func (l *Log) createSegment() error {
	w := &l.w
	name, err := l.freeName(kindSegment, w.start.Offset)
	if err != nil {
		return err
	}
	path := l.path(name)
	f, err := l.fs.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return &ioError{path: path, err: err}
	}
	seg := &logFile{name: name, kind: kindSegment, start: w.start.Offset, startDigest: w.start.Digest}
	w.file = &handle{f: f, seg: seg, path: path}
	l.mu.Lock()
	// A base without a known digest is the only state that has none; that of an
	// adopted file may have become known since the writer was told where it begins.
	seg.startKnown = true
	if base := l.base; base != nil && seg.start == base.end.Offset {
		seg.startDigest, seg.startKnown = base.end.Digest, base.digestKnown
	}
	l.segs = append(l.segs, seg)
	l.current = w.file
	l.published = false
	l.mu.Unlock()
	l.wakeWorker()
	return nil
}

// finishSegment ends the active segment in the state m.
func (l *Log) finishSegment(m Mark) {
	w := &l.w
	w.start = m
	h := w.file
	if h == nil {
		return
	}
	w.file = nil
	l.mu.Lock()
	h.seg.sealed, h.seg.end, h.seg.digestKnown = true, m, true
	h.seg.size, h.seg.crc = h.pos, h.crc
	l.retired = append(l.retired, h)
	l.current = nil
	l.published = false
	l.stats.cuts++
	l.mu.Unlock()
	l.wakeWorker()
}

// reveal shows the written buffer to readers and to those who wait in Commit.
func (l *Log) reveal() {
	w := &l.w
	w.full = false
	l.mu.Lock()
	for _, e := range w.touched {
		if e.seg.kind == kindSegment {
			e.seg.index = indexAt(e.seg.index, max(l.seen.Offset, e.seg.start), e.seg.visible)
		}
		e.seg.visible = e.size
	}
	l.seen = w.mark
	l.inFlight = 0
	l.stats.flushes++
	for c := range l.cursors {
		c.notify()
	}
	arm := l.policy == FsyncEverySecond && !l.dirty
	l.dirty = l.policy != FsyncAlways
	l.fastSeen.Store(w.mark.Offset)
	l.mu.Unlock()
	w.touched = w.touched[:0]
	if arm {
		l.wakeWorker()
	}
}

// syncFiles makes what is in the segment files durable, then their names, then
// the manifest. Without the active segment it does so for the sealed ones only.
func (l *Log) syncFiles(active bool) error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.mu.Lock()
	retired := l.retired
	current := l.current
	publish := !l.published
	seen := l.seen.Offset // what is revealed is in retired and current files, or synced long ago
	l.mu.Unlock()
	for _, h := range retired {
		if err := l.syncHandle(h); err != nil {
			return err
		}
	}
	if active && current != nil {
		if err := l.syncHandle(current); err != nil {
			return err
		}
		l.mu.Lock()
		l.synced = max(l.synced, seen)
		l.mu.Unlock()
	}
	if publish {
		return l.publish(retired)
	}
	return nil
}

// publish makes the names of new segments durable and the manifest know them;
// the sealed ones are synced. syncMu is held.
func (l *Log) publish(retired []*handle) error {
	if err := l.fs.SyncDir(l.o.Dir); err != nil {
		return &ioError{path: l.o.Dir, err: err}
	}
	l.manifestMu.Lock()
	defer l.manifestMu.Unlock()
	l.mu.Lock()
	for _, h := range retired {
		h.seg.synced = true
	}
	m := l.manifestLocked(l.base, l.segs, l.obsoleteNames())
	segs := len(l.segs)
	l.mu.Unlock()
	if err := l.writeManifest(m); err != nil {
		return &ioError{path: l.path(manifestName), err: err}
	}
	l.mu.Lock()
	l.retired = l.retired[len(retired):]
	l.published = len(l.segs) == segs && len(l.retired) == 0
	l.mu.Unlock()
	var errs []error
	for _, h := range retired {
		errs = append(errs, h.f.Close())
	}
	if err := errors.Join(errs...); err != nil {
		// Synced is synced; a failing close cannot take it back.
		l.logger.Warn("close a segment", "error", err)
	}
	return nil
}

// syncHandle syncs one segment. syncMu is held.
func (l *Log) syncHandle(h *handle) error {
	l.mu.Lock()
	pos, crc := h.known, h.knownCRC
	l.mu.Unlock()
	if pos == h.synced && !h.suspect {
		return nil
	}
	if h.suspect {
		if err := h.rewrite(pos, crc); err != nil {
			return &syncError{path: h.path, err: err, full: isFull(err)}
		}
	}
	start := l.clock.Now()
	err := h.f.Sync()
	took := l.clock.Now().Sub(start)
	l.mu.Lock()
	l.stats.syncs++
	l.stats.syncTime += took
	l.stats.syncErr = err
	l.mu.Unlock()
	l.o.OnSync(took, err)
	if err != nil {
		h.suspect = true
		return &syncError{path: h.path, err: err, full: isFull(err)}
	}
	h.synced, h.syncedCRC, h.suspect = pos, crc, false
	return nil
}

// rewrite writes the bytes after the last good sync again, up to pos, from what
// the system has cached: after a failed sync it may believe that they are on the
// disk. crc, of everything up to pos, tells whether it still has them.
func (h *handle) rewrite(pos int64, crc uint32) error {
	buf := make([]byte, 256<<10)
	sum := h.syncedCRC
	for at := h.synced; at < pos; {
		b := buf[:min(int64(len(buf)), pos-at)]
		if _, err := h.f.ReadAt(b, at); err != nil {
			return fmt.Errorf("read what a failed sync left: %w", err)
		}
		sum = checksum(sum, b)
		at += int64(len(b))
	}
	if sum != crc {
		return errors.New("a failed sync lost data")
	}
	for at := h.synced; at < pos; {
		b := buf[:min(int64(len(buf)), pos-at)]
		if _, err := h.f.ReadAt(b, at); err != nil {
			return fmt.Errorf("read what a failed sync left: %w", err)
		}
		n, err := h.f.WriteAt(b, at)
		if err == nil && n < len(b) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}

// isFull says whether err tells of a full disk, which heals.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
