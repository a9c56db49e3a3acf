package stock

import (
	"context"
	"errors"
	"fmt"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/follower"
	"evenkeel/pkg/replication"
	"evenkeel/pkg/store"
	"evenkeel/pkg/tile38"
)

// resync reads the leader's file up to where it ended when it answered, beside
// the own data, and brings in the difference. Then it is where the stream is.
func (f *Follower) resync(ctx context.Context, stream *tile38.Stream, s tile38.Server) error {
	now := f.opt.Now()
	f.progress(func(p *replication.Progress) {
		p.Answered(replication.Answer{
			Kind: replication.Full, Size: s.AOFSize, End: s.AOFSize, Start: aof.Mark{Offset: s.AOFSize},
			Now: now.UnixMilli(), LeaderID: s.ID,
		}, now)
	})
	f.emit(ctx, follower.Event{Kind: follower.EventFull, Bytes: s.AOFSize})
	sh, tail := f.opt.Store.NewShadow(), tile38.NewTail(s.ID, 0, f.opt.Tail)
	err := f.read(stream, sh, tail, s.AOFSize)
	var d store.Difference
	if err == nil {
		d, err = f.opt.Store.Adopt(ctx, sh, false)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("full resync: %w", err), f.merge(ctx, sh))
	}
	f.tail, f.expect = tail, expectation{}
	f.progress(func(p *replication.Progress) { p.Installed("", mark(tail.Pos(), now)) })
	if a := sh.Applied(); a.Refused > 0 {
		f.opt.Logger.Warn("commands of the leader's log were passed over", "count", a.Refused, "first", a.First)
	}
	f.emit(ctx, follower.Event{Kind: follower.EventFullDone, Bytes: s.AOFSize},
		"difference", d.Commands, "difference_bytes", d.Bytes)
	return nil
}

// read fills the shadow up to the end of the file.
func (f *Follower) read(stream *tile38.Stream, sh *store.Shadow, tail *tile38.Tail, end int64) error {
	stream.Idle(f.opt.ReadTimeout)
	for stream.Pos() < end {
		payload, err := stream.Next(end)
		if err != nil {
			return err
		}
		if err := sh.Add(payload); err != nil {
			return err
		}
		tail.Add(payload, stream.Pos())
		f.progress(func(p *replication.Progress) {
			p.Received(int64(len(payload)))
			p.Resynced(int64(len(payload)))
		})
	}
	return nil
}

// merge keeps what has been received when the server is promoted before it was
// level with its leader once.
func (f *Follower) merge(ctx context.Context, sh *store.Shadow) error {
	if !f.opt.Merge || f.level || !errors.Is(context.Cause(ctx), ErrPromoted) {
		return nil
	}
	d, err := f.opt.Store.Adopt(context.WithoutCancel(ctx), sh, true)
	if err != nil {
		return fmt.Errorf("keep what was received: %w", err)
	}
	f.opt.Logger.Info("replication from Tile38: promoted before the end of the first resync; what was received is merged into the own data",
		"leader", f.opt.Leader, "commands", d.Commands)
	return nil
}
