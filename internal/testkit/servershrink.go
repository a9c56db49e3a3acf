package testkit

import (
	"errors"
	"os"
	"slices"
	"time"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/dump"
)

// shrinking is the AOFSHRINK that runs, and how those to come run.
type shrinking struct {
	runs   bool
	during []byte        // what was written meanwhile
	hold   chan struct{} // it waits here before the swap; nil: it does not
	fail   bool
	count  int // that have swapped the file
}

// HoldShrink makes an AOFSHRINK wait before it looks at the data, until ReleaseShrink.
func (s *Server) HoldShrink() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shrink.hold == nil {
		s.shrink.hold = make(chan struct{})
	}
}

// ReleaseShrink lets an AOFSHRINK that waits go on.
func (s *Server) ReleaseShrink() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release()
}

func (s *Server) release() {
	if s.shrink.hold != nil {
		close(s.shrink.hold)
		s.shrink.hold = nil
	}
}

// FailShrinks makes AOFSHRINK fail, of which its client learns nothing.
func (s *Server) FailShrinks(fail bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shrink.fail = fail
}

// Shrinks returns how many AOFSHRINKs have swapped the file.
func (s *Server) Shrinks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shrink.count
}

// Shrink is AOFSHRINK, to its end.
func (s *Server) Shrink() {
	s.t.Helper()
	n := s.Shrinks()
	s.Do("AOFSHRINK")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		done := s.shrink.count > n && !s.shrink.runs
		s.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal("AOFSHRINK does not end")
		}
	}
}

// beginShrink is AOFSHRINK. A second one does nothing. mu is held.
func (s *Server) beginShrink() {
	if s.shrink.runs || !s.running {
		return
	}
	s.shrink.runs, s.shrink.during = true, nil
	hold, fail := s.shrink.hold, s.shrink.fail
	s.life.wg.Go(func() {
		if !fail {
			s.dump(hold)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.shrink.runs, s.shrink.during = false, nil
	})
}

// dump writes the new file and puts it into the old one's place. Tile38 does not dump
// the data as they were when it began, but as it comes to them: what is written
// before that stands in the dump and, once more, behind it, and a DEL there finds
// nothing.
func (s *Server) dump(hold <-chan struct{}) {
	if hold != nil {
		select {
		case <-hold:
		case <-s.life.ctx.Done():
		}
	}
	s.mu.Lock()
	st := s.eng.State().Snapshot()
	s.mu.Unlock()
	name := s.File() + "-shrink"
	f, err := os.Create(name)
	if err == nil {
		err = writeDump(f, st)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && s.running {
		err = s.swap(f, name)
	}
	if err != nil || !s.running {
		err = errors.Join(err, f.Close(), os.Remove(name))
		if s.running {
			s.t.Errorf("AOFSHRINK: %v", err)
		}
	}
}

// swap puts the new file, which is behind the name, in force. mu is held.
func (s *Server) swap(f *os.File, name string) error {
	if _, err := f.Write(s.shrink.during); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := os.Rename(name, s.File()); err != nil {
		return err
	}
	_ = s.file.Close()
	s.file, s.size, s.synced, s.counter = f, info.Size(), info.Size(), info.Size()
	s.shrink.count++
	for c := range s.clients {
		if c.stream {
			_ = c.conn.Close()
		}
	}
	s.wake()
	return nil
}

// writeDump writes a state as AOFSHRINK does.
func writeDump(f *os.File, st *collection.State) error {
	var b []byte
	err := dump.Items(st, time.Now().UnixMilli(), func(args []string) error {
		b = append(b, Command(asTile38(args)...)...)
		if len(b) < 1<<20 {
			return nil
		}
		_, err := f.Write(b)
		b = b[:0]
		return err
	})
	if err == nil {
		_, err = f.Write(slices.Clip(b))
	}
	return err
}
