package pubsub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// messageCost is what a message takes in a backlog beside its payload, in bytes.
const messageCost = 96

// keepMessages is the largest backlog whose memory is used again.
const keepMessages = 1024

// closeBatch is how many subscriptions Close removes without letting others in.
const closeBatch = 256

// Kind says why a listener gets a message.
type Kind uint8

// The kinds.
const (
	KindDirect  Kind = iota // pushed to this listener
	KindChannel             // published to a channel that it listens to
	KindPattern             // published to a channel that matches a pattern
)

// Message is what waits for a listener. The owner turns it into bytes.
type Message struct {
	Kind    Kind
	Channel string // of KindChannel and KindPattern
	Pattern string // of KindPattern
	Payload []byte // shared: not to be changed
}

func (m *Message) cost() int64 { return int64(len(m.Payload)) + messageCost }

// Errors of Next.
var (
	// ErrSlow says that the listener's backlog overflowed and was dropped: a
	// *SlowError, which tells how much it was. The connection is to be ended.
	ErrSlow = errors.New("the listener is too slow")
	// ErrClosed says that the listener was closed.
	ErrClosed = errors.New("the listener is closed")
)

// SlowError says how much waited for a listener when it was dropped.
type SlowError struct {
	Messages int   // dropped
	Bytes    int64 // dropped, and what the owner held
	Total    bool  // it held most when the bound of all listeners was exceeded
}

func (e *SlowError) Error() string {
	why := "more than one listener may hold"
	if e.Total {
		why = "the most of all listeners"
	}
	return fmt.Sprintf("%v: %d messages, %d bytes waited, %s", ErrSlow, e.Messages, e.Bytes, why)
}

// Is makes it an ErrSlow.
func (e *SlowError) Is(target error) bool { return target == ErrSlow }

// Listener is one receiver. One goroutine calls Next; everything else is safe
// for concurrent use.
type Listener struct {
	hub *Hub

	// Guarded by Hub.mu.
	channels, patterns map[string]*subscription
	names              int64
	closedLocked       bool

	ready chan struct{} // holds a token when there may be something for Next
	gone  chan struct{} // closed by Close and when the listener is slow

	backlog atomic.Int64 // bytes: queue and held

	mu     sync.Mutex
	queue  []Message
	held   int64 // bytes that the last Next handed out
	slow   *SlowError
	closed bool
}

// NewListener makes a listener without subscriptions. Close ends it.
func (h *Hub) NewListener() *Listener {
	l := &Listener{
		hub:      h,
		channels: map[string]*subscription{},
		patterns: map[string]*subscription{},
		ready:    make(chan struct{}, 1),
		gone:     make(chan struct{}),
	}
	h.mu.Lock()
	h.listeners[l] = struct{}{}
	h.mu.Unlock()
	return l
}

// countLocked is the number that SUBSCRIBE answers: channels and patterns.
func (l *Listener) countLocked() int { return len(l.channels) + len(l.patterns) }

// Subscribe listens to a channel and returns how many channels and patterns the
// listener has now, as SUBSCRIBE answers. To subscribe again changes nothing.
// The error is ErrTooManyNames.
func (l *Listener) Subscribe(channel string) (int, error) {
	return l.hub.subscribe(l, channel, false)
}

// PSubscribe is Subscribe for a pattern.
func (l *Listener) PSubscribe(pattern string) (int, error) {
	return l.hub.subscribe(l, pattern, true)
}

// Unsubscribe ends Subscribe and returns how many channels and patterns are
// left. What waits already will still come.
func (l *Listener) Unsubscribe(channel string) int {
	return l.hub.unsubscribe(l, channel, false)
}

// PUnsubscribe ends PSubscribe.
func (l *Listener) PUnsubscribe(pattern string) int {
	return l.hub.unsubscribe(l, pattern, true)
}

// Push hands m to this listener alone and reports whether it was taken. It never
// blocks. The payload is shared from now on.
func (l *Listener) Push(m Message) bool {
	ok := l.add(m)
	if ok && l.hub.waiting.Load() > l.hub.o.MaxTotal {
		l.hub.mu.Lock()
		l.hub.shedLocked()
		l.hub.mu.Unlock()
	}
	return ok
}

// add puts m at the end of the backlog, or finds that this is too much.
func (l *Listener) add(m Message) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.slow != nil {
		return false
	}
	cost := m.cost()
	if len(l.queue) >= l.hub.o.MaxMessages || l.backlog.Load()+cost > l.hub.o.MaxBytes {
		l.markSlowLocked(false)
		return false
	}
	l.queue = append(l.queue, m)
	l.backlog.Add(cost)
	l.hub.waiting.Add(cost)
	l.wake()
	return true
}

func (l *Listener) wake() {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

func (l *Listener) markSlow(total bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed && l.slow == nil {
		l.markSlowLocked(total)
	}
}

func (l *Listener) markSlowLocked(total bool) {
	l.slow = &SlowError{Messages: len(l.queue), Bytes: l.backlog.Load(), Total: total}
	l.hub.slow.Add(1)
	l.dropLocked()
	close(l.gone)
}

// dropLocked forgets the backlog, and what the owner holds, too: the owner ends
// the connection now, and must not make a second listener look worst.
func (l *Listener) dropLocked() {
	l.queue = nil
	l.held = 0
	l.hub.waiting.Add(-l.backlog.Swap(0))
}

// Gone is closed once Next will return nothing but an error: the listener is
// slow or closed. It is for an owner that is blocked in a write meanwhile.
func (l *Listener) Gone() <-chan struct{} { return l.gone }

// Next waits until there are messages and returns all of them, in order. buf is
// what the last call returned, whose memory is used again, or nil: with the call
// the messages of the last one are done with. The error is that of ctx, ErrSlow
// or ErrClosed.
func (l *Listener) Next(ctx context.Context, buf []Message) ([]Message, error) {
	clear(buf)
	if cap(buf) > keepMessages {
		buf = nil
	}
	for {
		out, err := l.take(buf)
		if len(out) > 0 || err != nil {
			return out, err
		}
		select {
		case <-l.ready:
		case <-l.gone:
		case <-ctx.Done():
			return buf[:0], ctx.Err()
		}
	}
}

// take swaps the backlog with buf.
func (l *Listener) take(buf []Message) ([]Message, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return buf[:0], ErrClosed
	case l.slow != nil:
		return buf[:0], l.slow
	}
	l.backlog.Add(-l.held)
	l.hub.waiting.Add(-l.held)
	l.held = l.backlog.Load()
	out := l.queue
	if len(out) == 0 {
		return buf[:0], nil
	}
	l.queue = buf[:0]
	return out, nil
}

// Close ends all subscriptions and forgets what waits. It may be called again.
func (l *Listener) Close() {
	l.mu.Lock()
	if !l.closed {
		if l.slow == nil {
			l.dropLocked()
			close(l.gone)
		}
		l.closed = true
	}
	l.mu.Unlock()
	for l.hub.removeSome(l, closeBatch) {
	}
}
