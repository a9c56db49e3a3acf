package load

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

// Sample is one answered request.
type Sample struct {
	At      time.Time // when it was meant to be sent
	Latency time.Duration
}

// Stream sends one operation at a fixed rate until its context ends. Latency is
// counted from the time at which a request was meant to be sent, so that a
// server that stalls is charged for every request it held up.
type Stream struct {
	To     Server
	Op     Op
	Rate   int // requests a second
	Points int // of the collection

	mu      sync.Mutex // guards samples
	samples []Sample
}

// Run returns when all replies are there, or with the first error.
func (s *Stream) Run(ctx context.Context) error {
	lanes := make([]*lane, openConns)
	var wg sync.WaitGroup
	errs := make(chan error, openConns)
	for i := range lanes {
		c, err := Dial(ctx, s.To)
		if err != nil {
			for _, l := range lanes[:i] {
				close(l.sent)
				_ = l.c.Close()
			}
			wg.Wait()
			return fmt.Errorf("%s: %w", s.Op.Name, err)
		}
		l := &lane{c: c, sent: make(chan time.Time, 1<<16)}
		lanes[i] = l
		wg.Go(func() {
			if err := l.read(s); err != nil {
				errs <- fmt.Errorf("%s: %w", s.Op.Name, err)
			}
		})
	}
	err := s.send(ctx, lanes)
	for _, l := range lanes {
		close(l.sent)
	}
	wg.Wait()
	for _, l := range lanes {
		_ = l.c.Close()
	}
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	return err
}

// lane is one connection of a stream.
type lane struct {
	c    *Conn
	sent chan time.Time // when the requests not yet answered were meant to be sent
}

// read takes replies until everything sent is answered.
func (l *lane) read(s *Stream) error {
	for at := range l.sent {
		if err := l.c.SetReadDeadline(time.Now().Add(ReplyTimeout)); err != nil {
			return err
		}
		if err := l.c.Skip(); err != nil {
			_ = l.c.Close() // ends the sender
			for range l.sent {
			}
			return err
		}
		s.Add(Sample{at, time.Since(at)})
	}
	return nil
}

// Add notes an answered request.
func (s *Stream) Add(x Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.samples = append(s.samples, x)
}

// send writes requests at their times until ctx ends.
func (s *Stream) send(ctx context.Context, lanes []*lane) error {
	began := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var buf []byte
	for n := 0; ; n++ {
		at := began.Add(time.Duration(n) * time.Second / time.Duration(s.Rate))
		timer.Reset(time.Until(at))
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		l := lanes[n%len(lanes)]
		buf = s.Op.Request(buf[:0], n, s.Points)
		l.sent <- at
		if _, err := l.c.Write(buf); err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil // the reader has said why
			}
			return fmt.Errorf("%s: %w", s.Op.Name, err)
		}
	}
}

// Between are the requests meant for from..to.
func (s *Stream) Between(from, to time.Time) []Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Sample
	for _, x := range s.samples {
		if !x.At.Before(from) && x.At.Before(to) {
			all = append(all, x)
		}
	}
	return all
}

// Quantile is the smallest latency that percent of all do not exceed; 0 of
// none. It sorts all.
func Quantile(all []time.Duration, percent int) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[(len(all)*percent+99)/100-1]
}
