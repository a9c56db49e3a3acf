package shrink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"evenkeel/internal/testkit"
	"evenkeel/pkg/tile38"
)

// condition judges one follower.
func (w *world) condition(c *Coordinator, fol user) Judgement {
	w.Helper()
	return c.Look(context.Background(), fol.m.Address()).Judgement
}

// TestHealed is a follower with ghosts and a doubled counter: nobody notices it
// without the coordinator, and it is healed with it.
func TestHealed(t *testing.T) {
	each(t, func(w *world) {
		if w.real {
			w.n = 50_000
		}
		lead, fol := w.pair()
		c := w.coordinator(w.target(lead.m, nil), nil)
		if j := w.condition(c, fol); j.Condition != Fine {
			w.Fatalf("at first: %+v", j)
		}
		w.haunt(lead, fol, w.n/5)
		var j Judgement
		w.until("diverged", func() bool { j = w.condition(c, fol); return j.Condition == Diverged })
		if got := fol.do("HEALTHZ"); got != "OK" || fol.server()["caught_up"] != "true" {
			w.Errorf("the follower itself: %s", got)
		}
		want := fmt.Sprintf(`collection "fleet", objects: %d, the leader has %d`, w.n, w.n-w.n/5)
		if !slices.Contains(j.Reasons, want) || !strings.Contains(strings.Join(j.Reasons, " "), "its aof_size is ") {
			w.Errorf("reasons: %q", j.Reasons)
		}
		if ok, why := Ready(j); ok || len(why) < 2 {
			w.Errorf("ready: %v %q", ok, why)
		}
		start := time.Now()
		r, err := c.Heal(context.Background())
		if err != nil {
			w.Fatal(err)
		}
		w.Logf("healed in %v with %d rewrites", time.Since(start).Round(time.Millisecond), r.Shrinks)
		if f := r.Followers[0]; r.Shrinks != 1 || len(r.Followers) != 1 || f.First != Diverged || !f.Fine || f.Shrinks != 1 {
			w.Errorf("report: %+v", r)
		}
		w.same(lead, fol)
		if b, err := json.Marshal(c.Last()); err != nil || !strings.Contains(string(b), `"condition":"fine"`) {
			w.Errorf("report: %s (%v)", b, err)
		}
	})
}

// TestCompact is a compaction of a leader with two followers, which it doubles.
func TestCompact(t *testing.T) {
	each(t, func(w *world) {
		lead, one := w.pair()
		two := w.user(w.start())
		two.follow(lead.m)
		for i := range w.n / 2 { // what a rewrite takes away
			lead.do("SET", "fleet", fmt.Sprintf("truck%06d", i), "POINT", "7", "7")
		}
		one.level(lead)
		two.level(lead)
		c := w.coordinator(w.target(lead.m, nil), nil)
		r, err := c.Compact(context.Background())
		if err != nil {
			w.Fatal(err)
		}
		last := c.Last()
		if last == nil || last.Error != "" || last.Shrinks != 1 || len(last.Followers) != 2 {
			w.Fatalf("followers: %+v", last)
		}
		for _, f := range last.Followers {
			if f.First == Fine || !f.Fine {
				w.Errorf("follower: %+v", f)
			}
		}
		if r.Objects != int64(w.n) || r.BytesBefore == 0 || r.BytesAfter != number(lead.server(), "aof_size") {
			w.Errorf("result: %+v", r)
		}
		w.same(lead, one)
		w.same(lead, two)
	})
}

// TestBounded is a leader whose log never begins as it did: no rewrite heals, and the
// coordinator says why. A reset heals.
func TestBounded(t *testing.T) {
	each(t, func(w *world) {
		lead, fol := w.pair()
		w.haunt(lead, fol, 10)
		n := 0
		busy := func(s Step) {
			w.Log(s)
			if s.Kind == Shrink {
				n++
				lead.do("SET", "a", "first", "STRING", fmt.Sprint(n))
			}
		}
		c := w.coordinator(w.target(lead.m, nil), func(o *Options) { o.OnStep = busy })
		r, err := c.Heal(context.Background())
		if !errors.Is(err, ErrSick) || r.Shrinks != 2 || n != 2 || r.Followers[0].Fine || r.Followers[0].Shrinks != 2 {
			w.Fatalf("%v: %+v", err, r)
		}
		for _, part := range []string{"2 further rewrites", fol.m.Address() + " is diverged", "the first " + fmt.Sprint(w.block) + " bytes", `"fleet", objects`} {
			if !strings.Contains(err.Error(), part) {
				w.Errorf("%q is not in: %v", part, err)
			}
		}
		c = w.coordinator(w.target(lead.m, nil), func(o *Options) { o.OnStep, o.Reset, o.MaxShrinks = busy, true, -1 })
		if r, err = c.Heal(context.Background()); err != nil || r.Shrinks != 0 || r.Followers[0].Resets != 1 {
			w.Fatalf("%v: %+v", err, r)
		}
		w.same(lead, fol)
	})
}

