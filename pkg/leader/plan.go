package leader

import (
	"context"
	"errors"
	"fmt"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/replication"
)

// baseTries is how often a base is opened anew because a compaction took away
// the log behind the one before.
const baseTries = 5

// plan is what a follower is going to get: base, or what differs from snap, if
// one of them is not nil, then tail.
type plan struct {
	epoch string
	forks []aof.Fork // see replication.Answer
	start aof.Mark   // where the tail begins; of a continued log the offset alone
	base  *aof.BaseReader
	snap  Snapshot
	tail  *aof.Tail
}

// makePlan continues where the follower is when the log still has that and both
// agree on it. Otherwise the follower gets what differs from its state, or
// everything, if it has too little for that.
func makePlan(ctx context.Context, opt Options, hello replication.Hello) (*plan, error) {
	log := opt.Log
	forks := forksFrom(log, hello.Position.Epoch)
	if !hello.WantsFull() {
		tail, err := log.Tail(hello.Position, hello.Digest)
		if err == nil {
			return &plan{epoch: log.Position().Epoch, forks: forks, start: aof.Mark{Offset: hello.Position.Offset}, tail: tail}, nil
		}
		if !errors.Is(err, aof.ErrEpoch) && !errors.Is(err, aof.ErrGone) && !errors.Is(err, aof.ErrDiverged) {
			return nil, fmt.Errorf("tail from %s %d: %w", hello.Position.Epoch, hello.Position.Offset, err)
		}
	}
	if opt.Snapshot != nil && hello.Objects > 0 {
		p, err := planRanges(ctx, opt)
		if err != nil {
			return nil, err
		}
		p.forks = newest(log, forks)
		if !preferFull(hello.Objects, p.snap.Objects()) {
			return p, nil
		}
		if err := p.close(); err != nil {
			return nil, err
		}
	}
	for try := 1; ; try++ {
		p, err := planFull(log)
		if err == nil {
			p.forks = newest(log, forks)
		}
		if err == nil || !errors.Is(err, aof.ErrGone) || try == baseTries {
			return p, err
		}
	}
}

// forksFrom returns the forks of the log's history from epoch on, the newest
// that an answer can name; none if epoch is the log's own.
func forksFrom(log Log, epoch string) []aof.Fork {
	forks := log.Forks()
	for i := len(forks) - 1; i >= 0; i-- {
		if forks[i].Epoch == epoch && log.Position().Epoch != epoch {
			return forks[i:]
		}
	}
	return nil
}

// newest returns the newest forks of the log's history, and the first of those
// from the follower's epoch on: what the follower needs to find out where its own
// history parted from this one, and to know the older ones later.
func newest(log Log, forks []aof.Fork) []aof.Fork {
	all := log.Forks()
	n := len(all) - replication.MaxForks
	if n <= 0 {
		return all
	}
	all = all[n:]
	if len(forks) > len(all) {
		all[0] = forks[0]
	}
	return all
}

// planFull opens the base and the tail behind it before a byte is sent, so that
// the log keeps what follows the base until the follower gets there.
func planFull(log Log) (*plan, error) {
	base, err := log.OpenBase()
	if err != nil {
		return nil, fmt.Errorf("open base: %w", err)
	}
	pos, m := base.Position(), base.Mark()
	tail, err := log.Tail(pos, m.Digest)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("tail behind the base at offset %d: %w", pos.Offset, err), base.Close())
	}
	return &plan{epoch: pos.Epoch, start: m, base: base, tail: tail}, nil
}

// kind says what is granted.
func (p *plan) kind() replication.Kind {
	switch {
	case p.base != nil:
		return replication.Full
	case p.snap != nil:
		return replication.Ranges
	}
	return replication.Continue
}

// closeBase gives the base's file up before the stream ends.
func (p *plan) closeBase() error {
	base := p.base
	p.base = nil
	if err := base.Close(); err != nil {
		return fmt.Errorf("%w: close base at offset %d: %w", errLog, p.start.Offset, err)
	}
	return nil
}

// close gives up what the plan still holds of the log.
func (p *plan) close() error {
	var errs []error
	if p.base != nil {
		errs = append(errs, p.base.Close())
	}
	return errors.Join(append(errs, p.tail.Close())...)
}
