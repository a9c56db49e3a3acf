package follower

import (
	"context"
	"math/rand/v2"
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
	needFull bool   // our state is known to be wrong: do not continue from it
	noRanges bool   // a range resync did not mend it
	lastLost string // the error that was logged last
}

// New returns a follower that knows where the store is but has not begun.
func New(opt Options) (*Follower, error) {
	opt.EnsureDefaults()
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	f := &Follower{opt: opt, p: replication.NewProgress(opt.HeartbeatInterval)}
	pos, _ := opt.Store.Position()
	f.p.At(pos)
	f.p.Connecting(opt.Leader)
	return f, nil
}

// Run follows until ctx ends and returns its error. Whatever goes wrong before
// that is in Status and leads to another attempt.
func (f *Follower) Run(ctx context.Context) error {
	wait := f.opt.BackoffMin
	for {
		began := time.Now()
		err := f.session(ctx)
		if ctx.Err() != nil {
			f.progress(func(p *replication.Progress) { p.Lost(ctx.Err(), f.opt.Now()) })
			return ctx.Err()
		}
		f.progress(func(p *replication.Progress) { p.Lost(err, f.opt.Now()) })
		f.emit(ctx, Event{Kind: EventLost, Err: err})
		// A connection that lasted is no sign that the next attempt will fail. One
		// that did not, however far it got, must not make resyncs follow each other
		// without a pause.
		if time.Since(began) > f.opt.BackoffMax {
			wait = f.opt.BackoffMin
		}
		if err := sleep(ctx, wait-rand.N(wait/2+1)); err != nil {
			return err
		}
		wait = min(2*wait, f.opt.BackoffMax)
	}
}

// sleep waits for d or for the end of ctx, whose error it returns.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
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
