package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"evenkeel/internal/load"
)

// latencies sends every operation at its rate to a leader and a follower, lets
// first the leader and then the follower compact meanwhile, and compares before,
// during and after. The memory of both is measured with and without requests.
func (b *bench) latencies(ctx context.Context, s *server) (err error) {
	f, err := newServer(s.program, s.name+"-follower", filepath.Dir(s.dir))
	if err != nil {
		return err
	}
	f.empty = s.empty
	if err := f.start(ctx, s.addr); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.stop()) }()
	if err := f.until(ctx, func() bool { return f.levelWith(ctx, s) }); err != nil {
		return fmt.Errorf("follower: %w", err)
	}
	leads, err := b.quiet(ctx, s, s, "leader")
	if err != nil {
		return err
	}
	// A follower of Tile38 has its log rewritten by a leader that compacts.
	own := s.kind == sidecar
	var follows time.Duration
	if own {
		if follows, err = b.quiet(ctx, s, f, "follower"); err != nil {
			return err
		}
	}
	streams := []*load.Stream{
		b.stream(s, load.Set), b.stream(s, load.Get), b.stream(s, load.Nearby),
		b.stream(f, load.Get), b.stream(f, load.Nearby),
	}
	sending, stop := context.WithCancel(ctx)
	defer stop()
	b.host = &load.Host{}
	ended := make(chan error, len(streams)+1)
	go func() { ended <- b.host.Watch(sending) }()
	for _, st := range streams {
		go func() { ended <- st.Run(sending) }()
	}
	lead, err := b.around(ctx, s, f, leads)
	var follow around
	if err == nil && own {
		follow, err = b.around(ctx, f, f, follows)
	}
	stop()
	for range cap(ended) {
		err = errors.Join(err, <-ended)
	}
	if err != nil {
		return err
	}
	b.reportLatencies(s, streams, lead)
	b.report.add(row{Name: "compaction", Unit: "s"}, s, lead.compacted.Sub(lead.compaction).Seconds())
	b.report.add(row{Name: "follower read, before", Unit: "MB"}, s, lead.readBefore)
	b.report.add(row{Name: "follower read, during", Unit: "MB"}, s, lead.readDuring)
	b.reportMemory(s, s, "leader, writes", lead.memory, lead.overwritten(streams[0], b.o.points))
	if own {
		b.reportOwn(s, streams, follow)
		b.report.add(row{Name: "compaction of the follower", Unit: "s"}, s, follow.compacted.Sub(follow.compaction).Seconds())
		b.reportMemory(s, f, "follower, writes", follow.memory, follow.overwritten(streams[0], b.o.points))
	}
	return nil
}

// quiet measures the memory of a compaction of which, leader or follower, while
// nobody sends anything, and tells how long it took.
func (b *bench) quiet(ctx context.Context, s, which *server, name string) (took time.Duration, err error) {
	// What was loaded is still on its way to the disk and in the collectors of
	// both servers; that is no part of any phase.
	syscall.Sync()
	if err := sleep(ctx, b.o.phase/2); err != nil {
		return 0, err
	}
	m, err := watch(which, func() error { return sleep(ctx, b.o.phase/5) }, func() error {
		began := time.Now()
		err := compact(ctx, which)
		took = time.Since(began)
		return err
	})
	if err != nil {
		return 0, err
	}
	b.reportMemory(s, which, name+", quiet", m, 0)
	return took, sleep(ctx, b.o.phase/5)
}

// around is what was measured around a compaction: when the phases began, the
// highest memory of who compacts, and the MB that the follower read, in the time
// before taken as long as the time during.
type around struct {
	before, compaction, compacted, after, end time.Time
	memory                                    highest
	readBefore, readDuring                    float64
}

