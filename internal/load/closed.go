package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// InParallel runs do on that many connections at once and waits for all.
func InParallel(ctx context.Context, to Server, conns int, do func(c *Conn, worker int) error) error {
	errs := make([]error, conns)
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			c, err := Dial(ctx, to)
			if err != nil {
				errs[i] = err
				return
			}
			defer c.Close()
			defer context.AfterFunc(ctx, func() { _ = c.Close() })() // frees a blocked read
			errs[i] = do(c, i)
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(errs...)
}

// Exchange sends requests from..to in one write and reads their replies.
func (c *Conn) Exchange(buf []byte, from, to int, request func(b []byte, n int) []byte) ([]byte, error) {
	buf = buf[:0]
	for n := from; n < to; n++ {
		buf = request(buf, n)
	}
	if err := c.SetDeadline(time.Now().Add(ReplyTimeout)); err != nil {
		return buf, err
	}
	if _, err := c.Write(buf); err != nil {
		return buf, err
	}
	for range to - from {
		if err := c.Skip(); err != nil {
			return buf, err
		}
	}
	return buf, nil
}

// Filling says how a collection is written: every object of every round, pipelined.
type Filling struct {
	Key             string
	Points, Rounds  int
	Conns, Pipeline int // connections, and requests in flight on each
}

// Fill writes a collection. said is told how many requests of how many have been
// answered.
func Fill(ctx context.Context, to Server, f Filling, said func(done, of int)) error {
	var done atomic.Int64
	for round := range f.Rounds {
		err := InParallel(ctx, to, f.Conns, func(c *Conn, worker int) error {
			from, end := f.Points*worker/f.Conns, f.Points*(worker+1)/f.Conns
			var buf []byte
			for n := from; n < end; n += f.Pipeline {
				next := min(n+f.Pipeline, end)
				var err error
				if buf, err = c.Exchange(buf, n, next, func(b []byte, n int) []byte { return Put(b, f.Key, round, n) }); err != nil {
					return fmt.Errorf("load: %w", err)
				}
				said(int(done.Add(int64(next-n))), f.Points*f.Rounds)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Closed repeats an operation for some time, with so many requests in flight on each
// connection.
type Closed struct {
	Op              Op
	Points          int // of the collection
	Conns, InFlight int
	Duration        time.Duration
}

// Run tells how many requests a second were answered.
func (l Closed) Run(ctx context.Context, to Server) (float64, error) {
	var done atomic.Int64
	began := time.Now()
	err := InParallel(ctx, to, l.Conns, func(c *Conn, worker int) error {
		var buf []byte
		for n := worker << 32; time.Since(began) < l.Duration; n += l.InFlight {
			var err error
			if buf, err = c.Exchange(buf, n, n+l.InFlight, func(b []byte, n int) []byte { return l.Op.Request(b, n, l.Points) }); err != nil {
				return fmt.Errorf("%s: %w", l.Op.Name, err)
			}
			done.Add(int64(l.InFlight))
		}
		return nil
	})
	return float64(done.Load()) / time.Since(began).Seconds(), err
}
