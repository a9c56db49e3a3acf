package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"evenkeel/pkg/forward"
	"evenkeel/pkg/upstream"
)

// This file sends the commands of a pipeline to the leader, and decides what becomes of
// those that it has not answered.
//
// A command that may have been carried out is not sent again: the client is told so.
// Neither is one that comes before such a command in the pipeline: it would take effect
// behind it. All others, which are known not to have run, wait for a leader that can be
// reached, and are carried out here if this node has become the leader meanwhile.

// passed is a command that goes to the leader.
type passed struct {
	e    *entry
	args []string
	read bool // it changes nothing, so it may be sent twice
}

const (
	// What is sent at once, in commands and in bytes of them.
	maxPiece      = 1000
	maxPieceBytes = 1 << 20
	// … and in commands whose answers may be large.
	maxAnswers = 16
	// keepReplies is the largest space for replies that is kept, in bytes.
	keepReplies = 64 << 10
)

var errNoLeader = errors.New("no leader is known")

// passes says whether commands that this node must not carry out may be sent to the
// leader.
func (s *session) passes() bool {
	return s.node.links != nil && !s.forwarded && !s.stays && s.node.role.given() && !s.node.opt.Forward.LocalWrites
}

// send gathers a command that goes to the leader.
func (s *session) send(e *entry, args []string) {
	s.flushHere()
	s.batch.away = append(s.batch.away, passed{e: e, args: args, read: s.reads(e, args)})
}

// reads says whether a command changes nothing.
func (s *session) reads(e *entry, args []string) bool {
	for e != nil && e.name == "timeout" && len(args) > 2 {
		args = args[2:]
		e = s.node.lookup(args[0])
	}
	return e != nil && (e.class == upstream.ClassRead || e.name == "wait")
}

// flushAway sends what has been gathered for the leader and takes its answers.
func (s *session) flushAway() {
	b := s.batch
	if len(b.away) == 0 {
		return
	}
	for rest := b.away; len(rest) > 0; {
		n := piece(rest)
		s.pass(rest[:n])
		rest = rest[n:]
	}
	clear(b.away)
	b.away = b.away[:0]
}

// piece returns how many of the commands are sent at once.
func piece(cmds []passed) int {
	size, answers := 0, 0
	for i := range cmds {
		for _, a := range cmds[i].args {
			size += len(a)
		}
		if cmds[i].read || cmds[i].e.spec == nil || returns(cmds[i].args) {
			answers++
		}
		if i == maxPiece || i > 0 && size > maxPieceBytes || answers > maxAnswers {
			return i
		}
	}
	return len(cmds)
}

// pass has commands carried out by whoever leads, and answers all of them.
func (s *session) pass(cmds []passed) {
	b, n := s.batch, s.node
	s.commit() // whoever is to be the leader may be waiting for it
	for {
		at, changed := n.role.watch()
		var why error
		switch at.kind {
		case leading:
			if why = n.fenced(); why == nil {
				cmds = cmds[s.here(cmds):]
				why = errNotLeader
			}
		case following:
			cmds, why = s.ask(at.addr, cmds)
		case undecided:
			why = fmt.Errorf("%w: %s", errNoLeader, at.why)
		}
		if len(cmds) == 0 {
			return
		}
		if err := n.hopeless(b.ctx, why); err != nil {
			s.give(cmds, err)
			return
		}
		err := context.DeadlineExceeded
		if !n.down() || slices.ContainsFunc(cmds, func(c passed) bool { return !c.read }) {
			err = n.wait(b.ctx, &b.wait, changed)
		}
		if err != nil {
			if errors.Is(err, errCrowd) {
				why = fmt.Errorf("%w: %w", why, err)
			}
			s.give(cmds, fmt.Errorf("%w: the command has not run", why))
			return
		}
		n.forwards.retried.Add(int64(len(cmds)))
	}
}

