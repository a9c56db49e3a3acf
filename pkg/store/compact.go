package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/dump"
	"evenkeel/pkg/engine/reply"
)

// Compaction is what a compaction did.
type Compaction struct {
	Offset      int64 // logical offset of the snapshot
	BytesBefore int64 // size of the log: base and what came after it
	BytesAfter  int64
	Freed       int64 // bytes of files removed; those that followers still read stay
	Objects     int64
	Duration    time.Duration
}

// ErrVerify says that a new base does not hold what the snapshot held. The old
// files stay in force.
var ErrVerify = errors.New("the new base does not lead to the state's digest")

// Compact writes the state of now as the log's new base. Writers go on: the
// lock is held only to take the snapshot.
func (s *Store) Compact(ctx context.Context) (Compaction, error) {
	s.files.Lock()
	defer s.files.Unlock()
	s.mu.RLock()
	halfway := s.halfway
	s.mu.RUnlock()
	if halfway {
		return Compaction{}, fmt.Errorf("compact: %w", ErrHalfway)
	}
	started := time.Now()
	c := Compaction{BytesBefore: liveBytes(s.log)}
	snap, mark := s.seal()
	c.Offset = mark.Offset
	if err := s.log.Commit(ctx, mark.Offset); err != nil {
		return c, fmt.Errorf("compact: seal at offset %d: %w", mark.Offset, err)
	}
	base, err := s.log.CreateBase(mark)
	if err != nil {
		return c, fmt.Errorf("compact: %w", err)
	}
	c.Objects, err = s.writeBase(ctx, base, snap, mark)
	if err != nil {
		return c, fmt.Errorf("compact: %w", errors.Join(err, base.Abort()))
	}
	if c.Freed, err = base.Install(ctx); err != nil {
		return c, fmt.Errorf("compact: install: %w", err)
	}
	c.BytesAfter = liveBytes(s.log)
	c.Duration = time.Since(started)
	return c, nil
}

// liveBytes is what a restart would read.
func liveBytes(l *aof.Log) int64 {
	st := l.Stats()
	return st.BaseBytes + st.SinceBytes
}

// seal takes the snapshot and ends the segment at the same point.
func (s *Store) seal() (*collection.State, aof.Mark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	snap := s.eng.State().Snapshot()
	return snap, s.log.Seal(s.opt.Now(), aof.Digest(snap.Digest()))
}

// writeBase writes the snapshot, then reads the file back and compares.
func (s *Store) writeBase(ctx context.Context, base *aof.BaseWriter, snap *collection.State, mark aof.Mark) (n int64, err error) {
	pace := s.newPacer()
	pace.rated = true
	if n, err = s.writeItems(ctx, base, snap, mark.Time, pace); err != nil {
		return n, fmt.Errorf("write base at offset %d: %w", mark.Offset, err)
	}
	if err := s.verifyBase(ctx, base, mark, pace); err != nil {
		return n, fmt.Errorf("verify base at offset %d: %w", mark.Offset, err)
	}
	return n, nil
}

// writeItems writes what makes snap again at now, and returns how much that is.
func (s *Store) writeItems(ctx context.Context, base *aof.BaseWriter, snap *collection.State, now int64, pace *pacer) (n int64, err error) {
	written := base.Written()
	err = dump.Words(snap, now, func(words [][]byte) error {
		n++
		if err := pace.step(ctx); err != nil {
			return err
		}
		err := base.AddRaw(words)
		if to := base.Written(); to != written {
			pace.moved(to - written)
			s.stats.baseBytes.Add(to - written)
			written = to
		}
		return err
	})
	return n, err
}

// verifyBase reads the file back and adds up the digests of what it would put,
// without building the state.
func (s *Store) verifyBase(ctx context.Context, base *aof.BaseWriter, mark aof.Mark, pace *pacer) error {
	tally := dump.NewTally(mark.Time, s.preparer(mark.Time))
	err := base.Verify(ctx, func(b aof.Batch) error {
		pace.moved(int64(len(b.Payload)))
		return aof.EachRaw(b.Payload, func(words [][]byte) error {
			if err := tally.Add(words); err != nil {
				return err
			}
			return pace.step(ctx)
		})
	})
	if err != nil {
		return err
	}
	if got := aof.Digest(tally.Sum()); got != mark.Digest {
		return fmt.Errorf("%w: %s, want %s", ErrVerify, got, mark.Digest)
	}
	return nil
}

// preparer returns a function that says what a command does to an empty state.
func (s *Store) preparer(now int64) func(words [][]byte) (*collection.Change, error) {
	eng := engine.New(s.opt.Engine)
	var out reply.Reply
	return func(words [][]byte) (*collection.Change, error) {
		args := make([]string, len(words))
		for i, w := range words {
			args[i] = string(w)
		}
		req := command.Request{Args: args, Name: lower(args[0]), Now: now}
		spec := eng.LookupLogged(req.Name)
		if spec == nil || spec.Write == nil {
			return nil, fmt.Errorf("%w: %q", errReplay, args[0])
		}
		out.Buf = out.Buf[:0]
		ch, err := eng.Prepare(spec, &req, &out)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", args, err)
		}
		return ch, nil
	}
}
