package bridge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"evenkeel/pkg/tile38"
)

// history is a random one: writes that repeat themselves, messages, deletions by
// Tile38 itself and, maybe, heartbeats.
func history(r *rand.Rand, n int, beats *tile38.Heartbeat) [][]byte {
	var cmds [][]byte
	for i := range n {
		switch k := r.IntN(20); {
		case k == 0 && beats != nil:
			cmds = append(cmds, tile38.AppendCommand(nil, beats.Command(time.Now())...))
		case k == 1:
			cmds = append(cmds, tile38.AppendCommand(nil, "PUBLISH", "c", "m"))
		case k == 2:
			cmds = append(cmds, tile38.AppendCommand(nil, "del", "k", fmt.Sprint(r.IntN(3))))
		case k == 3 && beats != nil:
			cmds = append(cmds, tile38.AppendCommand(nil, "DEL", "k", fmt.Sprint(r.IntN(3))))
		case k < 6:
			cmds = append(cmds, tile38.AppendCommand(nil, "SET", "k", fmt.Sprint(r.IntN(3)), "STRING", "x"))
		default:
			cmds = append(cmds, tile38.AppendCommand(nil, "SET", "k", fmt.Sprint(r.IntN(30)), "STRING", fmt.Sprint(i)))
		}
	}
	return cmds
}

// idle says whether between two places, of which the first comes first, is nothing
// but what may have been in vain.
func idle(all [][]byte, h, want int64) bool {
	var end int64
	for _, c := range all {
		if end += int64(len(c)); end > h && end <= want && !silent(c) && !vain(c) {
			return false
		}
	}
	return h <= want
}

// TestFindPlace: the end of a follower's file, wherever it was cut, is found behind
// its last command in what it was sent, or not at all.
func TestFindPlace(t *testing.T) {
	ctx := context.Background()
	beats := tile38.NewBeats("")
	found := 0
	for round := range 400 {
		r := rand.New(rand.NewPCG(1, uint64(round)))
		var beat *tile38.Heartbeat
		if round%3 > 0 {
			beat = tile38.NewHeartbeat("", "pod")
		}
		all := history(r, 20+r.IntN(300), beat)
		ring := newRing(1<<20, 1<<20)
		seeded := r.IntN(10)
		ring.seed(all[:seeded], round%2 == 0)
		for _, c := range all[seeded:] {
			if _, err := ring.add(ctx, 1, c); err != nil {
				t.Fatal(err)
			}
		}
		// The follower has the first n of them. It does not log messages, nor, now and
		// then, deletions, and it has some of its own.
		n := seeded + r.IntN(len(all)-seeded+1)
		var e ending
		var want, end int64
		for i, c := range all {
			end += int64(len(c))
			if i >= n {
				break
			}
			if (silent(c) || vain(c)) && r.IntN(2) == 0 || tile38.IsMessage(c) {
				continue
			}
			e.cmds = append(e.cmds, c)
			if !silent(c) {
				want = end
			}
			if r.IntN(15) == 0 {
				e.cmds = append(e.cmds, tile38.AppendCommand(nil, "del", "k", "own"))
			}
		}
		e.whole = round%2 == 0
		if !e.whole && seeded < len(e.cmds) {
			e.cmds = e.cmds[seeded:]
		}
		_, h, err := ring.find(&e, beats)
		switch {
		case errors.Is(err, errPlace):
			continue
		case err != nil || h != want && !idle(all, h, want):
			t.Fatalf("round %d: %d commands of %d: at %d, want %d, %v", round, n, len(all), h, want, err)
		}
		found++
		// One that the follower was never sent is the end of all knowledge.
		e.cmds = append(e.cmds, tile38.AppendCommand(nil, "SET", "k", "x", "STRING", "its own"))
		if _, h, err := ring.find(&e, beats); !errors.Is(err, errPlace) {
			t.Fatalf("round %d: with a command of its own at %d, %v", round, h, err)
		}
	}
	if found < 250 {
		t.Errorf("only %d of 400 are found", found)
	}
}

