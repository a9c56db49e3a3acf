package bridge

import (
	"context"
	"errors"
	"slices"
	"sort"
	"sync"
)

// errLost says that it is not known any more where the follower stands.
var errLost = errors.New("where the follower stands is not known")

// never is an offset that is not reached.
const never = int64(1) << 62

// ring is the history of the follower: what it was sent last, and what it is to be
// sent next, as commands. Offsets count its bytes since the bridge began; those of
// the leader's file come and go. Any goroutine may use it.
type ring struct {
	keep  int64 // bytes behind sent that are kept, to find the follower again
	ahead int64 // bytes before sent that are taken; then the leader has to wait

	mu      sync.Mutex
	changed chan struct{} // closed and replaced by each change
	buf     []byte
	base    int64   // offset of buf[0]
	cuts    []int64 // offsets between commands, where a piece may end, ascending
	whole   bool    // buf[0] is the first byte that the follower's file ever had
	began   int64   // where it ended when it was seeded
	gen     int64   // counts the histories: one ends when the follower is not found in it
	sent    int64   // the follower was sent all before this
	applied int64   // and has carried out all before this
	wanted  int64   // somebody waits for all before this to be carried out
	nudge   int64   // counts who began to listen to marks
	hold    int64   // nothing behind this is sent; never: all
	spots   []spot  // where pieces are in the leader's file, ascending
}

// spot says that what follows h is what follows pos in the leader's file.
type spot struct{ h, pos int64 }

func newRing(keep, ahead int64) *ring {
	return &ring{keep: keep, ahead: ahead, hold: never, changed: make(chan struct{})}
}

// wake lets all who wait look again. mu is held.
func (r *ring) wake() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// look lets all who wait look again.
func (r *ring) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wake()
}

// wait returns when ok, which is called with mu held, says so, or with the cause
// of the end of ctx. mu is held when it returns, in both cases.
func (r *ring) wait(ctx context.Context, ok func() bool) error {
	for !ok() {
		changed := r.changed
		r.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		r.mu.Lock()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// end is the offset behind all that is there. mu is held.
func (r *ring) end() int64 { return r.base + int64(len(r.buf)) }

// pristine says whether nothing was added since this history began.
func (r *ring) pristine() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.end() == r.began
}

// seed begins another history: all that is known of the follower is that its file
// ends with these commands. whole: that they are its whole file.
func (r *ring) seed(cmds [][]byte, whole bool) (gen, h int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.base = r.end()
	r.buf, r.cuts, r.spots = nil, nil, nil
	for _, c := range cmds {
		r.buf = append(r.buf, c...)
	}
	r.whole, r.hold = whole, never
	r.cuts = append(r.cuts, r.end())
	r.sent, r.applied, r.wanted, r.began = r.end(), r.end(), 0, r.end()
	r.gen++
	r.wake()
	return r.gen, r.sent
}

// add appends whole commands, as soon as there is room for them, and returns
// where they begin. It fails with errLost when the history is not gen any more.
func (r *ring) add(ctx context.Context, gen int64, b []byte) (h int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err = r.wait(ctx, func() bool {
		unsent := r.end() - r.sent
		return r.gen != gen || unsent == 0 || unsent+int64(len(b)) <= r.ahead
	})
	switch {
	case err != nil:
		return 0, err
	case r.gen != gen:
		return 0, errLost
	}
	r.trim()
	h = r.end()
	r.buf = append(r.buf, b...)
	r.cuts = append(r.cuts, r.end())
	r.wake()
	return h, nil
}

// trim gives up what is not needed. mu is held.
func (r *ring) trim() {
	old := r.sent - r.keep
	if old-r.base < max(r.keep, 64<<10) {
		return
	}
	i := sort.Search(len(r.cuts), func(i int) bool { return r.cuts[i] > old }) - 1
	if i < 0 {
		return
	}
	cut := r.cuts[i]
	rest := r.buf[cut-r.base:]
	if cap(r.buf) > 4*len(rest)+(1<<20) {
		r.buf = slices.Clone(rest) // it had a large command, or a slow follower
	} else {
		r.buf = r.buf[:copy(r.buf, rest)]
	}
	r.base, r.whole = cut, false
	r.cuts = slices.Delete(r.cuts, 0, i+1)
	for len(r.spots) > 1 && r.spots[1].h <= r.base {
		r.spots = slices.Delete(r.spots, 0, 1)
	}
}

// at tells that what is added next follows pos in the leader's file.
func (r *ring) at(pos int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.end()
	if n := len(r.spots); n > 0 && r.spots[n-1].pos+h-r.spots[n-1].h == pos {
		return
	}
	if n := len(r.spots); n > 0 && r.spots[n-1].h == h {
		r.spots = r.spots[:n-1]
	}
	r.spots = append(r.spots, spot{h, pos})
	r.wake()
}

// cursor is how far a connection of the follower's is.
type cursor struct {
	gen    int64
	at     int64 // all before is sent
	marked int64 // the last mark that was sent says so much
	nudge  int64
}

// piece waits for something that is to be sent and appends it to buf: whole commands
// of about most bytes. end is where it ends. Nothing comes back when a mark is to be
// sent.
func (r *ring) piece(ctx context.Context, c *cursor, most int, buf []byte) (b []byte, end int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	due := func() bool {
		return r.wanted > r.applied && c.at >= r.wanted && (c.marked < r.wanted || c.nudge != r.nudge)
	}
	err = r.wait(ctx, func() bool { return r.gen != c.gen || due() || c.at < min(r.end(), r.hold) })
	switch {
	case err != nil:
		return nil, 0, err
	case r.gen != c.gen:
		return nil, 0, errLost
	case due():
		c.marked, c.nudge = c.at, r.nudge
		return nil, c.at, nil
	}
	i := sort.Search(len(r.cuts), func(i int) bool { return r.cuts[i] > c.at })
	end = r.cuts[i]
	for i++; i < len(r.cuts) && r.cuts[i] <= r.hold && r.cuts[i]-c.at <= int64(most); i++ {
		end = r.cuts[i]
	}
	return append(buf[:0], r.buf[c.at-r.base:end-r.base]...), end, nil
}

// nudged has marks sent again: somebody listens to them now.
func (r *ring) nudged() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nudge++
	r.wake()
}

