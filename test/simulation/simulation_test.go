package simulation

import (
	"flag"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

var (
	seeds = flag.Int("simulation.seeds", 0, "how many seeds; 0: as many as fit into -simulation.time")
	first = flag.Uint64("simulation.first", 1, "the first seed")
	limit = flag.Duration("simulation.time", 25*time.Second, "how long to go on without -simulation.seeds")
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(800) // seeds make garbage, and little of it at a time is in use
	goleak.VerifyTestMain(m)
}

// queue hands out seeds until there are enough.
type queue struct {
	mu    sync.Mutex
	began time.Time
	given int
	count tally
}

func (q *queue) next() (seed uint64, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if *seeds > 0 && q.given == *seeds || *seeds == 0 && time.Since(q.began) > *limit {
		return 0, false
	}
	q.given++
	return *first + uint64(q.given) - 1, true
}

func (q *queue) add(c *tally) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.count.add(c)
}

// TestFollowersAgree: once quiet, all pods are equal.
func TestFollowersAgree(t *testing.T) {
	c := many(t, false)
	if c != (tally{}) && (c.compactions == 0 || c.turns == 0 || c.cuts == 0 || c.silences == 0 || c.replays == 0 || c.restarts == 0) {
		t.Errorf("too little happened: %+v", c)
	}
}

// TestPromotions: when leaders change, all pods are equal once quiet, nobody is
// resynced without need, and what was given up is kept.
func TestPromotions(t *testing.T) {
	c := many(t, true)
	if c != (tally{}) && (c.promotions == 0 || c.givenUp == 0 || c.synced == 0 || c.turns == 0) {
		t.Errorf("too little happened: %+v", c)
	}
}

// many runs seeds. It returns what happened, if that was much.
func many(t *testing.T, elections bool) tally {
	q := &queue{began: time.Now()}
	t.Run("seeds", func(t *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			t.Run("worker", func(t *testing.T) {
				t.Parallel()
				for seed, ok := q.next(); ok && !t.Failed(); seed, ok = q.next() {
					one(t, q, elections, seed)
				}
			})
		}
	})
	took := time.Since(q.began)
	t.Logf("%d seeds, %.0f a second: %+v", q.given, float64(q.given)/took.Seconds(), q.count)
	if q.given < 100 {
		return tally{}
	}
	return q.count
}

func one(t *testing.T, q *queue, elections bool, seed uint64) {
	var history []string
	var count tally
	var err error
	synctest.Test(t, func(*testing.T) { history, err = simulate(seed, elections, &count) })
	if err != nil {
		t.Fatalf("seed %d: %v\nagain: go test ./test/simulation -run %s -simulation.first %d -simulation.seeds 1\n%s",
			seed, err, t.Name(), seed, strings.Join(history, "\n"))
	}
	q.add(&count)
}
