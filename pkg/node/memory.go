package node

import (
	"context"
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/settings"
)

const (
	// memoryEvery is how often the heap is compared with maxmemory.
	memoryEvery = 200 * time.Millisecond
	// garbageEvery is how often a heap over maxmemory is collected to see what of
	// it is garbage.
	garbageEvery = 2 * time.Second
)

const memoryText = "OOM command not allowed when used memory > 'maxmemory'"

var errMemory = &reply.Error{JSON: memoryText, RESP: memoryText}

// memory knows whether the heap is over CONFIG's maxmemory. SET and FSET are
// refused then; what frees memory, and what reads, goes on.
type memory struct {
	over atomic.Bool

	mu        sync.Mutex // guards what follows
	limit     int64      // bytes; 0: none
	collected time.Time  // when the heap was last collected because of the limit
}

// setLimit takes up maxmemory, and makes it count at once.
func (m *memory) setLimit(value string) {
	n, _ := settings.Bytes(value) // the settings have checked it
	m.mu.Lock()
	m.limit = n
	m.mu.Unlock()
	m.check()
}

// check compares. A heap over the limit is collected first: half of it may be
// garbage.
func (m *memory) check() {
	m.mu.Lock()
	defer m.mu.Unlock()
	over := m.limit > 0 && heapBytes() > m.limit
	if over && time.Since(m.collected) > garbageEvery {
		runtime.GC()
		m.collected = time.Now()
		over = heapBytes() > m.limit
	}
	m.over.Store(over)
}

// watch checks again and again until ctx ends.
func (m *memory) watch(ctx context.Context) {
	tick := time.NewTicker(memoryEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			m.check()
		}
	}
}

// heapBytes is the memory of all objects of the heap, garbage included.
func heapBytes() int64 {
	sample := [1]metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample[:])
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0 // a runtime without this number: no limit
	}
	return int64(min(sample[0].Value.Uint64(), 1<<62))
}
