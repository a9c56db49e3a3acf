package node

import (
	"context"
	"runtime"
	"time"

	"evenkeel/pkg/engine/reply"
)

// use is what scripts take places for: each kind has places of its own.
type use uint8

const (
	forEval  use = iota // scripts that run on their own, but for EVAL: the lock lets one of them run at a time
	forWhere            // those of a search
	uses
)

// places bounds how many scripts run at once.
type places struct {
	free [uses]chan struct{}
	wait time.Duration // nobody waits for longer
}

// newPlaces has n places for each use; 0 is four for each processor.
func newPlaces(n int, wait time.Duration) *places {
	if n == 0 {
		n = 4 * runtime.GOMAXPROCS(0)
	}
	p := &places{wait: wait}
	for i := range p.free {
		p.free[i] = make(chan struct{}, n)
	}
	return p
}

var errBusy = reply.Plain("too many scripts are running: try again, or raise --max-scripts")

// lookEvery is how often somebody who waits asks whether to go on waiting.
const lookEvery = 5 * time.Millisecond

// take waits until there is a place, and for no longer than one script may run;
// done must be called when the caller's has ended. It asks pause, if set, in
// between, and fails with its error or that of ctx. It must not be called under a
// lock that a running script may need.
func (p *places) take(ctx context.Context, u use, pause func() error) (done func(), err error) {
	place := p.free[u]
	leave := func() { <-place }
	select {
	case place <- struct{}{}:
		return leave, nil
	default:
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	end := time.NewTimer(p.wait)
	defer end.Stop()
	for {
		select {
		case place <- struct{}{}:
			return leave, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-end.C:
			return nil, errBusy
		case <-look.C:
			if pause == nil {
				continue
			}
			if err := pause(); err != nil {
				return nil, err
			}
		}
	}
}