// TestHeartbeatKey is why the reserved collection stands behind all others.
func TestHeartbeatKey(t *testing.T) {
	for _, key := range []string{DefaultKey, "evenkeel:heartbeat"} {
		t.Run(key, func(t *testing.T) {
			each(t, func(w *world) {
				lead, fol := w.pair()
				n := 0
				beat, end := Beater(tile38.Options{Addr: lead.m.Address()}, func(time.Time) []string {
					n++
					return []string{"SET", key, "pod", "STRING", fmt.Sprintf("%08d", n)}
				})
				defer end()
				c := w.coordinator(w.target(lead.m, func(o *TargetOptions) { o.Beat = beat }), func(o *Options) { o.Key = key })
				_, err := c.Compact(context.Background())
				last := c.Last()
				if err != nil || n < 4 {
					w.Fatalf("%v, %d heartbeats", err, n)
				}
				if healed := last.Error == "" && last.Shrinks == 1; healed != (key == DefaultKey) {
					w.Fatalf("healed: %v; %+v", healed, last)
				}
				if key == DefaultKey {
					fol.level(lead)
					w.same(lead, fol)
				}
			})
		})
	}
}

// TestShortLog is a log under a block: rewriting it doubles it each time.
func TestShortLog(t *testing.T) {
	each(t, func(w *world) {
		w.n = 20
		lead, fol := w.pair()
		c := w.coordinator(w.target(lead.m, nil), nil)
		if _, err := c.Compact(context.Background()); err != nil {
			w.Fatal(err)
		}
		last := c.Last()
		if last.Shrinks != 0 || last.Followers[0].Condition != Doubled || !strings.Contains(last.Error, "reads all of it each time") {
			w.Fatalf("report: %+v", last)
		}
		c = w.coordinator(w.target(lead.m, nil), func(o *Options) { o.Reset = true })
		if r, err := c.Heal(context.Background()); err != nil || r.Followers[0].Resets != 1 {
			w.Fatalf("%v: %+v", err, r)
		}
		w.same(lead, fol)
	})
}

