package replication

import "time"

// clockWindow is how long the best sample of the leader's clock counts: between
// one and two windows. Long enough that a backlog in socket buffers does not
// pass for a slow clock, short enough that a leader whose clock was set back
// is believed again soon.
const clockWindow = time.Minute

// LeaderClock estimates what the leader's clock shows now, without trusting
// that the two machines agree on the time.
//
// Each line from the leader carries its clock when the line was written. It
// arrived here later, by the time on the way and in buffers. So
// (leader's time - our time) is never too large and is best when it is largest:
// the largest sample of the last one to two minutes is kept, and between
// samples our own monotonic clock counts on. The error is the shortest delay
// seen, which is that of the network. A clock that is wrong on either machine
// does not matter, as long as it runs evenly.
type LeaderClock struct {
	base     time.Time // samples count from here, on our monotonic clock
	rotated  time.Time
	now, old int64 // largest (leader - ours) of this window and the last, ms
	haveNow  bool
	haveOld  bool
}

// Reset forgets all samples: another leader has another clock.
func (c *LeaderClock) Reset(now time.Time) { *c = LeaderClock{base: now, rotated: now} }

// Hear takes the leader's time, unix ms, from a line that was read at now.
func (c *LeaderClock) Hear(leader int64, now time.Time) {
	if c.base.IsZero() {
		c.Reset(now)
	}
	if now.Sub(c.rotated) >= clockWindow && c.haveNow {
		c.old, c.haveOld, c.haveNow, c.rotated = c.now, true, false, now
	}
	sample := leader - now.Sub(c.base).Milliseconds()
	if !c.haveNow || sample > c.now {
		c.now, c.haveNow = sample, true
	}
}

// Now returns the leader's time at now, unix ms; false before any sample.
func (c *LeaderClock) Now(now time.Time) (int64, bool) {
	best, ok := c.now, c.haveNow
	if c.haveOld && (!ok || c.old > best) {
		best, ok = c.old, true
	}
	return best + now.Sub(c.base).Milliseconds(), ok
}
