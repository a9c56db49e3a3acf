package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"evenkeel/internal/load"
)

const (
	// eventListeners is how many connections listen, or are live fences.
	eventListeners = 4
	// eventHooks is how many webhooks share the messages.
	eventHooks = 8
	// eventWindow is how many SETs may be ahead of the slowest listener, so that
	// what is measured is what arrives, not what is queued.
	eventWindow = 4096
)

// flow counts SETs and the messages about them, and holds up the SETs.
type flow struct {
	mu    sync.Mutex
	moved *sync.Cond // when got changes or over is set
	sent  int64
	got   []int64 // by listener: each is to get one message for a SET
	over  bool
}

func newFlow(listeners int) *flow {
	f := &flow{got: make([]int64, listeners)}
	f.moved = sync.NewCond(&f.mu)
	return f
}

// slowest is the number of messages of the slowest listener.
func (f *flow) slowest() int64 {
	least := f.got[0]
	for _, n := range f.got {
		least = min(least, n)
	}
	return least
}

// send waits until n SETs may be sent; false: it is over.
func (f *flow) send(n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.over && f.sent+int64(n)-f.slowest() > eventWindow {
		f.moved.Wait()
	}
	f.sent += int64(n)
	return !f.over
}

// receive counts a message; it is not counted when it is over.
func (f *flow) receive(listener int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.over {
		f.got[listener]++
		f.moved.Broadcast()
	}
}

// end lets everybody stop and returns the number of messages.
func (f *flow) end() (messages int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	f.moved.Broadcast()
	for _, n := range f.got {
		messages += n
	}
	return messages
}

// ended says whether end was called.
func (f *flow) ended() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.over
}

// events moves objects for as long as a throughput measurement takes and
// reports the messages that arrive a second.
func (b *bench) events(ctx context.Context, s *server, name string, f *flow) error {
	began := time.Now()
	timer := time.AfterFunc(b.o.duration, func() { f.end() })
	defer timer.Stop()
	defer context.AfterFunc(ctx, func() { f.end() })()
	points := b.o.fencePoints()
	err := load.InParallel(ctx, s.target(), b.o.conns, func(c *load.Conn, worker int) error {
		var buf []byte
		for n := worker << 32; f.send(b.o.pipeline); n += b.o.pipeline {
			var err error
			buf, err = c.Exchange(buf, n, n+b.o.pipeline, func(b []byte, n int) []byte { return opMove.Request(b, n, points) })
			if err != nil {
				f.end()
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.report.add(row{Name: name, Unit: "messages/s", MoreIsBetter: true}, s, float64(f.end())/time.Since(began).Seconds())
	return nil
}

// channelEvents measures one channel that all objects are in.
func (b *bench) channelEvents(ctx context.Context, s *server) error {
	if _, err := load.Ask(ctx, s.target(), "SETCHAN", "all", "WITHIN", collectionName, "FENCE", "DETECT", "inside", "BOUNDS", "-90", "-180", "90", "180"); err != nil {
		return err
	}
	if err := b.listen(ctx, s, fmt.Sprintf("channel with %d subscribers", eventListeners), "SUBSCRIBE", "all"); err != nil {
		return err
	}
	_, err := load.Ask(ctx, s.target(), "DELCHAN", "all")
	return err
}

// liveEvents measures live fences that all objects are in.
func (b *bench) liveEvents(ctx context.Context, s *server) error {
	return b.listen(ctx, s, fmt.Sprintf("%d live fences", eventListeners),
		"WITHIN", collectionName, "FENCE", "DETECT", "inside", "BOUNDS", "-90", "-180", "90", "180")
}

// listen measures messages to connections that have sent a command, which is
// answered once before they come.
func (b *bench) listen(ctx context.Context, s *server, name string, command ...string) (err error) {
	f := newFlow(eventListeners)
	var conns []*load.Conn
	var wg sync.WaitGroup
	errs := make([]error, eventListeners)
	defer func() {
		f.end()
		for _, c := range conns {
			_ = c.Close()
		}
		wg.Wait()
		err = errors.Join(errors.Join(errs...), err)
	}()
	for i := range eventListeners {
		c, err := load.Dial(ctx, s.target())
		if err != nil {
			return err
		}
		conns = append(conns, c)
		if err := c.SetDeadline(time.Now().Add(load.ReplyTimeout)); err != nil {
			return err
		}
		if _, err := c.Write(load.AppendCommand(nil, command...)); err != nil {
			return err
		}
		if err := c.Skip(); err != nil {
			return fmt.Errorf("%s: %w", command[0], err)
		}
		wg.Go(func() {
			for {
				if err := c.Skip(); err != nil {
					if !f.ended() {
						f.end()
						errs[i] = fmt.Errorf("%s: a listener was lost: %w", name, err)
					}
					return
				}
				f.receive(i)
			}
		})
	}
	return b.events(ctx, s, name, f)
}

// webhookEvents measures webhooks that a server in this process receives. Each
// object is in the fence of one of them.
func (b *bench) webhookEvents(ctx context.Context, s *server) (err error) {
	f := newFlow(1)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	web := &http.Server{ReadHeaderTimeout: load.ReplyTimeout, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(
		func(_ http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err == nil {
				f.receive(0)
			}
		})}
	served := make(chan error, 1)
	go func() { served <- web.Serve(ln) }()
	defer func() {
		err = errors.Join(err, web.Close())
		if serr := <-served; !errors.Is(serr, http.ErrServerClosed) {
			err = errors.Join(err, serr)
		}
	}()
	const width = 360 / eventHooks
	for i := range eventHooks {
		west := -180 + i*width
		if _, err := load.Ask(ctx, s.target(), "SETHOOK", "hook:"+strconv.Itoa(i), "http://"+ln.Addr().String()+"/", "WITHIN", collectionName,
			"FENCE", "DETECT", "inside", "BOUNDS", "-90", strconv.Itoa(west), "90", strconv.Itoa(west+width)); err != nil {
			return err
		}
	}
	if err := b.events(ctx, s, fmt.Sprintf("%d webhooks", eventHooks), f); err != nil {
		return err
	}
	_, err = load.Ask(ctx, s.target(), "PDELHOOK", "*")
	return err
}
