package store

import (
	"context"
	"errors"
	"fmt"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/replication"
)

// ErrHalfway says that the state is between two histories: a range resync has
// begun and is not through. The log on disk still is what it was.
var ErrHalfway = errors.New("a resync has begun and is not through")

// removeAtOnce is how many objects a resync takes away under one lock.
const removeAtOnce = 500

// Resync lets the state become that of a leader, range by range, in memory:
// reads go on, nobody else writes. What is equal is not touched. The log follows at the
// end, as a new base at the leader's position; until then it holds the old
// state, so a crash on the way has changed nothing.
type Resync struct {
	s       *Store
	history aof.History
	mark    aof.Mark
	h       collection.Hasher
	prepare func(words [][]byte) (*collection.Change, error)
	next    string // collections from this name on have not been looked at
	closed  bool
}

// Objects returns how many objects, hooks and channels there are.
func (s *Store) Objects() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return objectsOf(s.eng.State())
}

// BeginResync begins to let the state become the one that a leader has at m of
// the history h. What the log has behind the offset lost, if that is not negative, is put aside
// first: the leader does not have it. Close must be called.
func (s *Store) BeginResync(ctx context.Context, h aof.History, m aof.Mark, lost int64) (*Resync, error) {
	s.files.Lock() // a compaction would write what is no state at all
	more, err := s.keepLost(ctx, lost)
	if err != nil {
		s.files.Unlock()
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.halfway = true
	if more {
		s.parted = &lost
	}
	return &Resync{s: s, history: h, mark: m, prepare: s.preparer(m.Time)}, nil
}

// keepLost puts aside what the log has behind the offset from, unless that is negative, or
// a resync that is under way has done so.
func (s *Store) keepLost(ctx context.Context, from int64) (kept bool, err error) {
	s.mu.RLock()
	done := s.parted != nil && *s.parted <= from
	s.mu.RUnlock()
	if from < 0 || done {
		return false, nil
	}
	lost, err := s.log.KeepLost(ctx, from)
	switch {
	case errors.Is(err, aof.ErrGone):
		s.opt.Logger.Error("a part of what the leader does not have cannot be kept: the log was compacted since",
			"file", lost.Path, "commands", lost.Commands, "error", err)
	case err != nil:
		return false, err
	default:
		s.opt.Logger.Warn("the leader does not have the end of the log here: it is given up, and kept in a file",
			"file", lost.Path, "commands", lost.Commands, "from_offset", lost.From, "to_offset", lost.To)
	}
	return true, nil
}

// Compare reports whether what is here in r differs. Collections before r that
// the leader does not have go.
func (r *Resync) Compare(rng replication.Range) (differs bool, err error) {
	if rng.First {
		for r.dropBefore(rng) {
			continue
		}
		r.next = rng.Key + "\x00"
	}
	var sum collection.Digest
	n := 0
	r.each(rng, func(m member) bool {
		n++
		sum = sum.Add(m.digest(&r.h))
		return n <= rng.Count
	})
	return n != rng.Count || aof.Digest(sum) != rng.Digest, nil
}

// lookAtOnce is how many objects a resync looks at under one lock.
const lookAtOnce = 1000

// each visits what is here in rng. Nobody else changes the state, so it may be
// done in parts.
func (r *Resync) each(rng replication.Range, visit func(m member) bool) {
	for more := true; more; {
		more = r.eachSome(&rng, visit)
	}
}

// eachSome visits the first of rng, and lets rng begin behind them.
func (r *Resync) eachSome(rng *replication.Range, visit func(m member) bool) (more bool) {
	s := r.s
	s.mu.RLock()
	defer s.mu.RUnlock()
	n, last := 0, ""
	members(s.eng.State(), rng, func(m member) bool {
		n, last = n+1, m.id
		more = visit(m)
		return more && n < lookAtOnce
	})
	rng.First, rng.After = false, last
	return more && n == lookAtOnce
}

// dropBefore drops one collection that the leader does not have.
func (r *Resync) dropBefore(rng replication.Range) (dropped bool) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	var name string
	s.eng.State().Scan(r.next, func(c *collection.Collection) bool {
		if dropped = rng.Hooks || c.Name() < rng.Key; dropped {
			name = c.Name()
		}
		return false
	})
	if dropped {
		var ch collection.Change
		ch.Drop(name)
		r.apply("drop", &ch)
	}
	return dropped
}

// apply carries a change out. The lock is held.
func (r *Resync) apply(name string, ch *collection.Change) {
	r.s.eng.Apply(ch)
	r.s.tellReplica(name, r.mark.Time, ch)
}

// Pick returns which of the leader's objects in rng are not here.
func (r *Resync) Pick(rng replication.Range, hashes []uint64) replication.Bits {
	place := make(map[uint64]int, len(hashes))
	bits := replication.NewBits(len(hashes))
	for i, h := range hashes {
		place[h] = i
		bits.Set(i)
	}
	r.each(rng, func(m member) bool {
		if i, ok := place[m.digest(&r.h).Lo]; ok {
			bits[i/8] &^= 1 << (i % 8)
		}
		return true
	})
	return bits
}

// Replace lets rng have the objects that the hashes name: items come, and what
// is not among them goes, under one lock unless it is very much.
func (r *Resync) Replace(rng replication.Range, hashes []uint64, items [][]string) (changed int, err error) {
	puts, err := r.read(rng, items)
	if err != nil {
		return 0, err
	}
	keep := make(map[uint64]bool, len(hashes))
	for _, h := range hashes {
		keep[h] = true
	}
	for {
		n, more, err := r.replaceSome(rng, keep, puts)
		changed += n
		if err != nil || !more {
			return changed, err
		}
	}
}

