package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"
)

// bench is one run.
type bench struct {
	o       options
	say     *progress
	servers []*server
	report  *report
}

// stage measures one server.
type stage struct {
	name string
	do   func(context.Context, *server) error
}

// measure starts the servers, goes through the stages and ends the servers.
func measure(ctx context.Context, o options, say *progress) (r *report, err error) {
	b := &bench{o: o, say: say, report: newReport(o)}
	seen := make(map[kind]int)
	for _, p := range o.programs {
		name := string(p.kind)
		if seen[p.kind]++; seen[p.kind] > 1 {
			name = fmt.Sprintf("%s-%d", p.kind, seen[p.kind])
		}
		s, err := newServer(p, name, o.dir)
		if err != nil {
			return nil, err
		}
		b.servers = append(b.servers, s)
		b.report.Servers = append(b.report.Servers, name)
	}
	defer func() {
		say.end()
		for _, s := range b.servers {
			err = errors.Join(err, s.stop())
		}
	}()
	for _, st := range b.stages() {
		for _, s := range b.servers {
			say.start("%s: %s", s.name, st.name)
			if err := st.do(ctx, s); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", s.name, st.name, err)
			}
		}
	}
	return b.report, nil
}

func (b *bench) stages() []stage {
	if b.o.fences {
		return b.fenceStages()
	}
	stages := []stage{{"start", b.start}, {"load", b.load}, {"restart", b.restart}}
	for _, what := range []op{opSet, opGet, opNearby, opWithin, opIntersects} {
		for _, inFlight := range []int{1, b.o.pipeline} {
			stages = append(stages, stage{fmt.Sprintf("%s, %d in flight", what.name, inFlight), func(ctx context.Context, s *server) error {
				return b.throughput(ctx, s, what, inFlight)
			}})
		}
	}
	return append(stages, stage{"latencies around a compaction", b.latencies})
}

// start runs the server.
func (b *bench) start(ctx context.Context, s *server) error {
	if err := s.start(ctx, ""); err != nil {
		return err
	}
	return s.until(ctx, func() bool { return s.holds(ctx, 0) })
}

func (b *bench) load(ctx context.Context, s *server) error {
	empty, _, err := s.memory()
	if err != nil {
		return err
	}
	took, err := load(ctx, s.addr, b.o, b.say.part)
	if err != nil {
		return err
	}
	if !s.holds(ctx, b.o.points) {
		return fmt.Errorf("it does not hold %d objects after loading", b.o.points)
	}
	full, peak, err := s.memory()
	if err != nil {
		return err
	}
	sets := b.o.points * b.o.rounds
	b.report.add(row{Name: fmt.Sprintf("load %d SETs", sets), Unit: "s", Target: "<= 0.6"}, s, took.Seconds())
	b.report.add(row{Name: "load rate", Unit: "commands/s", MoreIsBetter: true}, s, float64(sets)/took.Seconds())
	b.report.add(row{Name: "resident memory, loaded", Unit: "MB", Target: "<= 0.6"}, s, float64(full)/1e6)
	b.report.add(row{Name: "peak resident memory, loading", Unit: "MB"}, s, float64(peak)/1e6)
	b.report.add(row{Name: "resident memory per object", Unit: "bytes"}, s, float64(full-empty)/float64(b.o.points))
	return nil
}

// restart ends the server and starts it again on its log.
func (b *bench) restart(ctx context.Context, s *server) error {
	if err := s.stop(); err != nil {
		return err
	}
	began := time.Now()
	if err := s.start(ctx, ""); err != nil {
		return err
	}
	if err := s.until(ctx, func() bool { return s.holds(ctx, b.o.points) }); err != nil {
		return err
	}
	took := time.Since(began).Seconds()
	resident, _, err := s.memory()
	if err != nil {
		return err
	}
	b.report.add(row{Name: "restart", Unit: "s"}, s, took)
	b.report.add(row{Name: "restart rate", Unit: "commands/s", MoreIsBetter: true}, s, float64(b.o.points*b.o.rounds)/took)
	b.report.add(row{Name: "resident memory, restarted", Unit: "MB"}, s, float64(resident)/1e6)
	return nil
}

func (b *bench) throughput(ctx context.Context, s *server, what op, inFlight int) error {
	rate, err := throughput(ctx, s.addr, b.o, what, inFlight)
	if err != nil {
		return err
	}
	targets := map[string]string{"SET": ">= 1.3", "GET": ">= 1.3", "NEARBY": ">= 2", "INTERSECTS": ">= 5"}
	b.report.add(row{Name: fmt.Sprintf("%s, %d in flight", what.name, inFlight), Unit: "requests/s",
		MoreIsBetter: true, Target: targets[what.name]}, s, rate)
	return nil
}

