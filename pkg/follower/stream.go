package follower

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/replication"
)

// session is one connection from its beginning to its end. It never returns nil.
func (f *Follower) session(ctx context.Context) error {
	l, answer, err := f.connect(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	unhook := context.AfterFunc(ctx, func() { l.conn.Close() })
	defer unhook()
	f.progress(func(p *replication.Progress) { p.Answered(answer, f.opt.Now()) })

	lv := newLive(l)
	lv.level.Store(answer.Kind == replication.Continue)
	var beside sync.WaitGroup
	beside.Go(func() { cancel(f.sendAcks(ctx, lv)) })
	err = f.follow(ctx, lv, answer, &beside)
	cancel(err) // what ended ctx first stays its cause
	f.leave(lv)
	l.conn.Close()
	beside.Wait()
	// A divergence outweighs all that may have happened beside it.
	if errors.Is(err, ErrDiverged) {
		return err
	}
	return context.Cause(ctx)
}

// follow takes what was granted. It never returns nil.
func (f *Follower) follow(ctx context.Context, lv *live, a replication.Answer, beside *sync.WaitGroup) error {
	l := lv.link
	switch a.Kind {
	case replication.Full:
		if err := f.takeBase(ctx, l, a); err != nil {
			return fmt.Errorf("full resync from leader %s: %w", f.opt.Leader, err)
		}
	case replication.Ranges:
		if err := f.takeRanges(ctx, l, a); err != nil {
			return fmt.Errorf("range resync from leader %s: %w", f.opt.Leader, err)
		}
	default:
		if err := f.join(ctx, a); err != nil {
			return fmt.Errorf("continue from leader %s: %w", f.opt.Leader, err)
		}
		f.emit(ctx, Event{Kind: EventContinue})
	}
	lv.level.Store(true)
	f.enter(lv)
	if err := f.takeLog(ctx, lv, beside); err != nil {
		return fmt.Errorf("leader %s: %w", f.opt.Leader, err)
	}
	return nil
}

// join takes up the leader's epoch, if it is another than ours.
func (f *Follower) join(ctx context.Context, a replication.Answer) error {
	pos, _ := f.opt.Store.Position()
	if pos.Epoch == a.Epoch {
		return nil
	}
	return f.opt.Store.JoinEpoch(ctx, a.Epoch, a.Forks)
}

// takeBase has the store take the base, all of it and nothing behind it.
func (f *Follower) takeBase(ctx context.Context, l *link, a replication.Answer) error {
	f.emit(ctx, Event{Kind: EventFull, Bytes: a.Size})
	base := &baseReader{f: f, r: l.r, left: a.Size}
	if err := f.opt.Store.Reset(ctx, a.History(), a.Start, f.lost(a), a.Size, base); err != nil {
		return err
	}
	if base.left > 0 {
		return fmt.Errorf("%w: the store left %d bytes of the base unread", replication.ErrProtocol, base.left)
	}
	pos, _ := f.opt.Store.Position()
	if want := (aof.Position{Epoch: a.Epoch, Offset: a.Start.Offset}); pos != want {
		return fmt.Errorf("%w: the store is at %s %d after a base of %s %d",
			replication.ErrProtocol, pos.Epoch, pos.Offset, want.Epoch, want.Offset)
	}
	f.needFull, f.noRanges, f.rangesFailed = false, false, 0
	f.progress(func(p *replication.Progress) { p.Installed(a.Epoch, a.Start) })
	f.emit(ctx, Event{Kind: EventFullDone, Bytes: a.Size})
	return nil
}

// baseReader gives out a base and counts it.
type baseReader struct {
	f    *Follower
	r    io.Reader
	left int64
}

// Read reads from the base; at its end it returns io.EOF.
func (b *baseReader) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	b.f.progress(func(p *replication.Progress) { p.Resynced(int64(n)) })
	if err == io.EOF && b.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// takeLog applies batches as they come.
func (f *Follower) takeLog(ctx context.Context, lv *live, beside *sync.WaitGroup) error {
	pos, _ := f.opt.Store.Position()
	frames := replication.NewBatchReader(lv.r, pos.Offset, f.opt.MaxBatch)
	behind := true
	for {
		if behind && f.Status().CaughtUp {
			behind = false
			lv.ackSoon()
			f.emit(ctx, Event{Kind: EventCaughtUp})
		}
		frame, err := frames.Next()
		if err != nil {
			return err
		}
		if frame.Control != nil {
			f.told(ctx, lv, frame.Control, beside)
			continue
		}
		now := f.opt.Now()
		f.progress(func(p *replication.Progress) { p.Heard(frame.Mark, now) })
		if frame.Heartbeat {
			err = f.compare(frame.Mark)
		} else {
			err = f.apply(ctx, frame.Batch)
			if frames.Buffered() == 0 {
				lv.ackSoon()
			}
		}
		if errors.Is(err, ErrDiverged) {
			f.diverged(ctx, err)
		}
		if err != nil {
			return err
		}
	}
}

// apply hands one batch to the store.
func (f *Follower) apply(ctx context.Context, b aof.Batch) error {
	if err := f.opt.Store.ApplyBatch(ctx, b); err != nil {
		return fmt.Errorf("apply the batch that ends at offset %d: %w", b.Offset, err)
	}
	f.progress(func(p *replication.Progress) { p.Applied(b.Mark) })
	return nil
}

// compare holds a heartbeat against the state here, if it speaks of the same
// offset.
func (f *Follower) compare(m aof.Mark) error {
	pos, digest := f.opt.Store.Position()
	if pos.Offset != m.Offset || digest == m.Digest {
		return nil
	}
	return fmt.Errorf("offset %d: %w: digest %s here, %s there", m.Offset, ErrDiverged, digest, m.Digest)
}

// ackPause bounds how often a busy follower acknowledges.
const ackPause = 5 * time.Millisecond

// sendAcks acknowledges at once, every AckInterval, and soon after ackSoon. It
// returns when ctx ends or a write fails, never nil.
func (f *Follower) sendAcks(ctx context.Context, lv *live) error {
	tick := time.NewTicker(f.opt.AckInterval)
	defer tick.Stop()
	for {
		ack := replication.Report{Kind: replication.ReportAck}
		if lv.level.Load() { // else we have nothing of the leader's, whatever the numbers are
			ack.Offset, ack.Synced = f.Status().Offset, f.opt.Synced()
		}
		if err := lv.report(ack); err != nil {
			return fmt.Errorf("acknowledge to leader %s: %w", f.opt.Leader, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		case <-lv.acks:
			if err := sleep(ctx, ackPause); err != nil {
				return context.Cause(ctx)
			}
		}
	}
}
