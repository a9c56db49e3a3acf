package hooks

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// holder is a hook and what it holds.
type holder struct {
	h      *hook
	weight int64
}

// evict makes room: it drops the oldest messages of the hooks that hold most,
// until 1/32 of the limit is free.
func (q *Queue) evict() {
	q.mu.Lock()
	excess := q.weight - (q.o.MaxBytes - q.o.MaxBytes/32)
	over := q.weight > q.o.MaxBytes
	q.mu.Unlock()
	if !over {
		return
	}
	all := q.holders()
	level, n := levelOf(all, excess)
	for n > 0 {
		batch := all[:min(n, scanBatch)]
		q.mu.Lock()
		for _, x := range batch {
			q.lowerLocked(x.h, level)
		}
		q.mu.Unlock()
		all, n = all[len(batch):], n-len(batch)
	}
}

// holders returns the hooks with messages, those that hold most first.
func (q *Queue) holders() []holder {
	var all []holder
	for from, more := 0, true; more; from += scanBatch {
		q.mu.Lock()
		end := min(from+scanBatch, len(q.backlog))
		for i := from; i < end; i++ {
			all = append(all, holder{q.backlog[i], q.backlog[i].weight})
		}
		more = end < len(q.backlog)
		q.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b holder) int { return cmp.Compare(b.weight, a.weight) })
	return all
}

// levelOf returns the level that the first n of all must be lowered to so that
// the excess is gone. To drop the oldest message of the one that holds most,
// again and again, leads to the same.
func levelOf(all []holder, excess int64) (level int64, n int) {
	var sum int64
	for n < len(all) {
		sum += all[n].weight
		n++
		level = max((sum-excess)/int64(n), 0)
		if n < len(all) && level >= all[n].weight {
			break
		}
	}
	return level, n
}

// lowerLocked drops the oldest messages of h until it holds at most level.
func (q *Queue) lowerLocked(h *hook, level int64) {
	w := h.waiting()
	rest, n := h.weight, 0
	for n < len(w) && rest > level {
		rest -= w[n].weight()
		n++
	}
	if n == 0 {
		return
	}
	q.dropped(dropRoom, n)
	q.popLocked(h, n)
}

// tidy removes the oldest files as long as nothing in them waits, and copies the
// little that waits in the oldest file to the end of the log when that frees a
// lot; not while the disk does not take anything. It is false after an error.
func (q *Queue) tidy(failed bool) bool {
	for {
		q.mu.Lock()
		removable := q.removableLocked() != nil
		movable := !removable && !failed && q.movableLocked() != nil
		q.mu.Unlock()
		if !removable && !movable || !q.takeTurnOrQuit() {
			return true
		}
		var err error
		if removable {
			err = q.removeOldest()
		} else {
			err = q.moveOldest()
		}
		q.giveTurn()
		if errors.Is(err, errBusy) {
			return true
		}
		if err != nil {
			if !errors.Is(err, ErrUnwritable) {
				q.o.Logger.Warn("remove old files of hook messages; trying again", "error", err)
			}
			return false
		}
	}
}

// errBusy says that there is nothing to do for tidy now.
var errBusy = errors.New("a write is not finished")

// removableLocked returns the oldest segment if it can be removed. Only the
// oldest: marks in a segment are about messages in it and in older ones, so they
// are not needed any more with it.
func (q *Queue) removableLocked() *segment {
	if len(q.segs) == 0 {
		return nil
	}
	if s := q.segs[0]; s.live == 0 && s != q.active && !q.writesLocked(s) {
		return s
	}
	return nil
}

// writesLocked says whether something is still to be written to s.
func (q *Queue) writesLocked(s *segment) bool {
	return slices.ContainsFunc(q.chunks, func(c *chunk) bool { return c.seg == s })
}

// removeOldest removes one file. The caller has the turn.
func (q *Queue) removeOldest() error {
	q.mu.Lock()
	s := q.removableLocked()
	q.mu.Unlock()
	if s == nil || slices.ContainsFunc(q.w.chunks, func(c *chunk) bool { return c != nil && c.seg == s }) {
		return errBusy
	}
	if err := q.o.FS.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	q.w.open = slices.DeleteFunc(q.w.open, func(o *segment) bool { return o == s })
	q.mu.Lock()
	q.segs = slices.Delete(q.segs, 0, 1)
	s.gone, s.refs = true, s.refs+1
	q.unrefLocked(s)
	q.stats.removed++
	q.mu.Unlock()
	// In order on the disk, too: a removed file must not leave an older one behind.
	return q.o.FS.SyncDir(q.o.Dir)
}

