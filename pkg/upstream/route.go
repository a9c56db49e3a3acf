package upstream

import (
	"context"
	"time"
)

// turn lets the command that req has found go to the engine that it is for.
// before is what has not been sent and comes first; true: it has been now.
func (s *session) turn(before []byte) bool {
	s.form(s.req.kind)
	to := s.choose(s.req.cmd)
	reads := s.own.some && s.req.cmd != nil && s.req.cmd.class == ClassRead && to == sideEngine && s.routes()
	if to == s.side && !reads {
		return false
	}
	s.send(before, false)
	s.settle()
	if s.opaque.Load() || s.isOver() {
		return true // to where the rest has gone
	}
	if reads && s.own.some && !s.caughtUp() {
		to = sideLeader
		s.b.count.leaderReads.Add(1)
	}
	s.side = to
	return true
}

// routes says whether there is anything to choose.
func (s *session) routes() bool {
	return s.route.Following && s.route.Leader != "" && !s.opaque.Load() && !s.here.Load()
}

// choose says which engine a command is for.
func (s *session) choose(k *known) side {
	r := &s.route
	if k == nil || !s.routes() {
		return sideEngine
	}
	switch k.class {
	case ClassWrite:
		if s.b.opts.LocalWrites {
			return sideEngine
		}
		s.own.some = true
		s.b.count.forwarded.Add(1)
		return sideLeader
	case ClassRead:
		if s.b.opts.ReadFrom == ReadLeader || s.b.opts.ReadFrom == ReadFit && !r.Fit {
			s.b.count.leaderReads.Add(1)
			return sideLeader
		}
	}
	return sideEngine
}

// caughtUp waits until the engine here has what this connection has written
// through the leader, at most for ReadYourWritesTimeout. All of it is answered.
func (s *session) caughtUp() bool {
	limit := s.b.opts.ReadYourWritesTimeout
	if !s.own.missed.IsZero() && time.Since(s.own.missed) < limit {
		return false // a pipeline would wait for each of its reads
	}
	s.b.count.ownWriteWaits.Add(1)
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	defer cancel()
	offset, err := s.b.offset(ctx, s.route.Leader)
	if err == nil {
		err = s.b.waitFor(ctx, offset)
	}
	if err != nil {
		s.b.count.ownWriteMisses.Add(1)
		s.own.missed = time.Now()
		return false
	}
	s.own = ownWrites{}
	return true
}
