package metamorphic

import (
	"flag"
	"runtime/debug"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"evenkeel/test/rig"
)

var (
	seeds = flag.Int("metamorphic.seeds", 400, "how many seeds")
	first = flag.Uint64("metamorphic.first", 1, "the first seed")
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(800) // seeds make garbage, and little of it at a time is in use
	goleak.VerifyTestMain(m)
}

// shrinkTries bounds how often a failing script is run again.
const shrinkTries = 400

// fails carries out a script twice and says what differs.
func fails(t *testing.T, s *script, count *tally) (err error) {
	dir := ""
	if s.files {
		dir = t.TempDir()
	}
	var want []string
	synctest.Test(t, func(*testing.T) { want, err = plain(s) }) // each begins at the same time
	if err == nil {
		synctest.Test(t, func(*testing.T) { err = run(s, want, dir, count) })
	}
	return err
}

// TestSameAnswers: whatever options a pod has and whatever happens to it, it
// answers as one to which nothing happens.
func TestSameAnswers(t *testing.T) {
	var count tally
	began := time.Now()
	for seed := *first; seed < *first+uint64(*seeds); seed++ {
		s := newScript(seed)
		err := fails(t, s, &count)
		if err == nil {
			continue
		}
		keep := rig.Shrink(len(s.steps)+len(s.events), shrinkTries, func(keep []bool) bool {
			return fails(t, s.only(keep), &tally{}) != nil
		})
		small := s.only(keep)
		t.Fatalf("seed %d: %v\nagain: go test ./test/metamorphic -metamorphic.first %d -metamorphic.seeds 1\nas small as it gets: %v\n%s",
			seed, err, seed, fails(t, small, &tally{}), small)
	}
	took := time.Since(began)
	t.Logf("%d seeds, %.0f a second: %+v", *seeds, float64(*seeds)/took.Seconds(), count)
	if *seeds >= 100 && (count.compactions == 0 || count.ranges == 0 || count.adoptions == 0 || count.starts == 0 || count.cuts == 0) {
		t.Errorf("too little happened: %+v", count)
	}
}
