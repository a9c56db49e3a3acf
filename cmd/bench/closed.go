package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"evenkeel/internal/load"
)

// collectionName is where all objects go.
const collectionName = "fleet"

func operations() []load.Op {
	var all []load.Op
	for _, op := range []func(string) load.Op{load.Set, load.Get, load.Nearby, load.Within, load.Intersects} {
		all = append(all, op(collectionName))
	}
	return all
}

// fill writes every object of every round, pipelined, and tells how long that
// took.
func fill(ctx context.Context, addr string, o options, say func(done, of int)) (time.Duration, error) {
	began := time.Now()
	var done atomic.Int64
	for round := range o.rounds {
		err := load.InParallel(ctx, load.Server{Addr: addr}, o.conns, func(c *load.Conn, worker int) error {
			from, to := o.points*worker/o.conns, o.points*(worker+1)/o.conns
			var buf []byte
			for n := from; n < to; n += o.pipeline {
				end := min(n+o.pipeline, to)
				var err error
				buf, err = c.Exchange(buf, n, end, func(b []byte, n int) []byte { return load.Put(b, collectionName, round, n) })
				if err != nil {
					return fmt.Errorf("load: %w", err)
				}
				say(int(done.Add(int64(end-n))), o.points*o.rounds)
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

// throughput repeats an operation for o.duration, with that many requests in
// flight on each connection, and tells how many a second were answered.
func throughput(ctx context.Context, addr string, o options, what load.Op, inFlight int) (float64, error) {
	var done atomic.Int64
	began := time.Now()
	err := load.InParallel(ctx, load.Server{Addr: addr}, o.conns, func(c *load.Conn, worker int) error {
		var buf []byte
		for n := worker << 32; time.Since(began) < o.duration; n += inFlight {
			var err error
			buf, err = c.Exchange(buf, n, n+inFlight, func(b []byte, n int) []byte { return what.Request(b, n, o.points) })
			if err != nil {
				return fmt.Errorf("%s: %w", what.Name, err)
			}
			done.Add(int64(inFlight))
		}
		return nil
	})
	return float64(done.Load()) / time.Since(began).Seconds(), err
}
