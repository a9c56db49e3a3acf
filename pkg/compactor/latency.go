package compactor

import (
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// The histogram of latencies: 32 buckets to each power of two, so that a bucket
// is at most a 32nd wide, from 64 ns to 4 s; what is longer is in the last.
const (
	latencyUnit  = 6 // nanoseconds are counted in units of 1<<latencyUnit
	subBits      = 5
	latencySteps = (26-subBits+1)<<subBits + 1
)

// stripes is how many copies of the histogram there are, so that cores seldom
// write to the same line of the cache.
const stripes = 16

// counts is a histogram at some moment, or the difference of two. It wraps.
type counts [latencySteps]uint32

// latencies counts durations. It is safe for concurrent use, takes no lock and
// makes no garbage.
type latencies [stripes][latencySteps]atomic.Uint32

// add counts d.
func (l *latencies) add(d time.Duration) {
	// The generator belongs to the processor at hand: it costs less than to
	// contend for a counter, and nothing else tells the processors apart.
	l[rand.Uint32()%stripes][bucketOf(d)].Add(1) // #nosec G404 -- spreads, does not protect
}

// read returns what has been counted so far.
func (l *latencies) read() (c counts) {
	for s := range l {
		for i := range c {
			c[i] += l[s][i].Load()
		}
	}
	return c
}

// since returns what has been counted between old and c.
func (c *counts) since(old *counts) (d counts) {
	for i := range c {
		d[i] = c[i] - old[i]
	}
	return d
}

// plus returns both together.
func (c *counts) plus(other *counts) (sum counts) {
	for i := range c {
		sum[i] = c[i] + other[i]
	}
	return sum
}

func (c *counts) total() (n int64) {
	for _, x := range c {
		n += int64(x)
	}
	return n
}

// p99 returns the middle of the bucket in which the 99th percentile is; 0 of
// nothing.
func (c *counts) p99() time.Duration {
	rest := c.total() / 100 // may be above
	if c.total() == 0 {
		return 0
	}
	for i := len(c) - 1; i >= 0; i-- {
		if rest -= int64(c[i]); rest < 0 {
			return middle(i)
		}
	}
	return 0
}

// above counts what is not below limit, as far as buckets can tell.
func (c *counts) above(limit time.Duration) (n int64) {
	for i := bucketOf(limit); i < len(c); i++ {
		if middle(i) >= limit {
			n += int64(c[i])
		}
	}
	return n
}

// bucketOf returns the bucket that d is counted in.
func bucketOf(d time.Duration) int {
	v := uint64(max(d, 0)) >> latencyUnit
	if v < 1<<subBits {
		return int(v) // #nosec G115 -- small
	}
	power := bits.Len64(v) - subBits - 1
	i := (power+1)<<subBits + int(v>>power) - 1<<subBits // #nosec G115 -- v>>power has subBits+1 bits
	return min(i, latencySteps-1)
}

// edge is the smallest duration of a bucket.
func edge(i int) time.Duration {
	if i < 1<<subBits {
		return time.Duration(i) << latencyUnit
	}
	power := i>>subBits - 1
	return time.Duration(i&(1<<subBits-1)|1<<subBits) << (power + latencyUnit)
}

func middle(i int) time.Duration { return (edge(i) + edge(i+1)) / 2 }