// latencies sends every operation at its rate to a leader and a follower,
// compacts the leader meanwhile, and compares before, during and after. During
// goes on for a third of a phase after the compaction's end, because what a
// compaction does to followers may begin when it is over.
func (b *bench) latencies(ctx context.Context, s *server) (err error) {
	f, err := newServer(s.program, s.name+"-follower", filepath.Dir(s.dir))
	if err != nil {
		return err
	}
	if err := f.start(ctx, s.addr); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.stop()) }()
	if err := f.until(ctx, func() bool { return f.levelWith(ctx, s) }); err != nil {
		return fmt.Errorf("follower: %w", err)
	}
	// What was loaded is still on its way to the disk and in the collectors of
	// both servers; that is no part of any phase.
	syscall.Sync()
	if err := sleep(ctx, b.o.phase/2); err != nil {
		return err
	}
	streams := []*stream{
		{op: opSet, addr: s.addr}, {op: opGet, addr: s.addr}, {op: opNearby, addr: s.addr},
		{op: opGet, addr: f.addr}, {op: opNearby, addr: f.addr},
	}
	sending, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, len(streams))
	for _, st := range streams {
		go func() { ended <- st.run(sending, b.o) }()
	}
	at, read, err := b.phases(ctx, s, f)
	stop()
	for range streams {
		err = errors.Join(err, <-ended)
	}
	if err != nil {
		return err
	}
	b.reportLatencies(s, streams, at)
	b.report.add(row{Name: "compaction", Unit: "s"}, s, at.compacted.Sub(at.compaction).Seconds())
	b.report.add(row{Name: "follower read, before", Unit: "MB"}, s, read.before)
	b.report.add(row{Name: "follower read, during", Unit: "MB"}, s, read.during)
	return nil
}

// times are when the phases of the latencies began.
type times struct{ before, compaction, compacted, after, end time.Time }

// reads are the MB that a follower read: in the time before, taken as long as
// the time during.
type reads struct{ before, during float64 }

// phases waits through the phases and compacts the leader in the middle.
func (b *bench) phases(ctx context.Context, leader, follower *server) (at times, read reads, err error) {
	if err := sleep(ctx, b.o.phase/5); err != nil { // let the streams come up to speed
		return at, read, err
	}
	at.before = time.Now()
	first, err := follower.received()
	if err != nil {
		return at, read, err
	}
	if err := sleep(ctx, b.o.phase); err != nil {
		return at, read, err
	}
	second, err := follower.received()
	if err != nil {
		return at, read, err
	}
	at.compaction = time.Now()
	if _, err := ask(ctx, leader.addr, "AOFSHRINK"); err != nil {
		return at, read, err
	}
	// It goes on in the background. Asking is rare, as every question is a
	// connection of its own, and no part of what is measured.
	for ask := true; ask; ask = leader.compacting(ctx) {
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return at, read, err
		}
	}
	at.compacted = time.Now()
	if err := sleep(ctx, b.o.phase/3); err != nil {
		return at, read, err
	}
	third, err := follower.received()
	if err != nil {
		return at, read, err
	}
	at.after = time.Now()
	err = sleep(ctx, b.o.phase)
	at.end = time.Now()
	asLong := at.after.Sub(at.compaction).Seconds() / at.compaction.Sub(at.before).Seconds()
	return at, reads{float64(second-first) / 1e6 * asLong, float64(third-second) / 1e6}, err
}

func (b *bench) reportLatencies(s *server, streams []*stream, at times) {
	for _, st := range streams {
		who := "follower"
		if st.addr == s.addr {
			who = "leader"
		}
		name := "p99 " + who + " " + st.op.name
		before := quantile(st.between(at.before, at.compaction), 99)
		during := quantile(st.between(at.compaction, at.after), 99)
		after := quantile(st.between(at.after, at.end), 99)
		for _, p := range []struct {
			phase string
			p99   time.Duration
		}{{"before", before}, {"during", during}, {"after", after}} {
			b.report.add(row{Name: name + ", " + p.phase, Unit: "ms"}, s, float64(p.p99.Microseconds())/1e3)
		}
		b.report.add(row{Name: "max " + who + " " + st.op.name + ", during", Unit: "ms"}, s,
			float64(quantile(st.between(at.compaction, at.after), 100).Microseconds())/1e3)
		if before > 0 {
			b.report.add(row{Name: name + ", during/before", Unit: "", Own: "<= 1.1"}, s, float64(during)/float64(before))
		}
	}
}

// sleep waits, or ends with ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
