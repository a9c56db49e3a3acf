package verify

import (
	"context"
	"errors"
	"testing"
	"time"
)

// sizes gives each of them once, the last one for ever.
func sizes(all ...int64) func(context.Context) (int64, error) {
	return func(context.Context) (int64, error) {
		size := all[0]
		if len(all) > 1 {
			all = all[1:]
		}
		return size, nil
	}
}

func TestLevelBy(t *testing.T) {
	const still = 200 * time.Millisecond
	for _, c := range []struct {
		name             string
		leader, follower []int64
		waits            []bool // how long each call takes: not less than still
	}{
		{"level", []int64{100}, []int64{100}, []bool{false}},
		{"doubled", []int64{100, 200}, []int64{150, 250}, []bool{false, false}},
		{"comes", []int64{100}, []int64{50, 60, 100}, []bool{false}},
		{"stands still", []int64{100}, []int64{60}, []bool{true, false}},
		{"shrunk, and goes on", []int64{100, 110, 130}, []int64{60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 70, 80, 90}, []bool{true, false, false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			level := LevelBy(sizes(c.leader...), sizes(c.follower...), still)
			for i, waits := range c.waits {
				begun := time.Now()
				if err := level(t.Context()); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begun); waits && took < still || !waits && took >= 10*still {
					t.Errorf("call %d took %s", i, took)
				}
			}
		})
	}
	// One that grows and does not come there is not waited for for ever.
	n := int64(0)
	grows := func(context.Context) (int64, error) { n++; return n, nil }
	begun := time.Now()
	if err := LevelBy(sizes(1<<40), grows, still)(t.Context()); err != nil || time.Since(begun) < 10*still {
		t.Errorf("%v after %s", err, time.Since(begun))
	}
	boom := errors.New("boom")
	fails := func(context.Context) (int64, error) { return 0, boom }
	for _, level := range []func(context.Context) error{LevelBy(fails, grows, still), LevelBy(grows, fails, still)} {
		if err := level(t.Context()); !errors.Is(err, boom) {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := LevelBy(sizes(100), sizes(1), still)(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
