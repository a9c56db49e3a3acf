package store

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// jumpClock is a clock on which work takes the time that the test says, and a
// sleep is over at once.
type jumpClock struct {
	t     time.Time
	slept time.Duration
	each  func() // called in each sleep; may be nil
}

func (c *jumpClock) now() time.Time { return c.t }

func (c *jumpClock) sleep(_ context.Context, d time.Duration) {
	c.t = c.t.Add(d)
	c.slept += d
	if c.each != nil {
		c.each()
	}
}

// paced works in steps of the given time, each moving so many bytes, and
// returns how long that took.
func paced(t *testing.T, p *pacer, c *jumpClock, steps int, each time.Duration, bytes int64) time.Duration {
	t.Helper()
	began := c.t
	for range steps {
		c.t = c.t.Add(each)
		p.moved(bytes)
		if err := p.step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return c.t.Sub(began)
}

func newTestPacer(pace func() Pace) (*pacer, *jumpClock) {
	c := &jumpClock{t: time.Unix(1000, 0)}
	return &pacer{pace: pace, rated: true, clock: c, until: c.t.Add(paceSlice)}, c
}

func TestPace(t *testing.T) {
	for _, tt := range []struct {
		pace Pace
		want time.Duration // for 1 s of work that moves 100 MB
	}{
		{Pace{Percent: 100}, time.Second},
		{Pace{Percent: 25}, 4 * time.Second},
		{Pace{Percent: 3}, 33 * time.Second},
		{Pace{Percent: 100, BytesPerSecond: 10e6}, 10 * time.Second},
		{Pace{Percent: 25, BytesPerSecond: 10e6}, 10 * time.Second},
		{Pace{Percent: 25, BytesPerSecond: 100e6}, 4 * time.Second},
		{Pace{Percent: 25, BytesPerSecond: 1e12}, 4 * time.Second},
		{Pace{Percent: 100, BytesPerSecond: 1000}, 100_000 * time.Second},
	} {
		t.Run(fmt.Sprintf("%+v", tt.pace), func(t *testing.T) {
			p, c := newTestPacer(func() Pace { return tt.pace })
			took := paced(t, p, c, 1e6, time.Microsecond, 100)
			// A slice is over when the 16th step behind its end looks.
			if took < tt.want*85/100 || took > tt.want*102/100 {
				t.Errorf("it took %v, want %v", took, tt.want)
			}
			if limit := tt.pace.BytesPerSecond; limit > 0 && 100e6/took.Seconds() > float64(limit)*1.01 {
				t.Errorf("%.0f bytes/s, more than %d", 100e6/took.Seconds(), limit)
			}
		})
	}
}

// What one large piece owes is paid in rests that end when the rate changes.
func TestPaceChanges(t *testing.T) {
	pace := Pace{Percent: 100, BytesPerSecond: 1}
	p, c := newTestPacer(func() Pace { return pace })
	c.each = func() {
		if c.slept >= time.Second {
			pace.BytesPerSecond = 0
		}
	}
	if took := paced(t, p, c, 16, time.Millisecond, 1<<20); took > 2*time.Second {
		t.Errorf("it took %v, though the rate was lifted after a second", took)
	}
	pace.BytesPerSecond = 1 << 20
	c.each = nil
	if took := paced(t, p, c, 16, time.Millisecond, 1<<20); took < 15*time.Second || took > 17*time.Second {
		t.Errorf("16 MiB at 1 MiB/s took %v", took)
	}
}

// What somebody waits for keeps to the share alone.
func TestPaceUnrated(t *testing.T) {
	p, c := newTestPacer(func() Pace { return Pace{Percent: 50, BytesPerSecond: 1} })
	p.rated = false
	if took := paced(t, p, c, 1e5, time.Microsecond, 100); took > 210*time.Millisecond {
		t.Errorf("100 ms of work at half of a processor took %v", took)
	}
}

// A rest ends at once when the work is cancelled.
func TestPaceCancelled(t *testing.T) {
	s := &Store{opt: Options{Pace: func() Pace { return Pace{Percent: 100, BytesPerSecond: 1} }}}
	p := s.newPacer()
	p.rated = true
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("shutting down")
	time.AfterFunc(20*time.Millisecond, func() { cancel(why) })
	began := time.Now()
	var err error
	for err == nil {
		p.moved(1 << 30) // thirty years
		err = p.step(ctx)
	}
	if !errors.Is(err, why) {
		t.Errorf("ended with %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it rested for another %v", took)
	}
}

// A compaction keeps to its rate, writing and reading back, and is cancelled in
// the middle of it.
func TestCompactAtRate(t *testing.T) {
	f := open(t, t.TempDir())
	for i := range 4000 {
		f.mustWrite(fmt.Sprintf("SET k %d POINT 1 1", i))
	}
	want := f.digest()
	const rate = 1 << 20
	f.opt.Pace = func() Pace { return Pace{Percent: 100, BytesPerSecond: rate} }
	began := time.Now()
	c, err := f.Compact(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// The last batch of each pass, of 64 KiB, is not waited for.
	least := time.Duration(float64(2*(c.BytesAfter-(64<<10))) / rate * float64(time.Second))
	if took := time.Since(began); c.BytesAfter < 200<<10 || took < least*9/10 {
		t.Errorf("%d bytes, written and read back, took %v; want %v at least", c.BytesAfter, took, least)
	}
	if got := f.Stats().BaseBytes; got < c.BytesAfter-(64<<10) || got > c.BytesAfter {
		t.Errorf("%d bytes counted of %d", got, c.BytesAfter)
	}

	f.opt.Pace = func() Pace { return Pace{Percent: 100, BytesPerSecond: 1} }
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began = time.Now()
	if _, err := f.Compact(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled: %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it ended after %v", took)
	}
	if st := f.log.Stats(); st.BaseBytes == 0 || st.TempBytes != 0 || f.digest() != want {
		t.Errorf("after it: %+v", st)
	}
}
