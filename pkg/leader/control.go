package leader

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/replication"
)

// turns lets one pod at a time compact: the leader itself, or one of its
// followers.
type turns struct{ place chan struct{} }

func newTurns() *turns { return &turns{place: make(chan struct{}, 1)} }

// take waits for the turn; give ends it, and may be called more than once.
func (t *turns) take(ctx context.Context) (give func(), err error) {
	select {
	case t.place <- struct{}{}:
		return sync.OnceFunc(func() { <-t.place }), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Turn waits until the leader may compact; done ends that.
func (l *Leader) Turn(ctx context.Context) (done func(), err error) { return l.turns.take(ctx) }

// control is what is said to a follower while it streams, and what it answers.
type control struct {
	mu       sync.Mutex // guards what follows
	lines    [][]byte   // to be sent
	wantSync int64      // offset that somebody waits for; 0: nobody
	askSync  int64      // offset up to which a sync was asked for
	reports  map[string]chan replication.Report
	turnDone chan struct{} // closed when the follower gives its turn back; nil: it has none

	kick chan struct{} // there are lines, or a sync is wanted
}

// maxLines bounds what waits to be said to a follower; it is a few turns and
// requests, unless the follower is up to no good.
const maxLines = 64

func newControl() control {
	return control{reports: map[string]chan replication.Report{}, kick: make(chan struct{}, 1)}
}

// say queues a line.
func (s *stream) say(words ...string) {
	s.ctl.mu.Lock()
	defer s.ctl.mu.Unlock()
	if len(s.ctl.lines) < maxLines {
		s.ctl.lines = append(s.ctl.lines, replication.AppendControl(nil, words...))
	}
	s.ctl.wake()
}

func (c *control) wake() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// needSync has the follower told to sync, once the log is sent up to offset.
func (s *stream) needSync(offset int64) {
	s.ctl.mu.Lock()
	defer s.ctl.mu.Unlock()
	if offset > s.ctl.wantSync {
		s.ctl.wantSync = offset
		s.ctl.wake()
	}
}

// sent takes note that the log has been sent up to offset.
func (c *control) sent(offset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wantSync > c.askSync && offset >= c.wantSync {
		c.wake()
	}
}

// speak sends what is to be said while the log is streamed, until ctx ends or
// the connection fails, and cuts a follower that is too far behind.
func (s *stream) speak(ctx context.Context, held func() int64) error {
	tick := time.NewTicker(s.opt.HeartbeatInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.ctl.kick:
			if !s.streaming.Load() {
				break // sendLog kicks again
			}
			if err := s.write(s.lines()); err != nil {
				return err
			}
		case <-tick.C:
			if n := held(); s.opt.MaxHeld > 0 && n > s.opt.MaxHeld {
				return fmt.Errorf("%w: %d bytes of log are kept for it alone, the limit is %d", ErrBehind, n, s.opt.MaxHeld)
			}
		}
	}
}

// lines takes what is to be said now.
func (s *stream) lines() []byte {
	s.ctl.mu.Lock()
	defer s.ctl.mu.Unlock()
	var b []byte
	for _, line := range s.ctl.lines {
		b = append(b, line...)
	}
	s.ctl.lines = nil
	if sent := s.sentOffset.Load(); s.ctl.wantSync > s.ctl.askSync && sent >= s.ctl.wantSync {
		s.ctl.askSync = sent
		b = replication.AppendControl(b, replication.CtlSync)
	}
	return b
}

// report takes what a follower says of itself.
func (s *stream) report(ctx context.Context, r replication.Report, wg *sync.WaitGroup) {
	switch r.Kind {
	case replication.ReportAck:
		s.acked.Store(r.Offset)
		s.synced.Store(r.Synced)
		s.lastAck.Store(s.opt.Now().UnixNano())
		s.onAck()
	case replication.ReportTurnAsk:
		s.askTurn(ctx, wg)
	case replication.ReportTurnDone:
		s.ctl.mu.Lock()
		defer s.ctl.mu.Unlock()
		if s.ctl.turnDone != nil {
			close(s.ctl.turnDone)
			s.ctl.turnDone = nil
		}
	case replication.ReportCompacted:
		s.ctl.mu.Lock()
		defer s.ctl.mu.Unlock()
		if c := s.ctl.reports[r.ID]; c != nil {
			delete(s.ctl.reports, r.ID)
			c <- r // holds one
		}
	}
}

// askTurn gets the follower its turn, and waits until it is over.
func (s *stream) askTurn(ctx context.Context, wg *sync.WaitGroup) {
	s.ctl.mu.Lock()
	defer s.ctl.mu.Unlock()
	if s.ctl.turnDone != nil {
		return // it has asked before
	}
	done := make(chan struct{})
	s.ctl.turnDone = done
	wg.Go(func() {
		give, err := s.turns.take(ctx)
		if err != nil {
			return
		}
		defer give()
		select {
		case <-done: // it was given up meanwhile
			return
		default:
		}
		s.say(replication.CtlTurn)
		timer := time.NewTimer(s.opt.TurnTimeout)
		defer timer.Stop()
		select {
		case <-done:
		case <-ctx.Done():
		case <-timer.C:
			s.opt.Logger.Warn("a follower's turn to compact has lasted too long: the next pod may begin",
				"follower", s.addr, "id", s.hello.ID, "limit", s.opt.TurnTimeout)
		}
	})
}

// Compacted is what became of a compaction that CompactAll asked for.
type Compacted struct {
	ID     string // server id; empty if it did not say
	Addr   string // where clients reach the follower, as far as it is known
	Offset int64  // where its new base stands
	Err    error  // nil: it is compacted, and its state is the leader's
}

// Errors of CompactAll.
var (
	errGone   = errors.New("it is not connected any more")
	errDigest = errors.New("its state is not the leader's")
)

// CompactAll lets every follower that is connected compact, and returns what
// became of it when all are done or ctx ends.
func (l *Leader) CompactAll(ctx context.Context, id string) []Compacted {
	l.mu.Lock()
	streams := make([]*stream, 0, len(l.streams))
	for s := range l.streams {
		streams = append(streams, s)
	}
	l.mu.Unlock()
	all := make([]Compacted, len(streams))
	var wg sync.WaitGroup
	for i, s := range streams {
		wg.Go(func() { all[i] = s.compact(ctx, id) })
	}
	wg.Wait()
	return all
}

// compact asks one follower and compares what it reports with the log.
func (s *stream) compact(ctx context.Context, id string) Compacted {
	c := Compacted{ID: s.hello.ID, Addr: s.stat(0).clientAddr()}
	answer := make(chan replication.Report, 1)
	s.ctl.mu.Lock()
	s.ctl.reports[id] = answer
	s.ctl.mu.Unlock()
	s.say(replication.CtlCompact, id)
	select {
	case r := <-answer:
		c.Offset = r.Offset
		if r.Err != "" {
			c.Err = errors.New(r.Err)
			break
		}
		c.Err = s.agrees(r)
	case <-s.ended:
		c.Err = errGone
	case <-ctx.Done():
		c.Err = fmt.Errorf("it has not said that it is done: %w", context.Cause(ctx))
	}
	s.ctl.mu.Lock()
	delete(s.ctl.reports, id)
	s.ctl.mu.Unlock()
	return c
}

// agrees says whether the log has the digest that a follower reports. If the log
// does not have the offset any more, what the follower compares with each batch and
// heartbeat stands: it would not be connected.
func (s *stream) agrees(r replication.Report) error {
	pos := aof.Position{Epoch: s.opt.Log.Position().Epoch, Offset: r.Offset}
	tail, err := s.opt.Log.Tail(pos, r.Digest)
	switch {
	case err == nil:
		return tail.Close()
	case errors.Is(err, aof.ErrGone):
		return nil
	case errors.Is(err, aof.ErrDiverged):
		return fmt.Errorf("%w: at offset %d: %w", errDigest, r.Offset, err)
	}
	return err
}

// WaitSynced waits until n followers have the log up to offset on their disks,
// and returns how many have. It returns when ctx ends, too.
func (l *Leader) WaitSynced(ctx context.Context, offset int64, n int) int {
	for {
		l.mu.Lock()
		changed := l.acks
		got := 0
		for s := range l.streams {
			if s.streaming.Load() && s.synced.Load() >= offset {
				got++
			} else {
				s.needSync(offset)
			}
		}
		l.mu.Unlock()
		if got >= n {
			return got
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return got
		}
	}
}

// Streaming returns how many followers get the log, and are not being resynced.
func (l *Leader) Streaming() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for s := range l.streams {
		if s.streaming.Load() {
			n++
		}
	}
	return n
}

// acknowledged wakes those who wait for followers.
func (l *Leader) acknowledged() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.acks)
	l.acks = make(chan struct{})
}