// TestTurnsOfResets: never more followers than MaxUnavailable begin anew at once.
func TestTurnsOfResets(t *testing.T) {
	w := &world{T: t, n: 200, block: testBlock, start: func() testkit.Machine {
		return testkit.NewServer(t, testkit.ServerOptions{Block: testBlock})
	}}
	lead, one := w.pair()
	two, three := w.user(w.start()), w.user(w.start())
	for _, f := range []user{two, three} {
		f.follow(lead.m)
		f.level(lead)
	}
	w.haunt(lead, one, 10)
	var resets [][]string
	c := w.coordinator(w.target(lead.m, nil), func(o *Options) {
		o.Reset = true
		o.OnStep = func(s Step) {
			if s.Kind != Wait {
				resets = append(resets, s.Followers)
			}
			if s.Kind == Shrink {
				t.Errorf("step: %v", s)
			}
		}
	})
	if _, err := c.Heal(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(resets) != 4 || len(resets[0]) != 1 || len(resets[1]) != 1 || len(resets[2]) != 1 {
		t.Errorf("resets: %q", resets)
	}
	for _, f := range []user{one, two, three} {
		w.same(lead, f)
	}
}

// TestCutOffReset: a follower that a reset has left without a leader gets it back.
func TestCutOffReset(t *testing.T) {
	each(t, func(w *world) {
		w.n = 50
		lead, fol := w.pair()
		for _, line := range []string{"FOLLOW no one", "FLUSHDB", "AOFSHRINK"} {
			fol.do(strings.Fields(line)...)
		}
		w.until("empty", func() bool { return fol.server()["aof_size"] == "0" })
		lead.do("SET", DefaultKey, "reset:"+fol.m.Address(), "EX", "100", "STRING", lead.m.Address())
		lead.do("SET", DefaultKey, "reset:127.0.0.1:1", "STRING", lead.m.Address())
		if _, err := w.coordinator(w.target(lead.m, nil), nil).Heal(context.Background()); err != nil {
			w.Fatal(err)
		}
		fol.level(lead)
		w.same(lead, fol)
		if got := lead.do("GET", DefaultKey, "reset:"+fol.m.Address()); got != "" {
			w.Errorf("the note: %q", got)
		}
	})
}

// TestOwnLog is a follower whose own log is compacted: it goes on following.
func TestOwnLog(t *testing.T) {
	each(t, func(w *world) {
		w.n = 300
		lead, fol := w.pair()
		lead.fill(w.n)
		lead.fill(w.n)
		fol.level(lead)
		before := number(fol.server(), "aof_size")
		r, err := w.target(fol.m, nil).Compact(context.Background())
		if err != nil || r.BytesBefore != before || r.BytesAfter >= before || r.Objects != 300 {
			w.Fatalf("%+v, %v", r, err)
		}
		lead.do("SET", "fleet", "new", "POINT", "1", "1")
		w.until("following", func() bool { return fol.server()["num_objects"] == "301" })
	})
	// With an aof_size that is more than its file has.
	w := &world{T: t, n: 400, block: testBlock, start: func() testkit.Machine {
		return testkit.NewServer(t, testkit.ServerOptions{Block: testBlock})
	}}
	lead, fol := w.pair()
	w.haunt(lead, fol, 10)
	if _, err := w.target(fol.m, nil).Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// TestCounts of many collections: all but the reserved one.
func TestCounts(t *testing.T) {
	each(t, func(w *world) {
		lead := w.user(w.start())
		lead.do("SET", DefaultKey, "pod", "STRING", "x")
		for i := range statsBatch + 5 {
			lead.do("SET", fmt.Sprintf("c%03d", i), "a", "POINT", "1", "1")
		}
		lead.do("SET", "c000", "b", "STRING", "1")
		got, err := lead.l.counts(context.Background(), DefaultKey)
		if err != nil || len(got) != statsBatch+5 || got["c000"] != (Count{2, 1, 1}) || got["c204"] != (Count{1, 1, 0}) {
			w.Errorf("%d collections, %v, %v: %v", len(got), got["c000"], got["c204"], err)
		}
	})
}

// TestSlowToNotice: followers that have yet to connect again are not judged by what
// they were.
func TestSlowToNotice(t *testing.T) {
	w := &world{T: t, n: 400, block: testBlock, start: func() testkit.Machine {
		return testkit.NewServer(t, testkit.ServerOptions{Block: testBlock, Retry: 500 * time.Millisecond})
	}}
	lead, fol := w.pair()
	w.haunt(lead, fol, 10)
	r, err := w.coordinator(w.target(lead.m, nil), nil).Heal(context.Background())
	if err != nil || r.Shrinks != 1 {
		t.Fatalf("%v: %+v", err, r)
	}
	w.same(lead, fol)
}

// TestShorter is a follower whose log stays shorter than its leader's though it has
// everything: a heartbeat tells.
func TestShorter(t *testing.T) {
	w := &world{T: t, n: 400, block: testBlock, start: func() testkit.Machine {
		return testkit.NewServer(t, testkit.ServerOptions{Block: testBlock})
	}}
	lead, fol := w.pair()
	srv, _ := lead.m.(*testkit.Server)
	srv.HoldShrink()
	lead.do("AOFSHRINK")
	lead.do("SET", "fleet", "zz", "POINT", "1", "1")
	lead.do("DEL", "fleet", "truck000399")
	lead.do("DEL", "fleet", "zz")
	srv.ReleaseShrink()
	w.until("rewritten", func() bool { return srv.Shrinks() == 1 })
	blind := w.coordinator(w.target(lead.m, nil), nil)
	if _, err := blind.Heal(context.Background()); err != nil { // doubled, healed by one that nobody writes during
		t.Fatal(err)
	}
	host := fol.server()["following"]
	fol.do("FOLLOW", "no", "one")
	for _, args := range [][]string{{"FLUSHDB"}, {"AOFSHRINK"}} {
		fol.do(args...)
	}
	w.until("empty", func() bool { return fol.server()["aof_size"] == "0" })
	srv.HoldShrink()
	lead.do("AOFSHRINK")
	lead.do("DEL", "fleet", "truck000398")
	srv.ReleaseShrink()
	w.until("rewritten", func() bool { return srv.Shrinks() == 3 })
	fol.do("FOLLOW", strings.Split(host, ":")[0], strings.Split(host, ":")[1])
	w.until("read", func() bool { return fol.server()["num_objects"] == "398" })
	if j := w.condition(blind, fol); j.Condition != CatchingUp {
		t.Errorf("without heartbeats: %+v", j)
	}
	beat, end := Beater(tile38.Options{Addr: lead.m.Address()}, func(now time.Time) []string {
		return []string{"SET", DefaultKey, "pod", "STRING", fmt.Sprint(now.UnixNano())}
	})
	defer end()
	c := w.coordinator(w.target(lead.m, func(o *TargetOptions) { o.Beat = beat }), nil)
	if j := w.condition(c, fol); j.Condition != Fine || j.Got >= number(lead.server(), "aof_size") {
		t.Errorf("with heartbeats: %+v", j)
	}
	if r, err := c.Heal(context.Background()); err != nil || r.Shrinks != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestStranger: nobody is made the equal of a leader that has lost its data.
func TestStranger(t *testing.T) {
	w := &world{T: t, n: 400, block: testBlock, start: func() testkit.Machine {
		return testkit.NewServer(t, testkit.ServerOptions{Block: testBlock})
	}}
	lead, fol := w.pair()
	srv, _ := lead.m.(*testkit.Server)
	srv.Wipe()
	srv.Start()
	w.until("connected", func() bool { return strings.Contains(lead.do("INFO", "replication"), "state=online") })
	r, err := w.coordinator(w.target(lead.m, nil), func(o *Options) { o.Reset = true }).Heal(context.Background())
	if !errors.Is(err, ErrSick) || !strings.Contains(err.Error(), "none of the 1 collections") || r.Shrinks != 0 || r.Followers[0].Resets != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if got := fol.server()["num_objects"]; got != "400" {
		t.Errorf("the follower has %s objects", got)
	}
	// It is replaced while it is waited for.
	lead, fol = w.pair()
	srv, _ = lead.m.(*testkit.Server)
	w.haunt(lead, fol, 10)
	c := w.coordinator(w.target(lead.m, nil), func(o *Options) {
		o.MaxShrinks, o.Reset = 1, true
		o.OnStep = func(s Step) {
			if s.Kind != Shrink {
				return
			}
			srv.Wipe()
			srv.Start()
			srv.Do("SET fleet only STRING x")
		}
	})
	if _, err := c.Heal(context.Background()); !errors.Is(err, ErrSick) || !strings.Contains(err.Error(), "another server now") {
		t.Errorf("replaced: %v", err)
	}
	if got := fol.server()["num_objects"]; got == "1" {
		t.Error("the follower has lost its objects")
	}
}

// TestUnreachable is a follower that is named and not there, and one that a bridge
// looks after.
func TestUnreachable(t *testing.T) {
	w := &world{T: t, n: 200, block: testBlock, start: func() testkit.Machine {
		return testkit.NewServer(t, testkit.ServerOptions{Block: testBlock})
	}}
	lead, fol := w.pair()
	gone := w.user(w.start())
	gone.m.Stop()
	w.haunt(lead, fol, 10)
	c := w.coordinator(w.target(lead.m, nil), func(o *Options) {
		o.Followers, o.Stall = []string{gone.m.Address()}, time.Second
		o.Bridged = func(addr, _ string) bool { return addr == fol.m.Address() }
	})
	r, err := c.Heal(context.Background())
	if !errors.Is(err, ErrSick) || r.Shrinks != 0 {
		t.Fatalf("%v: %+v", err, r)
	}
	for _, f := range r.Followers {
		if want := map[string]Condition{gone.m.Address(): Unreachable, fol.m.Address(): Diverged}[f.Addr]; f.Condition != want || f.Bridged == (want == Unreachable) {
			t.Errorf("%+v", f)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Heal(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestTraffic: what clients do meanwhile makes no difference.
func TestTraffic(t *testing.T) {
	each(t, func(w *world) {
		lead, fol := w.pair()
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan int)
		writer := w.user(lead.m)
		go func() {
			i := 0
			for ; ctx.Err() == nil; i++ {
				id := fmt.Sprintf("zz%05d", i%500)
				if i%1000 < 500 {
					writer.do("SET", "fleet", id, "POINT", "1", fmt.Sprint(i%170))
				} else {
					writer.do("DEL", "fleet", id)
				}
			}
			done <- i
		}()
		n := 0
		beat, end := Beater(tile38.Options{Addr: lead.m.Address()}, func(time.Time) []string {
			n++
			return []string{"SET", DefaultKey, "pod", "STRING", fmt.Sprintf("%08d", n)}
		})
		defer end()
		c := w.coordinator(w.target(lead.m, func(o *TargetOptions) { o.Beat = beat }), nil)
		var wrong []Judgement
		for range 10 {
			if j := w.condition(c, fol); j.Condition != Fine && j.Condition != CatchingUp {
				wrong = append(wrong, j)
			}
		}
		w.haunt(lead, fol, 30)
		_, err := c.Heal(context.Background())
		stop()
		writes := <-done
		if len(wrong) > 0 || err != nil {
			w.Fatalf("%d writes, %v, judged wrong: %+v", writes, err, wrong)
		}
		w.until("equal", func() bool { return w.condition(c, fol).Condition == Fine })
		if l, f := lead.objects(), fol.objects(); l != f || len(l) < 20*w.n {
			w.Errorf("%d bytes of objects, the leader has %d", len(f), len(l))
		}
	})
}
