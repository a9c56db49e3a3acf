package proxy

import "time"

const (
	// slimAfter is how long a connection waits before it gives back its buffers.
	slimAfter = time.Second
	// Bounds of the period in which connections are looked at.
	minSweep = 10 * time.Millisecond
	maxSweep = 500 * time.Millisecond
)

// sweep looks at all connections from time to time, until done is closed.
func (s *Server) sweep(done <-chan struct{}) {
	for {
		timer := time.NewTimer(s.sweepPeriod())
		select {
		case <-done:
			timer.Stop()
			return
		case now := <-timer.C:
			for _, c := range s.snapshot() {
				s.look(c, now)
			}
		}
	}
}

// sweepPeriod is a quarter of the shortest timeout, within bounds.
func (s *Server) sweepPeriod() time.Duration {
	period := maxSweep
	for _, ns := range []int64{s.idleTimeout.Load(), s.writeTimeout.Load(), int64(s.opts.HeaderTimeout)} {
		if ns > 0 {
			period = min(period, time.Duration(ns)/4)
		}
	}
	return max(period, minSweep)
}

// look ends a connection that has been idle or stuck for too long and wakes one
// that could give back its buffers.
func (s *Server) look(c *Conn, now time.Time) {
	if s.raw != nil {
		if r := c.rawConn.Load(); r != nil {
			s.lookRaw(c, r, now)
		}
		return
	}
	// The phase first: whoever changes it has set the time before.
	phase := c.phase.Load()
	took := int64(now.Sub(c.opened)) - c.since.Load()
	switch phase {
	case phaseReading:
		if c.head.took(c.rd.HalfRequest(), s.opts.HeaderTimeout) {
			c.end(ClosedHeader)
		} else if idle := s.idleTimeout.Load(); idle > 0 && took > idle {
			c.end(ClosedIdle)
		} else if took > int64(slimAfter) && c.slim.CompareAndSwap(false, true) {
			c.wake()
		}
	case phaseWriting:
		if took > s.writeTimeout.Load() {
			c.end(ClosedStalled)
		}
	}
}

// headWatch is what the sweeper remembers of an HTTP request whose head is
// incomplete.
type headWatch struct {
	request int64     // its number
	first   time.Time // when it was seen first
}

// took says whether the head of request, a number of Reader.HalfRequest, has
// been incomplete for longer than limit.
func (w *headWatch) took(request int64, limit time.Duration) bool {
	if request&1 == 0 {
		return false
	}
	if request != w.request {
		w.request, w.first = request, time.Now()
	}
	return time.Since(w.first) > limit
}
