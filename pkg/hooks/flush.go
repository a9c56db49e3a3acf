package hooks

import (
	"context"
	"fmt"
	"io"
	"os"

	"evenkeel/pkg/aof"
)

// keepBuffer is the largest buffer that is used again, in bytes.
const keepBuffer = 1 << 20

// maxMarks is how many marks one flush writes: they are made under Queue.mu.
const maxMarks = 4096

// writer is the side of the queue that writes. Whoever has the turn owns it.
type writer struct {
	chunks   []*chunk // taken and not yet revealed
	touched  []*hook  // have messages in them
	bytes    int64    // in chunks
	full     bool     // something is taken
	appended uint64   // Queue.appended when it was taken
	id       uint64   // Queue.lastID when it was taken

	open  []*segment // written and not wholly synced
	names bool       // a file was created since the last sync of the folder
}

// Appended returns a position for CommitTo: behind everything appended so far.
func (q *Queue) Appended() uint64 { return q.appended.Load() }

// Commit makes everything appended so far, and every hook removed, as safe as
// the fsync policy asks, and lets the messages be delivered. The first of several
// callers writes for all who wait. When nothing was appended it costs two atomic
// loads. An error of the disk wraps ErrUnwritable: the messages stay in memory
// and are tried again, but are not safe now. When ctx ends first the outcome is
// not known.
func (q *Queue) Commit(ctx context.Context) error { return q.CommitTo(ctx, q.appended.Load()) }

// CommitTo is Commit for what was appended up to a position of Appended.
func (q *Queue) CommitTo(ctx context.Context, position uint64) error {
	if q.safe.Load() >= position {
		return nil
	}
	if err := q.takeTurn(ctx); err != nil {
		// Nobody else might come to write what this caller leaves behind.
		q.mu.Lock()
		q.left = true
		q.mu.Unlock()
		q.wake()
		return fmt.Errorf("wait for hook messages to be written: %w", err)
	}
	defer q.giveTurn()
	for q.safe.Load() < position {
		if err := q.Blocked(); err != nil {
			return err
		}
		if _, err := q.flush(); err != nil {
			return err
		}
	}
	return nil
}

// Blocked returns why Commit would fail at once: an error that wraps
// ErrUnwritable after an error of the disk that has not healed, or ErrClosed.
func (q *Queue) Blocked() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return ErrClosed
	}
	return q.failure
}

