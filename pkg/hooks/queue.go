package hooks

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"evenkeel/pkg/aof"
)

// ErrUnwritable wraps the errors of a queue that cannot be written now.
var ErrUnwritable = errors.New("the queue of hook messages cannot be written")

// ErrClosed is returned after Stop.
var ErrClosed = errors.New("the queue of hook messages is closed")

// Queue holds the messages of hooks until they are delivered. Open makes one;
// its methods are safe for concurrent use.
type Queue struct {
	o    Options
	lock io.Closer
	send transports

	turn chan struct{} // held by whoever writes files
	w    writer        // guarded by turn

	appended atomic.Uint64 // counts what Commit has to care for
	safe     atomic.Uint64 // appended, as of the last commit

	kick chan struct{} // wakes the worker
	quit chan struct{} // closed by Stop
	done chan struct{} // closed when the worker has ended

	senders sync.WaitGroup
	ctx     context.Context // of attempts; cancelled when the grace of Stop is over
	cancel  context.CancelFunc

	mu      sync.Mutex // taken under the turn, never the other way round
	hooks   map[string]*hook
	backlog []*hook    // those with messages, in no particular order
	segs    []*segment // oldest first
	seq     uint64     // of the newest segment
	active  *segment   // the last of segs, or nil
	chunks  []*chunk   // what is to be written
	spare   []byte     // a buffer to use for the next chunk
	touched []*hook    // have messages in chunks
	dirty   []*hook    // have done > marked
	ready   fifo
	due     dueHeap
	rng     *rand.Rand

	lastID   uint64
	revealed uint64 // messages up to it are written, and synced as the policy asks
	pending  int64  // bytes in chunks, and what the writer has not finished
	weight   int64  // of all that waits
	messages int64  // that wait
	bytes    int64  // of records that wait, on disk
	held     int64  // bytes of messages in windows
	policy   aof.FsyncPolicy
	failure  error // why writing is not tried but by the worker
	left     bool  // something is to be written that nobody waits for
	unsynced time.Time
	running  bool // Start was called, Stop was not
	paused   bool
	stopping bool
	closed   bool
	serving  int // senders that run
	stats    counters
}

// Append queues a message for a hook. It touches memory only and never blocks;
// the next Commit makes the message safe, and from then on it is delivered. The
// message is kept, and may be shared: nobody may change it. What cannot be
// queued is counted and logged: messages for a hook that is not defined, larger
// ones than MaxMessage, and messages beyond MaxPending or far beyond MaxBytes.
func (q *Queue) Append(name string, msg []byte) {
	at := q.o.Clock.Now().UnixMilli()
	q.mu.Lock()
	defer q.mu.Unlock()
	h := q.hooks[name]
	if q.closed || h == nil || !h.defined {
		q.dropped(dropUndefined, 1)
		return
	}
	r := record{kind: kindMessage, id: q.lastID + 1, at: at, hook: h.bytes, msg: msg}
	size := int64(headerSize + r.bodySize())
	switch {
	case int64(len(msg)) > q.o.MaxMessage || len(name) > maxNames/2:
		q.dropped(dropLarge, 1)
		return
	case q.pending+size > q.o.MaxPending:
		q.dropped(dropPending, 1)
		return
	case q.weight > q.o.MaxBytes+q.o.MaxBytes/8:
		q.dropped(dropFull, 1) // the worker did not get round to making room
		return
	}
	q.lastID++
	e := entry{id: r.id, at: at, place: q.writeLocked(&r, int(size))}
	e.seg.live++
	q.enqueueLocked(h, e, msg)
	if !h.touched {
		h.touched = true
		q.touched = append(q.touched, h)
	}
	q.stats.appended++
	q.appended.Add(1)
}

// enqueueLocked puts e at the end of what waits for h.
func (q *Queue) enqueueLocked(h *hook, e entry, msg []byte) {
	n := int64(len(msg))
	if len(h.window) == len(h.waiting()) && h.held+n <= windowBytes && q.held+n <= q.o.MaxMemory {
		h.window = append(h.window, msg)
		h.held += n
		q.held += n
	}
	h.push(e)
	h.last = max(h.last, e.id)
	w := e.weight()
	h.weight += w
	q.weight += w
	q.messages++
	q.bytes += int64(e.size)
	if h.listed < 0 {
		h.listed = len(q.backlog)
		q.backlog = append(q.backlog, h)
		if len(q.backlog) == 1 {
			q.wake()
		}
	}
	if !h.sendable && h.defined && !h.noticed {
		h.noticed = true
		q.stats.notices = append(q.stats.notices, h)
		q.wake()
	}
	if q.weight > q.o.MaxBytes {
		q.wake()
	}
}

