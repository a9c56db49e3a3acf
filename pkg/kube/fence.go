package kube

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// ErrFenced is the answer of a pod that cannot show that it leads.
var ErrFenced = errors.New("this pod cannot confirm that it leads: its Lease has not been renewed in time")

// Fence is until when a leader may answer. It is asked with each request, so it
// is one atomic load and one reading of the clock.
type Fence struct {
	base     time.Time    // has a monotonic reading, which all times are relative to
	deadline atomic.Int64 // ns after base; 0 is closed

	mu   sync.Mutex // held by who changes the deadline
	open bool       // extend moves it
}

// NewFence returns a closed fence.
func NewFence() *Fence { return &Fence{base: time.Now()} }

// Check returns nil before the deadline and ErrFenced from then on.
func (f *Fence) Check() error {
	if int64(time.Since(f.base)) < f.deadline.Load() {
		return nil
	}
	return ErrFenced
}

// Remaining is how long Check will go on to return nil.
func (f *Fence) Remaining() time.Duration {
	return max(0, time.Duration(f.deadline.Load())-time.Since(f.base))
}

// Always opens the fence for ever: the role is not elected.
func (f *Fence) Always() { f.deadline.Store(math.MaxInt64) }

// admit lets extend move the deadline.
func (f *Fence) admit() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = true
}

// close ends it at once.
func (f *Fence) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = false
	f.deadline.Store(0)
}

// extend moves the deadline to d after start, never back.
func (f *Fence) extend(start time.Time, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if to := int64(start.Sub(f.base) + d); f.open && to > f.deadline.Load() {
		f.deadline.Store(to)
	}
}
