package leader

import (
	"errors"
	"fmt"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/replication"
)

// baseTries is how often a base is opened anew because a compaction took away
// the log behind the one before.
const baseTries = 5

// plan is what a follower is going to get: base, if it is not nil, then tail.
type plan struct {
	epoch string
	start aof.Mark // where the tail begins; of a continued log the offset alone
	base  *aof.BaseReader
	tail  *aof.Tail
}

// makePlan continues where the follower is when the log still has that and both
// agree on it, and else starts from the base.
func makePlan(log Log, hello replication.Hello) (*plan, error) {
	if !hello.WantsFull() {
		tail, err := log.Tail(hello.Position, hello.Digest)
		if err == nil {
			return &plan{epoch: hello.Position.Epoch, start: aof.Mark{Offset: hello.Position.Offset}, tail: tail}, nil
		}
		if !errors.Is(err, aof.ErrEpoch) && !errors.Is(err, aof.ErrGone) && !errors.Is(err, aof.ErrDiverged) {
			return nil, fmt.Errorf("tail from %s %d: %w", hello.Position.Epoch, hello.Position.Offset, err)
		}
	}
	for try := 1; ; try++ {
		p, err := planFull(log)
		if err == nil || !errors.Is(err, aof.ErrGone) || try == baseTries {
			return p, err
		}
	}
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
