package hooks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
)

// Open reads the queue in a folder, which it makes when it is missing. A torn
// end of a file is cut, other damage is skipped; both are logged and counted.
// Hooks are to be defined by SetHook before Start. Stop ends what Open begins.
func Open(o Options) (*Queue, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if err := o.FS.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of hook messages: %w", err)
	}
	lock, err := o.FS.Lock(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open the queue of hook messages: %w", err)
	}
	q := &Queue{
		o:      o,
		lock:   lock,
		turn:   make(chan struct{}, 1),
		kick:   make(chan struct{}, 1),
		quit:   make(chan struct{}),
		done:   make(chan struct{}),
		hooks:  map[string]*hook{},
		policy: o.Fsync,
		rng:    rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), // #nosec G404 -- jitter
	}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	q.send = newTransports(&q.o)
	if err := q.load(); err != nil {
		q.cancel()
		return nil, errors.Join(fmt.Errorf("open the queue of hook messages: %w", err), lock.Close())
	}
	go q.work()
	return q, nil
}

// loader gathers what the files say.
type loader struct {
	q        *Queue
	marks    map[string]uint64
	unsorted map[*hook]bool // have a message behind one with a larger id
}

// load reads all segments.
func (q *Queue) load() error {
	names, err := q.o.FS.ReadDir(q.o.Dir)
	if err != nil {
		return err
	}
	ld := &loader{q: q, marks: map[string]uint64{}, unsorted: map[*hook]bool{}}
	for _, d := range names {
		if seq, ok := parseName(d.Name()); ok && !d.IsDir() {
			q.segs = append(q.segs, newSegment(q.o.Dir, seq))
		}
	}
	slices.SortFunc(q.segs, func(a, b *segment) int {
		if a.seq < b.seq {
			return -1
		}
		return 1
	})
	q.segs = slices.DeleteFunc(q.segs, func(seg *segment) bool {
		q.seq = seg.seq
		err := ld.segment(seg)
		if err != nil {
			// It stays where it is: the next start may be able to read it.
			q.stats.unreadable++
			q.o.Logger.Error("a file of hook messages cannot be read; going on without it", "file", seg.path, "error", err)
			if seg.f != nil {
				_ = seg.f.Close() // nothing was written
			}
		}
		return err != nil
	})
	ld.finish()
	return nil
}

func (ld *loader) segment(seg *segment) error {
	q := ld.q
	f, err := q.o.FS.OpenFile(seg.path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrPermission) {
		f, err = q.o.FS.OpenFile(seg.path, os.O_RDONLY, 0)
	}
	if err != nil {
		return err
	}
	seg.f = f
	data, err := readAll(f)
	if err != nil {
		return err
	}
	end, stretches, skipped := walk(data, seg.seq, func(r record, pos, size int) { ld.record(seg, r, pos, size) })
	if stretches > 0 {
		q.stats.damaged += uint64(stretches) // #nosec G115 -- a count
		q.o.Logger.Error("damaged hook messages were skipped", "file", seg.path, "places", stretches, "bytes", skipped)
	}
	seg.size = int64(end)
	if end < len(data) {
		q.stats.torn++
		q.o.Logger.Warn("the torn end of a file of hook messages is cut", "file", seg.path, "offset", end, "bytes", len(data)-end)
		if err := f.Truncate(int64(end)); err != nil {
			// Nothing is ever written behind it, so it does no harm.
			q.o.Logger.Warn("cut a file of hook messages", "file", seg.path, "error", err)
		}
	}
	return nil
}

func (ld *loader) record(seg *segment, r record, pos, size int) {
	q := ld.q
	q.lastID = max(q.lastID, r.id)
	mark := ld.marks[string(r.hook)]
	if r.id <= mark {
		return
	}
	h := q.hooks[string(r.hook)]
	if r.kind == kindMark {
		ld.marks[string(r.hook)] = r.id
		ld.trim(h, r.id)
		return
	}
	if h == nil {
		h = q.hookLocked(string(r.hook))
	}
	if n := len(h.entries); n > 0 && h.entries[n-1].id >= r.id {
		ld.unsorted[h] = true
	}
	h.push(entry{id: r.id, at: r.at, place: place{seg, uint32(pos), uint32(size)}}) // #nosec G115 -- bounded by readAll
}

// trim takes what a mark covers from the beginning. What is left behind it, in a
// hook whose messages are not in order, goes in finish.
func (ld *loader) trim(h *hook, id uint64) {
	if h == nil {
		return
	}
	for h.head < len(h.entries) && h.entries[h.head].id <= id {
		h.head++
	}
	if h.head == len(h.entries) {
		delete(ld.q.hooks, h.name)
		delete(ld.unsorted, h)
	}
}

// finish puts what waits in order. A message that was copied to a later segment
// may be there twice: the later one counts, because the earlier goes first.
func (ld *loader) finish() {
	q := ld.q
	for name, h := range q.hooks {
		w := h.waiting()
		if ld.unsorted[h] {
			slices.SortStableFunc(w, func(a, b entry) int {
				switch {
				case a.id < b.id:
					return -1
				case a.id > b.id:
					return 1
				}
				return 0
			})
		}
		mark := ld.marks[name]
		keep := make([]entry, 0, len(w))
		for i, e := range w {
			if e.id > mark && (i+1 == len(w) || w[i+1].id != e.id) {
				keep = append(keep, e)
			}
		}
		h.entries, h.head = nil, 0
		if len(keep) == 0 {
			delete(q.hooks, name)
			continue
		}
		h.entries = make([]entry, 0, len(keep))
		for _, e := range keep {
			e.seg.live++
			q.adoptLocked(h, e)
		}
		h.marked, h.done = mark, mark
	}
	q.revealed = q.lastID
}

// adoptLocked is enqueueLocked for a message that is on disk alone.
func (q *Queue) adoptLocked(h *hook, e entry) {
	h.entries = append(h.entries, e)
	h.last = e.id
	w := e.weight()
	h.weight += w
	q.weight += w
	q.messages++
	q.bytes += int64(e.size)
	if h.listed < 0 {
		h.listed = len(q.backlog)
		q.backlog = append(q.backlog, h)
	}
}
