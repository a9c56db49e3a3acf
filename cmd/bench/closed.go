package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// inParallel runs do on that many connections at once and waits for all.
func inParallel(ctx context.Context, addr string, conns int, do func(c *conn, worker int) error) error {
	errs := make([]error, conns)
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			c, err := dial(ctx, addr)
			if err != nil {
				errs[i] = err
				return
			}
			defer c.close()
			defer context.AfterFunc(ctx, c.close)() // frees a blocked read
			errs[i] = do(c, i)
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(errs...)
}

// exchange sends requests from..to in one write and reads their replies.
func (c *conn) exchange(buf []byte, from, to int, request func(b []byte, n int) []byte) ([]byte, error) {
	buf = buf[:0]
	for n := from; n < to; n++ {
		buf = request(buf, n)
	}
	if err := c.c.SetDeadline(time.Now().Add(replyTimeout)); err != nil {
		return buf, err
	}
	if _, err := c.c.Write(buf); err != nil {
		return buf, err
	}
	for range to - from {
		if err := c.skip(); err != nil {
			return buf, err
		}
	}
	return buf, nil
}

// load writes every object of every round, pipelined, and tells how long that
// took.
func load(ctx context.Context, addr string, o options, say func(done, of int)) (time.Duration, error) {
	began := time.Now()
	var done atomic.Int64
	for round := range o.rounds {
		err := inParallel(ctx, addr, o.conns, func(c *conn, worker int) error {
			from, to := o.points*worker/o.conns, o.points*(worker+1)/o.conns
			var buf []byte
			for n := from; n < to; n += o.pipeline {
				end := min(n+o.pipeline, to)
				var err error
				buf, err = c.exchange(buf, n, end, func(b []byte, n int) []byte { return loadRequest(b, round, n) })
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
func throughput(ctx context.Context, addr string, o options, what op, inFlight int) (float64, error) {
	var done atomic.Int64
	began := time.Now()
	err := inParallel(ctx, addr, o.conns, func(c *conn, worker int) error {
		var buf []byte
		for n := worker << 32; time.Since(began) < o.duration; n += inFlight {
			var err error
			buf, err = c.exchange(buf, n, n+inFlight, func(b []byte, n int) []byte { return what.request(b, n, o.points) })
			if err != nil {
				return fmt.Errorf("%s: %w", what.name, err)
			}
			done.Add(int64(inFlight))
		}
		return nil
	})
	return float64(done.Load()) / time.Since(began).Seconds(), err
}
