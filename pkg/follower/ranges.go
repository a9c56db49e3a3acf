package follower

import (
	"context"
	"fmt"
	"strconv"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/replication"
	"evenkeel/pkg/resp"
)

// Ranges is a Store that can be brought level with a leader's state where it
// stands.
type Ranges interface {
	// Objects is how many there are, hooks and channels included.
	Objects() int64
	// BeginResync begins to let the state become the one that a leader has at m of
	// the history h. What our log has behind the offset lost, if that is not negative, is put
	// aside first.
	BeginResync(ctx context.Context, h aof.History, m aof.Mark, lost int64) (Resync, error)
}

// Resync is a range resync under way. Ranges come in order, each is compared
// before one behind it is replaced.
type Resync interface {
	// Compare reports whether what we have in r is something else, and removes the
	// collections that the leader does not have before r.
	Compare(r replication.Range) (differs bool, err error)
	// Pick returns which of the leader's objects in r we do not have; hashes are
	// the lower halves of their digests.
	Pick(r replication.Range, hashes []uint64) replication.Bits
	// Replace lets r have the leader's objects: of ours stay those with these
	// hashes, and items, commands that make objects, come. It returns how many came or went.
	Replace(r replication.Range, hashes []uint64, items [][]string) (changed int, err error)
	// Finish verifies the state and puts it in the place of the log.
	Finish(ctx context.Context) error
	// Close ends the resync. Without Finish the state is neither the old one nor the new
	// one; the store knows, and has no position until another resync is through.
	Close()
}

// maxRangeTries is how many range resyncs in a row may fail, other than by a cut,
// before the whole state is asked for: what fails each time must not be tried for ever.
const maxRangeTries = 3

// window is what the leader has named and we have not replaced yet.
type window struct {
	ranges []replication.Range
	last   *replication.Range // of all windows; nil: none yet
	hashes map[int][]uint64   // of ranges that differ
	differ []int
	items  [][]string // of the range that is being sent
}

// takeRanges brings the store level with the leader's snapshot.
func (f *Follower) takeRanges(ctx context.Context, l *link, a replication.Answer) error {
	f.emit(ctx, Event{Kind: EventRanges, Objects: a.Size})
	r, err := f.opt.Ranges.BeginResync(ctx, a.History(), a.Start, f.lost(a))
	if err != nil {
		return err
	}
	defer r.Close()
	changed, err := f.exchange(ctx, l, r)
	if err != nil {
		// A cut says nothing about the ranges, and the next attempt goes on where this one was.
		if ctx.Err() == nil && !l.cut.Load() {
			f.rangesFailed++
			f.noRanges = f.rangesFailed >= maxRangeTries
		}
		return err
	}
	if err := r.Finish(ctx); err != nil {
		// What was compared is equal, and yet the whole is not: nothing but the whole helps.
		f.noRanges = true
		return err
	}
	f.needFull, f.rangesFailed = false, 0
	f.progress(func(p *replication.Progress) { p.Installed(a.Epoch, a.Start) })
	f.emit(ctx, Event{Kind: EventRangesDone, Objects: changed})
	return l.write(replication.AppendMessage(nil, replication.MsgResynced))
}

// lost is the offset behind which our log has what the leader's has not, below 0 if there
// is no such thing. It goes by the log, also in the middle of a resync: another leader had more of it,
// perhaps. The answer tells of the leader's log up to where we are to begin: what we
// both have behind a base counts as lost.
func (f *Follower) lost(a replication.Answer) int64 {
	at, parted := f.opt.Store.PartedFrom(aof.Position{Epoch: a.Epoch, Offset: a.Start.Offset}, a.Forks)
	if !parted {
		return -1
	}
	return at
}

// exchange carries the resync out, up to the leader's END.
func (f *Follower) exchange(ctx context.Context, l *link, r Resync) (changed int64, err error) {
	// Nothing follows END before we answer, so the reader takes nothing of the log.
	msgs := resp.NewReader(l.r, resp.Limits{
		MaxArgs: 1 << 20, MaxBulk: int64(f.opt.MaxBatch), MaxInline: 1 << 10, MaxCommand: int64(f.opt.MaxBatch),
	})
	w := &window{hashes: map[int][]uint64{}}
	for {
		cmd, err := msgs.Next()
		if err != nil {
			return changed, err
		}
		if cmd.Args[0] == replication.MsgEnd {
			return changed, w.close()
		}
		n, err := f.message(l, r, w, cmd.Args)
		if err != nil {
			return changed, err
		}
		changed += int64(n)
		if err := ctx.Err(); err != nil {
			return changed, context.Cause(ctx)
		}
	}
}

