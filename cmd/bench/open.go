package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// openConns is how many connections an operation's requests take turns on, so
// that a slow reply holds up few others.
const openConns = 8

// sample is one answered request.
type sample struct {
	at      time.Time // when it was meant to be sent
	latency time.Duration
}

// stream sends one operation at a fixed rate until its context ends. Latency is
// counted from the time at which a request was meant to be sent, so that a
// server that stalls is charged for every request it held up.
type stream struct {
	op   op
	addr string

	mu      sync.Mutex // guards samples
	samples []sample
}

// who says whom it asks: the leader, or its follower.
func (s *stream) who(leader *server) string {
	if s.addr == leader.addr {
		return "leader"
	}
	return "follower"
}

// run returns when all replies are there, or with the first error.
func (s *stream) run(ctx context.Context, o options) error {
	lanes := make([]*lane, openConns)
	var wg sync.WaitGroup
	errs := make(chan error, openConns)
	for i := range lanes {
		c, err := dial(ctx, s.addr)
		if err != nil {
			for _, l := range lanes[:i] {
				close(l.sent)
				l.c.close()
			}
			wg.Wait()
			return fmt.Errorf("%s: %w", s.op.name, err)
		}
		l := &lane{c: c, sent: make(chan time.Time, 1<<16)}
		lanes[i] = l
		wg.Go(func() {
			if err := l.read(s); err != nil {
				errs <- fmt.Errorf("%s: %w", s.op.name, err)
			}
		})
	}
	err := s.send(ctx, lanes, o)
	for _, l := range lanes {
		close(l.sent)
	}
	wg.Wait()
	for _, l := range lanes {
		l.c.close()
	}
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	return err
}

// lane is one connection of a stream.
type lane struct {
	c    *conn
	sent chan time.Time // when the requests not yet answered were meant to be sent
}

// read takes replies until everything sent is answered.
func (l *lane) read(s *stream) error {
	for at := range l.sent {
		if err := l.c.c.SetReadDeadline(time.Now().Add(replyTimeout)); err != nil {
			return err
		}
		if err := l.c.skip(); err != nil {
			l.c.close() // ends the sender
			for range l.sent {
			}
			return err
		}
		s.add(sample{at, time.Since(at)})
	}
	return nil
}

func (s *stream) add(x sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.samples = append(s.samples, x)
}

// send writes requests at their times until ctx ends.
func (s *stream) send(ctx context.Context, lanes []*lane, o options) error {
	began := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var buf []byte
	for n := 0; ; n++ {
		at := began.Add(time.Duration(n) * time.Second / time.Duration(o.rate))
		timer.Reset(time.Until(at))
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		l := lanes[n%len(lanes)]
		buf = s.op.request(buf[:0], n, o.points)
		l.sent <- at
		if _, err := l.c.c.Write(buf); err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil // the reader has said why
			}
			return fmt.Errorf("%s: %w", s.op.name, err)
		}
	}
}

// between are the requests meant for from..to.
func (s *stream) between(from, to time.Time) []sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []sample
	for _, x := range s.samples {
		if !x.at.Before(from) && x.at.Before(to) {
			all = append(all, x)
		}
	}
	return all
}

// quantile is the smallest latency that percent of all do not exceed; 0 of
// none. It sorts all.
func quantile(all []time.Duration, percent int) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[(len(all)*percent+99)/100-1]
}
