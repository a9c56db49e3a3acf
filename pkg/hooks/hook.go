package hooks

import (
	"sort"
	"time"
)

// minWeight is what a message counts at least against MaxBytes, so that this
// bounds the memory of the index, too: 32 bytes a message.
const minWeight = 512

// windowBytes is how much of the messages of one hook is kept in memory.
const windowBytes = 256 << 10

// entry is a message that waits.
type entry struct {
	id uint64
	at int64 // Unix ms
	place
}

func (e *entry) weight() int64 { return max(int64(e.size), minWeight) }

// state is what a hook is doing.
type state uint8

const (
	idle    state = iota // nothing, or nothing that may be sent now
	ready                // waits for a sender
	sending              // a sender serves it
	backoff              // waits for its next attempt
)

// hook is what the queue knows of a hook. Everything is guarded by Queue.mu.
type hook struct {
	name      string
	bytes     []byte // name
	defined   bool
	removed   bool
	endpoints []endpoint
	version   int  // of endpoints
	sendable  bool // one of the endpoints can be delivered to

	entries []entry // oldest first; those before head are done with
	head    int
	weight  int64
	listed  int // place in Queue.backlog, -1: not in it

	window [][]byte // the messages of the first entries that wait
	held   int64    // bytes of window

	last    uint64 // newest message that the files hold, or held
	done    uint64 // all up to it are done with
	marked  uint64 // the files say so up to it
	dirty   bool   // in Queue.dirty
	touched bool   // in Queue.touched
	noticed bool   // that it is not sendable was logged

	state    state
	failures int // since the last success
	due      time.Time
	heapPos  int
}

func (h *hook) waiting() []entry { return h.entries[h.head:] }

// push appends e.
func (h *hook) push(e entry) {
	if h.head > len(h.entries)/2 && h.head >= 32 {
		n := copy(h.entries, h.entries[h.head:])
		clear(h.entries[n:])
		h.entries, h.head = h.entries[:n], 0
	}
	h.entries = append(h.entries, e)
}

// find returns the waiting entry with the id.
func (h *hook) find(id uint64) *entry {
	w := h.waiting()
	i := sort.Search(len(w), func(i int) bool { return w[i].id >= id })
	if i < len(w) && w[i].id == id {
		return &w[i]
	}
	return nil
}
