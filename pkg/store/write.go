package store

import (
	"context"
	"fmt"
	"time"

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

// Write carries out writes in order, as many as possible under one lock, and
// appends their answers to out. They are in memory then, not yet on disk: before
// the answers are sent, Commit must have returned for the offset. What takes
// long and need not be done under the lock is done before it is taken, or after
// it is released.
func (s *Store) Write(ws []Write, out *reply.Reply) (offset int64) {
	clock := startClock(out)
	for i := range ws {
		s.readAhead(&ws[i])
	}
	for len(ws) > 0 {
		var n int
		var at int64
		if ws[0].Spec.Parts != nil && s.large(&ws[0]) {
			n, at = 1, s.writeParts(&ws[0], out, clock)
		} else {
			n, at = s.writeSome(ws[:s.together(ws)], out, clock)
		}
		offset = max(offset, at)
		ws = ws[n:]
	}
	return offset
}

// heavyCommand is the size of a command, in bytes, from which on few of its kind
// are read at the same time: what is made of it may take many times its size.
const heavyCommand = 1 << 20

// readAhead has large operands read.
func (s *Store) readAhead(w *Write) {
	if w.Spec.Early == nil {
		return
	}
	if w.Request.Size() >= heavyCommand {
		defer s.admitHeavy()()
	}
	w.Spec.ReadAhead(&w.Request)
}

// together does the first write's work on what is there ahead, if it is much, and
// returns how many writes may go under one lock: that one alone, and otherwise all
// up to the next that may be of its kind.
func (s *Store) together(ws []Write) int {
	if first := &ws[0]; first.Spec.Ahead != nil {
		first.Request.Ahead = nil
		s.workAhead(first)
		if first.Request.Ahead != nil {
			return 1
		}
	}
	n := 1
	for n < len(ws) && ws[n].Spec.Ahead == nil && ws[n].Spec.Parts == nil {
		n++
	}
	return n
}

func (s *Store) workAhead(w *Write) {
	defer s.admitHeavy()()
	w.Spec.Ahead(&w.Request, s)
}

// admitHeavy waits until little enough heavy work is under way; what it returns
// ends the caller's.
func (s *Store) admitHeavy() (done func()) {
	s.heavy <- struct{}{}
	return func() { <-s.heavy }
}

// Item returns an item as it is now, nil when there is none.
func (s *Store) Item(key, id string) *collection.Item {
	s.mu.RLock()
	defer s.mu.RUnlock()
	it, _ := s.eng.State().Get(key, id)
	return it
}

// longHold is how long writes may go on to come under the same lock.
const longHold = 2 * time.Millisecond

// writeSome carries out the first writes, one at least, under one lock, and says
// how many. It stops at one whose answer takes long, which is made without the
// lock.
func (s *Store) writeSome(ws []Write, out *reply.Reply, clock clock) (n int, offset int64) {
	n, offset, start := s.writeLocked(ws, out, clock)
	if out.Later != nil {
		out.Rest()
		clock.finish(out, start)
		ws[n-1].End = len(out.Buf)
	}
	return n, offset
}

// writeLocked is writeSome but for the answer that is left for later, whose start
// it returns.
func (s *Store) writeLocked(ws []Write, out *reply.Reply, clock clock) (n int, offset int64, start int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.begin()
	var began time.Time
	for n < len(ws) && out.Later == nil {
		if n%8 == 7 { // a look at the clock is not worth it for every small write
			if began.IsZero() {
				began = time.Now()
			} else if time.Since(began) > longHold {
				break
			}
		}
		w := &ws[n]
		n++
		start = len(out.Buf)
		werr := err
		if werr == nil {
			w.Request.Now = now
			werr = s.exec(w.Spec, &w.Request, out)
		}
		if werr != nil {
			out.Buf, out.Later = out.Buf[:start], nil
			out.Fail(w.Request.Name, werr)
		}
		if out.Later == nil {
			clock.finish(out, start)
			w.End = len(out.Buf)
		}
	}
	if err != nil {
		return n, 0, start
	}
	return n, s.log.End(aof.Digest(s.eng.State().Digest())), start
}

// largeParts is the number of items of a collection from which on a command with
// Parts is carried out in parts.
const largeParts = 1000

// large says whether a command is to be carried out in parts.
func (s *Store) large(w *Write) bool {
	if len(w.Request.Args) < 2 {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := s.eng.State().Collection(w.Request.Args[1])
	return c != nil && c.Len() >= largeParts
}

// writeParts carries out a command as the many small ones that it stands for, a
// few under each lock.
func (s *Store) writeParts(w *Write, out *reply.Reply, clock clock) (offset int64) {
	start, total, from := len(out.Buf), 0, ""
	for more := true; more; {
		n, at, next, err := s.writePart(w, from)
		if err != nil {
			out.Fail(w.Request.Name, err)
			break
		}
		total += n
		offset = max(offset, at)
		if from, more = next, next != ""; !more {
			out.Int(total)
		}
	}
	clock.finish(out, start)
	w.End = len(out.Buf)
	return offset
}

// writePart carries out what comes next from the item from; next is where to go
// on, "" at the end.
func (s *Store) writePart(w *Write, from string) (n int, offset int64, next string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.begin()
	if err != nil {
		return 0, 0, "", err
	}
	defer func() { offset = s.log.End(aof.Digest(s.eng.State().Digest())) }()
	w.Request.Now = now
	cmds, next, err := w.Spec.Parts(&w.Request, s.eng.State(), from)
	if err != nil {
		return 0, 0, "", err
	}
	var unseen reply.Reply
	for _, args := range cmds {
		unseen.Buf = unseen.Buf[:0]
		req := command.Request{Args: args, Name: args[0], Now: now}
		if err := s.exec(s.eng.Lookup(args[0]), &req, &unseen); err != nil {
			return n, 0, "", err
		}
		n++
	}
	return n, 0, next, nil
}

// begin says whether clients may write, and the time of the batch.
func (s *Store) begin() (now int64, err error) {
	if s.refuse != nil {
		return 0, s.refuse
	}
	if s.events != nil {
		if err := s.events.Blocked(); err != nil {
			return 0, fmt.Errorf("messages of hooks: %w", err)
		}
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
	s.tell(req.Name, req.Now, ch)
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
