package aof

import (
	"context"
	"errors"
	"fmt"
	"time"

	"evenkeel/internal/clock"
)

// tickEvery is the distance of syncs with FsyncEverySecond and of retries.
const tickEvery = time.Second

// wakeWorker lets the worker look at what there is to do.
func (l *Log) wakeWorker() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// work is the log's one goroutine. It syncs once a second where the policy says
// so, tries again what failed, lets the manifest follow the segments, and
// removes files that nobody needs any more. Close ends it.
func (l *Log) work() {
	defer close(l.done)
	var timer clock.Timer
	var tick <-chan time.Time
	for {
		if timer == nil && l.needsTick() {
			timer = l.clock.NewTimer(tickEvery)
			tick = timer.C()
		}
		select {
		case <-l.quit:
			if timer != nil {
				timer.Stop()
			}
			return
		case <-l.kick:
			l.tidy()
		case <-tick:
			timer, tick = nil, nil
			l.tick()
			l.tidy()
		}
	}
}

func (l *Log) needsTick() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return (l.failure != nil && !l.fatal) || (l.dirty && l.policy == FsyncEverySecond) ||
		!l.published || l.untrimmed
}

// tick does what is done once a second.
func (l *Log) tick() {
	l.mu.Lock()
	retry := l.failure != nil && !l.fatal
	syncs := l.failure == nil && l.dirty && l.policy == FsyncEverySecond
	if syncs {
		l.dirty = false // before the sync: what is written meanwhile waits for the next
	}
	l.mu.Unlock()
	if retry {
		l.retry()
	}
	if syncs {
		if err := l.syncFiles(true); err != nil {
			l.mu.Lock()
			l.dirty = true
			l.mu.Unlock()
			l.backgroundError(err)
		}
	}
}

// backgroundError handles an error of a sync that nobody waits for. Only what
// concerns commands makes the log unwritable; the manifest may lag behind.
func (l *Log) backgroundError(err error) {
	if _, ok := errors.AsType[*syncError](err); ok {
		_ = l.failed(err) // noted there for every later writer
		return
	}
	l.logger.Warn("the manifest does not follow the log; trying again", "error", err)
}

// retry goes on where a failed write stopped.
func (l *Log) retry() {
	if !l.takeTurnOrQuit() {
		return
	}
	defer l.giveTurn()
	if err := l.flushAndSync(); err != nil {
		return // noted by failed
	}
	l.mu.Lock()
	healed := l.failure != nil && !l.fatal
	if healed {
		l.failure = nil
	}
	l.mu.Unlock()
	if healed {
		l.logger.Info("the log can be written again", "offset", l.Written().Offset)
	}
}

func (l *Log) takeTurnOrQuit() bool {
	select {
	case l.turn <- struct{}{}:
		return true
	case <-l.quit:
		return false
	}
}

// tidy does what is not bound to the clock.
func (l *Log) tidy() {
	l.mu.Lock()
	left, publish := l.left && l.failure == nil, !l.published
	l.left = false
	l.mu.Unlock()
	if left && l.takeTurnOrQuit() {
		_, _ = l.flush() // an error is noted by failed
		l.giveTurn()
	}
	if publish {
		if err := l.syncFiles(false); err != nil {
			l.backgroundError(err)
		}
	}
	if _, err := l.trim(nil, 0); err != nil {
		l.logger.Warn("remove old files of the log; trying again", "error", err)
	}
}

// Close writes and syncs everything, ends the worker and releases the lock of
// the directory. ctx bounds the wait for a writer that is in the middle of it.
// Readers that are still open get ErrClosed.
func (l *Log) Close(ctx context.Context) error {
	l.mu.Lock()
	again := l.closing
	l.closing = true
	fatal := l.fatal
	failure := l.failure
	l.mu.Unlock()
	if again {
		return nil
	}
	close(l.quit)
	<-l.done
	if err := l.takeTurn(ctx); err != nil {
		return fmt.Errorf("close the log: wait for a write to end: %w", err)
	}
	defer l.giveTurn()
	var errs []error
	if fatal {
		errs = append(errs, failure)
	} else {
		errs = append(errs, l.flushAndSync())
	}
	if errors.Join(errs...) == nil {
		l.sign()
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.mu.Lock()
	l.closed = true
	handles := l.retired
	if l.current != nil {
		handles = append(handles, l.current)
	}
	l.retired, l.current = nil, nil
	for c := range l.cursors {
		c.notify()
	}
	l.mu.Unlock()
	for _, h := range handles {
		errs = append(errs, h.f.Close())
	}
	errs = append(errs, l.lock.Close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close the log: %w", err)
	}
	return nil
}

// sign notes in MANIFEST that the log is closed in good order. It is synced, and
// the caller has the turn. If that fails the next Open takes it for a crash.
func (l *Log) sign() {
	l.manifestMu.Lock()
	defer l.manifestMu.Unlock()
	l.mu.Lock()
	m := l.manifestLocked(l.base, l.segs, l.obsoleteNames())
	m.ClosedAt = &l.last.Offset
	l.mu.Unlock()
	if err := l.writeManifest(m); err != nil {
		l.logger.Warn("note that the log is closed", "error", err)
	}
}
