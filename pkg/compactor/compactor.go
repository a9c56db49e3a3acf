package compactor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"evenkeel/internal/clock"
)

// What Trigger and Run say when they cannot do as asked.
var (
	ErrRunning = errors.New("a compaction is running")
	ErrStopped = errors.New("the compactor has stopped")
	ErrNoRoom  = errors.New("no room for a compaction")
)

// Target is the log to compact.
type Target interface {
	// Facts are the sizes as they are now. It is called often and returns fast.
	Facts() Facts
	// Compact rewrites the log: it returns when the new base is verified and
	// installed, or with an error and the log as it was. It ends soon after ctx
	// does.
	Compact(ctx context.Context) (Result, error)
}

// Result is what a compaction did. Sizes are bytes on disk, base and segments.
type Result struct {
	BytesBefore int64 `json:"bytes_before"`
	BytesAfter  int64 `json:"bytes_after"`
	Objects     int64 `json:"objects"` // objects in the new base
}

// Origin is who asked for a compaction.
type Origin string

// The origins.
const (
	Auto Origin = "auto" // the policy
	Hand Origin = "hand" // Trigger
)

// Outcome is how a compaction ended.
type Outcome string

// The outcomes. Cancelled means that Run's context ended first; it is no
// failure and causes no back-off.
const (
	OK        Outcome = "ok"
	Failed    Outcome = "failed"
	Cancelled Outcome = "cancelled"
)

// Report tells of one finished compaction.
type Report struct {
	Origin   Origin        `json:"origin"`
	Outcome  Outcome       `json:"outcome"`
	Start    time.Time     `json:"start"`
	Duration time.Duration `json:"duration_ns"`
	Result   Result        `json:"result"`
	Err      error         `json:"-"`               // nil exactly when Outcome is OK
	Error    string        `json:"error,omitempty"` // Err in words
}

// Options are what a Compactor is made of.
type Options struct {
	Target Target
	Policy Policy // zero durations stand for their defaults
	// Turn waits until this pod may compact, and returns what ends that; others
	// of the cluster compact meanwhile. nil: at any time.
	Turn func(ctx context.Context) (done func(), err error)
	// Governor is told when a compaction begins and ends, and when none runs. nil:
	// one of its own, which nobody asks.
	Governor *Governor
	Clock    clock.Clock  // nil: the machine's
	OnStart  func(Origin) // called before a compaction, from Run; may be nil
	OnFinish func(Report) // called after a compaction, from Run; may be nil
}

// EnsureDefaults fills in what is missing and has a default.
func (o *Options) EnsureDefaults() {
	o.Policy.EnsureDefaults()
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.Governor == nil {
		o.Governor, _ = NewGovernor(GovernorOptions{}, o.Clock.Now()) // the defaults are valid
	}
	if o.Turn == nil {
		o.Turn = func(context.Context) (func(), error) { return func() {}, nil }
	}
	if o.OnStart == nil {
		o.OnStart = func(Origin) {}
	}
	if o.OnFinish == nil {
		o.OnFinish = func(Report) {}
	}
}

// Validate lists every fault of the options.
func (o Options) Validate() error {
	var noTarget error
	if o.Target == nil {
		noTarget = errors.New("no target")
	}
	return errors.Join(noTarget, o.Policy.Validate())
}

// Stats are a look at the compactor. Counts are since it was made.
type Stats struct {
	Running   bool      `json:"running"`          // or waiting for its turn
	Waiting   bool      `json:"waiting"`          // for its turn
	Started   time.Time `json:"started,omitzero"` // of the running compaction
	Policy    Policy    `json:"policy"`
	Decision  Decision  `json:"decision"`            // of the last check; the zero value before the first
	Facts     Facts     `json:"facts"`               // that it went by
	NextCheck time.Time `json:"next_check,omitzero"` // zero when Run does not run
	Last      *Report   `json:"last,omitempty"`      // the last finished compaction; nil when there was none
	OK        uint64    `json:"ok"`
	Failed    uint64    `json:"failed"`
	Cancelled uint64    `json:"cancelled"`
	Failures  int       `json:"failures_in_a_row"`
	Pace      PaceStats `json:"pace"`
}

// Compactor runs compactions, one at a time. Its methods are safe for
// concurrent use.
type Compactor struct {
	opts   Options
	byHand chan struct{} // holds one: a compaction that Trigger has reserved
	wake   chan struct{} // holds one: the policy has changed

	mu      sync.Mutex // guards what follows; never held across a call to the target or a callback
	stats   Stats
	started bool
	stopped bool
	lastEnd time.Time
	done    chan struct{} // closed when the reserved or running compaction has ended; nil when there is none
}

// New makes a compactor; nothing happens until Run.
func New(o Options) (*Compactor, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("compactor: %w", err)
	}
	return &Compactor{
		opts:   o,
		byHand: make(chan struct{}, 1),
		wake:   make(chan struct{}, 1),
		stats:  Stats{Policy: o.Policy},
	}, nil
}

// Run checks the log again and again and compacts it when the policy or
// Trigger says so, until ctx ends. A compaction that runs then is cancelled and
// waited for. Run may be called once; it returns nil after ctx has ended.
func (c *Compactor) Run(ctx context.Context) error {
	c.mu.Lock()
	again := c.started
	c.started = true
	c.mu.Unlock()
	if again {
		return errors.New("compactor: Run was called twice")
	}
	defer c.stop()
	for ctx.Err() == nil {
		timer := c.nextCheck()
		select {
		case <-ctx.Done():
		case <-c.wake: // take the new interval
		case <-c.byHand:
			c.execute(ctx, Hand)
		case <-timer.C():
			c.check(ctx)
		}
		timer.Stop()
	}
	return nil
}

