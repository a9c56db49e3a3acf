package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// maxDialling is how many connections to one address are tried at once.
	maxDialling = 64
	// Pauses between attempts.
	minPause = 5 * time.Millisecond
	maxPause = 250 * time.Millisecond
	// dyingTime is how long a killed process keeps its sockets, at most.
	dyingTime = 50 * time.Millisecond
)

// target is an address of an engine.
type target struct {
	addr    string
	role    string // how errors name it
	connect func(ctx context.Context, addr string) (net.Conn, error)
	wait    time.Duration // ConnectWait, or LeaderWait
	b       *Backend
	turns   chan struct{} // holds a token for each attempt under way

	mu   sync.Mutex
	down time.Time // since when attempts fail; zero: the last one did not
	last time.Time // the last one that failed
}

func (b *Backend) newTarget(role, addr string, connect func(context.Context, string) (net.Conn, error), wait time.Duration) *target {
	return &target{addr: addr, role: role, connect: connect, wait: wait, b: b, turns: make(chan struct{}, maxDialling)}
}

// dialAside is dial on a goroutine of its own: connecting takes a deep stack,
// which the one that waits for the client would then have for good.
func (t *target) dialAside(ctx context.Context) (nc net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err = t.dial(ctx)
	}()
	<-done
	return nc, err
}

// dial connects, again and again until the target has been out of reach for as long
// as it may, or ctx ends.
func (t *target) dial(ctx context.Context) (net.Conn, error) {
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		nc, err := t.once(ctx)
		if err == nil {
			return nc, nil
		}
		if ctx.Err() != nil || t.failed() > t.wait {
			return nil, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		}
	}
}

// once tries once.
func (t *target) once(ctx context.Context) (net.Conn, error) {
	select {
	case t.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, t.wrap(ctx.Err())
	}
	defer func() { <-t.turns }()
	ctx, cancel := context.WithTimeout(ctx, t.b.opts.DialTimeout)
	defer cancel()
	nc, err := t.connect(ctx, t.addr)
	if err != nil {
		t.b.count.dialFailures.Add(1)
		return nil, t.wrap(err)
	}
	t.mu.Lock()
	t.down = time.Time{}
	t.mu.Unlock()
	return nc, nil
}

func (t *target) wrap(err error) error { return fmt.Errorf("%s %s: %w", t.role, t.addr, err) }

// failed notes an attempt that failed and says for how long they have.
func (t *target) failed() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	// What failed long ago was another time: nobody has tried since.
	old := now.Sub(t.last) > t.b.opts.DialTimeout+2*maxPause
	t.last = now
	if t.down.IsZero() || old {
		t.down = now
		t.b.opts.Logger.Warn("an engine cannot be reached", "what", t.role, "address", t.addr)
	}
	return now.Sub(t.down)
}

// lives says whether the target takes connections, and means it: one that is
// being killed may still have its port open, and resets what it took.
func (t *target) lives(ctx context.Context) bool {
	nc, err := t.once(ctx)
	if err != nil {
		return false
	}
	defer nc.Close()
	if err := nc.SetReadDeadline(time.Now().Add(dyingTime)); err != nil {
		return false
	}
	_, err = nc.Read(make([]byte, 1)) // it says nothing unless asked
	return errors.Is(err, os.ErrDeadlineExceeded)
}
