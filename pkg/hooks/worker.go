package hooks

import (
	"math"
	"time"

	"evenkeel/pkg/aof"
)

const (
	syncEvery  = time.Second      // of written data with FsyncEverySecond
	retryEvery = time.Second      // of writing after an error of the disk
	scanBatch  = 1024             // hooks that are looked at under one lock
	tidyPause  = 10 * time.Second // after an error of removing files
)

// worker is what the worker remembers between its rounds.
type worker struct {
	ack, retry, age, idle, tidy time.Time // when it is due next

	logged [dropReasons]uint64 // drops that are in the log
}

// work is the queue's one goroutine beside the senders. It schedules retries,
// writes down deliveries, syncs once a second where the policy says so, tries
// again what failed, drops what is too old or too much, and removes files. Stop
// ends it.
func (q *Queue) work() {
	defer close(q.done)
	var w worker
	for {
		next := q.round(&w)
		if next.IsZero() {
			select {
			case <-q.quit:
				return
			case <-q.kick:
			}
			continue
		}
		timer := q.o.Clock.NewTimer(next.Sub(q.o.Clock.Now()))
		select {
		case <-q.quit:
			timer.Stop()
			return
		case <-q.kick:
			timer.Stop()
		case <-timer.C():
		}
	}
}

// round does what is due and returns when it is to be called next; zero: when
// there is a kick.
func (q *Queue) round(w *worker) (next time.Time) {
	now := q.o.Clock.Now()
	for q.wakeSome(now) {
	}
	q.mu.Lock()
	failed, left := q.failure != nil, q.left
	q.left = false
	over := q.weight > q.o.MaxBytes
	sync := !q.unsynced.IsZero() && q.policy != aof.FsyncNo && now.Sub(q.unsynced) >= syncEvery
	acks := len(q.dirty) > 0
	waits := len(q.backlog) > 0
	q.mu.Unlock()

	if over {
		q.evict()
	}
	if waits && due(&w.age, now, q.ageEvery()) {
		q.expireAll(now)
	}
	switch {
	case failed:
		if due(&w.retry, now, retryEvery) {
			q.retry()
		}
	case left || acks && due(&w.ack, now, q.o.AckInterval):
		q.flushInTurn()
	}
	if sync && !failed {
		q.syncInTurn()
	}
	if !now.Before(w.tidy) && !q.tidy(failed) {
		w.tidy = now.Add(tidyPause)
	}
	if due(&w.idle, now, idleTimeout/3) {
		q.send.resp.closeIdle()
	}
	q.report(w)
	return q.nextRound(w)
}

// due says whether it is time for something that is done every so often, and
// sets when the next time is.
func due(at *time.Time, now time.Time, every time.Duration) bool {
	if now.Before(*at) {
		return false
	}
	*at = now.Add(every)
	return true
}

// ageEvery is how often the ages of messages are looked at.
func (q *Queue) ageEvery() time.Duration {
	return min(max(q.o.MaxAge/64, 50*time.Millisecond), time.Minute)
}

// nextRound returns the earliest time at which something will be due.
func (q *Queue) nextRound(w *worker) (next time.Time) {
	now := q.o.Clock.Now()
	sooner := func(t time.Time) {
		if t.Before(now) {
			t = now // it became due during this round
		}
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if h := q.due.top(); h != nil {
		sooner(h.due)
	}
	if q.failure != nil {
		sooner(w.retry)
	} else {
		if len(q.dirty) > 0 {
			sooner(w.ack)
		}
		if !q.unsynced.IsZero() && q.policy != aof.FsyncNo {
			sooner(q.unsynced.Add(syncEvery))
		}
	}
	if len(q.backlog) > 0 {
		sooner(w.age)
	}
	if q.send.resp.any() {
		sooner(w.idle)
	}
	return next
}

func (q *Queue) takeTurnOrQuit() bool {
	select {
	case q.turn <- struct{}{}:
		return true
	case <-q.quit:
		return false
	}
}

// flushInTurn writes what waits to be written. Errors are noted by failed.
func (q *Queue) flushInTurn() {
	if q.takeTurnOrQuit() {
		_, _ = q.flush()
		q.giveTurn()
	}
}

// syncInTurn syncs what is written.
func (q *Queue) syncInTurn() {
	if !q.takeTurnOrQuit() {
		return
	}
	defer q.giveTurn()
	_ = q.syncNow() // noted by failed
}

// syncNow is syncFiles for data that is revealed. The caller has the turn.
func (q *Queue) syncNow() error {
	now := q.o.Clock.Now()
	q.mu.Lock()
	q.unsynced = time.Time{}
	q.mu.Unlock()
	if err := q.syncFiles(); err != nil {
		q.mu.Lock()
		q.unsynced = now
		q.mu.Unlock()
		return q.failed(err)
	}
	return nil
}

// retry goes on where a failed write or sync stopped.
func (q *Queue) retry() {
	if !q.takeTurnOrQuit() {
		return
	}
	defer q.giveTurn()
	if err := q.flushAndSync(); err != nil {
		return // noted by failed
	}
	q.mu.Lock()
	q.failure = nil
	q.mu.Unlock()
	q.o.Logger.Info("hook messages can be written again")
}

// flushAndSync writes and syncs everything. The caller has the turn.
func (q *Queue) flushAndSync() error {
	for {
		wrote, err := q.flush()
		if err != nil {
			return err
		}
		if !wrote {
			return q.syncNow()
		}
	}
}

// expireAll drops messages that are too old. It lets others in between.
func (q *Queue) expireAll(now time.Time) {
	// Going down, because a hook that has no messages any more leaves its place to
	// the last one.
	pos := math.MaxInt
	for pos > 0 {
		q.mu.Lock()
		pos = min(pos, len(q.backlog))
		for range min(pos, scanBatch) {
			pos--
			if h := q.backlog[pos]; h.state != sending {
				q.expireLocked(h, now)
			}
			pos = min(pos, len(q.backlog))
		}
		q.mu.Unlock()
	}
}

// report logs what was dropped and noticed since the last time.
func (q *Queue) report(w *worker) {
	q.mu.Lock()
	now := q.stats.dropped
	notices, troubles := q.stats.notices, q.stats.troubles
	q.stats.notices, q.stats.troubles = nil, nil
	queued, orphans := q.messages, q.stats.orphans
	q.stats.orphans = 0
	var names, kinds []string
	for _, h := range notices {
		names = append(names, h.name)
		kinds = append(kinds, kindsOf(h.endpoints))
	}
	q.mu.Unlock()
	if orphans > 0 {
		q.o.Logger.Info("messages of hooks that no longer exist were dropped", "messages", orphans)
	}
	for r := range dropReasons {
		if n := now[r] - w.logged[r]; n > 0 && r != dropRemoved {
			q.o.Logger.Warn("hook messages were dropped", "reason", r.String(), "messages", n, "waiting", queued)
		}
	}
	w.logged = now
	for i := range names {
		q.o.Logger.Warn("delivery to the endpoints of a hook is not supported; its messages are kept until they are too old",
			"hook", names[i], "kinds", kinds[i], "max_age", q.o.MaxAge)
	}
	for _, t := range troubles {
		q.o.Logger.Warn("messages of a hook cannot be delivered; trying on", "hook", t.hook, "attempts", quickRetries, "error", t.err)
	}
}

func kindsOf(list []endpoint) string {
	text := ""
	for i, e := range list {
		if i > 0 {
			text += ","
		}
		text += e.scheme.String()
	}
	return text
}