// nextCheck starts the timer of the next check and notes when it will ring.
func (c *Compactor) nextCheck() clock.Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	every := c.stats.Policy.CheckEvery
	c.stats.NextCheck = c.opts.Clock.Now().Add(every)
	return c.opts.Clock.NewTimer(every)
}

// stop turns away later triggers and drops one that was not begun.
func (c *Compactor) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	c.stats.NextCheck = time.Time{}
	c.release()
}

// release ends the reservation. The caller holds mu.
func (c *Compactor) release() {
	if c.done != nil {
		close(c.done)
		c.done = nil
	}
	c.stats.Running = false
}

// reserve claims the one place for a compaction.
func (c *Compactor) reserve() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.stopped:
		return ErrStopped
	case c.done != nil:
		return ErrRunning
	}
	c.done = make(chan struct{})
	c.stats.Running = true
	return nil
}

// check asks the policy and compacts when it says so.
func (c *Compactor) check(ctx context.Context) {
	c.opts.Governor.Idle(c.opts.Clock.Now())
	facts := c.opts.Target.Facts()
	c.mu.Lock()
	d := Decide(c.stats.Policy, facts, History{
		Now: c.opts.Clock.Now(), Running: c.done != nil, LastEnd: c.lastEnd, Failures: c.stats.Failures,
	})
	c.stats.Decision, c.stats.Facts = d, facts
	c.mu.Unlock()
	// A Trigger can slip in between: then its compaction is the one that runs.
	if d.Run && c.reserve() == nil {
		c.execute(ctx, Auto)
	}
}

// execute runs the reserved compaction and keeps the score.
func (c *Compactor) execute(ctx context.Context, by Origin) {
	r := Report{Origin: by, Outcome: OK}
	c.waiting(true)
	done, err := c.opts.Turn(ctx)
	c.waiting(false)
	r.Start = c.opts.Clock.Now()
	if err == nil {
		c.opts.OnStart(by)
		c.mu.Lock()
		c.stats.Started = r.Start
		c.mu.Unlock()
		c.opts.Governor.Begin(r.Start)
		r.Result, r.Err = c.opts.Target.Compact(ctx)
		c.opts.Governor.End(c.opts.Clock.Now())
		done()
	} else {
		r.Err = fmt.Errorf("wait for the turn to compact: %w", err)
	}
	end := c.opts.Clock.Now()
	r.Duration = end.Sub(r.Start)
	if r.Err != nil {
		r.Error = r.Err.Error()
	}
	switch {
	case r.Err == nil:
	case ctx.Err() != nil && (errors.Is(r.Err, ctx.Err()) || errors.Is(r.Err, context.Cause(ctx))):
		r.Outcome = Cancelled
	default:
		r.Outcome = Failed
	}
	c.opts.OnFinish(r)

	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastEnd = end
	c.stats.Last = &r
	switch r.Outcome {
	case OK:
		c.stats.OK++
		c.stats.Failures = 0
	case Failed:
		c.stats.Failed++
		c.stats.Failures++
	case Cancelled:
		c.stats.Cancelled++
	}
	c.release()
}

func (c *Compactor) waiting(yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Waiting = yes
}

// Do compacts by hand and waits for it: for one that begins after the call. The
// error is that of the compaction, or of ctx.
func (c *Compactor) Do(ctx context.Context) (Report, error) {
	for {
		err := c.Trigger()
		if err != nil && !errors.Is(err, ErrRunning) {
			return Report{}, err
		}
		last, werr := c.Wait(ctx)
		if werr != nil {
			return Report{}, werr
		}
		if err == nil && last != nil {
			return *last, last.Err
		}
		if err == nil {
			return Report{}, ErrStopped // it was dropped at the end of Run
		}
	}
}

// Trigger starts a compaction by hand, whatever size, growth, cooldown and
// back-off say, and returns without waiting for it. It fails with ErrRunning
// when one runs already, with ErrNoRoom when the disk has no room for a new
// base, and with ErrStopped after Run has ended. Before Run, the compaction
// waits for it.
func (c *Compactor) Trigger() error {
	if d := CheckDisk(c.opts.Target.Facts()); d.Cause != "" {
		return fmt.Errorf("%w: %s", ErrNoRoom, d.Reason)
	}
	if err := c.reserve(); err != nil {
		return err
	}
	c.byHand <- struct{}{} // cannot block: there is one reservation at a time
	return nil
}

// Wait returns when no compaction runs, with the report of the last one; nil
// when there was none. It fails only when ctx ends first.
func (c *Compactor) Wait(ctx context.Context) (*Report, error) {
	c.mu.Lock()
	done := c.done
	c.mu.Unlock()
	if done != nil {
		select {
		case <-done:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the compaction: %w", ctx.Err())
		}
	}
	return c.Stats().Last, nil
}

// SetPolicy replaces the policy; zero durations stand for their defaults. The
// next check comes one interval from now.
func (c *Compactor) SetPolicy(p Policy) error {
	p.EnsureDefaults()
	if err := p.Validate(); err != nil {
		return fmt.Errorf("compactor: %w", err)
	}
	c.mu.Lock()
	c.stats.Policy = p
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default: // the loop has yet to notice an earlier change; it will see this one
	}
	return nil
}

// Policy is the policy in force.
func (c *Compactor) Policy() Policy { return c.Stats().Policy }

// Stats is a consistent copy of the numbers.
func (c *Compactor) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Pace = c.opts.Governor.Stats()
	if s.Last != nil {
		last := *s.Last
		s.Last = &last
	}
	return s
}
