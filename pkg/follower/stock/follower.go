package stock

import (
	"context"
	"errors"
	"sync"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/follower"
	"evenkeel/pkg/replication"
	"evenkeel/pkg/tile38"
)

var (
	// ErrEvenkeel ends Run: the leader is an Evenkeel, which is followed in its own
	// protocol.
	ErrEvenkeel = errors.New("the leader is an Evenkeel")
	// ErrPromoted is the cause with which the context of Run ends when this server
	// is to be a leader itself.
	ErrPromoted = errors.New("promoted")
	// ErrDiverged says that the own data cannot be the leader's.
	ErrDiverged = errors.New("the counts differ from the leader's")
	// ErrChained says that the leader follows somebody itself.
	ErrChained = errors.New("the leader is a follower")
)

// Follower follows one Tile38 server. Status and Ready may be called by any
// goroutine at any time; Run once.
type Follower struct {
	opt Options

	mu sync.Mutex // guards p; nothing is called while it is held
	p  *replication.Progress

	// What follows belongs to Run.
	tail   *tile38.Tail // nil: there is nothing to go on from
	expect expectation
	own    bool // the log has an epoch of its own
	level  bool // it has been level with this leader
	tell   follower.Teller
}

// New returns a follower that has not begun.
func New(opt Options) (*Follower, error) {
	opt.EnsureDefaults()
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	f := &Follower{
		opt: opt, p: replication.NewProgress(opt.PollInterval),
		tell: follower.Teller{Name: "replication from Tile38", Logger: opt.Logger, OnEvent: opt.OnEvent},
	}
	f.p.Connecting(opt.Leader)
	return f, nil
}

// Run follows until ctx ends and returns its cause, or until the leader is an
// Evenkeel: ErrEvenkeel. Whatever else goes wrong is in Status and leads to
// another attempt.
func (f *Follower) Run(ctx context.Context) error {
	return follower.Attempts(ctx, f.opt.BackoffMin, f.opt.BackoffMax, func() error {
		err := f.session(ctx)
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		f.progress(func(p *replication.Progress) { p.Lost(err, f.opt.Now()) })
		if ctx.Err() != nil || errors.Is(err, ErrEvenkeel) {
			return err
		}
		f.emit(ctx, follower.Event{Kind: follower.EventLost, Err: err})
		return nil
	})
}

// Status returns what is known now. Offsets are positions in the leader's file.
func (f *Follower) Status() replication.Status {
	now := f.opt.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.p.Status(now)
}

// Ready reports whether reads may be sent here, and every reason why not. A
// maxLag of 0 means Options.MaxLag.
func (f *Follower) Ready(maxLag time.Duration) (bool, []string) {
	if maxLag == 0 {
		maxLag = f.opt.MaxLag
	}
	return f.Status().Ready(maxLag)
}

// progress tells the machine of something that happened.
func (f *Follower) progress(tell func(p *replication.Progress)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	tell(f.p)
}

// diverged takes note that our state is wrong: only a full resync helps.
func (f *Follower) diverged(ctx context.Context, err error) {
	f.tail = nil
	f.progress(func(p *replication.Progress) { p.Diverged() })
	f.emit(ctx, follower.Event{Kind: follower.EventDiverged, Err: err})
}

// mark is a position at a time of our clock.
func mark(pos int64, at time.Time) aof.Mark { return aof.Mark{Offset: pos, Time: at.UnixMilli()} }

// emit fills e in and tells it.
func (f *Follower) emit(ctx context.Context, e follower.Event, attrs ...any) {
	e.At, e.Leader, e.Offset = f.opt.Now(), f.opt.Leader, f.Status().Offset
	f.tell.Tell(ctx, e, append([]any{"leader", e.Leader, "offset", e.Offset}, attrs...)...)
}
