package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are what a run is made of.
type options struct {
	programs []program
	points   int           // objects
	rounds   int           // times that each object is written
	conns    int           // connections of the closed loops
	pipeline int           // requests in flight on each, where they are pipelined
	duration time.Duration // of each throughput measurement
	phase    time.Duration // of the latencies before and after a compaction
	rate     int           // requests a second of each operation, for latencies
	fences   bool          // measure fences, and nothing else
	proxy    bool          // measure proxies before the first program, and nothing else
	bound    time.Duration // of defining as many hooks as are asked for
	json     bool
	dir      string
}

// program is a server to measure.
type program struct {
	kind kind
	path string
}

func run(ctx context.Context, args []string) (err error) {
	if len(args) > 0 && args[0] == serveWord {
		return serveProxy(ctx, args[1:])
	}
	var o options
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	add := func(k kind) func(string) error {
		return func(path string) error {
			o.programs = append(o.programs, program{k, path})
			return nil
		}
	}
	fs.Func("sidecar", "`path` of a sidecar; may be given several times", add(sidecar))
	fs.Func("tile38", "`path` of a tile38-server; may be given several times. Ratios are to the last server", add(tile38))
	fs.IntVar(&o.points, "points", 500_000, "objects")
	fs.IntVar(&o.rounds, "rounds", 3, "times that each object is written")
	fs.IntVar(&o.conns, "conns", 8, "connections of loading and throughput")
	fs.IntVar(&o.pipeline, "pipeline", 64, "requests in flight on a connection, where they are pipelined")
	fs.DurationVar(&o.duration, "duration", 3*time.Second, "of each throughput measurement")
	fs.DurationVar(&o.phase, "phase", 10*time.Second, "of the latencies before and after a compaction")
	fs.IntVar(&o.rate, "rate", 500, "requests a second of each operation, for the latencies")
	fs.BoolVar(&o.fences, "fences", false, "measure hooks, channels and live fences instead")
	fs.BoolVar(&o.proxy, "proxy", false, "measure ways to the first server instead: direct, our proxy, HAProxy, twemproxy")
	fs.DurationVar(&o.bound, "bound", 20*time.Second, "how long defining hooks may take; what is reached then is measured")
	fs.BoolVar(&o.json, "json", false, "print JSON instead of a table")
	fs.StringVar(&o.dir, "dir", "", "`folder` for the servers' data; empty: a temporary one")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if err := o.validate(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	o.dir = dir
	if o.proxy {
		return measureProxy(ctx, o, newProgress(os.Stderr), os.Stdout)
	}
	r, err := measure(ctx, o, newProgress(os.Stderr))
	if err != nil {
		return err
	}
	if o.json {
		return r.writeJSON(os.Stdout)
	}
	return r.writeTable(os.Stdout)
}

// validate lists every fault of the options.
func (o options) validate() error {
	var faults []error
	if len(o.programs) == 0 {
		faults = append(faults, errors.New("no server: give --sidecar or --tile38"))
	}
	for _, v := range []struct {
		name string
		n    int
	}{{"points", o.points}, {"rounds", o.rounds}, {"conns", o.conns}, {"pipeline", o.pipeline}, {"rate", o.rate},
		{"duration", int(o.duration)}, {"phase", int(o.phase)}, {"bound", int(o.bound)}} {
		if v.n < 1 {
			faults = append(faults, fmt.Errorf("--%s must be above 0", v.name))
		}
	}
	if o.rate > 100_000 {
		faults = append(faults, fmt.Errorf("--rate %d is more than 100000", o.rate))
	}
	return errors.Join(faults...)
}
