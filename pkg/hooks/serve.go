package hooks

import (
	"context"
	"errors"
	"time"
)

// A sender serves a hook for turnMessages or turnTime, then the next one.
const (
	turnMessages = 64
	turnTime     = time.Second
)

// serveAll is a sender: it serves hooks that are ready until there is none.
func (q *Queue) serveAll() {
	for {
		q.mu.Lock()
		h := q.ready.pop()
		if h == nil {
			q.serving--
			q.mu.Unlock()
			return
		}
		if !q.mayServeLocked(h) {
			h.state = idle
			q.mu.Unlock()
			continue
		}
		h.state = sending
		q.mu.Unlock()
		q.serve(h)
	}
}

// serve delivers messages of h, whose state is sending, one after another.
func (q *Queue) serve(h *hook) {
	start := q.o.Clock.Now()
	for range turnMessages {
		a, ok, err := q.next(h)
		if err == nil {
			if !ok {
				break
			}
			err = q.attempt(a)
		}
		if !q.settle(h, a, err) {
			break
		}
		if q.o.Clock.Now().Sub(start) > turnTime {
			break
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.held > q.o.MaxMemory/2 || h.removed {
		q.forgetWindowLocked(h)
	}
	if h.state == sending {
		h.state = idle
		q.scheduleLocked(h)
	}
}

// attempt is one try to deliver one message.
type attempt struct {
	hook      *hook
	id        uint64
	msg       []byte
	endpoints []endpoint
	version   int
	scheme    scheme // of the endpoint that took it
}

// next returns the oldest message of h. It is false when none may be sent now;
// the error is one of reading it from the disk.
func (q *Queue) next(h *hook) (a *attempt, ok bool, err error) {
	now := q.o.Clock.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		q.expireLocked(h, now)
		if !q.mayServeLocked(h) {
			return nil, false, nil
		}
		a = &attempt{hook: h, id: h.waiting()[0].id, endpoints: h.endpoints, version: h.version}
		if len(h.window) > 0 {
			a.msg = h.window[0]
			return a, true, nil
		}
		if err := q.fillLocked(h); err != nil {
			return a, false, err
		}
	}
}

// fillLocked reads messages of h into its window. It lets go of the lock
// meanwhile: the caller looks at everything anew.
func (q *Queue) fillLocked(h *hook) error {
	var size int64
	var want []entry
	for _, e := range h.waiting() {
		size += int64(e.size)
		if e.id > q.revealed || len(want) > 0 && (size > windowBytes/4 || q.held+size > q.o.MaxMemory) {
			break
		}
		e.seg.refs++
		want = append(want, e)
	}
	q.mu.Unlock()
	msgs, err := readEntries(want)
	q.mu.Lock()
	for _, e := range want {
		q.unrefLocked(e.seg)
	}
	w := h.waiting()
	if len(w) == 0 || w[0].id != want[0].id || len(h.window) > 0 {
		return nil
	}
	if len(msgs) == 0 && errors.Is(err, errDamaged) {
		q.o.Logger.Error("a damaged hook message is dropped", "hook", h.name, "error", err)
		q.stats.damaged++
		q.dropped(dropDamaged, 1)
		q.popLocked(h, 1)
		return nil
	}
	if len(msgs) == 0 {
		return err
	}
	for _, m := range msgs {
		h.window = append(h.window, m)
		h.held += int64(len(m))
		q.held += int64(len(m))
	}
	return nil
}

// readEntries reads messages up to the first that cannot be read.
func readEntries(want []entry) (msgs [][]byte, err error) {
	for _, e := range want {
		r, err := readPlace(e.seg.f, e.place)
		if err != nil {
			return msgs, err
		}
		if r.id != e.id {
			return msgs, errDamaged
		}
		msgs = append(msgs, r.msg)
	}
	return msgs, nil
}

func (q *Queue) unrefLocked(seg *segment) {
	seg.refs--
	if seg.gone && seg.refs == 0 && seg.f != nil {
		_ = seg.f.Close() // it is removed already
		seg.f = nil
	}
}

// attempt tries the endpoints in order until one takes the message.
func (q *Queue) attempt(a *attempt) error {
	var errs []error
	for i := range a.endpoints {
		e := &a.endpoints[i]
		ctx, cancel := context.WithTimeout(q.ctx, q.o.Timeout)
		err := q.send.deliver(ctx, e, a.msg)
		cancel()
		if err == nil {
			a.scheme = e.scheme
			return nil
		}
		if q.ctx.Err() != nil {
			return q.ctx.Err()
		}
		q.mu.Lock()
		q.stats.failed[e.scheme]++
		q.mu.Unlock()
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// settle notes how an attempt ended and says whether the next message is to be
// sent now.
func (q *Queue) settle(h *hook, a *attempt, err error) bool {
	now := q.o.Clock.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	if err == nil {
		q.stats.delivered[a.scheme]++
		h.failures = 0
		// It may have been dropped meanwhile.
		if w := h.waiting(); len(w) > 0 && w[0].id == a.id {
			q.popLocked(h, 1)
		}
		return !h.removed
	}
	if q.ctx.Err() != nil || h.removed {
		return false
	}
	if a.version != h.version {
		return true // there are other endpoints now
	}
	h.failures++
	if h.failures == quickRetries {
		q.stats.troubles = append(q.stats.troubles, trouble{h.name, err})
		q.wake()
	}
	p := pause(h.failures, &q.o)
	h.due = now.Add(p - time.Duration(q.rng.Int64N(int64(p)/4+1)))
	h.state = backoff
	q.due.add(h)
	if q.due.top() == h {
		q.wake()
	}
	return false
}

// expireLocked drops the messages of h that are too old.
func (q *Queue) expireLocked(h *hook, now time.Time) {
	before := now.Add(-q.o.MaxAge).UnixMilli()
	n := 0
	for _, e := range h.waiting() {
		if e.at > before || e.id > q.revealed {
			break
		}
		n++
	}
	if n > 0 {
		q.dropped(dropAge, n)
		q.popLocked(h, n)
	}
}
