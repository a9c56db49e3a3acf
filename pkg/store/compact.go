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
	pace := newPacer(s.opt.CompactCPU)
	err = dump.Items(snap, mark.Time, func(args []string) error {
		n++
		if err := pace.step(ctx); err != nil {
			return err
		}
		return base.Add(args)
	})
	if err != nil {
		return n, fmt.Errorf("write base at offset %d: %w", mark.Offset, err)
	}
	v := verifier{ctx: ctx, eng: engine.New(s.opt.Engine), now: mark.Time, pace: pace}
	if err := base.Verify(ctx, v.batch); err != nil {
		return n, fmt.Errorf("verify base at offset %d: %w", mark.Offset, err)
	}
	if got := aof.Digest(v.tally.Sum()); got != mark.Digest {
		return n, fmt.Errorf("verify base at offset %d: %w: %s, want %s", mark.Offset, ErrVerify, got, mark.Digest)
	}
	return n, nil
}

// verifier reads a base back without building the state: it prepares each
// command against an empty engine and adds up the digests of what would be
// put.
type verifier struct {
	ctx   context.Context
	pace  *pacer
	eng   *engine.Engine
	now   int64
	tally collection.Tally
	out   reply.Reply
}

func (v *verifier) batch(b aof.Batch) error {
	return aof.EachCommand(b.Payload, func(args []string) error {
		req := command.Request{Args: args, Name: lower(args[0]), Now: v.now}
		spec := v.eng.LookupLogged(req.Name)
		if spec == nil || spec.Write == nil {
			return fmt.Errorf("%w: %q", errReplay, args[0])
		}
		v.out.Buf = v.out.Buf[:0]
		ch, err := v.eng.Prepare(spec, &req, &v.out)
		if err != nil {
			return fmt.Errorf("%q: %w", args, err)
		}
		v.tally.Add(ch)
		return v.pace.step(v.ctx)
	})
}
