package metrics

import (
	"math/bits"
	"time"
)

// mantissas are the bucket bounds of one decade. 1, 2 and 5 are among them, for
// the coarse buckets; no step is larger than 13 %, so a quantile read from them
// is off by 6 % at most.
var mantissas = [...]int64{100, 110, 120, 130, 140, 160, 180, 200, 220, 250, 280, 320, 360, 400, 450, 500, 560, 630, 700, 800, 900}

const (
	smallestBound = 1000           // ns: 1 µs
	decades       = 7              // up to 10 s
	coarseFrom    = 10_000         // ns: 10 µs, the first bucket that Prometheus sees
	coarseTo      = 10_000_000_000 // ns: 10 s, the last one with a bound
)

// scale sorts durations into fine buckets; bucket i holds those above bound
// i-1 and up to bound i, the one after the last bound everything longer. It is
// never changed once made.
type scale struct {
	bounds []int64   // ns, rising
	first  [65]uint8 // by bit length of the duration: the first bucket that can hold one
	coarse []int     // the fine buckets whose bounds Prometheus sees
}

func newScale() *scale {
	s := &scale{}
	for d, unit := 0, int64(smallestBound); d < decades; d, unit = d+1, unit*10 {
		for _, m := range mantissas {
			s.add(m*unit/100, m == 100 || m == 200 || m == 500)
		}
	}
	s.add(coarseTo, true)
	for length := range s.first {
		shortest := int64(0) // the shortest duration of this bit length
		if length > 0 {
			shortest = int64(min(uint64(1)<<(length-1), 1<<62))
		}
		i := 0
		for i < len(s.bounds) && s.bounds[i] < shortest {
			i++
		}
		s.first[length] = uint8(i)
	}
	return s
}

// add appends a bound, which Prometheus sees when it is coarse.
func (s *scale) add(bound int64, coarse bool) {
	if coarse && bound >= coarseFrom {
		s.coarse = append(s.coarse, len(s.bounds))
	}
	s.bounds = append(s.bounds, bound)
}

// buckets is how many there are.
func (s *scale) buckets() int { return len(s.bounds) + 1 }

// bucket is where d belongs. A clock that stepped back counts as 0.
func (s *scale) bucket(d time.Duration) int {
	ns := max(int64(d), 0)
	i := int(s.first[bits.Len64(uint64(ns))])
	for i < len(s.bounds) && s.bounds[i] < ns {
		i++
	}
	return i
}

// cumulative turns fine counts into what Prometheus wants: by upper bound in
// seconds, the number of durations up to it.
func (s *scale) cumulative(counts []uint64) map[float64]uint64 {
	out := make(map[float64]uint64, len(s.coarse))
	sum, i := uint64(0), 0
	for _, c := range s.coarse {
		for ; i <= c; i++ {
			sum += counts[i]
		}
		out[float64(s.bounds[c])/1e9] = sum
	}
	return out
}

// quantile is the duration in seconds that the share q of the counts does not
// exceed, with a straight line inside a bucket.
func (s *scale) quantile(q float64, counts []uint64) float64 {
	total := uint64(0)
	for _, n := range counts {
		total += n
	}
	rank, below := q*float64(total), 0.0
	for i, n := range counts {
		if n == 0 || below+float64(n) < rank {
			below += float64(n)
			continue
		}
		if i == len(s.bounds) {
			break
		}
		lower := 0.0
		if i > 0 {
			lower = float64(s.bounds[i-1])
		}
		return (lower + (float64(s.bounds[i])-lower)*(rank-below)/float64(n)) / 1e9
	}
	return float64(coarseTo) / 1e9
}
