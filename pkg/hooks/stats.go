package hooks

import "time"

// reason says why a message was dropped.
type reason uint8

const (
	dropAge       reason = iota // it was older than MaxAge
	dropRoom                    // MaxBytes was exceeded and its hook held most
	dropFull                    // MaxBytes was exceeded by far
	dropPending                 // MaxPending was exceeded
	dropLarge                   // it was larger than MaxMessage
	dropUndefined               // its hook is not defined
	dropRemoved                 // its hook was removed
	dropDamaged                 // it could not be read back
	dropReasons
)

func (r reason) String() string {
	return [dropReasons]string{"age", "room", "full", "pending", "large", "undefined", "removed", "damaged"}[r]
}

// counters are guarded by Queue.mu.
type counters struct {
	appended   uint64
	delivered  [schemes]uint64
	failed     [schemes]uint64
	dropped    [dropReasons]uint64
	damaged    uint64
	torn       uint64
	unreadable uint64
	flushes    uint64
	syncs      uint64
	syncTime   time.Duration
	moved      uint64
	removed    uint64

	orphans  uint64    // to be logged: messages of hooks that Start did not find
	notices  []*hook   // to be logged: no endpoint can be delivered to
	troubles []trouble // to be logged
}

// trouble is a hook whose messages could not be delivered for a while.
type trouble struct {
	hook string
	err  error
}

func (q *Queue) dropped(r reason, n int) {
	q.stats.dropped[r] += uint64(n) // #nosec G115 -- a count
	if q.stats.dropped[r] == uint64(n) || r == dropDamaged {
		q.wake() // to have it logged
	}
}

// Stats are numbers about a queue.
type Stats struct {
	Hooks    int // defined, or with messages
	Waiting  int64
	Bytes    int64 // of messages that wait, as records on disk
	Oldest   time.Duration
	Retrying int // hooks that wait for their next attempt
	Senders  int // hooks that are served

	// Unsupported is how many messages wait for hooks without an endpoint that can
	// be delivered to, by the kind of the first endpoint.
	Unsupported map[string]int64

	Segments int
	Disk     int64 // bytes of the files
	Memory   int64 // bytes of messages in memory, without Pending
	Pending  int64 // bytes that are not written

	Appended  uint64
	Delivered map[string]uint64 // by kind of endpoint
	Failed    map[string]uint64 // attempts, by kind of endpoint
	Dropped   map[string]uint64 // by reason
	Damaged   uint64            // stretches of files that were skipped, and messages
	Torn      uint64            // files whose end was cut
	Unread    uint64            // files that could not be read
	Moved     uint64            // messages that were copied so that a file could go
	Removed   uint64            // files
	Flushes   uint64
	Syncs     uint64
	SyncTime  time.Duration
	Writable  bool
}

// Stats returns the numbers as they are now. It looks at all hooks with
// messages, a thousand at a time, so it is for a scrape, not for every request.
func (q *Queue) Stats() Stats {
	s := Stats{Unsupported: map[string]int64{}, Delivered: map[string]uint64{}, Failed: map[string]uint64{}, Dropped: map[string]uint64{}}
	oldest := q.scan(&s)
	if oldest != 0 {
		s.Oldest = max(q.o.Clock.Now().Sub(time.UnixMilli(oldest)), 0)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	c := &q.stats
	s.Hooks, s.Waiting, s.Bytes = len(q.hooks), q.messages, q.bytes
	s.Retrying, s.Senders = q.due.Len(), q.serving
	s.Segments, s.Memory, s.Pending = len(q.segs), q.held, q.pending
	for _, seg := range q.segs {
		s.Disk += seg.size
	}
	s.Appended, s.Damaged, s.Torn, s.Unread = c.appended, c.damaged, c.torn, c.unreadable
	s.Moved, s.Removed, s.Flushes, s.Syncs, s.SyncTime = c.moved, c.removed, c.flushes, c.syncs, c.syncTime
	s.Writable = q.failure == nil
	for k := range schemes {
		if k.sendable() {
			s.Delivered[k.String()] = c.delivered[k]
		}
		s.Failed[k.String()] = c.failed[k]
	}
	for r := range dropReasons {
		s.Dropped[r.String()] = c.dropped[r]
	}
	return s
}

// scan adds up what hangs on single hooks and returns the time of the oldest
// message, 0 when there is none.
func (q *Queue) scan(s *Stats) (oldest int64) {
	for from, more := 0, true; more; from += scanBatch {
		q.mu.Lock()
		end := min(from+scanBatch, len(q.backlog))
		for i := from; i < end; i++ {
			h := q.backlog[i]
			w := h.waiting()
			if oldest == 0 || w[0].at < oldest {
				oldest = w[0].at
			}
			if h.defined && !h.sendable && len(h.endpoints) > 0 {
				s.Unsupported[h.endpoints[0].scheme.String()] += int64(len(w))
			}
		}
		more = end < len(q.backlog)
		q.mu.Unlock()
	}
	return oldest
}