// writeLocked puts a record of this size at the end of the log.
func (q *Queue) writeLocked(r *record, size int) place {
	if q.active == nil || (q.active.size > 0 && q.active.size+int64(size) > q.o.SegmentBytes) {
		q.seq++
		q.active = newSegment(q.o.Dir, q.seq)
		q.segs = append(q.segs, q.active)
	}
	seg := q.active
	n := len(q.chunks)
	if n == 0 || q.chunks[n-1].seg != seg {
		q.chunks = append(q.chunks, &chunk{seg: seg, start: seg.size, data: q.spare})
		q.spare = nil
		n++
	}
	c := q.chunks[n-1]
	p := place{seg: seg, pos: uint32(seg.size), size: uint32(size)} // #nosec G115 -- bounded by maxSegment and maxBody
	c.data = appendRecord(c.data, seg.seq, seg.size, r)
	seg.size += int64(size)
	q.pending += int64(size)
	return p
}

// popLocked takes the n oldest messages of h, which are done with.
func (q *Queue) popLocked(h *hook, n int) {
	for range n {
		e := &h.entries[h.head]
		w := e.weight()
		h.weight -= w
		q.weight -= w
		q.messages--
		q.bytes -= int64(e.size)
		h.done = e.id
		if e.seg.live--; e.seg.live == 0 && e.seg == q.segs[0] && e.seg != q.active {
			q.wake() // to remove it
		}
		*e = entry{}
		h.head++
		if len(h.window) > 0 {
			k := int64(len(h.window[0]))
			h.window[0] = nil
			h.window = h.window[1:]
			h.held -= k
			q.held -= k
		}
	}
	if len(h.waiting()) == 0 {
		h.entries, h.head, h.window = nil, 0, nil
		q.unlistLocked(h)
	}
	if !h.dirty && !h.removed && h.done > h.marked {
		h.dirty = true
		q.dirty = append(q.dirty, h)
		if len(q.dirty) == 1 {
			q.wake()
		}
	}
}

func (q *Queue) unlistLocked(h *hook) {
	if h.listed < 0 {
		return
	}
	end := len(q.backlog) - 1
	q.backlog[h.listed] = q.backlog[end]
	q.backlog[h.listed].listed = h.listed
	q.backlog[end] = nil
	q.backlog = q.backlog[:end]
	h.listed = -1
}

// forgetWindowLocked leaves the messages of h on disk alone.
func (q *Queue) forgetWindowLocked(h *hook) {
	q.held -= h.held
	h.window, h.held = nil, 0
}

// markLocked writes down that everything of h up to its last id is done with.
func (q *Queue) markLocked(h *hook, id uint64) {
	if id <= h.marked {
		return
	}
	r := record{kind: kindMark, id: id, hook: h.bytes}
	q.writeLocked(&r, headerSize+r.bodySize())
	h.marked = id
}

// SetHook defines a hook, or gives it other endpoints. What waits for it keeps
// waiting and goes to the new ones.
func (q *Queue) SetHook(name string, endpoints []string) {
	parsed := make([]endpoint, 0, len(endpoints))
	sendable := false
	for _, e := range endpoints {
		p := parseEndpoint(e)
		parsed = append(parsed, p)
		sendable = sendable || p.scheme.sendable()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	h := q.hookLocked(name)
	h.defined, h.endpoints, h.sendable, h.noticed = true, parsed, sendable, false
	h.version++
	h.failures = 0
	if h.state == backoff {
		q.due.remove(h)
		h.state = idle
	}
	q.scheduleLocked(h)
}

func (q *Queue) hookLocked(name string) *hook {
	h := q.hooks[name]
	if h == nil {
		h = &hook{name: name, bytes: []byte(name), listed: -1, heapPos: -1}
		q.hooks[name] = h
	}
	return h
}

// RemoveHook forgets a hook and drops what waits for it, on disk, too, with the
// next Commit, or soon without one. An attempt that is under way is not stopped.
func (q *Queue) RemoveHook(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if h := q.hooks[name]; h != nil {
		q.removeLocked(h)
	}
}

// RemoveHooks is RemoveHook for all hooks that gone approves of: after FLUSHDB, or
// when all definitions were replaced.
func (q *Queue) RemoveHooks(gone func(name string) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, h := range q.hooks {
		if gone(h.name) {
			q.removeLocked(h)
		}
	}
}

func (q *Queue) removeLocked(h *hook) {
	delete(q.hooks, h.name)
	h.removed = true
	if n := len(h.waiting()); n > 0 {
		q.dropped(dropRemoved, n)
		q.popLocked(h, n)
	}
	if h.state == backoff {
		q.due.remove(h)
		h.state = idle
	}
	if h.last > h.marked {
		q.markLocked(h, h.last)
		q.appended.Add(1)
		q.left = true // where no write is committed, as on a follower
		q.wake()
	}
}

// wake lets the worker look at what there is to do.
func (q *Queue) wake() {
	select {
	case q.kick <- struct{}{}:
	default:
	}
}