// message carries one message of the leader out.
func (f *Follower) message(l *link, r Resync, w *window, args []string) (changed int, err error) {
	switch args[0] {
	case replication.MsgRange, replication.MsgHooks:
		return 0, f.named(r, w, args)
	case replication.MsgAsk:
		return 0, l.write(w.answer(r))
	case replication.MsgHashes:
		return 0, w.take(args)
	case replication.MsgItem:
		w.items = append(w.items, append([]string(nil), args[1:]...))
		return 0, nil
	case replication.MsgDone:
		changed, err = w.replace(r, args)
		f.progress(func(p *replication.Progress) { p.Replaced(int64(changed)) })
		return changed, err
	}
	return 0, fmt.Errorf("%w: %.32q during a range resync", replication.ErrProtocol, args[0])
}

// named takes a range of a new window.
func (f *Follower) named(r Resync, w *window, args []string) error {
	if len(w.hashes) > 0 {
		return fmt.Errorf("%w: another range before the window is done", replication.ErrProtocol)
	}
	rng, err := replication.ParseRange(args, w.last)
	if err != nil {
		return err
	}
	if len(w.ranges) == replication.WindowRanges {
		return fmt.Errorf("%w: a window of more than %d ranges", replication.ErrProtocol, replication.WindowRanges)
	}
	differs, err := r.Compare(rng)
	if err != nil {
		return err
	}
	if differs {
		w.differ = append(w.differ, len(w.ranges))
	}
	w.ranges = append(w.ranges, rng)
	w.last = &w.ranges[len(w.ranges)-1]
	f.progress(func(p *replication.Progress) { p.Resynced(int64(rng.Count)) })
	return nil
}

// answer says which ranges of the window differ, and when their hashes have
// come, which objects.
func (w *window) answer(r Resync) []byte {
	if len(w.differ) == 0 {
		w.ranges = nil
		return replication.AppendMessage(nil, replication.MsgWant)
	}
	if len(w.hashes) == 0 {
		words := []string{replication.MsgWant}
		for _, i := range w.differ {
			words = append(words, strconv.Itoa(i))
		}
		return replication.AppendMessage(nil, words...)
	}
	var b []byte
	for _, i := range w.differ {
		b = r.Pick(w.ranges[i], w.hashes[i]).Append(b, i)
	}
	return replication.AppendMessage(b, replication.MsgAsk)
}

// take takes the hashes of a range that differs.
func (w *window) take(args []string) error {
	i, err := w.index(args, 3)
	if err != nil {
		return err
	}
	w.hashes[i], err = replication.ParseHashes(args[2], w.ranges[i].Count)
	return err
}

// replace carries out what came for a range.
func (w *window) replace(r Resync, args []string) (int, error) {
	i, err := w.index(args, 2)
	if err != nil {
		return 0, err
	}
	hashes, ok := w.hashes[i]
	if !ok {
		return 0, fmt.Errorf("%w: objects of range %d, which was not asked for", replication.ErrProtocol, i)
	}
	n, err := r.Replace(w.ranges[i], hashes, w.items)
	if err != nil {
		return n, err
	}
	w.items = nil
	if delete(w.hashes, i); len(w.hashes) == 0 {
		w.ranges, w.differ = nil, nil
	}
	return n, nil
}

func (w *window) index(args []string, words int) (int, error) {
	if len(args) != words {
		return 0, fmt.Errorf("%w: %.32q of %d words", replication.ErrProtocol, args[0], len(args))
	}
	return replication.ParseIndex(args[1], len(w.ranges))
}

// close says whether the leader may end here.
func (w *window) close() error {
	if len(w.hashes) > 0 || w.last == nil || !w.last.Hooks || !w.last.End {
		return fmt.Errorf("%w: the ranges end too early", replication.ErrProtocol)
	}
	return nil
}
