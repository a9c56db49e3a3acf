package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/replication"
	"evenkeel/pkg/tile38"
	"evenkeel/pkg/tile38/verify"
)

// mark is a position at a time of our clock.
func mark(pos int64, at time.Time) aof.Mark { return aof.Mark{Offset: pos, Time: at.UnixMilli()} }

// follow takes what the leader has and what comes. It never returns nil.
func (b *Bridge) follow(ctx context.Context, cancel context.CancelCauseFunc, stream *tile38.Stream, s tile38.Server) error {
	p := &poller{b: b, id: s.ID, fresh: !b.expect.known && b.Status().Verified}
	b.pm.Lock()
	b.check = check{}
	b.pm.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := p.run(ctx); err != nil {
			cancel(err)
		}
	})
	err := b.take(ctx, stream)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	cancel(err)
	wg.Wait()
	return err
}

// take adds commands to the ring as they come. It never returns nil.
func (b *Bridge) take(ctx context.Context, stream *tile38.Stream) error {
	// Whether something is to come the poller knows, and ends the connection.
	stream.Idle(0)
	for {
		payload, err := stream.Next(b.limit())
		if err != nil {
			return err
		}
		if err := b.add(ctx, payload, stream.Pos()); err != nil {
			return err
		}
		b.progress(func(p *replication.Progress) { p.Received(int64(len(payload))) })
	}
}

// add takes a piece that ends at pos of the leader's file.
func (b *Bridge) add(ctx context.Context, payload []byte, pos int64) error {
	b.pm.Lock()
	defer b.pm.Unlock()
	if !tile38.IsMessage(payload) {
		b.ring.at(pos - int64(len(payload)))
	}
	h, err := b.ring.add(ctx, b.gen, payload)
	if err != nil {
		return err
	}
	b.ring.at(pos)
	b.tail.Add(payload, pos)
	end := h + int64(len(payload))
	if start, stop := b.beats.Last(payload); start >= 0 {
		beat, _ := b.beats.Parse(payload[start:stop])
		b.mu.Lock()
		if len(b.pending) == maxPolled {
			b.pending = b.pending[1:]
		}
		b.pending = append(b.pending, beatAt{h + int64(stop), beat.Time})
		b.mu.Unlock()
	}
	if b.check.size != 0 && pos >= b.check.size {
		if pos == b.check.size {
			b.ring.holdAt(end)
			b.check.reached <- end
		}
		b.check = check{}
	}
	return nil
}

// check is a place in the leader's file at which counts are to be compared.
type check struct {
	size    int64      // 0: none
	reached chan int64 // is told the offset of the ring, which is held there
}

// limit is the next place at which a piece is to end.
func (b *Bridge) limit() int64 {
	b.pm.Lock()
	defer b.pm.Unlock()
	if b.check.size > b.tail.Pos() {
		return b.check.size
	}
	return tile38.NoLimit
}

// expectation is by how much the counts of leader and follower are known to differ:
// a leader's memory may differ from what its file leads to.
type expectation struct {
	known bool
	delta tile38.Counts // the leader's less the follower's
}

// strikes is how often counts must differ before they count as different.
const strikes = 4

// poller asks the leader how far it is, on a connection of its own.
type poller struct {
	b       *Bridge
	id      string
	c       *tile38.Conn
	dialed  time.Time
	heard   time.Time // when something came or nothing was missing
	last    int64     // position then
	strikes int
	fresh   bool // the session began with a difference
	told    bool // that the follower has caught up
	shorter bool // the last answer had a file that ends before our position
}

// run asks until ctx ends, nil then, or until the stream cannot be relied on.
func (p *poller) run(ctx context.Context) error {
	defer func() {
		if p.c != nil {
			_ = p.c.Close()
		}
	}()
	p.heard = time.Now()
	for {
		if err := p.ask(ctx); err != nil {
			return err
		}
		every := p.b.opt.PollInterval
		if !p.told || !p.b.isCompared() {
			every = max(every/5, time.Millisecond)
		}
		if !pause(ctx, every) {
			return nil
		}
	}
}