// hopeless returns an error when another attempt would end as the one that ended with
// why.
func (n *Node) hopeless(ctx context.Context, why error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(why, forward.ErrTooLarge):
		return errTooLarge
	case errors.Is(why, forward.ErrRefused):
		return fmt.Errorf("%w: the command has not run", why)
	}
	return nil
}

// give answers commands with an error.
func (s *session) give(cmds []passed, err error) {
	s.node.forwards.refused.Add(int64(len(cmds)))
	for i := range cmds {
		s.failAway(&cmds[i], err)
	}
}

func (s *session) failAway(c *passed, err error) {
	s.fail(c.e, c.args, err)
	s.batch.answers[len(s.batch.answers)-1].elsewhere = true
}

// here carries commands out on this node, which leads, and returns how many it could.
func (s *session) here(cmds []passed) int {
	b := s.batch
	for i := range cmds {
		c := &cmds[i]
		s.enter(c.e)
		switch {
		case c.e.spec == nil:
			if !s.ownCommand(c.e, c.args) {
				return i
			}
		case c.e.spec.Write == nil:
			s.read(c.e, c.args)
		default:
			b.write(c.e, c.args)
			ran := s.writeHere()
			clear(b.writes)
			b.writes = b.writes[:0]
			if ran == 0 {
				return i
			}
		}
		s.node.forwards.here.Add(1)
	}
	return len(cmds)
}

// ask sends commands to the leader at addr and answers those of which it is known what
// has become, or that may not be sent again. It returns the others, and why.
func (s *session) ask(addr string, cmds []passed) (rest []passed, why error) {
	b, f := s.batch, &s.node.forwards
	p := forward.Piece{
		Commands: make([][]string, len(cmds)), Mode: forward.Mode{JSON: b.out.JSON, RESP3: b.out.RESP3},
		Patience: s.node.left(&b.wait), MaxReplies: s.conn.MaxOutput(),
	}
	for i := range cmds {
		p.Commands[i] = cmds[i].args
		p.Where = p.Where || !cmds[i].read
	}
	got := s.node.links.Do(b.ctx, addr, p, b.replies)
	b.replies = got.Replies[:0]
	if p.Where && got.Sent > 0 {
		s.own.some, s.own.known, s.own.at = true, got.Known, got.At
	}
	if got.Err == nil {
		f.downAt.Store(0)
	}
	why = fmt.Errorf("leader %s: %w", addr, got.Err)
	if got.Err == nil {
		why = fmt.Errorf("leader %s: %w", addr, forward.ErrNotLeader)
	}
	settled := 0
	reply := func(i int) []byte {
		if i == 0 {
			return got.Replies[:got.Ends[0]]
		}
		return got.Replies[got.Ends[i-1]:got.Ends[i]]
	}
	for i := range got.Sent {
		if !cmds[i].read && (i >= len(got.Ends) || !forward.NotLeader(reply(i))) {
			settled = i + 1
		}
	}
	for settled < len(got.Ends) && !forward.NotLeader(reply(settled)) {
		settled++
	}
	for i := range cmds[:settled] {
		switch c := &cmds[i]; {
		case i < len(got.Ends):
			if !c.read {
				f.forwarded.Add(1)
			}
			s.answerAway(c, reply(i))
		case c.read:
			s.failAway(c, why)
		default:
			f.forwarded.Add(1)
			f.lost.Add(1)
			s.failAway(c, upstream.MayHaveRun(why))
		}
	}
	return cmds[settled:], why
}

// answerAway answers a command with what the leader has answered.
func (s *session) answerAway(c *passed, text []byte) {
	b := s.batch
	start := len(b.out.Buf)
	if b.out.JSON && b.out.Bare && len(text) > 0 && text[0] == '$' {
		_, text, _ = bytes.Cut(text, []byte("\r\n"))
		text = bytes.TrimSuffix(text, []byte("\r\n"))
	}
	b.out.Buf = append(b.out.Buf, text...)
	s.note(c.e.name, false, start, b.lap())
	b.answers[len(b.answers)-1].elsewhere = true
	s.show(c.e, c.args, start, true)
}