// put is an object that comes.
type put struct {
	id   string
	item *collection.Item
	args []string // of a hook
}

// read makes objects of commands, without the lock: some are large.
func (r *Resync) read(rng replication.Range, items [][]string) ([]put, error) {
	puts := make([]put, 0, len(items))
	var words [][]byte
	for _, args := range items {
		if rng.Hooks {
			if len(args) < 2 || !rng.Has(args[1]) {
				return nil, fmt.Errorf("%w: %.128q is no hook of the range", replication.ErrProtocol, args)
			}
			puts = append(puts, put{id: args[1], args: args})
			continue
		}
		words = words[:0]
		for _, a := range args {
			words = append(words, []byte(a))
		}
		ch, err := r.prepare(words)
		if err != nil {
			return nil, err
		}
		if ch == nil || len(ch.Ops()) != 1 || ch.Ops()[0].Kind != collection.OpPut || ch.Ops()[0].Key != rng.Key ||
			!rng.Has(ch.Ops()[0].New.ID()) {
			return nil, fmt.Errorf("%w: %.128q makes no object of the range", replication.ErrProtocol, args)
		}
		it := ch.Ops()[0].New
		puts = append(puts, put{id: it.ID(), item: it})
	}
	return puts, nil
}

// replaceSome takes some of what must go away, and when that is all, brings what
// comes.
func (r *Resync) replaceSome(rng replication.Range, keep map[uint64]bool, puts []put) (n int, more bool, err error) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	comes := make(map[string]bool, len(puts))
	for _, p := range puts {
		comes[p.id] = true
	}
	var gone []member
	members(s.eng.State(), &rng, func(m member) bool {
		if !keep[m.digest(&r.h).Lo] && !comes[m.id] {
			gone = append(gone, m)
		}
		return len(gone) < removeAtOnce
	})
	for _, m := range gone {
		r.remove(rng, m)
	}
	if len(gone) == removeAtOnce {
		return len(gone), true, nil
	}
	for _, p := range puts {
		if err := r.bring(rng, p); err != nil {
			return len(gone), false, err
		}
	}
	return len(gone) + len(puts), false, nil
}

func (r *Resync) remove(rng replication.Range, m member) {
	var ch collection.Change
	switch {
	case m.hook == nil:
		ch.Remove(rng.Key, m.item)
		r.apply("del", &ch)
	case m.hook.Channel:
		ch.RemoveHook(m.hook)
		r.apply("delchan", &ch)
	default:
		ch.RemoveHook(m.hook)
		r.apply("delhook", &ch)
	}
}

// bring puts an object in its place, whatever was there.
func (r *Resync) bring(rng replication.Range, p put) error {
	if p.args == nil {
		var ch collection.Change
		old, _ := r.s.eng.State().Get(rng.Key, p.id)
		ch.Put(rng.Key, p.item, old)
		r.apply("set", &ch)
		return nil
	}
	req := command.Request{Args: p.args, Name: lower(p.args[0]), Now: r.mark.Time}
	if hk := r.s.eng.State().Hook(p.id); hk != nil && hk.Channel != (req.Name == "setchan") {
		r.remove(rng, member{id: p.id, hook: hk}) // a hook does not take the place of a channel
	}
	spec := r.s.eng.LookupLogged(req.Name)
	if spec == nil || spec.Write == nil {
		return fmt.Errorf("%w: %q", errReplay, p.args[0])
	}
	var out reply.Reply
	ch, err := r.s.eng.Prepare(spec, &req, &out)
	if err != nil {
		return fmt.Errorf("%.128q: %w", p.args, err)
	}
	if ch != nil {
		r.apply(req.Name, ch)
	}
	return nil
}

// Finish compares the state with the leader's and lets the log rest on it. Reads
// go on.
func (r *Resync) Finish(ctx context.Context) error {
	s := r.s
	s.mu.Lock()
	snap := s.eng.State().Snapshot()
	s.mu.Unlock()
	if got := aof.Digest(snap.Digest()); got != r.mark.Digest {
		return fmt.Errorf("resync to offset %d: %w: %s here, %s there", r.mark.Offset, ErrDigest, got, r.mark.Digest)
	}
	return s.rebase(ctx, r.history, r.mark, snap)
}

// rebase lets the log begin anew with snap, the state of now, at m of the history h.
// Nobody writes meanwhile, and the files' lock is held.
func (s *Store) rebase(ctx context.Context, h aof.History, m aof.Mark, snap *collection.State) error {
	base, err := s.log.CreateHistory(h, m)
	if err != nil {
		return fmt.Errorf("resync: %w", err)
	}
	pace := s.newPacer()
	pace.least = resyncPercent
	if _, err = s.writeItems(ctx, base, snap, m.Time, pace); err == nil {
		err = s.verifyBase(ctx, base, m, pace)
	}
	if err != nil {
		return fmt.Errorf("resync: base at offset %d: %w", m.Offset, errors.Join(err, base.Abort()))
	}
	if _, err := base.Install(ctx); err != nil {
		return fmt.Errorf("resync: %w", err)
	}
	defer s.moved.tell()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.halfway, s.parted = false, nil
	s.next = s.eng.State().NextDeadline()
	return nil
}

// Close ends the resync. Without Finish the store has no position any more.
func (r *Resync) Close() {
	if r.closed {
		return
	}
	r.closed = true
	r.s.files.Unlock()
}
