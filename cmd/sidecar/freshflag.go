package main

import (
	"sync/atomic"
	"time"
)

// freshFor is how long an answer to whether this pod is fit is good for. What it
// stands on is looked at each second and costs locks and texts; the proxy asks for
// each piece that a client sends.
const freshFor = 10 * time.Millisecond

// freshFlag is a flag that is asked for anew when it is old, as its zero value is.
type freshFlag struct {
	last   atomic.Pointer[freshAnswer]
	asking atomic.Bool // somebody does; others take what there is
}

type freshAnswer struct {
	at time.Time
	on bool
}

// get returns the flag, which ask tells.
func (f *freshFlag) get(ask func() bool) bool {
	last := f.last.Load()
	if last != nil && (time.Since(last.at) < freshFor || !f.asking.CompareAndSwap(false, true)) {
		return last.on
	}
	now := freshAnswer{at: time.Now(), on: ask()}
	f.last.Store(&now)
	f.asking.Store(false)
	return now.on
}
