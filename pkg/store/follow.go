package store

import (
	"context"
	"errors"
	"fmt"
	"io"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine"
)

// ErrDigest says that a batch of the leader led to another state here.
var ErrDigest = errors.New("state digest differs from the leader's")

// Position returns where the log ends and the digest of the state there; an
// empty position as long as the state is not that of the log, see Resync.
func (s *Store) Position() (aof.Position, aof.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.halfway {
		return aof.Position{}, aof.Digest{}
	}
	return s.log.Position(), aof.Digest(s.eng.State().Digest())
}

// ApplyBatch appends a batch of the leader as it is, applies it and commits
// it. If the state's digest is not b.Digest then, the error is ErrDigest.
func (s *Store) ApplyBatch(ctx context.Context, b aof.Batch) error {
	var read chunk
	if err := read.add(s.eng, b); err != nil {
		return fmt.Errorf("batch that ends at offset %d: %w", b.Offset, err)
	}
	offset, err := s.applyLocked(b, read.steps)
	if err != nil {
		return err
	}
	s.moved.tell()
	return s.Commit(ctx, offset)
}

// applyLocked is ApplyBatch with the batch's commands, read ahead.
func (s *Store) applyLocked(b aof.Batch, steps []step) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.halfway {
		return 0, fmt.Errorf("append the batch that ends at offset %d: %w", b.Offset, ErrHalfway)
	}
	offset, err := s.log.AppendBatch(b)
	if err != nil {
		return 0, err
	}
	r := s.replayer(s.eng)
	r.live = true
	for i := range steps {
		r.command(&steps[i])
	}
	r.report(s.opt.Logger)
	s.next = s.eng.State().NextDeadline()
	if got := aof.Digest(s.eng.State().Digest()); got != b.Digest {
		return 0, fmt.Errorf("offset %d: %w: %s here, %s there", b.Offset, ErrDigest, got, b.Digest)
	}
	return offset, nil
}

// JoinEpoch lets the log go on as part of the history epoch, to which forks lead
// from its own epoch.
func (s *Store) JoinEpoch(ctx context.Context, epoch string, forks []aof.Fork) error {
	defer s.moved.tell()
	return s.log.JoinEpoch(ctx, epoch, forks)
}

// PartedFrom returns where the log left the history of a leader at p, to which
// forks lead; parted is false if it did not.
func (s *Store) PartedFrom(p aof.Position, forks []aof.Fork) (offset int64, parted bool) {
	return s.log.PartedFrom(p, forks)
}

// BeginEpoch lets a new history begin: what is written from now on is not its
// former leader's. Who has followed the same leader, and is not beyond what is here, can
// go on from here. A state that is halfway to a leader's becomes that of the log. Nobody
// writes meanwhile.
func (s *Store) BeginEpoch(ctx context.Context) error {
	epoch, err := aof.NewEpochID()
	if err != nil {
		return err
	}
	defer s.moved.tell()
	s.files.Lock()
	defer s.files.Unlock()
	s.mu.Lock()
	halfway := s.halfway
	s.mu.Unlock()
	if !halfway {
		return s.log.BeginEpoch(ctx, epoch)
	}
	s.opt.Logger.Warn("a resync was not through: the state is partly the leader's and partly what was here before")
	s.mu.Lock()
	snap := s.eng.State().Snapshot()
	m, h := s.log.Last(), s.log.Next(epoch)
	for i := range h.Forks { // what came behind it is given up already
		if s.parted != nil {
			h.Forks[i].Offset = min(h.Forks[i].Offset, *s.parted)
		}
	}
	s.mu.Unlock()
	m.Time, m.Digest = max(m.Time, s.opt.Now()), aof.Digest(snap.Digest())
	return s.rebase(ctx, h, m, snap)
}

// Reset replaces everything by a base that the leader sends: size raw bytes of
// its base file. It is received beside the old data, checked, loaded, and then
// takes its place; an error leaves the old data in force. Reads are answered
// from the old data meanwhile. What the log has behind the offset lost, if that is not
// negative, is put aside before it goes: the leader does not have it.
func (s *Store) Reset(ctx context.Context, h aof.History, m aof.Mark, lost, size int64, r io.Reader) error {
	s.files.Lock() // a compaction now would write the old state at the new offset
	defer s.files.Unlock()
	recv, err := s.log.Receive(h, m, size)
	if err != nil {
		return fmt.Errorf("receive base: %w", err)
	}
	if _, err := io.CopyN(recv, r, size); err != nil {
		return fmt.Errorf("receive base: %w", errors.Join(err, recv.Abort()))
	}
	eng := engine.New(s.opt.Engine)
	load := s.replayer(eng)
	if err := load.load(ctx, recv.Verify); err != nil {
		return fmt.Errorf("check received base: %w", errors.Join(err, recv.Abort()))
	}
	load.report(s.opt.Logger)
	if got := aof.Digest(eng.State().Digest()); got != m.Digest {
		err := fmt.Errorf("check received base at offset %d: %w: %s here, %s there", m.Offset, ErrDigest, got, m.Digest)
		return errors.Join(err, recv.Abort())
	}
	if _, err := s.keepLost(ctx, lost); err != nil {
		return errors.Join(err, recv.Abort())
	}
	if err := recv.Install(ctx); err != nil {
		return fmt.Errorf("install received base: %w", err)
	}
	defer s.moved.tell()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eng.Reset(eng)
	s.halfway, s.parted = false, nil
	s.rebuilt()
	s.next = s.eng.State().NextDeadline()
	return nil
}
