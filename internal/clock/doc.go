// Package clock tells the time and rings timers, so that what depends on time
// can be tested without waiting for it.
//
// Real is the machine's clock. Fake stands still until Advance moves it; a test
// that drives a goroutine waits with BlockUntil until the goroutine has set its
// timer, then advances.
//
// The package may touch package time, and nothing else.
package clock
