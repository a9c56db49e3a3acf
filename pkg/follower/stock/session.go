package stock

import (
	"context"
	"errors"
	"fmt"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/follower"
	"evenkeel/pkg/replication"
	"evenkeel/pkg/tile38"
)

// session is one connection from its beginning to its end. It never returns nil.
func (f *Follower) session(ctx context.Context) error {
	f.progress(func(p *replication.Progress) { p.Connecting(f.opt.Leader) })
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c, s, err := f.connect(ctx)
	if err != nil {
		return fmt.Errorf("leader %s: %w", f.opt.Leader, err)
	}
	defer func() { _ = c.Close() }()
	if err := f.beginEpoch(ctx); err != nil {
		return err
	}
	if err := f.resume(ctx, c, s); err != nil {
		return fmt.Errorf("leader %s: %w", f.opt.Leader, err)
	}
	if err := c.Announce(f.opt.ListeningPort, f.opt.IPAddress); err != nil {
		return fmt.Errorf("leader %s: %w", f.opt.Leader, err)
	}
	err = f.follow(ctx, cancel, c, s)
	if errors.Is(err, ErrDiverged) {
		f.diverged(ctx, err)
	}
	if errors.Is(err, tile38.ErrFormat) {
		f.tail = nil // what we took for its end was not
	}
	return fmt.Errorf("leader %s: %w", f.opt.Leader, err)
}

// beginEpoch sees to it that what is written from now on is nobody else's history:
// the log may so far be that of an Evenkeel which was followed before.
func (f *Follower) beginEpoch(ctx context.Context) error {
	if f.own {
		return nil
	}
	if err := f.opt.Store.BeginEpoch(ctx); err != nil {
		return fmt.Errorf("follow a Tile38: %w", err)
	}
	f.own = true
	return nil
}

// dial makes a connection, which ends with ctx.
func (f *Follower) dial(ctx context.Context) (*tile38.Conn, error) {
	return tile38.Dial(ctx, tile38.Options{
		Addr: f.opt.Leader, Auth: f.opt.Auth, Dial: f.opt.Dial, Timeout: f.opt.DialTimeout,
	})
}

// connect asks who the leader is and whether it can be followed in this protocol.
func (f *Follower) connect(ctx context.Context) (*tile38.Conn, tile38.Server, error) {
	c, err := f.dial(ctx)
	if err != nil {
		return nil, tile38.Server{}, err
	}
	s, err := f.identify(c)
	if err != nil {
		return nil, s, errors.Join(err, c.Close())
	}
	return c, s, nil
}

func (f *Follower) identify(c *tile38.Conn) (tile38.Server, error) {
	s, err := c.Server()
	switch {
	case err != nil:
		return s, err
	case s.ID == "":
		return s, errors.New("the answer to SERVER has no id")
	case s.ID == f.opt.ID:
		return s, replication.ErrSelf
	}
	// An Evenkeel says of itself what a Tile38 does, but always says a version.
	if s.Version != "" {
		yes, err := c.Replicates()
		if err != nil {
			return s, err
		}
		if yes {
			return s, ErrEvenkeel
		}
	}
	if s.Following != "" {
		return s, fmt.Errorf("%w of %s", ErrChained, s.Following)
	}
	return s, nil
}

// resume finds out where in the leader's file to go on. Afterwards the tail is
// there, or is nil.
func (f *Follower) resume(ctx context.Context, c *tile38.Conn, s tile38.Server) error {
	if f.tail == nil {
		return nil
	}
	if f.tail.ID != s.ID {
		f.opt.Logger.Info("replication from Tile38: another server answers", "leader", f.opt.Leader, "id", s.ID, "was", f.tail.ID)
		f.tail = nil
		return nil
	}
	same, err := f.tail.Unchanged(c, s)
	if err != nil || same {
		return err
	}
	found, read, err := f.tail.Find(s.AOFSize, f.opt.Window, func() (*tile38.Conn, error) { return f.dial(ctx) })
	f.progress(func(p *replication.Progress) { p.Received(read) })
	switch {
	case err == nil:
		f.opt.Logger.Info("replication from Tile38: found in the leader's new file", "leader", f.opt.Leader,
			"position", found.Pos(), "of", s.AOFSize, "was", f.tail.Pos(), "alike", found.Len(), "read", read)
	case errors.Is(err, tile38.ErrNotFound):
		f.opt.Logger.Info("replication from Tile38: not found in the leader's new file", "leader", f.opt.Leader, "why", err, "read", read)
	default:
		return err
	}
	f.tail = found
	return nil
}

// follow takes what the leader has and what comes. It never returns nil.
func (f *Follower) follow(ctx context.Context, cancel context.CancelCauseFunc, c *tile38.Conn, s tile38.Server) error {
	continues := f.tail != nil
	pos := int64(0)
	if continues {
		pos = f.tail.Pos()
	}
	stream, err := c.Follow(pos)
	if err != nil {
		return err
	}
	poll := newPoller(f, s, continues)
	defer poll.close()
	switch {
	case continues:
		if err := f.confirm(ctx, poll); err != nil {
			return err
		}
		fallthrough
	case f.opt.Store.Empty():
		f.begin(ctx, s, pos)
	default:
		if err := f.resync(ctx, stream, s); err != nil {
			return err
		}
	}
	if f.tail == nil { // nothing is in the way: from the beginning
		f.tail, f.expect = tile38.NewTail(s.ID, 0, f.opt.Tail), expectation{}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := poll.run(ctx); err != nil {
			cancel(err)
		}
	}()
	err = f.takeLog(ctx, stream, poll)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	cancel(err)
	_ = c.Close()
	<-done
	if poll.lost {
		f.tail = nil
	}
	return err
}

// confirm makes sure that the leader has not changed its file between the last
// look at it and AOF: from now on that would end the stream.
func (f *Follower) confirm(ctx context.Context, poll *poller) error {
	c, err := f.dial(ctx)
	if err != nil {
		return err
	}
	poll.c = c
	s, err := c.Server()
	if err != nil {
		return err
	}
	same, err := f.tail.Unchanged(c, s)
	if err == nil && !same {
		err = errors.New("its file was changed just now")
	}
	return err
}

// begin tells that the leader's log follows from pos on.
func (f *Follower) begin(ctx context.Context, s tile38.Server, pos int64) {
	now := f.opt.Now()
	f.progress(func(p *replication.Progress) {
		p.At(aof.Position{Offset: pos})
		p.Answered(replication.Answer{
			Start: aof.Mark{Offset: pos}, End: s.AOFSize, Now: now.UnixMilli(), LeaderID: s.ID,
		}, now)
	})
	f.emit(ctx, follower.Event{Kind: follower.EventContinue})
}

// takeLog applies commands as they come. It never returns nil.
func (f *Follower) takeLog(ctx context.Context, stream *tile38.Stream, poll *poller) error {
	behind := true
	stream.Idle(f.opt.ReadTimeout)
	for {
		if behind && f.Status().CaughtUp {
			behind, f.level = false, true
			stream.Idle(0) // from now on poll knows whether something is to come
			close(poll.begin)
			f.emit(ctx, follower.Event{Kind: follower.EventCaughtUp})
		}
		payload, err := stream.Next(poll.limit())
		if err != nil {
			return err
		}
		f.progress(func(p *replication.Progress) { p.Received(int64(len(payload))) })
		if err := poll.apply(ctx, payload, stream.Pos()); err != nil {
			return err
		}
	}
}
