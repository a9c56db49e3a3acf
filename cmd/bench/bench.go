package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"evenkeel/internal/load"
)

// bench is one run.
type bench struct {
	o       options
	say     *progress
	servers []*server
	report  *report
	host    *load.Host // while latencies are measured
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
	stages := []stage{{"start", b.start}, {"load", b.fill}, {"restart", b.restart}}
	for _, what := range operations() {
		for _, inFlight := range []int{1, b.o.pipeline} {
			stages = append(stages, stage{fmt.Sprintf("%s, %d in flight", what.Name, inFlight), func(ctx context.Context, s *server) error {
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

func (b *bench) fill(ctx context.Context, s *server) error {
	empty, _, err := s.memory()
	if err != nil {
		return err
	}
	s.empty = empty
	began := time.Now()
	if err := load.Fill(ctx, s.target(), b.o.filling(), b.say.part); err != nil {
		return err
	}
	took := time.Since(began)
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

func (b *bench) throughput(ctx context.Context, s *server, what load.Op, inFlight int) error {
	rate, err := b.o.closed(what, inFlight).Run(ctx, s.target())
	if err != nil {
		return err
	}
	targets := map[string]string{"SET": ">= 1.3", "GET": ">= 1.3", "NEARBY": ">= 2", "INTERSECTS": ">= 5"}
	b.report.add(row{Name: fmt.Sprintf("%s, %d in flight", what.Name, inFlight), Unit: "requests/s",
		MoreIsBetter: true, Target: targets[what.Name]}, s, rate)
	return nil
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
