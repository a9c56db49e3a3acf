package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/replication"
	"evenkeel/pkg/tile38"
)

// session is one stream of the leader, from the question who it is to the end of
// the connection. It never returns nil.
func (b *Bridge) session(ctx context.Context) error {
	gen, err := b.ring.begun(ctx, 0) // without a follower there is nothing to do
	if err != nil {
		return err
	}
	b.progress(func(p *replication.Progress) { p.Connecting(b.opt.Leader) })
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c, s, err := b.connect(ctx)
	if err != nil {
		return fmt.Errorf("leader %s: %w", b.opt.Leader, err)
	}
	defer func() { _ = c.Close() }()
	if b.gen != gen {
		b.tail, b.gen = nil, gen
	}
	stream, err := b.resume(ctx, c, s)
	if err == nil {
		err = b.follow(ctx, cancel, stream, s)
	}
	switch {
	case errors.Is(err, ErrDiverged):
		b.tail = nil
		b.progress(func(p *replication.Progress) { p.Diverged(); b.levelAt = time.Time{} })
		err = errors.Join(err, b.save(saved{LeaderID: s.ID}))
	case errors.Is(err, tile38.ErrFormat):
		b.tail = nil // what we took for its end was not
	}
	return fmt.Errorf("leader %s: %w", b.opt.Leader, err)
}

// dial makes a connection to the leader, which ends with ctx.
func (b *Bridge) dial(ctx context.Context) (*tile38.Conn, error) {
	return tile38.Dial(ctx, b.leaderOptions())
}

func (b *Bridge) leaderOptions() tile38.Options {
	return tile38.Options{Addr: b.opt.Leader, Auth: b.opt.LeaderAuth, Dial: b.opt.DialLeader, Timeout: b.opt.Timeout}
}

// connect asks who the leader is, and whether it is one.
func (b *Bridge) connect(ctx context.Context) (*tile38.Conn, tile38.Server, error) {
	c, err := b.dial(ctx)
	if err != nil {
		return nil, tile38.Server{}, err
	}
	s, err := c.Server()
	if err == nil {
		err = b.leads(ctx, s)
	}
	if err != nil {
		return nil, s, errors.Join(err, c.Close())
	}
	b.mu.Lock()
	b.size = s.AOFSize
	b.mu.Unlock()
	return c, s, nil
}

// leads says why a server is not to be followed.
func (b *Bridge) leads(ctx context.Context, s tile38.Server) error {
	switch {
	case s.ID == "":
		return errors.New("the answer to SERVER has no id")
	case s.Following != "":
		return fmt.Errorf("%w of %s", ErrChained, s.Following)
	}
	own, err := b.engine(ctx)
	if err == nil && own.ID == s.ID {
		return replication.ErrSelf
	}
	return nil // a follower that does not answer is no reason
}

// engine asks the follower who it is and what it has.
func (b *Bridge) engine(ctx context.Context) (s tile38.Server, err error) {
	err = b.askEngine(ctx, func(c *tile38.Conn) error {
		s, err = c.Server()
		return err
	})
	return s, err
}

// resume finds out where the stream begins, brings the follower there, and returns
// the stream.
func (b *Bridge) resume(ctx context.Context, c *tile38.Conn, s tile38.Server) (*tile38.Stream, error) {
	kind, err := b.known(ctx, c, s)
	if err != nil {
		return nil, err
	}
	if b.tail == nil {
		stream, err := b.resumeByLog(ctx, c, s)
		if stream != nil || err != nil {
			return stream, err
		}
		return b.begin(ctx, c, s)
	}
	stream, err := b.open(ctx, c, b.tail.Pos(), true)
	if err != nil {
		return nil, err
	}
	b.count(func(st *Status) {
		if kind == EventFound {
			st.Resumes.Found++
		} else {
			st.Resumes.Continued++
		}
	})
	b.answered(ctx, s, kind)
	return stream, nil
}

// known looks for what was taken last in the leader's file. Afterwards the tail is
// there, or is nil.
func (b *Bridge) known(ctx context.Context, c *tile38.Conn, s tile38.Server) (EventKind, error) {
	if b.tail == nil {
		return EventContinued, nil
	}
	if b.tail.ID != s.ID {
		b.opt.Logger.Warn("bridge: another leader answers", "leader", b.opt.Leader, "id", s.ID, "was", b.tail.ID)
		b.tail = nil
		return EventContinued, nil
	}
	same, err := b.tail.Unchanged(c, s)
	if err != nil || same {
		return EventContinued, err
	}
	found, read, err := b.tail.Find(s.AOFSize, b.opt.Window, func() (*tile38.Conn, error) { return b.dial(ctx) })
	b.count(func(s *Status) { s.BytesSearched += read })
	if err != nil && !errors.Is(err, tile38.ErrNotFound) {
		return EventFound, err
	}
	if err != nil {
		b.opt.Logger.Warn("bridge: what was taken last is not in the leader's new file", "why", err, "read", read)
	}
	b.tail = found
	return EventFound, nil
}

// maxUnsure is how often in a row a place may turn out not to be one.
const maxUnsure = 4

// open asks for the stream from pos on. confirm: the file must not have changed
// since it was looked at; from then on that would end the stream.
func (b *Bridge) open(ctx context.Context, c *tile38.Conn, pos int64, confirm bool) (*tile38.Stream, error) {
	if err := b.announce(c); err != nil {
		return nil, err
	}
	stream, err := c.Follow(pos)
	if err != nil || !confirm {
		return stream, err
	}
	second, err := b.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = second.Close() }()
	now, err := second.Server()
	if err != nil {
		return nil, err
	}
	same, err := b.tail.Unchanged(second, now)
	if err == nil && !same {
		if b.unsure++; b.unsure >= maxUnsure {
			b.tail, b.unsure = nil, 0 // it is not the file that changes
		}
		return nil, errors.New("its file was changed just now")
	}
	b.unsure = 0
	return stream, err
}

// announce tells the leader where others reach the follower.
func (b *Bridge) announce(c *tile38.Conn) error {
	host, text, err := net.SplitHostPort(b.opt.Announce)
	if err != nil {
		return err // Validate has seen it
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("announce %s: %w", b.opt.Announce, err)
	}
	return c.Announce(port, cmp.Or(host, c.LocalHost()))
}

// answered tells that the stream begins where the tail ends.
func (b *Bridge) answered(ctx context.Context, s tile38.Server, kind EventKind) {
	now := b.opt.Now()
	pos := b.tail.Pos()
	b.ring.at(pos)
	_, end, _, applied := b.ring.now()
	b.mu.Lock()
	b.sessions++
	b.begins, b.polled, b.size = end, nil, max(s.AOFSize, pos)
	b.st.LeaderRefused, b.compared = false, false
	if kind == EventFresh || kind == EventFull {
		b.st.Verified, b.levelAt = false, time.Time{}
	}
	if applied >= end {
		b.p.At(aof.Position{Offset: pos})
	} else {
		b.p.At(aof.Position{Offset: max(0, pos-(end-applied))})
	}
	b.p.Answered(replication.Answer{
		Start: aof.Mark{Offset: pos}, End: max(s.AOFSize, pos), Now: now.UnixMilli(), LeaderID: s.ID,
	}, now)
	b.mu.Unlock()
	b.ring.look()
	b.happened(ctx, Event{Kind: kind})
}
