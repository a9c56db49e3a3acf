package store

import (
	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

// Tx is the store in the hands of somebody who holds its lock: nobody else's
// command comes between those that it carries out. It is valid until the
// function that was given it returns.
type Tx struct {
	s   *Store
	now int64
}

// Atomic runs f under the lock. The writes of f are one batch of the log and,
// like those of Write, in memory when it returns: before what came of them is
// sent, Commit must have returned for the offset. The error says why clients
// may not write now; f has not run then.
func (s *Store) Atomic(f func(tx *Tx)) (offset int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.begin()
	if err != nil {
		return 0, err
	}
	// Also when f panics: what has been applied must be in the log.
	defer func() { offset = s.log.End(aof.Digest(s.eng.State().Digest())) }()
	f(&Tx{s: s, now: now})
	return 0, nil
}

// Do carries out a command, read or write, and appends its answer to out. When
// there is an error, what is behind the old end of out is to be ignored.
func (tx *Tx) Do(spec *command.Spec, req *command.Request, out *reply.Reply) error {
	req.Now = tx.now
	if spec.Read != nil {
		return spec.Read(req, tx.s.eng.State(), out)
	}
	err := tx.s.exec(spec, req, out)
	if err != nil {
		out.Later = nil
		return err
	}
	out.Rest()
	return nil
}

// State returns the state as it is at this moment.
func (tx *Tx) State() *collection.State { return tx.s.eng.State() }

// Now is the time of everything that happens meanwhile, in Unix milliseconds.
func (tx *Tx) Now() int64 { return tx.now }
