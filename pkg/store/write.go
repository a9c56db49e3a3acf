package store

import (
	"context"
	"fmt"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

// Write is one write command and, when it is done, the end of its answer.
type Write struct {
	Spec    *command.Spec
	Request command.Request
	End     int // length of the reply buffer after this command's answer
}

// Write carries out writes under one lock, in order, and appends their answers
// to out. They are in memory then, not yet on disk: before the answers are
// sent, Commit must have returned for the offset. Large operands are read
// before the lock is taken.
func (s *Store) Write(ws []Write, out *reply.Reply) (offset int64) {
	clock := startClock(out)
	for i := range ws {
		ws[i].Spec.ReadAhead(&ws[i].Request)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.begin()
	for i := range ws {
		w := &ws[i]
		start := len(out.Buf)
		werr := err
		if werr == nil {
			w.Request.Now = now
			werr = s.exec(w.Spec, &w.Request, out)
		}
		if werr != nil {
			out.Buf = out.Buf[:start]
			out.Fail(w.Request.Name, werr)
		}
		clock.finish(out, start)
		w.End = len(out.Buf)
	}
	if err != nil {
		return 0
	}
	return s.log.End(aof.Digest(s.eng.State().Digest()))
}

// begin says whether clients may write, and the time of the batch.
func (s *Store) begin() (now int64, err error) {
	if s.refuse != nil {
		return 0, s.refuse
	}
	return s.log.Begin(s.opt.Now())
}

// exec is the path of one write between Begin and End.
func (s *Store) exec(spec *command.Spec, req *command.Request, out *reply.Reply) error {
	ch, err := s.eng.Prepare(spec, req, out)
	if err != nil || ch == nil {
		return err
	}
	s.log.Add(req.Args)
	s.eng.Apply(ch)
	s.stats.commands.Add(1)
	s.noteDeadlines(ch)
	return nil
}

// Commit returns when everything up to offset is as safe as appendfsync asks.
// On an error the commands are carried out but may be lost by a crash; the log
// takes no more of them until it has written these.
func (s *Store) Commit(ctx context.Context, offset int64) error {
	if err := s.log.Commit(ctx, offset); err != nil {
		return fmt.Errorf("commit at offset %d: %w", offset, err)
	}
	return nil
}

// noteDeadlines wakes the expiry when ch brings an earlier deadline than all
// before.
func (s *Store) noteDeadlines(ch *collection.Change) {
	for i := range ch.Ops() {
		op := &ch.Ops()[i]
		switch {
		case op.New != nil:
			s.noteDeadline(op.New.Deadline())
		case op.Hook != nil && op.Kind == collection.OpSetHook:
			s.noteDeadline(op.Hook.Deadline)
		}
	}
}

func (s *Store) noteDeadline(d int64) {
	if d == 0 || (s.next != 0 && s.next <= d) {
		return
	}
	s.next = d
	select {
	case s.deadline <- struct{}{}:
	default:
	}
}
