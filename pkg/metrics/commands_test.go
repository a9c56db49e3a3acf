package metrics

import (
	"math"
	"sync"
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	s := newScale()
	for _, d := range []time.Duration{-1, 0, 1, 999, 1000, 1001, 1024, 65536, 99999, 100000, 123456789, 10 * time.Second, 10*time.Second + 1, math.MaxInt64} {
		i := s.bucket(d)
		if i < len(s.bounds) && int64(d) > s.bounds[i] {
			t.Errorf("%d ns is above the bound %d of its bucket", d, s.bounds[i])
		}
		if i > 0 && int64(d) <= s.bounds[i-1] {
			t.Errorf("%d ns is not above the bound %d below its bucket", d, s.bounds[i-1])
		}
	}
	for i := 1; i < len(s.bounds); i++ {
		if step := float64(s.bounds[i]) / float64(s.bounds[i-1]); step <= 1 || step > 1.15 {
			t.Errorf("bounds %d and %d are %.2f apart", s.bounds[i-1], s.bounds[i], step)
		}
	}
	if got := s.bounds[s.coarse[0]]; got != coarseFrom {
		t.Errorf("the first coarse bound is %d", got)
	}
	if n := len(s.coarse); n != 19 || s.coarse[n-1] != len(s.bounds)-1 {
		t.Errorf("%d coarse buckets, the last at %d", n, s.coarse[n-1])
	}
}

func TestQuantiles(t *testing.T) {
	c := newCommands([]string{"get"}).find("get")
	for ms := 1; ms <= 1000; ms++ {
		c.Observe(time.Duration(ms)*time.Millisecond, false)
	}
	counts, total := c.read()
	if total != 1000 {
		t.Fatalf("counted %d", total)
	}
	for q, got := range c.scale.quantiles(counts) {
		if math.Abs(got/q-1) > 0.02 {
			t.Errorf("quantile %v = %v s, want about %v s", q, got, q)
		}
	}
	if q := c.scale.quantiles(make([]uint64, len(counts))); !math.IsNaN(q[0.5]) {
		t.Errorf("median of nothing = %v", q[0.5])
	}
	c.Observe(time.Hour, false)
	counts, _ = c.read()
	if got := c.scale.quantile(1, counts); got != 10 {
		t.Errorf("the longest = %v s, want the last bound, 10 s", got)
	}
}

func TestWindowForgets(t *testing.T) {
	c := newCommands(nil).find("x")
	w, now := &window{}, noon
	seen := func(advance time.Duration) uint64 {
		now = now.Add(advance)
		counts, _ := c.read()
		sum := uint64(0)
		for _, n := range w.recent(now, counts) {
			sum += n
		}
		return sum
	}
	c.Observe(time.Millisecond, false)
	for _, step := range []struct {
		advance time.Duration
		want    uint64
	}{{0, 1}, {4 * time.Minute, 1}, {time.Minute, 1}, {5 * time.Minute, 1}, {time.Second, 0}} {
		if got := seen(step.advance); got != step.want {
			t.Errorf("at %v: %d in the window, want %d", now.Sub(noon), got, step.want)
		}
	}
	c.Observe(time.Millisecond, false)
	if got := seen(time.Hour); got != 1 {
		t.Errorf("the first look after an hour: %d, want 1", got)
	}
	if got := seen(time.Second); got != 0 {
		t.Errorf("the second look after an hour: %d, want 0", got)
	}
}

func TestObserveConcurrently(t *testing.T) {
	m := mustNew(t, Options{Commands: []string{"get"}})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				m.Observe("get", time.Millisecond, true)
			}
		})
	}
	scrape(t, m)
	wg.Wait()
	values, _ := scrape(t, m)
	expect(t, values, map[string]float64{
		`evenkeel_command_duration_seconds_count{command="get"}`: 4000,
		`evenkeel_command_errors_total{command="get"}`:           4000,
	})
}

func TestObserveMakesNoGarbage(t *testing.T) {
	m := mustNew(t, Options{Commands: []string{"get"}})
	if n := testing.AllocsPerRun(1000, func() {
		m.Observe("get", time.Millisecond, true)
		m.Observe("nosuch", time.Millisecond, false)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	names := []string{"get", "set", "nearby", "within", "intersects", "del", "fset", "jset", "scan", "search", "expire", "ttl", "keys", "bounds"}
	m := mustNew(b, Options{Commands: names})
	b.ReportAllocs()
	for i := range b.N {
		m.Observe("intersects", time.Duration(i&0xfffff), false)
	}
}

func BenchmarkObserveParallel(b *testing.B) {
	m := mustNew(b, Options{Commands: []string{"get", "set"}})
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.Observe("get", 80*time.Microsecond, false)
		}
	})
}
