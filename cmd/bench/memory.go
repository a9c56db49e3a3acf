package main

import (
	"math"
	"time"

	"evenkeel/internal/load"
)

// sampleEvery is the time between two looks at a server's memory.
const sampleEvery = 10 * time.Millisecond

// highest is the highest resident memory, in bytes, of two times. swing is by how
// much those of the two halves of the time before differ: that much, and more, two
// times differ without a reason.
type highest struct{ before, during, swing int64 }

// watch looks at a server's memory again and again while before and then during
// run.
func watch(s *server, before, during func() error) (m highest, err error) {
	if m.before, err = peak(s, before); err != nil {
		return m, err
	}
	m.during, err = peak(s, during)
	return m, err
}

// peak returns the highest resident memory while do runs.
func peak(s *server, do func() error) (most int64, err error) {
	done := make(chan error, 1)
	go func() { done <- do() }() // joined below
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	var failed error
	for {
		resident, _, err := s.memory()
		if err != nil && failed == nil {
			failed = err
		}
		most = max(most, resident)
		select {
		case err := <-done:
			if err == nil {
				err = failed
			}
			return most, err
		case <-tick.C:
		}
	}
}

// overwritten estimates how many objects were overwritten while it compacted:
// SETs of objects chosen at random hit some more than once, and only the first
// hit makes the snapshot's version one that nothing else needs.
func (a around) overwritten(sets *load.Stream, points int) float64 {
	n := float64(len(sets.Between(a.compaction, a.compacted)))
	return float64(points) * (1 - math.Exp(-n/float64(points)))
}

// reportMemory tells what a compaction took beside what was overwritten
// meanwhile, objects at the mean size that the server's memory says they have.
func (b *bench) reportMemory(s, who *server, name string, m highest, objects float64) {
	add := func(what, unit, own string, v float64) {
		b.report.add(row{Name: "resident memory, " + name + ", " + what, Unit: unit, Own: own}, s, v)
	}
	overwritten := objects * float64(max(m.before-who.empty, 0)) / float64(b.o.points)
	add("before", "MB", "", float64(m.before)/1e6)
	add("highest during", "MB", "", float64(m.during)/1e6)
	if m.swing > 0 {
		add("difference of the halves of before", "% of before", "", 100*float64(m.swing)/float64(m.before))
	}
	if objects > 0 {
		add("overwritten meanwhile (estimate)", "MB", "", overwritten/1e6)
	}
	extra := max(float64(m.during-m.before)-overwritten, 0)
	add("extra beside that", "% of before", "<= 1", 100*extra/float64(m.before))
}
