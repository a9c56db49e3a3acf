package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// killRounds is how often TestKillLoop kills, for each fsync policy:
// EVENKEEL_KILL_ROUNDS, or a few.
func killRounds(t *testing.T) int {
	t.Helper()
	s := os.Getenv("EVENKEEL_KILL_ROUNDS")
	if s == "" {
		return 10
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("EVENKEEL_KILL_ROUNDS: %v", err)
	}
	return n
}

// TestKillLoop kills leader and follower at random moments, under a load of
// pipelines and while both compact. After each restart the state is one that a
// beginning of what each client sent leads to, all that was acknowledged
// included; the follower gets there without a full resync.
func TestKillLoop(t *testing.T) {
	rounds := killRounds(t)
	for i, policy := range []string{"always", "everysec", "no"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			l := newKillLoop(t, policy, uint64(i))
			for round := range rounds {
				l.round(round)
			}
			l.count(l.leader)
			l.count(l.follower)
			t.Logf("%d rounds, %d kills, %d commands acknowledged, %d on the way when killed and %d of them kept, %d compactions and %d cut short, 1 full resync",
				rounds, l.kills, l.acked, l.pending, l.kept, l.compactions, l.cut)
			if l.compactions == 0 || l.acked == 0 {
				t.Error("too little happened")
			}
		})
	}
}

// killLoop is a leader, a follower, and what they must hold.
type killLoop struct {
	*rand.Rand
	t                *testing.T
	args             []string
	leader, follower *server
	clients          []*killClient

	kills, acked, pending, kept, compactions, cut int
}

func newKillLoop(t *testing.T, policy string, seed uint64) *killLoop {
	l := &killLoop{Rand: rand.New(rand.NewPCG(seed, uint64(time.Now().UnixNano()))), t: t, args: []string{
		"--appendfsync", policy, "--segment-size", "64kb", "--aofshrink-min-size", "32kb",
		"--aofshrink-growth", "20", "--aofshrink-check-interval", "100ms", "--aofshrink-cooldown", "100ms",
		"--compaction-cpu", "1", // long compactions are killed more often
	}}
	l.leader = start(t, t.TempDir(), l.args...)
	l.follower = start(t, t.TempDir(), append(l.args, "--follow", l.leader.addr)...)
	level(t, l.leader, l.follower)
	for i := range 6 {
		l.clients = append(l.clients, &killClient{key: fmt.Sprint("w", i), random: rand.New(rand.NewPCG(seed, uint64(i)))})
	}
	return l
}

// round writes, kills, starts again and compares.
func (l *killLoop) round(n int) {
	victims := []*server{l.leader, l.follower}
	if n > 0 {
		victims = [][]*server{{l.leader}, {l.follower}, {l.leader, l.follower}}[l.IntN(3)]
	}
	enough := int64(500 + l.IntN(3000))
	var total atomic.Int64
	reached := make(chan struct{})
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, c := range l.clients {
		wg.Go(func() {
			c.write(ctx, l.leader.rdb, func(acked int) {
				if now := total.Add(int64(acked)); now >= enough && now-int64(acked) < enough {
					close(reached)
				}
			})
		})
	}
	for _, s := range []*server{l.leader, l.follower} {
		wg.Go(func() { shrinkAgainAndAgain(ctx, s) })
	}
	<-reached
	time.Sleep(time.Duration(l.IntN(20)) * time.Millisecond) // a random moment is what is wanted
	for _, s := range victims {
		l.kills++
		s.kill()
	}
	stop()
	wg.Wait()
	l.acked += int(total.Load())
	for _, s := range victims {
		l.again(s)
	}
	l.compare(n)
}

// shrinkAgainAndAgain asks for compactions until ctx ends.
func shrinkAgainAndAgain(ctx context.Context, s *server) {
	for ctx.Err() == nil {
		_ = s.rdb.Do(ctx, "AOFSHRINK").Err() // it may be dead, or at it already
		select {
		case <-ctx.Done():
		case <-time.After(30 * time.Millisecond):
		}
	}
}

// again starts a server that was killed.
func (l *killLoop) again(s *server) {
	l.t.Helper()
	l.count(s)
	if left, _ := filepath.Glob(filepath.Join(s.dir, "base-*.tmp")); len(left) > 0 {
		l.cut++
	}
	if s == l.leader {
		l.leader = start(l.t, s.dir, append(l.args, "--listen", s.addr)...)
		return
	}
	l.follower = start(l.t, s.dir, append(l.args, "--follow", l.leader.addr)...)
}

// count adds up what a process has done.
func (l *killLoop) count(s *server) {
	l.compactions += strings.Count(s.log.String(), "compaction done")
	if strings.Contains(s.log.String(), "compaction failed") {
		l.t.Errorf("a compaction failed:\n%s", s.log)
	}
}

// compare holds both servers against the model.
func (l *killLoop) compare(round int) {
	l.t.Helper()
	level(l.t, l.leader, l.follower)
	for _, c := range l.clients {
		pending := len(c.sent) - c.acked
		kept, err := c.check(l.leader.rdb)
		if err != nil {
			l.t.Fatalf("round %d: leader: %v", round, err)
		}
		l.pending, l.kept = l.pending+pending, l.kept+kept
		if _, err := c.check(l.follower.rdb); err != nil {
			l.t.Fatalf("round %d: follower: %v", round, err)
		}
	}
	// Both were killed in the first round: no process here began with nothing.
	if st := l.follower.status().Follower; st.FullResyncs+st.RangeResyncs != 0 {
		l.t.Fatalf("round %d: %d full resyncs, %d by ranges", round, st.FullResyncs, st.RangeResyncs)
	}
}