// TestRing: what is sent is what was added, in order, in whole commands, however
// little memory there is; a place in the leader's file is known as long as it is kept.
func TestRing(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r := newRing(64<<10, 10_000)
	gen, _ := r.seed(nil, true)
	const n = 20_000
	done := make(chan error, 1)
	go func() {
		pos := int64(1000)
		for i := range n {
			r.at(pos)
			b := tile38.AppendCommand(nil, "SET", fmt.Sprint(i), string(make([]byte, i%50)))
			if _, err := r.add(ctx, gen, b); err != nil {
				done <- err
				return
			}
			pos += int64(len(b))
		}
		done <- nil
	}()
	c := cursor{gen: gen, marked: -1}
	next := 0
	most := 0
	for next < n {
		piece, end, err := r.piece(ctx, &c, 3000, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tile38.Split(piece, func(raw []byte) bool {
			args, err := tile38.Args(raw)
			if err != nil || args[1] != fmt.Sprint(next) {
				t.Fatalf("%q, want %d", raw, next)
			}
			next++
			return true
		}); err != nil {
			t.Fatal(err)
		}
		c.at = end
		r.delivered(gen, end)
		if pos, ok := r.leader(end); !ok || pos != 1000+end {
			t.Fatalf("%d is at %d, %v", end, pos, ok)
		}
		r.mu.Lock()
		most = max(most, cap(r.buf))
		if ahead := r.end() - r.sent; ahead > r.ahead {
			t.Errorf("%d bytes are taken ahead, %d may be", ahead, r.ahead)
		}
		r.mu.Unlock()
		if next%500 < 50 {
			runtime.Gosched() // the other side gets ahead
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if most > 1<<20 {
		t.Errorf("%d bytes are held", most)
	}
	r.want(c.at)
	if piece, _, err := r.piece(ctx, &c, 3000, nil); err != nil || piece != nil {
		t.Errorf("no mark where one is due: %d bytes, %v", len(piece), err)
	}
	r.seed(nil, false)
	if _, err := r.add(ctx, gen, tile38.AppendCommand(nil, "PING")); !errors.Is(err, errLost) {
		t.Errorf("a history that is over takes more: %v", err)
	}
}

// TestStuck: connections that end at the same place mean something when they follow
// each other, and something is to be sent there.
func TestStuck(t *testing.T) {
	b := &Bridge{ring: newRing(1<<20, 1<<20)}
	gen, h := b.ring.seed(nil, true)
	for range 3 * stuckAfter {
		if b.stuck(gen, h) {
			t.Fatal("stuck where nothing is to be sent")
		}
	}
	if _, err := b.ring.add(context.Background(), gen, tile38.AppendCommand(nil, "SET", "k", "a", "POINT", "1", "1")); err != nil {
		t.Fatal(err)
	}
	_, end, _, _ := b.ring.now()
	for i := range stuckAfter - 1 {
		if i > 0 && b.stuck(gen, h) {
			t.Fatalf("stuck after %d times", i)
		}
	}
	if b.stuck(gen, end) {
		t.Fatal("stuck, though it got further")
	}
	times := 1
	for ; !b.stuck(gen, h) && times < 100; times++ {
	}
	if times != stuckAfter {
		t.Errorf("stuck after %d times, want %d", times, stuckAfter)
	}
}

// TestValidate: every fault is listed.
func TestValidate(t *testing.T) {
	o := Options{Leader: "x", Engine: "y", Keep: -1, Timeout: -1, LeaderAuth: "a\nb", BackoffMin: 2, BackoffMax: 1}
	o.EnsureDefaults()
	err := o.Validate()
	for _, want := range []string{"leader \"x\"", "engine \"y\"", "keep", "timeout", "line end", "back-off", "directory", "listener"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
}
