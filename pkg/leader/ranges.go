package leader

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/replication"
)

// Snapshot is the state at one point of the log, for a follower that takes what
// differs from its own. One goroutine uses it.
type Snapshot interface {
	// Position is where the state stands in the log, Mark its digest and time.
	Position() aof.Position
	Mark() aof.Mark
	// Objects is how many there are.
	Objects() int64
	// Next returns the ranges one after the other, each with at most
	// replication.MaxRangeObjects; the last is one of hooks with End. ok is false
	// behind it.
	Next(ctx context.Context) (r replication.Range, ok bool, err error)
	// Hashes returns the lower halves of the digests of a range's objects.
	Hashes(r replication.Range) []uint64
	// Items visits the commands that make those objects of a range that are in
	// pick.
	Items(ctx context.Context, r replication.Range, pick replication.Bits, visit func(args []string) error) error
}

// preferFull says whether a follower with have objects had better take the base
// as it is: what it has can save it little.
func preferFull(have, objects int64) bool { return have < objects/8 }

// talk is a range resync with one follower.
type talk struct {
	s    *stream
	snap Snapshot
	buf  []byte
}

// sendRanges lets the follower compare its state with the snapshot and sends
// what it asks for, until it says that it has all.
func (s *stream) sendRanges(ctx context.Context, snap Snapshot) error {
	t := &talk{s: s, snap: snap}
	for more := true; more; {
		var window []replication.Range
		var err error
		if window, more, err = t.name(ctx); err != nil {
			return err
		}
		if err := t.serve(ctx, window); err != nil {
			return err
		}
	}
	if err := t.send(replication.MsgEnd); err != nil {
		return err
	}
	args, err := s.hear(ctx)
	if err == nil && args[0] != replication.MsgResynced {
		err = fmt.Errorf("%w: %.32q after the last range", replication.ErrProtocol, args[0])
	}
	return err
}

// name sends the next window of ranges.
func (t *talk) name(ctx context.Context) (window []replication.Range, more bool, err error) {
	t.buf = t.buf[:0]
	for len(window) < replication.WindowRanges {
		r, ok, err := t.snap.Next(ctx)
		if err != nil {
			return nil, false, fmt.Errorf("%w: %w", errLog, err)
		}
		if !ok {
			return window, false, t.flush()
		}
		window = append(window, r)
		t.buf = r.Append(t.buf)
	}
	return window, true, t.flush()
}

// serve asks what differs in the window and sends it.
func (t *talk) serve(ctx context.Context, window []replication.Range) error {
	if err := t.send(replication.MsgAsk); err != nil {
		return err
	}
	args, err := t.s.hear(ctx)
	if err != nil {
		return err
	}
	if args[0] != replication.MsgWant {
		return fmt.Errorf("%w: %.32q, want %s", replication.ErrProtocol, args[0], replication.MsgWant)
	}
	wanted := make([]int, 0, len(args)-1)
	for _, word := range args[1:] {
		i, err := replication.ParseIndex(word, len(window))
		if err != nil {
			return err
		}
		wanted = append(wanted, i)
	}
	for _, i := range wanted {
		t.buf = replication.AppendHashes(t.buf[:0], i, t.snap.Hashes(window[i]))
		if err := t.flush(); err != nil {
			return err
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	if err := t.send(replication.MsgAsk); err != nil {
		return err
	}
	picks, err := t.picks(ctx, window, len(wanted))
	if err != nil {
		return err
	}
	for _, i := range wanted {
		if err := t.items(ctx, i, window[i], picks[i]); err != nil {
			return err
		}
	}
	return nil
}

// picks hears which objects of n ranges are wanted.
func (t *talk) picks(ctx context.Context, window []replication.Range, n int) (map[int]replication.Bits, error) {
	picks := make(map[int]replication.Bits, n)
	for {
		args, err := t.s.hear(ctx)
		if err != nil {
			return nil, err
		}
		if args[0] == replication.MsgAsk && len(picks) == n {
			return picks, nil
		}
		if args[0] != replication.MsgPick || len(args) != 3 || len(picks) == n {
			return nil, fmt.Errorf("%w: %.32q, want %s", replication.ErrProtocol, args[0], replication.MsgPick)
		}
		i, err := replication.ParseIndex(args[1], len(window))
		if err != nil {
			return nil, err
		}
		if picks[i], err = replication.ParseBits(args[2], window[i].Count); err != nil {
			return nil, err
		}
	}
}

// items sends the picked objects of a range.
func (t *talk) items(ctx context.Context, i int, r replication.Range, pick replication.Bits) error {
	t.buf = t.buf[:0]
	err := t.snap.Items(ctx, r, pick, func(args []string) error {
		t.buf = replication.AppendMessage(t.buf, append([]string{replication.MsgItem}, args...)...)
		if len(t.buf) < writeChunk {
			return nil
		}
		return t.flush()
	})
	if err != nil {
		return fmt.Errorf("objects of a range: %w", err)
	}
	t.buf = replication.AppendMessage(t.buf, replication.MsgDone, strconv.Itoa(i))
	return t.flush()
}

func (t *talk) send(word string) error {
	t.buf = replication.AppendMessage(t.buf[:0], word)
	return t.flush()
}

func (t *talk) flush() error {
	err := t.s.write(t.buf)
	t.s.base.Add(int64(len(t.buf)))
	if cap(t.buf) > 4*writeChunk {
		t.buf = nil
	}
	t.buf = t.buf[:0]
	return err
}

// hear waits for what the follower says next, other than acknowledgements.
func (s *stream) hear(ctx context.Context) ([]string, error) {
	select {
	case args := <-s.said:
		return args, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// planRanges takes a snapshot, and a tail behind it.
func planRanges(ctx context.Context, opt Options) (*plan, error) {
	for try := 1; ; try++ {
		snap, err := opt.Snapshot(ctx)
		if err != nil {
			return nil, fmt.Errorf("snapshot: %w", err)
		}
		pos, m := snap.Position(), snap.Mark()
		tail, err := opt.Log.Tail(pos, m.Digest)
		if err == nil {
			return &plan{epoch: pos.Epoch, start: m, snap: snap, tail: tail}, nil
		}
		if !errors.Is(err, aof.ErrGone) || try == baseTries {
			return nil, fmt.Errorf("tail behind the snapshot at offset %d: %w", pos.Offset, err)
		}
	}
}
