package stock

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"evenkeel/pkg/replication"
	"evenkeel/pkg/tile38"
)

// expectation is by how much the counts of leader and follower are known to
// differ: a leader's memory may differ from what its file leads to (a BOUNDS that
// AOFSHRINK has written as a polygon has other points).
type expectation struct {
	known bool
	delta tile38.Counts // the leader's less ours
}

// strikes is how often the counts must differ at the same position before they
// count as different: the leader's answer may fall between a change and its log.
const strikes = 3

// maxPolled answers that are still to be reached are remembered.
const maxPolled = 64

// poller asks the leader how far it is, on a connection of its own.
type poller struct {
	f     *Follower
	id    string
	begin chan struct{} // closed when the follower is level
	c     *tile38.Conn  // nil: not connected; belongs to confirm, then to run

	mu      sync.Mutex // held while commands are applied
	polled  []polled   // not reached yet, in order
	pending bool       // the counts are to be compared
	since   time.Time  // and have been since then
	strikes int
	heard   time.Time // when something came or nothing was missing
	lost    bool      // where we are in the stream cannot be said any more
	shorter bool      // the last answer had a file that ends before our position
}

// polled is one answer.
type polled struct {
	server tile38.Server
	at     time.Time // when it was asked for
}

func newPoller(f *Follower, s tile38.Server, continues bool) *poller {
	now := f.opt.Now()
	return &poller{f: f, id: s.ID, begin: make(chan struct{}), pending: continues, since: now, heard: now}
}

func (p *poller) close() {
	if p.c != nil {
		_ = p.c.Close()
	}
}

// limit is the next position at which the counts can be compared.
func (p *poller) limit() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.polled {
		if l.server.AOFSize > p.f.tail.Pos() {
			return l.server.AOFSize
		}
	}
	return tile38.NoLimit
}

// run asks every PollInterval once the follower is level. It returns when ctx
// ends, nil then, or when the stream cannot be relied on.
func (p *poller) run(ctx context.Context) error {
	select {
	case <-p.begin:
	case <-ctx.Done():
		return nil
	}
	tick := time.NewTicker(p.f.opt.PollInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := p.ask(ctx); err != nil {
			return err
		}
	}
}

// ask is one question and what follows from its answer.
func (p *poller) ask(ctx context.Context) error {
	if p.c == nil {
		c, err := p.f.dial(ctx)
		if err != nil {
			return fmt.Errorf("poll: %w", err)
		}
		p.c = c
	}
	at := p.f.opt.Now()
	s, err := p.c.Server()
	if err != nil {
		return fmt.Errorf("poll: %w", err)
	}
	if s.ID != p.id {
		return fmt.Errorf("poll: another server answers: id %.64q", s.ID)
	}
	p.f.progress(func(pr *replication.Progress) { pr.Heard(mark(s.AOFSize, at), p.f.opt.Now()) })
	p.mu.Lock()
	defer p.mu.Unlock()
	pos := p.f.tail.Pos()
	switch {
	case s.AOFSize < pos && p.shorter:
		return fmt.Errorf("poll: the file ends at %d, the stream is at %d", s.AOFSize, pos)
	case s.AOFSize > pos && len(p.polled) < maxPolled:
		p.polled = append(p.polled, polled{s, at})
	}
	p.shorter = s.AOFSize < pos
	if s.AOFSize <= pos && len(p.polled) == 0 {
		p.heard = p.f.opt.Now()
	} else if silent := p.f.opt.Now().Sub(p.heard); silent > p.f.opt.ReadTimeout {
		return fmt.Errorf("%w: nothing for %s, and the file ends %d bytes further on",
			tile38.ErrSilent, silent.Round(time.Second), s.AOFSize-pos)
	}
	if s.AOFSize == pos {
		if err := p.compare(s.Counts); err != nil {
			return err
		}
	}
	if p.pending && p.f.opt.Now().Sub(p.since) > p.f.opt.VerifyTimeout {
		return fmt.Errorf("%w: they were not found equal within %s", ErrDiverged, p.f.opt.VerifyTimeout)
	}
	return nil
}

// apply carries out commands that end at pos of the leader's file.
func (p *poller) apply(ctx context.Context, payload []byte, pos int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, err := p.f.opt.Store.ApplyCommands(ctx, payload)
	if err != nil && !a.Whole {
		p.lost = true
		return fmt.Errorf("apply what ends at byte %d of its file: %w", pos, err)
	}
	p.f.tail.Add(payload, pos)
	if err != nil {
		return fmt.Errorf("log what ends at byte %d of its file: %w", pos, err)
	}
	if a.Refused > 0 {
		p.f.opt.Logger.Warn("commands of the leader were passed over", "count", a.Refused, "first", a.First)
	}
	p.heard = p.f.opt.Now()
	var at time.Time
	for len(p.polled) > 0 && p.polled[0].server.AOFSize <= pos {
		at = p.polled[0].at
		if p.polled[0].server.AOFSize == pos {
			err = errors.Join(err, p.compare(p.polled[0].server.Counts))
		}
		p.polled = p.polled[1:]
	}
	m := mark(pos, at)
	if at.IsZero() {
		m.Time = 0
	}
	p.f.progress(func(pr *replication.Progress) { pr.Applied(m) })
	return err
}

// compare holds the leader's counts against ours at the same position.
func (p *poller) compare(leader tile38.Counts) error {
	st := p.f.opt.Store.Stats()
	delta := tile38.Counts{
		Collections: leader.Collections - int64(st.Collections), Objects: leader.Objects - int64(st.Objects),
		Points: leader.Points - int64(st.Points), Strings: leader.Strings - int64(st.Texts),
		Hooks: leader.Hooks - int64(st.Hooks) - int64(st.Channels),
	}
	e := &p.f.expect
	if !e.known && p.pending {
		e.delta.Points = delta.Points // what they were before is not known
	}
	switch {
	case delta == e.delta:
		e.known, p.pending, p.strikes = true, false, 0
		return nil
	case p.strikes < strikes-1:
		p.strikes++
		return nil
	case p.pending:
		return fmt.Errorf("%w: %+v more there, %+v expected", ErrDiverged, delta, e.delta)
	}
	// A resync has just been, or would lead to the same: nothing else was missed.
	p.f.opt.Logger.Warn("replication from Tile38: the leader counts otherwise than its log leads to",
		"leader", p.f.opt.Leader, "more_there", fmt.Sprintf("%+v", delta))
	e.known, e.delta, p.strikes = true, delta, 0
	return nil
}
