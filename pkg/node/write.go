package node

import (
	"strings"
	"time"

	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/forward"
	"evenkeel/pkg/resp"
	"evenkeel/pkg/store"
)

// This file gathers the writes of a pipeline, carries them out together, and takes
// answers back that turn out to be untrue.

// write gathers a write that is to be carried out here.
func (b *batch) write(e *entry, args []string) {
	b.writes = append(b.writes, store.Write{Spec: e.spec, Request: command.Request{Args: args, Name: e.name}})
}

// returns says whether a write may be one that answers an object (SET and FSET
// with RETURN).
func returns(args []string) bool {
	for _, a := range args {
		if len(a) == len("return") && strings.EqualFold(a, "return") {
			return true
		}
	}
	return false
}

// flushWrites carries out what has been gathered.
func (s *session) flushWrites() {
	s.flushHere()
	s.flushAway()
}

// flushHere carries out the writes that have been gathered. What this node may not
// write any more becomes the leader's.
func (s *session) flushHere() {
	b := s.batch
	if len(b.writes) == 0 {
		return
	}
	ran := s.writeHere()
	for i := ran; i < len(b.writes); i++ {
		req := &b.writes[i].Request
		b.away = append(b.away, passed{e: s.node.table[req.Name], args: req.Args})
	}
	clear(b.writes) // an idle connection keeps no values alive
	b.writes = b.writes[:0]
	b.lap() // their time is the pipeline's
}

// writeHere is flushHere but for what happens to writes that have not run; it returns
// where they begin.
func (s *session) writeHere() (ran int) {
	b := s.batch
	start := len(b.out.Buf)
	if s.node.role.leads() {
		if err := s.node.fenced(); err != nil {
			if s.passes() {
				return 0
			}
			for i := range b.writes {
				req := &b.writes[i].Request
				s.fail(s.node.table[req.Name], req.Args, err)
				b.answers[len(b.answers)-1].elsewhere = true
			}
			return len(b.writes)
		}
	}
	b.guard(s.node)
	if offset := s.node.opt.Store.Write(b.writes, &b.out); offset > 0 {
		b.offset = offset
	}
	ran = len(b.writes)
	if s.passes() {
		ran = b.unrefused(start)
	}
	for i := range b.writes[:ran] {
		w := &b.writes[i]
		b.answers = append(b.answers, answer{
			name: w.Request.Name, kind: s.kind, write: true, end: w.End, failed: b.failed(b.out.Buf[start:w.End]),
		})
		if s.node.monitors.n.Load() > 0 {
			a := &b.answers[len(b.answers)-1]
			if !a.failed || !unshown(b.out.Buf[start:w.End]) {
				s.node.show(s.addr(), a.name, w.Request.Args)
			}
		}
		start = w.End
	}
	b.out.Buf = b.out.Buf[:start]
	return ran
}

// commit returns when what the pipeline has written here so far is as safe as it has to
// be, or its answers say that it is not.
func (s *session) commit() {
	b := s.batch
	if b.offset == 0 {
		return
	}
	err := s.node.opt.Store.Commit(b.ctx, b.offset)
	if err == nil {
		err = s.node.replicated(b.ctx, b.offset)
	}
	b.offset = 0
	if err != nil {
		s.disown(err)
		return
	}
	for i := range b.answers {
		b.answers[i].safe = true
	}
}

// disown replaces the answers of the pipeline's writes by err: they are
// carried out, but the log could not take them.
func (s *session) disown(err error) {
	s.replace(func(a *answer) error {
		if a.write && !a.failed && !a.elsewhere && !a.safe {
			return err
		}
		return nil
	})
}

// replace replaces the answers of the pipeline for which by returns an error.
func (s *session) replace(by func(a *answer) error) {
	b := s.batch
	old := b.out.Buf
	fresh := reply.Reply{JSON: b.out.JSON, RESP3: b.out.RESP3, Buf: append([]byte(nil), old[:b.base]...)}
	start := b.base
	for i := range b.answers {
		a := &b.answers[i]
		end := a.end
		if err := by(a); err != nil {
			fresh.Buf = append(fresh.Buf, old[start:start+a.keep]...)
			at := len(fresh.Buf)
			fresh.Bare = a.kind > resp.Inline
			fresh.Fail(a.name, err)
			fresh.Finish(at, time.Since(b.started))
			fresh.Buf = a.kind.Wrap(fresh.Buf, at)
			a.failed = true
		} else {
			fresh.Buf = append(fresh.Buf, old[start:end]...)
		}
		start, a.end = end, len(fresh.Buf)
	}
	fresh.Buf, fresh.Bare = append(fresh.Buf, old[start:]...), b.out.Bare
	b.out = fresh
}

// unrefused returns how many of the writes, whose answers begin at start, come before
// a tail of those that were refused because this node does not lead.
func (b *batch) unrefused(start int) int {
	n := len(b.writes)
	for ; n > 0; n-- {
		from := start
		if n > 1 {
			from = b.writes[n-2].End
		}
		if !forward.NotLeader(b.out.Buf[from:b.writes[n-1].End]) {
			break
		}
	}
	return n
}
