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

// Read answers a read command. req.Pause, if set, bounds it in time.
func (s *Store) Read(spec *command.Spec, req *command.Request, out *reply.Reply) {
	started := time.Now()
	start := len(out.Buf)
	req.Now = s.opt.Now()
	err := s.readLocked(spec, req, out, started)
	if errors.Is(err, errSlice) {
		out.Buf = out.Buf[:start]
		s.stats.snapshots.Add(1)
		err = spec.Read(req, s.Snapshot(), out)
	}
	if err != nil {
		out.Buf = out.Buf[:start]
		out.Fail(cmp.Or(req.Via, req.Name), err)
	}
	out.Finish(start, time.Since(started))
}

// readLocked runs the command on the live state until its slice is used up.
func (s *Store) readLocked(spec *command.Spec, req *command.Request, out *reply.Reply, started time.Time) error {
	outer := req.Pause
	defer func() { req.Pause = outer }()
	req.Pause = func() error {
		if outer != nil {
			if err := outer(); err != nil {
				return err
			}
		}
		if time.Since(started) > s.opt.ReadSlice {
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
