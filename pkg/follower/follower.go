package follower

import (
	"context"
	"sync"
	"time"

	"evenkeel/pkg/replication"
)

// Status is what a follower knows about itself.
type Status = replication.Status

// Follower follows one leader. Status and Ready may be called by any goroutine
// at any time; Run once.
type Follower struct {
	opt Options

	mu sync.Mutex // guards p and l; nothing is called while it is held
	p  *replication.Progress
	l  *live // the stream under way; nil: none

	// What follows belongs to Run.
	needFull bool // our state is known to be wrong: do not continue from it
	noRanges bool // range resyncs do not mend it
	tell     Teller

	rangesFailed int // range resyncs in a row, not by a cut
}

// New returns a follower that knows where the store is but has not begun.
func New(opt Options) (*Follower, error) {
	opt.EnsureDefaults()
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	f := &Follower{
		opt: opt, p: replication.NewProgress(opt.HeartbeatInterval),
		tell: Teller{Name: "replication", Logger: opt.Logger, OnEvent: opt.OnEvent},
	}
	pos, _ := opt.Store.Position()
	f.p.At(pos)
	f.p.Connecting(opt.Leader)
	return f, nil
}

// Run follows until ctx ends and returns its error. Whatever goes wrong before
// that is in Status and leads to another attempt.
func (f *Follower) Run(ctx context.Context) error {
	err := Attempts(ctx, f.opt.BackoffMin, f.opt.BackoffMax, func() error {
		err := f.session(ctx)
		if ctx.Err() != nil {
			f.progress(func(p *replication.Progress) { p.Lost(ctx.Err(), f.opt.Now()) })
			return ctx.Err()
		}
		f.progress(func(p *replication.Progress) { p.Lost(err, f.opt.Now()) })
		f.emit(ctx, Event{Kind: EventLost, Err: err})
		return nil
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Status returns what is known now.
func (f *Follower) Status() Status {
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

// diverged takes note that our state is wrong.
func (f *Follower) diverged(ctx context.Context, err error) {
	f.needFull = true
	f.progress(func(p *replication.Progress) { p.Diverged() })
	f.emit(ctx, Event{Kind: EventDiverged, Err: err})
}

// progress tells the machine of something that happened.
func (f *Follower) progress(tell func(p *replication.Progress)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	tell(f.p)
}
