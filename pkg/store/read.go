package store

import (
	"cmp"
	"errors"
	"time"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

// errSlice ends a read that has held the lock for long enough.
var errSlice = errors.New("read slice used up")

// largeRead is the size of a read, in bytes, from which on it gets a snapshot at
// once: reading so large an area would hold the lock for too long.
const largeRead = 16 << 10

// Read answers a read command. req.Pause, if set, bounds it in time.
func (s *Store) Read(spec *command.Spec, req *command.Request, out *reply.Reply) {
	clock := startClock(out)
	start := len(out.Buf)
	if err := s.Query(spec, req, out); err != nil {
		out.Buf = out.Buf[:start]
		out.Fail(cmp.Or(req.Via, req.Name), err)
	}
	clock.finish(out, start)
}

// Query is Read for those who make the answer of an error themselves; what is
// behind the old end of out is to be ignored then.
func (s *Store) Query(spec *command.Spec, req *command.Request, out *reply.Reply) error {
	start := len(out.Buf)
	req.Now = s.opt.Now()
	err := errSlice
	if req.Size() < largeRead {
		err = s.readLocked(spec, req, out)
	}
	if errors.Is(err, errSlice) || errors.Is(err, command.ErrLong) {
		out.Buf = out.Buf[:start]
		s.stats.snapshots.Add(1)
		err = spec.Read(req, s.Snapshot(), out)
	}
	return err
}

// clock tells how long a command took, which only answers in JSON say.
type clock struct{ started time.Time }

func startClock(out *reply.Reply) (c clock) {
	if out.JSON {
		c.started = time.Now()
	}
	return c
}

// finish ends the answer that starts at out.Buf[start].
func (c clock) finish(out *reply.Reply, start int) {
	if out.JSON {
		out.Finish(start, time.Since(c.started))
	}
}

// readLocked runs the command on the live state until its slice is used up. The
// slice begins with the first question to Pause, which short reads never ask.
func (s *Store) readLocked(spec *command.Spec, req *command.Request, out *reply.Reply) error {
	var started time.Time
	outer := req.Pause
	defer func() { req.Pause, req.Locked = outer, false }()
	req.Locked = true
	req.Pause = func() error {
		if outer != nil {
			if err := outer(); err != nil {
				return err
			}
		}
		switch {
		case started.IsZero():
			started = time.Now()
		case time.Since(started) > s.opt.ReadSlice:
			return errSlice
		}
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return spec.Read(req, s.eng.State(), out)
}

// Snapshot returns the state as it is now, to be read without a lock.
func (s *Store) Snapshot() *collection.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.eng.State().Snapshot()
}
