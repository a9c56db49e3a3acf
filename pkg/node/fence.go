package node

import (
	"errors"

	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/upstream"
)

// This file keeps a leader from answering when it is none any more. Who decides about
// roles (a lease) may give the role to another node while this one is stopped, and
// does not notice; its fence does, as it goes by a clock that goes on meanwhile.
//
// Options.Fence is asked twice for a pipeline: before its writes begin, so that they do
// not end in a log that nobody will follow, and when everything is carried out, durable and
// replicated, before the first reply goes out. The second question decides: a lease
// that holds now, and has been held without a break since the first command of the
// pipeline was carried out, held at every moment between, so each command has taken effect while
// no other node led, between its arrival and its reply. That it has been held without a
// break is what role.term tells: losing the role changes it, and winning it back does
// again. So one question is enough for all commands of a pipeline, and what happens
// between the question and the arrival of the reply does not matter.

// fenced says why this node may not act as the leader that it takes itself for.
func (n *Node) fenced() error {
	if n.opt.Fence == nil {
		return nil
	}
	if err := n.opt.Fence(); err != nil {
		return reply.Plain(errNotLeader.JSON + ": " + err.Error())
	}
	return nil
}

var errDeposed = errors.New("another node may have become the leader meanwhile")

// guard notes that a command of the pipeline is carried out here by a leader.
func (b *batch) guard(n *Node) {
	if n.opt.Fence == nil {
		return
	}
	term := n.role.term.Load()
	switch {
	case term&termLeads == 0:
	case b.term == 0:
		b.term = term
	case b.term != term:
		b.term = deposed
	}
}

// readsLead says whether clients of this node want what the leader has, and nothing older.
func (n *Node) readsLead() bool {
	return n.opt.Forward != nil && n.opt.Forward.ReadFrom == upstream.ReadLeader
}

// deposed is no term of a leader.
const deposed = termGiven

// confirm replaces the answers of what was carried out here if this node does not
// lead any more.
func (s *session) confirm() {
	b := s.batch
	if b.term == 0 {
		return
	}
	err := s.node.opt.Fence()
	if err == nil && b.term != s.node.role.term.Load() { // behind the question: see above
		err = errDeposed
	}
	if err == nil {
		return
	}
	text := errNotLeader.JSON + " any more: " + err.Error()
	read := reply.Plain(text)
	// Not with the words for what has not run: it has, here, and may be undone.
	write := reply.Plain("written here, but this node is " + text + ": the write may or may not last")
	s.replace(func(a *answer) error {
		switch e := s.node.table[a.name]; {
		case a.elsewhere || e == nil:
		case a.write || e.class == upstream.ClassWrite:
			return write
		case (s.forwarded || s.node.readsLead()) && (e.class == upstream.ClassRead || e.name == "timeout"):
			return read // else it is no more than what any follower answers
		}
		return nil
	})
}
