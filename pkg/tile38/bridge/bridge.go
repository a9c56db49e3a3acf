package bridge

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/follower"
	"evenkeel/pkg/replication"
	"evenkeel/pkg/tile38"
)

var (
	// ErrEmptyLeader says that the leader has none of the follower's collections.
	ErrEmptyLeader = errors.New("the leader has none of the follower's collections, and is not believed (accept-empty-leader)")
	// ErrChained says that the leader follows somebody itself.
	ErrChained = errors.New("the leader is a follower")
	// ErrDiverged says that the follower cannot have what the leader has.
	ErrDiverged = errors.New("the follower is not equal to the leader")
)

// Bridge plays the leader of one Tile38. Run is called once; the other methods by
// any goroutine at any time.
type Bridge struct {
	opt   Options
	run   string // at random
	beats tile38.Beats
	file  file
	ring  *ring

	mu       sync.Mutex // guards what follows up to the next line; nothing is called while it is held
	p        *replication.Progress
	st       Status // but for what p knows
	link     *link
	stopped  stop
	lastTold string
	polled   []polled
	pending  []beatAt
	begins   int64 // offset of the ring where the stream of this session begins
	size     int64 // of the leader's file, when it was last asked
	asked    time.Time
	levelAt  time.Time
	compared bool  // since the last connection of either side
	sessions int64 // counts streams of the leader

	pm    sync.Mutex // held while a piece is added; before mu
	check check

	// What follows belongs to the goroutine of the leader's sessions.
	tail   *tile38.Tail // where the end of the ring is in the leader's file; nil: not known
	gen    int64        // the history that tail is about
	saved  saved
	full   bool // differences have failed: empty the follower
	unsure int  // places that turned out not to be one, in a row
	tries  int  // differences that did not end in equality
	expect expectation
}

// New returns a bridge that has not begun.
func New(opt Options) (*Bridge, error) {
	opt.EnsureDefaults()
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	b := &Bridge{
		opt: opt, run: rand.Text(), beats: tile38.NewBeats(opt.HeartbeatKey), file: newFile(opt.FS, opt.Dir),
		ring: newRing(opt.Keep, opt.Ahead), p: replication.NewProgress(opt.PollInterval),
	}
	b.p.Connecting(opt.Leader)
	var err error
	if b.saved, err = load(opt.FS, opt.StateFile); err != nil {
		// Without it nothing is known, which costs a comparison.
		opt.Logger.Warn("bridge: what was known of the follower cannot be read", "error", err)
	}
	return b, nil
}

// Run plays the leader until ctx ends and returns its cause, or an error when it
// cannot listen any more. Whatever else goes wrong is in Status and leads to another
// attempt.
func (b *Bridge) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() { cancel(b.accept(ctx)) })
	wg.Go(func() { cancel(b.listen(ctx)) })
	wg.Go(func() { cancel(b.lead(ctx)) })
	wg.Wait()
	return context.Cause(ctx)
}

// lead takes the leader's stream, again and again.
func (b *Bridge) lead(ctx context.Context) error {
	return follower.Attempts(ctx, b.opt.BackoffMin, b.opt.BackoffMax, func() error {
		err := b.session(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b.ring.holdAt(never)
		b.progress(func(p *replication.Progress) { p.Lost(err, b.opt.Now()) })
		kind := EventLost
		switch {
		case errors.Is(err, ErrEmptyLeader):
			kind = EventRefused
		case errors.Is(err, ErrDiverged):
			kind = EventDiverged
		}
		b.happened(ctx, Event{Kind: kind, Err: err})
		return nil
	})
}

// polled is how far the leader was at some time of ours.
type polled struct {
	size int64
	at   time.Time
}

// beatAt is a heartbeat and where it ends in the ring.
type beatAt struct {
	h  int64
	at time.Time
}

// maxPolled is how many of either are remembered.
const maxPolled = 64

// applied takes note that the follower has all before h of the ring.
func (b *Bridge) applied(h int64) {
	pos, known := b.ring.leader(h)
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.pending) > 0 && b.pending[0].h <= h {
		b.st.HeartbeatAt = b.pending[0].at
		b.pending = b.pending[1:]
	}
	if !known || h < b.begins || b.sessions == 0 {
		return
	}
	var at int64
	for len(b.polled) > 0 && b.polled[0].size <= pos {
		at = b.polled[0].at.UnixMilli()
		b.polled = b.polled[1:]
	}
	b.p.Applied(aof.Mark{Offset: pos, Time: at})
}

// Delivered returns up to where in the leader's file the follower has carried out
// what is there; false: not known. It is never too much, and behind the truth by a
// PollInterval at most, or by nothing while somebody is in WaitFor.
func (b *Bridge) Delivered() (int64, bool) {
	_, _, _, applied := b.ring.now()
	return b.ring.leader(applied)
}

// WaitFor waits until the follower has carried out all that was in the leader's file
// before offset: the aof_size that SERVER of the leader says after a write. When the
// leader's file is replaced meanwhile it waits for all that the new one has.
func (b *Bridge) WaitFor(ctx context.Context, offset int64) error {
	b.mu.Lock()
	session := b.sessions
	b.mu.Unlock()
	began := time.Now()
	for {
		h, now, err := b.placeOf(ctx, offset, session, began)
		if err != nil {
			return err
		}
		if now != session {
			// Another file, maybe: all that it had is more than enough. But the same one,
			// too, maybe, and then it was asked how long it is before offset was there.
			b.mu.Lock()
			session, offset = b.sessions, max(offset, b.size)
			b.mu.Unlock()
			continue
		}
		gen, _, _, _ := b.ring.now()
		if err := b.ring.waitApplied(ctx, gen, h); err == nil || !errors.Is(err, errLost) {
			return err
		}
	}
}

// placeOf waits until what is before offset of the leader's file is in the ring and
// returns where; or until another session has begun than the given one.
func (b *Bridge) placeOf(ctx context.Context, offset, session int64, began time.Time) (h, now int64, err error) {
	r := b.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	err = r.wait(ctx, func() bool {
		b.mu.Lock()
		now = b.sessions
		limit, fresh := b.size, b.asked.After(began)
		b.mu.Unlock()
		if now != session {
			return true
		}
		n := len(r.spots)
		if n == 0 || now == 0 {
			return false
		}
		s := r.spots[n-1]
		end := s.pos + r.end() - s.h
		// An offset that the leader does not have is one of an older file.
		if fresh && offset > limit && end >= limit && offset > end {
			h = r.end()
			return true
		}
		h = s.h + max(0, offset-s.pos)
		return offset <= end
	})
	return h, now, err
}
