package clock

import (
	"sync"
	"time"
)

// Fake is a clock that a test moves by hand. Make one with NewFake; it is safe
// for concurrent use.
type Fake struct {
	mu     sync.Mutex
	moved  *sync.Cond // signalled when the set of timers changes
	now    time.Time
	timers map[*fakeTimer]struct{}
}

// NewFake makes a clock that stands still at now.
func NewFake(now time.Time) *Fake {
	f := &Fake{now: now, timers: make(map[*fakeTimer]struct{})}
	f.moved = sync.NewCond(&f.mu)
	return f
}

// Now is where the clock stands.
func (f *Fake) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// NewTimer makes a timer that rings when Advance has moved the clock by d.
func (f *Fake) NewTimer(d time.Duration) Timer {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := &fakeTimer{clock: f, at: f.now.Add(d), c: make(chan time.Time, 1)}
	f.timers[t] = struct{}{}
	f.ringDue()
	f.moved.Broadcast()
	return t
}

// Advance moves the clock forward and rings the timers that fall due.
func (f *Fake) Advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
	f.ringDue()
	f.moved.Broadcast()
}

// BlockUntil returns once at least n timers wait to ring.
func (f *Fake) BlockUntil(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.timers) < n {
		f.moved.Wait()
	}
}

// ringDue rings and forgets the timers that are due. The caller holds mu.
func (f *Fake) ringDue() {
	for t := range f.timers {
		if !t.at.After(f.now) {
			t.c <- f.now // cannot block: the channel holds one, a timer rings once
			delete(f.timers, t)
		}
	}
}

type fakeTimer struct {
	clock *Fake
	at    time.Time
	c     chan time.Time
}

func (t *fakeTimer) C() <-chan time.Time { return t.c }

func (t *fakeTimer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	_, waiting := t.clock.timers[t]
	delete(t.clock.timers, t)
	t.clock.moved.Broadcast()
	return waiting
}
