package hooks

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Start begins to deliver. Messages of hooks that are not defined by now are
// dropped: their hooks were removed when the queue could not be told.
func (q *Queue) Start() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.stopping {
		return ErrClosed
	}
	for _, h := range q.hooks {
		if !h.defined {
			q.stats.orphans += uint64(len(h.waiting())) // to be logged
			q.removeLocked(h)
		}
	}
	q.running = true
	q.scheduleAllLocked()
	q.wake()
	return nil
}

// Pause lets no attempt begin until Resume. Those under way end by themselves.
func (q *Queue) Pause() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.paused = true
}

// Resume ends Pause.
func (q *Queue) Resume() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.paused = false
	q.scheduleAllLocked()
}

// Stop ends delivery, writes and syncs everything, and closes the files. Attempts
// that are under way have the grace of Options, and half the time of ctx at most,
// to end; then they are cut off, and their messages are sent again after the
// next start. When ctx ends first, what still runs ends by itself soon.
func (q *Queue) Stop(ctx context.Context) error {
	q.mu.Lock()
	if q.stopping {
		q.mu.Unlock()
		return nil
	}
	q.stopping, q.running = true, false
	q.mu.Unlock()
	err := q.joinSenders(ctx)
	close(q.quit)
	select {
	case <-q.done:
	case <-ctx.Done():
		return errors.Join(err, fmt.Errorf("stop the queue of hook messages: %w", ctx.Err()))
	}
	if terr := q.takeTurn(ctx); terr != nil {
		return errors.Join(err, fmt.Errorf("stop the queue of hook messages: wait for a write to end: %w", terr))
	}
	defer q.giveTurn()
	if err := errors.Join(err, q.flushAndSync(), q.closeFiles()); err != nil {
		return fmt.Errorf("stop the queue of hook messages: %w", err)
	}
	return nil
}

// joinSenders waits for the senders.
func (q *Queue) joinSenders(ctx context.Context) error {
	ended := make(chan struct{})
	go func() {
		q.senders.Wait()
		close(ended)
	}()
	grace := q.o.StopGrace
	if deadline, ok := ctx.Deadline(); ok {
		grace = min(grace, time.Until(deadline)/2)
	}
	timer := q.o.Clock.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C():
	case <-ctx.Done():
	}
	q.cancel()
	select {
	case <-ended:
		q.send.close()
		return nil
	case <-ctx.Done():
	}
	q.send.close()
	return fmt.Errorf("wait for attempts to end: %w", ctx.Err())
}

// closeFiles ends everything. The caller has the turn.
func (q *Queue) closeFiles() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	var errs []error
	for _, s := range q.segs {
		s.gone = true
		if s.f != nil && s.refs == 0 {
			errs = append(errs, s.f.Close())
			s.f = nil
		}
	}
	return errors.Join(append(errs, q.lock.Close())...)
}
