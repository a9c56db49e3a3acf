package verify

import (
	"context"
	"time"
)

// levelPoll is how often a follower that is behind is asked.
const levelPoll = 20 * time.Millisecond

// LevelBy returns an Options.Level, by the sizes in bytes of a leader's log and of what
// its follower has of that, as LiveSource.LogSize reports them. A follower that has
// shrunk its own log reports less than it has: one whose size does not grow for as long
// as still, or that has not come there in ten times that, is taken for level, now and
// whenever it is no further behind. A follower whose size is doubled, as Tile38's may be
// after the leader's AOFSHRINK, is level always.
func LevelBy(leader, follower func(ctx context.Context) (int64, error), still time.Duration) func(ctx context.Context) error {
	var less int64 // which the follower reports
	return func(ctx context.Context) error {
		to, err := leader(ctx)
		if err != nil {
			return err
		}
		begun := time.Now()
		size, grown := int64(-1), begun
		for {
			now, err := follower(ctx)
			if err != nil {
				return err
			}
			if now != size {
				size, grown = now, time.Now()
			}
			if to-size <= less {
				return nil
			}
			if time.Since(grown) >= still || time.Since(begun) >= 10*still {
				less = to - size
				return nil
			}
			if err := wait(ctx, levelPoll); err != nil {
				return err
			}
		}
	}
}
