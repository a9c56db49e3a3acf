package shrink

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestWatch: a follower that somebody else's rewrite has doubled is healed without
// being asked for, and when nothing helps it is not tried again and again.
func TestWatch(t *testing.T) {
	each(t, func(w *world) {
		lead, fol := w.pair()
		c := w.coordinator(w.target(lead.m, nil), nil)
		w.haunt(lead, fol, w.n/5)
		healed := make(chan error, 10)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		looks := 0
		go func() {
			done <- c.Watch(ctx, WatchOptions{
				Every: 50 * time.Millisecond, Looks: 2, OnPatients: func([]Patient) { looks++ },
				OnHealed: func(_ Report, err error) { healed <- err },
			})
		}()
		select {
		case err := <-healed:
			if err != nil {
				w.Error(err)
			}
		case <-time.After(time.Minute):
			w.Error("not healed within a minute")
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			w.Errorf("Watch returned %v", err)
		}
		w.same(lead, fol)
		if looks < 2 {
			w.Errorf("%d looks", looks)
		}
	})
}

// TestWatchRests: what could not be healed is left alone for a while.
func TestWatchRests(t *testing.T) {
	each(t, func(w *world) {
		lead, fol := w.pair()
		c := w.coordinator(w.target(lead.m, nil), func(o *Options) { o.MaxShrinks = -1 })
		w.haunt(lead, fol, w.n/5)
		healed := 0
		ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
		defer cancel()
		_ = c.Watch(ctx, WatchOptions{Every: 20 * time.Millisecond, Looks: 1, RetryMin: time.Hour, OnHealed: func(_ Report, err error) {
			healed++
			if !errors.Is(err, ErrSick) {
				w.Errorf("healed with %v", err)
			}
		}})
		if healed != 1 {
			w.Errorf("%d attempts", healed)
		}
	})
}

func TestDue(t *testing.T) {
	look := func(c Condition, bridged bool) []Patient {
		return []Patient{{Addr: "a", Bridged: bridged, Judgement: Judgement{Condition: c}}}
	}
	sick := map[string]int{}
	for i, step := range []struct {
		c       Condition
		bridged bool
		want    bool
	}{
		{Doubled, false, false}, {Diverged, false, true}, {Fine, false, false}, {Doubled, false, false},
		{CatchingUp, false, false}, {Doubled, false, false}, {Doubled, true, false}, {Doubled, false, false}, {Doubled, false, true},
	} {
		if got := due(sick, look(step.c, step.bridged), 2); got != step.want {
			t.Errorf("look %d: %v", i, got)
		}
	}
}