// ask is one question and what follows from its answer.
func (p *poller) ask(ctx context.Context) error {
	b := p.b
	if p.c != nil && time.Since(p.dialed) > b.opt.RedialInterval {
		_ = p.c.Close() // its name may mean another one now
		p.c = nil
	}
	if p.c == nil {
		c, err := b.dial(ctx)
		if err != nil {
			return fmt.Errorf("poll: %w", err)
		}
		p.c, p.dialed = c, time.Now()
	}
	at, asked := b.opt.Now(), time.Now()
	before := p.position()
	s, err := p.c.Server()
	switch {
	case err != nil:
		return fmt.Errorf("poll: %w", err)
	case s.ID != p.id:
		return fmt.Errorf("poll: another server answers: id %.64q", s.ID)
	case s.Following != "":
		return fmt.Errorf("poll: %w of %s", ErrChained, s.Following)
	}
	b.mu.Lock()
	b.size, b.asked = s.AOFSize, asked
	if n := len(b.polled); n == 0 || b.polled[n-1].size <= s.AOFSize {
		if n == maxPolled {
			b.polled = b.polled[1:]
		}
		b.polled = append(b.polled, polled{s.AOFSize, at})
	}
	b.p.Heard(mark(s.AOFSize, at), b.opt.Now())
	b.mu.Unlock()
	b.ring.look() // who waits for an offset that the leader does not have
	if err := p.alive(s, before); err != nil {
		return err
	}
	return p.follower(ctx, s)
}

// isCompared says whether both sides were found equal since the last connection of
// either.
func (b *Bridge) isCompared() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.compared
}

// position is where the stream is in the leader's file.
func (p *poller) position() int64 {
	_, end, _, _ := p.b.ring.now()
	pos, _ := p.b.ring.leader(end)
	return pos
}

// alive fails when the stream says nothing although the file goes on. before is where the
// stream was when the question was asked: while the answer is on its way it goes on.
func (p *poller) alive(s tile38.Server, before int64) error {
	b := p.b
	if s.AOFSize < before && p.shorter {
		return fmt.Errorf("poll: the file ends at %d, the stream is at %d", s.AOFSize, before)
	}
	p.shorter = s.AOFSize < before
	pos := p.position()
	b.ring.mu.Lock()
	full := b.ring.end()-b.ring.sent >= b.ring.ahead/2
	b.ring.mu.Unlock()
	if pos != p.last || s.AOFSize <= pos || full {
		p.last, p.heard = pos, time.Now()
		return nil
	}
	if silent := time.Since(p.heard); silent > b.opt.ReadTimeout {
		return fmt.Errorf("%w: nothing for %s, and the file ends %d bytes further on",
			tile38.ErrSilent, silent.Round(time.Second), s.AOFSize-pos)
	}
	return nil
}

// follower looks how far the follower is, and compares it when it is level.
func (p *poller) follower(ctx context.Context, s tile38.Server) error {
	b := p.b
	gen, end, _, applied := b.ring.now()
	if gen != b.gen {
		return errLost
	}
	if applied >= end {
		b.applied(end)
	} else {
		b.ring.want(end)
	}
	st := b.Status()
	if st.CaughtUp && st.LagSeconds >= 0 {
		b.count(func(*Status) { b.levelAt = b.opt.Now().Add(-time.Duration(st.LagSeconds * float64(time.Second))) })
	}
	if !p.told && st.CaughtUp {
		p.told = true
		b.happened(ctx, Event{Kind: EventCaughtUp})
	}
	if !p.told || b.isCompared() || !st.Follower {
		return nil
	}
	connects := st.FollowerConnects
	agree, err := p.compare(ctx, s)
	if agree {
		b.count(func(st *Status) { // of now
			b.compared = st.FollowerConnects == connects // else it is another one, maybe
			st.Verified = st.Verified || b.compared
		})
		b.happened(ctx, Event{Kind: EventVerified})
	}
	return err
}

