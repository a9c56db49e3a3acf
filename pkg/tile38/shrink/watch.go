package shrink

import (
	"context"
	"errors"
	"time"
)

// WatchOptions say how followers are watched.
type WatchOptions struct {
	// Every is the time between two looks. Default 10 s.
	Every time.Duration
	// Looks is in how many looks in a row a follower must be sick before it is healed:
	// somebody else's AOFSHRINK is over soon. Default 3.
	Looks int
	// RetryMin and RetryMax bound the wait after a Heal that failed; it doubles.
	// Default 1 min and 1 h.
	RetryMin, RetryMax time.Duration
	// OnPatients is told of each look; nil: nobody.
	OnPatients func([]Patient)
	// OnHealed is told how a Heal ended; nil: nobody.
	OnHealed func(Report, error)
	// OnError is told when the leader does not tell its followers; nil: nobody.
	OnError func(error)
}

// EnsureDefaults fills in what is missing and has a default.
func (o *WatchOptions) EnsureDefaults() {
	preset(&o.Every, 10*time.Second)
	preset(&o.Looks, 3)
	preset(&o.RetryMin, time.Minute)
	preset(&o.RetryMax, time.Hour)
	if o.OnPatients == nil {
		o.OnPatients = func([]Patient) {}
	}
	if o.OnHealed == nil {
		o.OnHealed = func(Report, error) {}
	}
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
}

// Watch looks at all followers again and again until ctx ends, and heals those
// that stay sick: not every rewrite is the compactor's, and a follower that comes
// back after an absence has missed some. It returns the cause of ctx's end.
func (c *Coordinator) Watch(ctx context.Context, o WatchOptions) error {
	o.EnsureDefaults()
	sick := map[string]int{} // looks in a row
	var retry time.Duration
	var next time.Time // not before
	for pause(ctx, o.Every) {
		patients, err := c.Judge(ctx)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			o.OnError(err)
		}
		o.OnPatients(patients)
		if !due(sick, patients, o.Looks) || time.Now().Before(next) {
			continue
		}
		r, err := c.Heal(ctx)
		if ctx.Err() != nil {
			break
		}
		o.OnHealed(r, err)
		clear(sick)
		if retry = min(max(2*retry, o.RetryMin), o.RetryMax); !errors.Is(err, ErrSick) {
			retry = 0
		}
		next = time.Now().Add(retry)
	}
	return context.Cause(ctx)
}

// due counts looks and says whether one of the followers has been sick for long
// enough.
func due(sick map[string]int, patients []Patient, looks int) (heal bool) {
	for _, p := range patients {
		if p.Bridged || !p.Judgement.Sick() {
			delete(sick, p.Addr)
			continue
		}
		sick[p.Addr]++
		heal = heal || sick[p.Addr] >= looks
	}
	return heal
}