// movableLocked returns the oldest segment if it keeps a lot of disk occupied
// for little that waits.
func (q *Queue) movableLocked() *segment {
	if len(q.segs) < 2 || q.segs[0] == q.active || q.segs[0].f == nil {
		return nil
	}
	var disk int64
	for _, s := range q.segs {
		disk += s.size
	}
	few := int(q.bytes/q.o.SegmentBytes)*2 + 64
	if disk <= q.bytes+q.bytes/4+4*q.o.SegmentBytes && len(q.segs) <= few {
		return nil
	}
	return q.segs[0]
}

// moved is a message that was copied.
type moved struct {
	name string
	id   uint64
	to   place
}

// moveBatch is how much is copied before it is written, in bytes.
const moveBatch = 1 << 20

// moveOldest copies what waits in the oldest segment to the end of the log, so
// that the segment can be removed. Ids and times stay. The caller has the turn.
func (q *Queue) moveOldest() error {
	q.mu.Lock()
	s := q.movableLocked()
	q.mu.Unlock()
	if s == nil {
		return errBusy
	}
	data, err := readAll(s.f)
	if err != nil {
		return fmt.Errorf("read %s: %w", s.path, err)
	}
	var batch []moved
	var size int
	walk(data, s.seq, func(r record, _, n int) {
		if r.kind != kindMessage || err != nil {
			return
		}
		if m, ok := q.copyRecord(s, &r, n); ok {
			batch = append(batch, m)
			size += n
		}
		if size >= moveBatch {
			err = q.finishMove(batch)
			batch, size = batch[:0], 0
		}
	})
	if err == nil {
		err = q.finishMove(batch)
	}
	if err != nil {
		return err
	}
	q.lose(s) // whatever is left could not be read
	return nil
}

// copyRecord appends r once more if it waits and stands in s. That it waits is
// looked at under the lock under which it is appended: so a mark about it, which
// may come any time, stands behind the copy.
func (q *Queue) copyRecord(s *segment, r *record, size int) (moved, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	h := q.hooks[string(r.hook)]
	if h == nil {
		return moved{}, false
	}
	if e := h.find(r.id); e == nil || e.seg != s {
		return moved{}, false
	}
	return moved{name: h.name, id: r.id, to: q.writeLocked(r, size)}, true
}

// finishMove writes and syncs the copies, whatever the policy, because what they
// replace may be durable, and lets the messages be read from there.
func (q *Queue) finishMove(batch []moved) error {
	if err := q.flushAndSync(); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range batch {
		h := q.hooks[m.name]
		if h == nil {
			continue
		}
		if e := h.find(m.id); e != nil {
			e.seg.live--
			m.to.seg.live++
			e.place = m.to
			q.stats.moved++
		}
	}
	return nil
}

// lose drops the messages that stand in s and cannot be read.
func (q *Queue) lose(s *segment) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s.live == 0 {
		return
	}
	for _, h := range slices.Clone(q.backlog) {
		n := len(h.waiting())
		q.filterLocked(h, func(e *entry) bool { return e.seg != s })
		q.dropped(dropDamaged, n-len(h.waiting()))
	}
}

// filterLocked drops the messages of h that keep does not approve of.
func (q *Queue) filterLocked(h *hook, keep func(*entry) bool) {
	var kept, gone []entry
	for _, e := range h.waiting() {
		if keep(&e) {
			kept = append(kept, e)
		} else {
			gone = append(gone, e)
		}
	}
	if len(gone) == 0 {
		return
	}
	q.forgetWindowLocked(h)
	done, n := h.done, len(gone)
	h.entries, h.head = slices.Concat(gone, kept), 0 // where popLocked takes them
	q.popLocked(h, n)
	if len(kept) > 0 && kept[0].id < h.done {
		h.done = done // something older waits: there must be no mark behind it
	}
}