// around waits through the phases and compacts in the middle. Before is at least
// as long as a compaction is expected to take: in a short time the collector's
// highest memory may not be met. During goes on for a third of a phase after the
// compaction's end, because what it does to followers may begin when it is over.
func (b *bench) around(ctx context.Context, who, follower *server, expected time.Duration) (at around, err error) {
	if err := sleep(ctx, b.o.phase/5); err != nil { // let the streams come up to speed
		return at, err
	}
	var read [3]int64
	half := func() error { return sleep(ctx, max(b.o.phase, expected)/2) }
	during := func() error {
		at.compaction = time.Now()
		if err := compact(ctx, who); err != nil {
			return err
		}
		at.compacted = time.Now()
		return sleep(ctx, b.o.phase/3)
	}
	at.before = time.Now()
	if read[0], err = follower.received(); err != nil {
		return at, err
	}
	first, err := peak(who, half)
	if err != nil {
		return at, err
	}
	if at.memory, err = watch(who, half, func() (err error) {
		if read[1], err = follower.received(); err != nil {
			return err
		}
		return during()
	}); err != nil {
		return at, err
	}
	at.memory.swing = max(first, at.memory.before) - min(first, at.memory.before)
	at.memory.before = max(first, at.memory.before)
	if read[2], err = follower.received(); err != nil {
		return at, err
	}
	at.after = time.Now()
	err = sleep(ctx, b.o.phase)
	at.end = time.Now()
	asLong := at.after.Sub(at.compaction).Seconds() / at.compaction.Sub(at.before).Seconds()
	at.readBefore, at.readDuring = float64(read[1]-read[0])/1e6*asLong, float64(read[2]-read[1])/1e6
	return at, err
}

// compact lets a server compact, and waits for the end.
func compact(ctx context.Context, s *server) error {
	if _, err := load.Ask(ctx, s.target(), "AOFSHRINK"); err != nil {
		return err
	}
	// It goes on in the background. Asking is rare, as every question is a
	// connection of its own, and no part of what is measured.
	for busy := true; busy; busy = s.compacting(ctx) {
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// reportLatencies tells of all streams while the leader compacts.
func (b *bench) reportLatencies(s *server, streams []*load.Stream, at around) {
	for _, st := range streams {
		b.reportStream(s, st, who(st, s)+" "+st.Op.Name, at)
	}
}

func (b *bench) stream(to *server, op func(key string) load.Op) *load.Stream {
	return &load.Stream{To: to.target(), Op: op(collectionName), Rate: b.o.rate, Points: b.o.points}
}

// who says whom a stream asks: the leader, or its follower.
func who(st *load.Stream, leader *server) string {
	if st.To.Addr == leader.addr {
		return "leader"
	}
	return "follower"
}

// enoughLeft is how much of a phase must count for a verdict.
const enoughLeft = 0.5

// reportOwn tells of all streams while the follower compacts: the leader, which has
// nothing to do with it, shows what the machine did meanwhile.
func (b *bench) reportOwn(s *server, streams []*load.Stream, at around) {
	for _, st := range streams {
		name := "compacting follower " + st.Op.Name
		if who(st, s) == "leader" {
			name = "leader " + st.Op.Name + " beside it"
		}
		b.reportStream(s, st, name, at)
	}
}

func (b *bench) reportStream(s *server, st *load.Stream, name string, at around) {
	type phase struct {
		name     string
		from, to time.Time
		p99, max time.Duration
		part     float64 // of the requests that count
	}
	phases := []phase{
		{name: "before", from: at.before, to: at.compaction}, {name: "during", from: at.compaction, to: at.after},
		{name: "after", from: at.after, to: at.end},
	}
	counts := 1.0
	for i := range phases {
		p := &phases[i]
		var latencies []time.Duration
		latencies, p.part = b.host.Left(st.Between(p.from, p.to))
		p.p99, p.max = load.Quantile(latencies, 99), load.Quantile(latencies, 100)
		counts = min(counts, p.part)
		b.report.add(row{Name: "p99 " + name + ", " + p.name, Unit: "ms"}, s, float64(p.p99.Microseconds())/1e3)
	}
	before, during, after := &phases[0], &phases[1], &phases[2]
	b.report.add(row{Name: "max " + name + ", during", Unit: "ms"}, s, float64(during.max.Microseconds())/1e3)
	if counts < 1 {
		b.report.add(row{Name: "requests of " + name + " that count, of the worst phase", Unit: "%"}, s, 100*counts)
	}
	if before.p99 > 0 {
		target := "<= 1.1"
		// Something else went on then: it would excuse anything, or blame.
		if before.p99 > 2*after.p99 || counts < enoughLeft {
			target = ""
		}
		b.report.add(row{Name: "p99 " + name + ", during/before", Unit: "", Own: target}, s, float64(during.p99)/float64(before.p99))
	}
}
