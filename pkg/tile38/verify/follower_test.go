package verify

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"evenkeel/internal/testkit"
)

// pair is a leader and its follower, which have the same.
func pair(t *testing.T, start func() testkit.Machine) (leader, follower testkit.Machine) {
	t.Helper()
	leader, follower = start(), start()
	c := dial(t, leader.Address())
	var cmds [][]string
	for i := range 12000 {
		cmds = append(cmds, []string{"SET", "fleet", fmt.Sprintf("truck:%d", i), "FIELD", "speed", "1", "POINT", "33", "-115"})
	}
	do(t, c, cmds...)
	host, port, err := net.SplitHostPort(leader.Address())
	if err != nil {
		t.Fatal(err)
	}
	f := dial(t, follower.Address())
	do(t, f, []string{"FOLLOW", host, port})
	level(t, leader, follower)
	return leader, follower
}

// level waits until a follower has what its leader has logged.
func level(t *testing.T, leader, follower testkit.Machine) {
	t.Helper()
	mark := fmt.Sprintf("mark%d", time.Now().UnixNano())
	do(t, dial(t, leader.Address()), []string{"SET", "marks", mark, "STRING", "x"})
	f := live(t, follower.Address())
	eventually(t, "the follower", func() bool {
		found, err := f.Look(context.Background(), "marks", []string{mark})
		return err == nil && found[0] != nil
	})
}

// TestGhosts names what Tile38 keeps: objects that were deleted while a follower
// was away, when the leader's log was shrunk meanwhile.
func TestGhosts(t *testing.T) {
	machines(t, func(t *testing.T, start func() testkit.Machine) {
		leader, follower := pair(t, start)
		follower.Stop()
		c := dial(t, leader.Address())
		var gone [][]string
		for i := range 3000 {
			gone = append(gone, []string{"DEL", "fleet", fmt.Sprintf("truck:%d", i*2)})
		}
		do(t, c, gone...)
		before, err := c.Server()
		if err != nil {
			t.Fatal(err)
		}
		do(t, c, []string{"AOFSHRINK"})
		eventually(t, "the end of AOFSHRINK", func() bool {
			now, err := c.Server()
			return err == nil && now.AOFSize < before.AOFSize
		})
		follower.Start()
		level(t, leader, follower)
		all, sum := differences(t, live(t, leader.Address()), live(t, follower.Address()), quick())
		if len(all) != 3000 || sum.Count(Extra) != 3000 || sum.Unsettled != 0 {
			t.Fatalf("%d differences: %+v", len(all), sum)
		}
		for _, d := range all {
			if cmds := d.Commands(); len(cmds) != 1 || cmds[0][0] != "DEL" {
				t.Fatalf("%s: %q", d.ID, cmds)
			}
		}
	})
}

// TestUnderLoad compares a leader that is written to with its follower: what is on
// its way is no difference.
func TestUnderLoad(t *testing.T) {
	machines(t, func(t *testing.T, start func() testkit.Machine) {
		leader, follower := pair(t, start)
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		c := dial(t, leader.Address())
		go func() {
			defer close(done)
			for i := 0; ctx.Err() == nil; i++ {
				id := fmt.Sprintf("truck:%d", i*7919%14000)
				cmd := []string{"SET", "fleet", id, "FIELD", "speed", fmt.Sprint(i), "EX", "1000", "POINT", fmt.Sprint(i % 90), "2"}
				if i%3 == 0 {
					cmd = []string{"DEL", "fleet", id}
				}
				if _, err := c.Do(cmd...); err != nil {
					t.Error(err)
					return
				}
			}
		}()
		want, have := live(t, leader.Address()), live(t, follower.Address())
		o := Options{
			Tolerance: time.Minute, // a follower begins to count when a command comes, however late
			Pauses:    []time.Duration{10 * time.Millisecond, 20 * time.Millisecond},
			Level:     LevelBy(want.LogSize, have.LogSize, 20*time.Second),
		}
		for range 3 {
			if all, sum := differences(t, want, have, o); len(all) != 0 {
				t.Errorf("%+v\n%.2000s", sum, describe(all))
			}
		}
		stop()
		<-done
	})
}