func (q *Queue) takeTurn(ctx context.Context) error {
	select {
	case q.turn <- struct{}{}:
		return nil
	default:
	}
	select {
	case q.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (q *Queue) giveTurn() { <-q.turn }

// flush writes what is appended, or goes on with what an earlier flush could not
// finish, and lets it be delivered. It returns false when there was nothing to
// do. The caller has the turn.
func (q *Queue) flush() (bool, error) {
	if !q.w.full && !q.take() {
		return false, nil
	}
	if err := q.writeOut(); err != nil {
		return false, q.failed(err)
	}
	q.mu.Lock()
	always := q.policy == aof.FsyncAlways
	q.mu.Unlock()
	// Marks alone can wait: without them something is delivered again at worst.
	always = always && q.w.appended > q.safe.Load()
	if always {
		if err := q.syncFiles(); err != nil {
			q.again()
			return false, q.failed(err)
		}
	}
	q.reveal(always)
	return true, nil
}

// take gives the writer what was appended since, and the marks that are due.
func (q *Queue) take() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for range min(len(q.dirty), maxMarks) {
		end := len(q.dirty) - 1
		h := q.dirty[end]
		q.dirty[end], q.dirty = nil, q.dirty[:end]
		h.dirty = false
		if !h.removed {
			q.markLocked(h, h.done)
		}
	}
	w := &q.w
	w.appended, w.id = q.appended.Load(), q.lastID
	if len(q.chunks) == 0 {
		q.safe.Store(w.appended)
		return false
	}
	w.chunks, q.chunks = q.chunks, w.chunks[:0]
	w.touched, q.touched = q.touched, w.touched[:0]
	w.bytes = 0
	for _, c := range w.chunks {
		w.bytes += int64(len(c.data))
	}
	w.full = true
	return true
}

// writeOut brings the rest of the chunks into their files.
func (q *Queue) writeOut() error {
	for _, c := range q.w.chunks {
		if len(c.data) == 0 {
			continue
		}
		if err := q.create(c.seg); err != nil {
			return err
		}
		for c.done < len(c.data) {
			n, err := c.seg.f.WriteAt(c.data[c.done:], c.start+int64(c.done))
			c.done += n
			if err == nil && n == 0 {
				err = io.ErrShortWrite
			}
			if err != nil {
				return fmt.Errorf("write %s: %w", c.seg.path, err)
			}
		}
		c.seg.written = c.start + int64(c.done)
	}
	return nil
}

// create makes the file of a segment. Its name is made durable by syncFiles.
func (q *Queue) create(seg *segment) error {
	if seg.f != nil {
		return nil
	}
	f, err := q.o.FS.OpenFile(seg.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("create %s: %w", seg.path, err)
	}
	q.mu.Lock()
	seg.f = f
	q.mu.Unlock()
	q.w.open = append(q.w.open, seg)
	q.w.names = true
	return nil
}

// syncFiles makes everything that is written durable. The caller has the turn.
func (q *Queue) syncFiles() error {
	w := &q.w
	for _, seg := range w.open {
		if seg.written == seg.synced {
			continue
		}
		if seg.suspect {
			if err := q.rewrite(seg); err != nil {
				return fmt.Errorf("sync %s: %w", seg.path, err)
			}
			seg.suspect = false
		}
		start := q.o.Clock.Now()
		err := seg.f.Sync()
		took := q.o.Clock.Now().Sub(start)
		q.mu.Lock()
		q.stats.syncs++
		q.stats.syncTime += took
		q.mu.Unlock()
		if err != nil {
			seg.suspect = true
			return fmt.Errorf("sync %s: %w", seg.path, err)
		}
		seg.synced = seg.written
	}
	if w.names {
		if err := q.o.FS.SyncDir(q.o.Dir); err != nil {
			return fmt.Errorf("sync %s: %w", q.o.Dir, err)
		}
		w.names = false
	}
	q.mu.Lock()
	active := q.active
	q.mu.Unlock()
	keep := w.open[:0]
	for _, seg := range w.open {
		if seg == active || seg.written != seg.synced {
			keep = append(keep, seg)
		}
	}
	clear(w.open[len(keep):])
	w.open = keep
	return nil
}

// rewrite writes the bytes after the last good sync again, from what the system
// has cached: after a failed sync it may believe that they are on the disk. The
// chunks of an unfinished flush are written again from memory, see again.
// Whether it still has them is seen when they are read: records are checked.
func (q *Queue) rewrite(seg *segment) error {
	buf := make([]byte, 64<<10)
	for at := seg.synced; at < seg.written; {
		b := buf[:min(int64(len(buf)), seg.written-at)]
		if err := readFull(seg.f, b, at); err != nil {
			return fmt.Errorf("read what was not synced: %w", err)
		}
		n, err := seg.f.WriteAt(b, at)
		if err == nil && n < len(b) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return fmt.Errorf("write again what was not synced: %w", err)
		}
		at += int64(n)
	}
	return nil
}

// again lets the next flush write all chunks once more, after a failed sync.
func (q *Queue) again() {
	for _, c := range q.w.chunks {
		c.done = 0
	}
}

// reveal lets what is written be delivered, and those who wait in CommitTo go on.
func (q *Queue) reveal(synced bool) {
	w := &q.w
	w.full = false
	var spare []byte
	for i, c := range w.chunks {
		if cap(c.data) <= keepBuffer {
			spare = c.data[:0]
		}
		w.chunks[i] = nil
	}
	now := q.o.Clock.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.spare = spare
	q.pending -= w.bytes
	q.revealed = w.id
	q.stats.flushes++
	for i, h := range w.touched {
		h.touched = false
		q.scheduleLocked(h)
		w.touched[i] = nil
	}
	if !synced && q.unsynced.IsZero() {
		q.unsynced = now
		q.wake()
	}
	q.safe.Store(w.appended)
}

// failed notes that writing failed and returns the error for those whose
// messages are concerned. The worker tries again.
func (q *Queue) failed(cause error) error {
	err := fmt.Errorf("%w: %w", ErrUnwritable, cause)
	q.mu.Lock()
	first := q.failure == nil
	q.failure = err
	q.mu.Unlock()
	if first {
		q.o.Logger.Error("hook messages cannot be written; trying again every second", "error", cause)
		q.wake()
	}
	return err
}

// SetFsync changes the policy. What is written already is synced soon, unless
// the policy is FsyncNo.
func (q *Queue) SetFsync(p aof.FsyncPolicy) {
	q.mu.Lock()
	q.policy = p
	q.mu.Unlock()
	q.wake()
}
