package store

import (
	"context"
	"time"
)

// Pace is how fast background work may go.
type Pace struct {
	Percent        float64 // of one processor; 100 or more: all of it
	BytesPerSecond int64   // of a base that a compaction writes or reads back; 0: any number
}

const (
	// paceSlice is how long background work goes on without a rest. It is what a
	// request may have to wait for on a machine whose processors are all taken.
	paceSlice = 100 * time.Microsecond
	// resyncPercent is the share of a processor for the base of a pod that is being
	// resynced: it is not ready, so it has few requests to hold up, and its leader keeps the
	// log for it until it is through.
	resyncPercent = 50
	// paceAsk is the longest rest after which the pace is asked for again, as it
	// may have been changed.
	paceAsk = 100 * time.Millisecond
)

// pacer keeps background work to a share of one processor, so that requests
// find the others free: a compaction that takes a little longer harms nobody,
// one that takes a whole processor shows in every latency. It belongs to one
// goroutine.
type pacer struct {
	pace  func() Pace
	rated bool    // the bytes per second hold, too: nobody waits for the work
	least float64 // share that it takes at least, in percent: see resyncPercent
	clock pacerClock
	until time.Time // end of the slice
	steps int
	owed  float64 // bytes that the rate has not let through yet
}

// pacerClock is the time that a pacer goes by.
type pacerClock interface {
	now() time.Time
	// sleep returns after d, or as soon as ctx has ended.
	sleep(ctx context.Context, d time.Duration)
}

// newPacer keeps work to what the options say, now and later.
func (s *Store) newPacer() *pacer {
	c := new(wallClock)
	return &pacer{pace: s.opt.Pace, clock: c, until: c.now().Add(paceSlice)}
}

// ask returns the pace of now.
func (p *pacer) ask() Pace {
	pace := p.pace()
	if !p.rated {
		pace.BytesPerSecond = 0
	}
	pace.Percent = max(pace.Percent, p.least)
	return pace
}

// step is called after each small piece of work. It rests when the slice is
// over, and fails when ctx has ended.
func (p *pacer) step(ctx context.Context) error {
	p.steps++
	if p.steps%16 != 0 || p.clock.now().Before(p.until) {
		return nil
	}
	p.rest(ctx)
	p.until = p.clock.now().Add(paceSlice)
	return context.Cause(ctx)
}

// moved says that bytes of a base were written or read back.
func (p *pacer) moved(bytes int64) { p.owed += float64(bytes) }

// rest waits until work may go on.
func (p *pacer) rest(ctx context.Context) {
	pace := p.ask()
	// The slice itself counts: work at exactly the rate need not wait for it.
	began := p.until.Add(-paceSlice)
	least := time.Duration(0)
	if pace.Percent > 0 && pace.Percent < 100 {
		least = time.Duration(float64(paceSlice) * (100 - pace.Percent) / pace.Percent)
	}
	end := p.clock.now().Add(least)
	for ctx.Err() == nil {
		now := p.clock.now()
		p.pay(pace.BytesPerSecond, now.Sub(began))
		began = now
		wait := max(end.Sub(now), p.due(pace.BytesPerSecond))
		if wait <= 0 {
			return
		}
		p.clock.sleep(ctx, min(wait, paceAsk))
		if wait > paceAsk {
			pace = p.ask()
		}
	}
}

// pay takes off what a rate lets through in d.
func (p *pacer) pay(rate int64, d time.Duration) {
	if rate <= 0 {
		p.owed = 0
		return
	}
	p.owed = max(p.owed-float64(rate)*d.Seconds(), 0)
}

// due is how long a rate takes to let through what is owed.
func (p *pacer) due(rate int64) time.Duration {
	if rate <= 0 {
		return 0
	}
	return time.Duration(p.owed / float64(rate) * float64(time.Second))
}

// wallClock is the machine's clock with one timer, as a new one for each of
// thousands of rests a second is garbage.
type wallClock struct{ timer *time.Timer }

func (c *wallClock) now() time.Time { return time.Now() }

func (c *wallClock) sleep(ctx context.Context, d time.Duration) {
	if c.timer == nil {
		c.timer = time.NewTimer(d)
	} else {
		c.timer.Reset(d)
	}
	select {
	case <-ctx.Done():
		c.timer.Stop()
	case <-c.timer.C:
	}
}
