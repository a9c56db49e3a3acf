package clock

import "time"

// Clock tells the time and makes timers.
type Clock interface {
	// Now is the current time.
	Now() time.Time
	// NewTimer makes a timer that rings once, d from now; at once when d <= 0.
	NewTimer(d time.Duration) Timer
}

// Timer rings once on its channel, unless it is stopped first.
type Timer interface {
	// C receives the time of the ring. It is never closed.
	C() <-chan time.Time
	// Stop keeps the timer from ringing and reports whether it still could.
	Stop() bool
}

// Real is the machine's clock.
type Real struct{}

// Now is time.Now.
func (Real) Now() time.Time { return time.Now() }

// NewTimer is time.NewTimer.
func (Real) NewTimer(d time.Duration) Timer { return realTimer{time.NewTimer(d)} }

type realTimer struct{ t *time.Timer }

func (r realTimer) C() <-chan time.Time { return r.t.C }
func (r realTimer) Stop() bool          { return r.t.Stop() }