// delivered takes note of what was sent. A history that is over takes none.
func (r *ring) delivered(gen, h int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gen == gen {
		r.sent = h
		r.wake()
	}
}

// stands tells that the follower has carried out all before h, and was sent no more:
// it has been found there.
func (r *ring) stands(gen, h int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gen == gen {
		r.sent, r.applied = h, h
		r.wake()
	}
}

// done tells that the follower has carried out all before h.
func (r *ring) done(h int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h > r.applied && h <= r.sent {
		r.applied = h
		r.wake()
	}
}

// want asks that it be told when all before h has been carried out.
func (r *ring) want(h int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h > r.wanted {
		r.wanted = h
		r.wake()
	}
}

// holdAt sends nothing behind h until it is called again; never: all.
func (r *ring) holdAt(h int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hold = h
	r.wake()
}

// waitApplied waits until the follower has carried out all before h.
func (r *ring) waitApplied(ctx context.Context, gen, h int64) error {
	r.want(h)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.wait(ctx, func() bool { return r.gen != gen || r.applied >= h }); err != nil {
		return err
	}
	if r.gen != gen {
		return errLost
	}
	return nil
}

// now returns the history, where it ends, what was sent and what was carried out.
func (r *ring) now() (gen, end, sent, applied int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gen, r.end(), r.sent, r.applied
}

// begun waits until there is a history and returns which.
func (r *ring) begun(ctx context.Context, after int64) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.wait(ctx, func() bool { return r.gen > after })
	return r.gen, err
}

// leader returns where h is in the leader's file; known: it is there.
func (r *ring) leader(h int64) (pos int64, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.spots) - 1; i >= 0; i-- {
		if s := r.spots[i]; s.h <= h {
			return s.pos + h - s.h, true
		}
	}
	return 0, false
}