// compare holds the leader's counts against the follower's at the same place; agree:
// there was such a place, and they are what they should be.
func (p *poller) compare(ctx context.Context, s tile38.Server) (agree bool, err error) {
	b := p.b
	delta, ok := p.delta(ctx, s)
	e := &b.expect
	switch {
	case !ok:
		return false, nil
	case delta == e.delta:
		e.known, p.strikes, p.fresh = true, 0, false
		return true, nil
	}
	// Either side deletes by itself what is over, so the counts may differ for a
	// moment.
	if p.strikes++; p.strikes < strikes {
		return false, nil
	}
	if !p.fresh { // else each object was just compared with what the leader's file leads to
		switch err := p.prove(ctx); {
		case errors.Is(err, errDiffers):
			return false, fmt.Errorf("%w: the leader counts %+v more, %+v expected: %w", ErrDiverged, delta, e.delta, err)
		case err != nil:
			b.opt.Logger.Warn("bridge: the leader cannot be compared with the follower", "error", err)
			return false, nil
		}
	}
	b.opt.Logger.Warn("bridge: the leader counts otherwise than the follower, which has the same objects",
		"more_there", fmt.Sprintf("%+v", delta))
	e.known, e.delta, p.strikes, p.fresh = true, delta, 0, false
	return true, nil
}

// delta is by how much the leader has more; ok: both could be asked.
func (p *poller) delta(ctx context.Context, s tile38.Server) (d tile38.Counts, ok bool) {
	b := p.b
	defer b.ring.holdAt(never)
	ctx, cancel := context.WithTimeout(ctx, b.opt.Timeout)
	defer cancel()
	h, ok := p.holdAt(ctx, s.AOFSize)
	if !ok || b.ring.waitApplied(ctx, b.gen, h) != nil {
		return d, false
	}
	own, err := b.engine(ctx)
	return tile38.Counts{
		Collections: s.Counts.Collections - own.Counts.Collections, Objects: s.Counts.Objects - own.Counts.Objects,
		Points: s.Counts.Points - own.Counts.Points, Strings: s.Counts.Strings - own.Counts.Strings,
		Hooks: s.Counts.Hooks - own.Counts.Hooks,
	}, err == nil
}

// errDiffers ends a comparison at the first difference.
var errDiffers = errors.New("not equal")

// prove compares the leader with the follower, object by object.
func (p *poller) prove(ctx context.Context) error {
	b := p.b
	o := b.engineOptions()
	have, err := verify.Live(verify.LiveOptions{Options: o})
	if err != nil {
		return err
	}
	defer have.Close()
	want, err := verify.Live(verify.LiveOptions{Options: b.leaderOptions()})
	if err != nil {
		return err
	}
	defer want.Close()
	compare := verify.Options{Exclude: []string{b.opt.HeartbeatKey}}
	_, err = verify.Compare(ctx, want, have, compare, func(d verify.Difference) error {
		if d.Why == verify.Expiry {
			return nil // a Tile38 that starts begins times to live anew
		}
		return fmt.Errorf("%w: %q %q: %s", errDiffers, d.Key, d.ID, d.Why)
	})
	if errors.Is(err, errDiffers) || err == nil {
		return err
	}
	return fmt.Errorf("compare: %w", err)
}

// holdAt lets the follower stand still where the leader's file ends at size; h is
// where that is.
func (p *poller) holdAt(ctx context.Context, size int64) (h int64, ok bool) {
	b := p.b
	b.pm.Lock()
	if b.tail.Pos() >= size {
		defer b.pm.Unlock()
		_, end, sent, _ := b.ring.now()
		if b.tail.Pos() > size || sent > end {
			return 0, false
		}
		b.ring.holdAt(end)
		return end, true
	}
	reached := make(chan int64, 1)
	b.check = check{size: size, reached: reached}
	b.pm.Unlock()
	select {
	case h = <-reached:
		return h, true
	case <-ctx.Done():
		return 0, false
	}
}
