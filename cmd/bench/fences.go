package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"evenkeel/internal/load"
)

// fenceObjects is how many objects move while fences watch, at most.
const fenceObjects = 20_000

// fenceCounts are the numbers of hooks or channels at which a SET is measured.
var fenceCounts = []int{1_000, 10_000, 100_000}

// watchers are hooks or channels on the collection of all objects.
type watchers struct {
	name    string // as in rows
	kind    string // CHAN or HOOK
	near    bool   // a SET meets about two of them; otherwise none, ever
	several bool   // what they cost beside SETs is measured, too
}

var watcherKinds = []watchers{
	{name: "channels, far", kind: "CHAN", several: true},
	{name: "channels, near", kind: "CHAN", near: true},
	{name: "webhooks, far", kind: "HOOK", several: true},
}

// define appends the definition of the ith of n.
func (w *watchers) define(b []byte, i, n int) []byte {
	args := []string{"SET" + w.kind, "watcher:" + strconv.Itoa(i)}
	if w.kind == "HOOK" {
		args = append(args, "http://127.0.0.1:9/never") // none of them is met
	}
	rnd := load.Random(7, i)
	lat, lon := load.Place(rnd)
	if !w.near { // beyond the northern edge of place
		lat = strconv.FormatFloat(79+rnd.Float64()*2, 'f', 6, 64)
	}
	return load.AppendCommand(b, append(args, "NEARBY", collectionName, "FENCE", "DETECT", "enter,exit,inside",
		"POINT", lat, lon, strconv.FormatFloat(radiusOf(n), 'f', 0, 64))...)
}

// radiusOf is how large n circles have to be, in meters, so that a place lies in
// two of them on average.
func radiusOf(n int) float64 { return 16.5e6 / math.Sqrt(float64(n)) }

// opMove moves an object by less than 12 km.
var opMove = load.Op{Name: "SET", Request: func(b []byte, n, points int) []byte {
	i := n % points
	lat, lon := moved(load.Random(6, i), load.Random(8, n))
	return load.AppendCommand(b, "SET", collectionName, load.ID(i), "POINT", lat, lon)
}}

// moved is a place near the one that home draws.
func moved(home, away *rand.Rand) (lat, lon string) {
	const most = 0.05
	near := func(from, width float64) string {
		return strconv.FormatFloat(from+home.Float64()*width+(away.Float64()*2-1)*most, 'f', 6, 64)
	}
	return near(-60, 130), near(-179.9, 359.8)
}

// fenceStages are the stages of --fences.
func (b *bench) fenceStages() []stage {
	stages := []stage{{"start", b.start}, {"load", b.loadFew}, {"SET, no hooks", func(ctx context.Context, s *server) error {
		return b.move(ctx, s, "SET, no hooks")
	}}}
	for _, w := range watcherKinds {
		for _, n := range fenceCounts {
			stages = append(stages, stage{fmt.Sprintf("%d %s", n, w.name), func(ctx context.Context, s *server) error {
				return b.watched(ctx, s, &w, n)
			}})
		}
	}
	return append(stages, stage{"messages, channel", b.channelEvents}, stage{"messages, live fences", b.liveEvents},
		stage{"messages, webhooks", b.webhookEvents})
}

// loadFew writes the objects that move.
func (b *bench) loadFew(ctx context.Context, s *server) error {
	n := b.o.fencePoints()
	_, _, err := b.sendAll(ctx, s, n, b.o.bound, func(buf []byte, i int) []byte { return opMove.Request(buf, i, n) })
	if err == nil && !s.holds(ctx, n) {
		err = fmt.Errorf("it does not hold %d objects after loading", n)
	}
	return err
}

// fencePoints is how many objects move.
func (o options) fencePoints() int { return min(o.points, fenceObjects) }

