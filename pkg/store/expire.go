package store

import (
	"context"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

const (
	// expireEvery bounds how often the expiry takes the lock: deadlines that
	// fall closer together are served in one go.
	expireEvery = 20 * time.Millisecond
	// expireGrace is how long at least after a deadline was set the expiry looks:
	// what is over when it is set (EX 0) is seen for a moment, as in Tile38, which
	// looks every 200 ms.
	expireGrace = 100 * time.Millisecond
	// expireBatch bounds how long it holds the lock: about 1 ms of deletions.
	expireBatch = 500
)

// Expire deletes objects and hooks whose time is over until ctx ends. Each goes
// as a DEL or DELHOOK through the ordinary path, so the log and the followers learn of it. While
// writes are refused (a follower, READONLY) nothing is deleted: the leader
// says when.
func (s *Store) Expire(ctx context.Context) {
	at := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.deadline:
			if sooner := time.Now().Add(s.untilDeadline()); sooner.Before(at) {
				at = sooner
			}
		case <-timer.C:
			at = time.Now().Add(s.expireDue(ctx))
		}
		timer.Reset(time.Until(at))
	}
}

// untilDeadline returns how long to wait for the earliest deadline, which has
// just been set.
func (s *Store) untilDeadline() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(time.Duration(s.next-s.opt.Now())*time.Millisecond, expireGrace)
}

// expireDue deletes what is due and returns how long to wait.
func (s *Store) expireDue(ctx context.Context) time.Duration {
	n, offset, next := s.expireOnce()
	if n > 0 {
		s.stats.expired.Add(int64(n))
		// An error is the log's to report; the deletions are in its queue.
		_ = s.log.Commit(ctx, offset)
	}
	switch {
	case n == expireBatch:
		return 0
	case next == 0:
		return time.Hour // until a deadline is noted
	}
	return max(time.Duration(next-s.opt.Now())*time.Millisecond, expireEvery)
}

func (s *Store) expireOnce() (n int, offset, next int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == 0 || s.next > s.opt.Now() {
		return 0, 0, s.next
	}
	now, err := s.begin()
	if err != nil {
		return 0, 0, s.opt.Now() + time.Second.Milliseconds()
	}
	out := reply.Reply{}
	for _, args := range s.due(now) {
		out.Buf = out.Buf[:0]
		req := command.Request{Args: args, Name: args[0], Now: now}
		if s.exec(s.eng.Lookup(args[0]), &req, &out) == nil {
			n++
		}
	}
	offset = s.log.End(aof.Digest(s.eng.State().Digest()))
	s.next = s.eng.State().NextDeadline()
	return n, offset, s.next
}

// due lists up to expireBatch commands that delete what is over.
func (s *Store) due(now int64) (cmds [][]string) {
	st := s.eng.State()
	room := func() bool { return len(cmds) < expireBatch }
	st.ExpiredHooks(now, func(hk *collection.Hook) bool {
		name := "delhook"
		if hk.Channel {
			name = "delchan"
		}
		cmds = append(cmds, []string{name, hk.Name})
		return room()
	})
	if !room() {
		return cmds
	}
	st.Scan("", func(c *collection.Collection) bool {
		c.Expired(now, func(it *collection.Item) bool {
			cmds = append(cmds, []string{"del", c.Name(), it.ID()})
			return room()
		})
		return room()
	})
	return cmds
}
