package follower

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/replication"
)

// ErrNoLeader says that there is no leader who could give a turn.
var ErrNoLeader = errors.New("not connected to the leader")

// live is a connection on which the log is streamed, and both sides talk beside
// it.
type live struct {
	*link
	level atomic.Bool   // our offsets are those of the leader's history
	acks  chan struct{} // holds one: acknowledge soon
	turn  chan struct{} // holds one: the leader has given the turn
	ended chan struct{} // closed when the connection has ended
}

func newLive(l *link) *live {
	return &live{link: l, acks: make(chan struct{}, 1), turn: make(chan struct{}, 1), ended: make(chan struct{})}
}

func (l *live) ackSoon() {
	select {
	case l.acks <- struct{}{}:
	default:
	}
}

// report tells the leader.
func (l *live) report(r replication.Report) error { return l.write(r.Append(nil)) }

// enter lets Turn find the stream, leave ends that.
func (f *Follower) enter(l *live) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.l = l
}

func (f *Follower) leave(l *live) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.l = nil
	close(l.ended)
}

// told does what the leader says beside the log.
func (f *Follower) told(ctx context.Context, l *live, words []string, beside *sync.WaitGroup) {
	switch {
	case len(words) == 1 && words[0] == replication.CtlSync:
		if err := f.opt.Sync(ctx); err != nil {
			f.opt.Logger.Warn("the leader waits for the log to be synced", "error", err)
		}
		l.ackSoon()
	case len(words) == 1 && words[0] == replication.CtlTurn:
		select {
		case l.turn <- struct{}{}:
		default:
		}
	case len(words) == 2 && words[0] == replication.CtlCompact:
		beside.Go(func() { f.compact(ctx, l, words[1]) })
	}
}

// compact compacts for the leader and reports.
func (f *Follower) compact(ctx context.Context, l *live, id string) {
	r := replication.Report{Kind: replication.ReportCompacted, ID: id}
	var err error
	if r.Offset, r.Digest, err = f.opt.Compact(ctx); err != nil {
		r.Err, r.Offset, r.Digest = err.Error(), 0, aof.Digest{}
	}
	if err := l.report(r); err != nil {
		f.opt.Logger.Warn("report a compaction to the leader", "error", err)
	}
}

// Turn waits until the leader lets this follower compact; done ends that.
// ErrNoLeader says that no log is streamed, or not any more. One at a time may call
// it.
func (f *Follower) Turn(ctx context.Context) (done func(), err error) {
	f.mu.Lock()
	l := f.l
	f.mu.Unlock()
	if l == nil {
		return nil, ErrNoLeader
	}
	select {
	case <-l.turn: // it came for one that was given up
	default:
	}
	if err := l.report(replication.Report{Kind: replication.ReportTurnAsk}); err != nil {
		return nil, errors.Join(ErrNoLeader, err)
	}
	done = func() {
		// When it cannot be said the connection ends, and the turn with it.
		_ = l.report(replication.Report{Kind: replication.ReportTurnDone})
	}
	select {
	case <-l.turn:
		return done, nil
	case <-l.ended:
		return nil, ErrNoLeader
	case <-ctx.Done():
		done()
		return nil, context.Cause(ctx)
	}
}
