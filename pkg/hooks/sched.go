package hooks

import (
	"container/heap"
	"time"
)

// fifo is a queue of hooks.
type fifo struct {
	list []*hook
	head int
}

func (f *fifo) push(h *hook) { f.list = append(f.list, h) }

func (f *fifo) pop() *hook {
	if f.head == len(f.list) {
		return nil
	}
	h := f.list[f.head]
	f.list[f.head] = nil
	f.head++
	if f.head == len(f.list) {
		f.list, f.head = f.list[:0], 0
	} else if f.head >= 1024 && f.head > len(f.list)/2 {
		n := copy(f.list, f.list[f.head:])
		clear(f.list[n:])
		f.list, f.head = f.list[:n], 0
	}
	return h
}

// dueHeap has the hooks in state backoff, the one that is due first on top.
type dueHeap struct{ list []*hook }

func (d *dueHeap) Len() int           { return len(d.list) }
func (d *dueHeap) Less(i, j int) bool { return d.list[i].due.Before(d.list[j].due) }
func (d *dueHeap) Swap(i, j int) {
	d.list[i], d.list[j] = d.list[j], d.list[i]
	d.list[i].heapPos, d.list[j].heapPos = i, j
}

// Push and Pop are for container/heap alone.
func (d *dueHeap) Push(x any) {
	h := x.(*hook) //nolint:errcheck,forcetypeassert // only add calls it
	h.heapPos = len(d.list)
	d.list = append(d.list, h)
}

// Pop is the reverse of Push.
func (d *dueHeap) Pop() any {
	end := len(d.list) - 1
	h := d.list[end]
	d.list[end] = nil
	d.list = d.list[:end]
	h.heapPos = -1
	return h
}

func (d *dueHeap) add(h *hook)    { heap.Push(d, h) }
func (d *dueHeap) remove(h *hook) { heap.Remove(d, h.heapPos) }
func (d *dueHeap) top() *hook {
	if len(d.list) == 0 {
		return nil
	}
	return d.list[0]
}

// scheduleLocked lets a sender serve h if there is something that may be sent.
func (q *Queue) scheduleLocked(h *hook) {
	if h.state != idle || !q.mayServeLocked(h) {
		return
	}
	h.state = ready
	q.ready.push(h)
	if q.serving < q.o.MaxSenders {
		q.serving++
		q.senders.Go(q.serveAll)
	}
}

// mayServeLocked says whether the oldest message of h may be sent now.
func (q *Queue) mayServeLocked(h *hook) bool {
	w := h.waiting()
	return q.running && !q.paused && h.defined && !h.removed && h.sendable && len(w) > 0 && w[0].id <= q.revealed
}

// scheduleAllLocked is scheduleLocked for all hooks.
func (q *Queue) scheduleAllLocked() {
	for _, h := range q.backlog {
		q.scheduleLocked(h)
	}
}

// wakeSome schedules hooks whose next attempt is due, and reports whether there
// may be more.
func (q *Queue) wakeSome(now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for range scanBatch {
		h := q.due.top()
		if h == nil || h.due.After(now) {
			return false
		}
		q.due.remove(h)
		h.state = idle
		q.scheduleLocked(h)
	}
	return true
}

// Retries follow each other within quickPause, which is Tile38's pace, until
// there were quickRetries of them: a restart of a receiver costs half a second.
const (
	quickPause   = 500 * time.Millisecond
	quickRetries = 20
)

// pause returns how long to wait after so many failures in a row (at least 1),
// before jitter.
func pause(failures int, o *Options) time.Duration {
	p, n := o.RetryMin, failures-1
	for ; n > 0 && p < quickPause; n-- {
		p = min(2*p, quickPause)
	}
	for n -= quickRetries; n > 0 && p < o.RetryMax; n-- {
		p *= 2
	}
	return min(p, o.RetryMax)
}