// sendAll sends n requests in order on all connections, pipelined, for as long
// as bound at most, and tells how many were answered in what time.
func (b *bench) sendAll(ctx context.Context, s *server, n int, bound time.Duration, request func(b []byte, i int) []byte) (int, time.Duration, error) {
	began := time.Now()
	var next, done atomic.Int64
	err := load.InParallel(ctx, s.target(), b.o.conns, func(c *load.Conn, _ int) error {
		var buf []byte
		for time.Since(began) < bound {
			to := int(next.Add(int64(b.o.pipeline)))
			from := to - b.o.pipeline
			if from >= n {
				return nil
			}
			to = min(to, n)
			var err error
			if buf, err = c.Exchange(buf, from, to, request); err != nil {
				return err
			}
			b.say.part(int(done.Add(int64(to-from))), n)
		}
		return nil
	})
	return int(done.Load()), time.Since(began), err
}

// move measures SETs of objects that move.
func (b *bench) move(ctx context.Context, s *server, name string) error {
	o := b.o
	o.points = o.fencePoints()
	rate, err := o.closed(opMove, o.pipeline).Run(ctx, s.target())
	if err == nil {
		b.report.add(row{Name: name, Unit: "requests/s", MoreIsBetter: true}, s, rate)
	}
	return err
}

// watched measures SETs beside n hooks or channels, and what those cost. It
// goes on with fewer when defining them takes longer than the bound.
func (b *bench) watched(ctx context.Context, s *server, w *watchers, n int) error {
	if _, err := load.Ask(ctx, s.target(), "PDEL"+w.kind, "*"); err != nil {
		return err
	}
	before, _, err := s.memory()
	if err != nil {
		return err
	}
	reached, took, err := b.sendAll(ctx, s, n, b.o.bound, func(buf []byte, i int) []byte { return w.define(buf, i, n) })
	if err != nil {
		return fmt.Errorf("define: %w", err)
	}
	after, _, err := s.memory()
	if err != nil {
		return err
	}
	title := fmt.Sprintf("%d %s", n, w.name)
	b.report.add(row{Name: title + ": defined", MoreIsBetter: true}, s, float64(reached))
	b.report.add(row{Name: title + ": define", Unit: "commands/s", MoreIsBetter: true}, s, float64(reached)/took.Seconds())
	if err := b.move(ctx, s, title+": SET"); err != nil {
		return err
	}
	if n == fenceCounts[len(fenceCounts)-1] {
		if w.several {
			b.report.add(row{Name: title + ": resident memory of each", Unit: "bytes"}, s, float64(after-before)/float64(max(reached, 1)))
			if err := b.restartWatched(ctx, s, title, reached); err != nil {
				return err
			}
		}
		return b.remove(ctx, s, w, title)
	}
	return nil
}

// restartWatched compacts the log, so that it holds the hooks and little else,
// ends the server and starts it again.
func (b *bench) restartWatched(ctx context.Context, s *server, title string, hooks int) error {
	compaction := time.Now()
	if _, err := load.Ask(ctx, s.target(), "AOFSHRINK"); err != nil {
		return err
	}
	for s.compacting(ctx) {
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	b.report.add(row{Name: title + ": compaction", Unit: "s"}, s, time.Since(compaction).Seconds())
	if err := s.stop(); err != nil {
		return err
	}
	began := time.Now()
	if err := s.start(ctx, ""); err != nil {
		return err
	}
	if err := s.until(ctx, func() bool { return s.member(ctx, "num_hooks") == strconv.Itoa(hooks) }); err != nil {
		return err
	}
	b.report.add(row{Name: title + ": restart", Unit: "s"}, s, time.Since(began).Seconds())
	return nil
}

// remove deletes all hooks or channels with one command.
func (b *bench) remove(ctx context.Context, s *server, w *watchers, title string) error {
	began := time.Now()
	if _, err := load.Ask(ctx, s.target(), "PDEL"+w.kind, "*"); err != nil {
		return err
	}
	b.report.add(row{Name: title + ": PDEL" + w.kind + " *", Unit: "ms"}, s, float64(time.Since(began).Microseconds())/1e3)
	return nil
}
