package store

import (
	"context"
	"time"
)

// paceSlice is how long background work goes on without a rest. It is what a
// request may have to wait for on a machine whose processors are all taken.
const paceSlice = 100 * time.Microsecond

// pacer keeps background work to a share of one processor, so that requests
// find the others free: a compaction that takes a little longer harms nobody,
// one that takes a whole processor shows in every latency.
type pacer struct {
	rest  time.Duration // after each slice; 0: work without rests
	until time.Time     // end of the slice
	steps int
}

// newPacer keeps work to percent of one processor; 100 or more: to nothing.
func newPacer(percent int) *pacer {
	p := &pacer{until: time.Now().Add(paceSlice)}
	if percent > 0 && percent < 100 {
		p.rest = paceSlice * time.Duration(100-percent) / time.Duration(percent)
	}
	return p
}

// step is called after each small piece of work. It rests when the slice is
// over, and fails when ctx has ended.
func (p *pacer) step(ctx context.Context) error {
	p.steps++
	if p.steps%16 != 0 || time.Now().Before(p.until) {
		return nil
	}
	if p.rest > 0 {
		timer := time.NewTimer(p.rest)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
	p.until = time.Now().Add(paceSlice)
	return context.Cause(ctx)
}
