package pubsub

import (
	"errors"
	"sync"
	"sync/atomic"
)

// subscriptionCost is what a subscription takes beside its name, in bytes: the
// record, its places in two tables, and a topic.
const subscriptionCost = 256

// ErrTooManyNames is returned by a subscription that would exceed the bounds on
// names.
var ErrTooManyNames = errors.New("too many subscriptions")

// Hub connects those who publish with those who listen. It is safe for
// concurrent use.
type Hub struct {
	o Options

	mu        sync.Mutex
	channels  map[string]*topic
	patterns  map[string]*topic
	globs     []*topic // the patterns, in no particular order
	listeners map[*Listener]struct{}
	names     int64 // bytes, of all listeners

	waiting atomic.Int64 // bytes, of all listeners

	published, delivered, slow, cut atomic.Uint64
}

// topic is a channel or a pattern that somebody listens to.
type topic struct {
	name string
	glob glob // of a pattern
	pos  int  // of a pattern: in Hub.globs
	subs []*subscription
}

// subscription says that a listener listens to a topic.
type subscription struct {
	l   *Listener
	t   *topic
	pos int // in topic.subs
}

// NewHub makes a hub.
func NewHub(o Options) (*Hub, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return &Hub{
		o:         o,
		channels:  map[string]*topic{},
		patterns:  map[string]*topic{},
		listeners: map[*Listener]struct{}{},
	}, nil
}

// Publish hands msg to everybody who listens to channel, or to a pattern that
// matches it, and returns how many times it did: a listener with the channel and
// two patterns counts three times and gets it three times, for the channel
// first. It never blocks. msg is shared from now on: nobody may change it.
func (h *Hub) Publish(channel string, msg []byte) (receivers int) {
	h.published.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.channels[channel]; t != nil {
		receivers += t.send(Message{Kind: KindChannel, Channel: channel, Payload: msg})
	}
	if len(h.globs) > 0 {
		receivers += h.sendPatternsLocked(channel, msg)
	}
	if receivers > 0 {
		h.delivered.Add(uint64(receivers)) // #nosec G115 -- a count
		h.shedLocked()
	}
	return receivers
}

func (h *Hub) sendPatternsLocked(channel string, msg []byte) (receivers int) {
	steps := h.o.MaxMatchSteps
	for _, t := range h.globs {
		if t.glob.match(channel, &steps) {
			receivers += t.send(Message{Kind: KindPattern, Pattern: t.name, Channel: channel, Payload: msg})
		}
	}
	if steps == 0 {
		h.cut.Add(1)
	}
	return receivers
}

func (t *topic) send(m Message) (receivers int) {
	for _, s := range t.subs {
		if s.l.add(m) {
			receivers++
		}
	}
	return receivers
}

// shedLocked drops the largest backlogs until all together are within bounds.
// Being slow is final and leaves nothing that counts, so each round has another
// victim.
func (h *Hub) shedLocked() {
	for h.waiting.Load() > h.o.MaxTotal {
		var worst *Listener
		var most int64
		for l := range h.listeners {
			if n := l.backlog.Load(); n > most {
				worst, most = l, n
			}
		}
		if worst == nil {
			return
		}
		worst.markSlow(true)
	}
}

// subscribe adds l to the topic. It returns the number of l's subscriptions.
func (h *Hub) subscribe(l *Listener, name string, pattern bool) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	table, own := h.channels, l.channels
	if pattern {
		table, own = h.patterns, l.patterns
	}
	if own[name] != nil || l.closedLocked {
		return l.countLocked(), nil
	}
	cost := int64(len(name)) + subscriptionCost
	if l.names+cost > h.o.MaxNames || h.names+cost > h.o.MaxTotalNames {
		return l.countLocked(), ErrTooManyNames
	}
	t := table[name]
	if t == nil {
		t = &topic{name: name}
		table[name] = t
		if pattern {
			t.glob, t.pos = newGlob(name), len(h.globs)
			h.globs = append(h.globs, t)
		}
	}
	s := &subscription{l: l, t: t, pos: len(t.subs)}
	t.subs = append(t.subs, s)
	own[t.name] = s
	l.names += cost
	h.names += cost
	return l.countLocked(), nil
}

// unsubscribe is the reverse of subscribe.
func (h *Hub) unsubscribe(l *Listener, name string, pattern bool) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	own := l.channels
	if pattern {
		own = l.patterns
	}
	if s := own[name]; s != nil {
		h.removeLocked(s, pattern)
	}
	return l.countLocked()
}

// removeLocked takes constant time, so that the end of a listener with very many
// subscriptions holds nobody up.
func (h *Hub) removeLocked(s *subscription, pattern bool) {
	t, l := s.t, s.l
	last := len(t.subs) - 1
	t.subs[s.pos] = t.subs[last]
	t.subs[s.pos].pos = s.pos
	t.subs[last] = nil
	t.subs = t.subs[:last]
	cost := int64(len(t.name)) + subscriptionCost
	l.names -= cost
	h.names -= cost
	if !pattern {
		delete(l.channels, t.name)
		if last == 0 {
			delete(h.channels, t.name)
		}
		return
	}
	delete(l.patterns, t.name)
	if last > 0 {
		return
	}
	delete(h.patterns, t.name)
	end := len(h.globs) - 1
	h.globs[t.pos] = h.globs[end]
	h.globs[t.pos].pos = t.pos
	h.globs[end] = nil
	h.globs = h.globs[:end]
}

// removeSome takes up to n subscriptions from l and reports whether any is left.
func (h *Hub) removeSome(l *Listener, n int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	l.closedLocked = true
	for _, s := range l.channels {
		if n--; n < 0 {
			return true
		}
		h.removeLocked(s, false)
	}
	for _, s := range l.patterns {
		if n--; n < 0 {
			return true
		}
		h.removeLocked(s, true)
	}
	delete(h.listeners, l)
	return false
}

// Stats are numbers about a hub.
type Stats struct {
	Listeners int // now
	Channels  int // distinct ones that somebody listens to, now
	Patterns  int // the same

	Published uint64 // calls of Publish
	Delivered uint64 // messages handed to backlogs by Publish
	Slow      uint64 // listeners that were dropped because they were slow
	MatchCut  uint64 // calls of Publish that ran out of MaxMatchSteps

	Waiting int64 // bytes that wait for all listeners, now
}

// Stats returns the numbers as they are now.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Stats{
		Listeners: len(h.listeners),
		Channels:  len(h.channels),
		Patterns:  len(h.patterns),
		Published: h.published.Load(),
		Delivered: h.delivered.Load(),
		Slow:      h.slow.Load(),
		MatchCut:  h.cut.Load(),
		Waiting:   h.waiting.Load(),
	}
}
