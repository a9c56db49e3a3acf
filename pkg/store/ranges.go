package store

import (
	"context"
	"fmt"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/dump"
	"evenkeel/pkg/replication"
)

const (
	// rangeObjects is how many objects a range of a resync has. A range that
	// differs costs 8 bytes an object to find out which of them do, and one that does
	// not 60 bytes in all; 128 makes both small for few differences.
	rangeObjects = 128
	// rangeBytes ends a range early: it is replaced under one lock.
	rangeBytes = 256 << 10
)

// member is an object of a collection, or a hook or channel.
type member struct {
	id   string
	item *collection.Item
	hook *collection.Hook
}

func (m *member) digest(h *collection.Hasher) collection.Digest {
	if m.hook != nil {
		return h.Hook(m.hook)
	}
	return h.Item(m.item)
}

func (m *member) weight() int {
	if m.hook != nil {
		return 1024
	}
	return m.item.Weight()
}

// members visits what a state has in a range, in order.
func members(st *collection.State, r *replication.Range, visit func(m member) bool) {
	pivot := ""
	if !r.First {
		pivot = r.After + "\x00" // the next text
	}
	if r.Hooks {
		st.ScanHooksFrom(pivot, func(hk *collection.Hook) bool {
			return (r.End || hk.Name <= r.Last) && visit(member{id: hk.Name, hook: hk})
		})
		return
	}
	if c := st.Collection(r.Key); c != nil {
		c.Scan(pivot, false, func(it *collection.Item) bool {
			return (r.End || it.ID() <= r.Last) && visit(member{id: it.ID(), item: it})
		})
	}
}

// RangeSource is a snapshot for a follower that takes what differs from its own
// state. It is leader.Snapshot.
type RangeSource struct {
	st   *collection.State
	pos  aof.Position
	mark aof.Mark
	pace *pacer
	h    collection.Hasher
	w    dump.Writer
	last *replication.Range // that Next has returned
}

// RangeSnapshot returns the state of now and its place in the log, which is
// written up to there when it returns.
func (s *Store) RangeSnapshot(ctx context.Context) (*RangeSource, error) {
	snap, mark := s.seal()
	if err := s.log.Commit(ctx, mark.Offset); err != nil {
		return nil, fmt.Errorf("snapshot at offset %d: %w", mark.Offset, err)
	}
	pos := aof.Position{Epoch: s.log.Position().Epoch, Offset: mark.Offset}
	return &RangeSource{st: snap, pos: pos, mark: mark, pace: s.newPacer()}, nil
}

// Position returns where the state stands in the log.
func (p *RangeSource) Position() aof.Position { return p.pos }

// Mark returns the same with digest and time.
func (p *RangeSource) Mark() aof.Mark { return p.mark }

// Objects returns how many objects, hooks and channels there are.
func (p *RangeSource) Objects() int64 { return objectsOf(p.st) }

func objectsOf(st *collection.State) int64 {
	hooks, channels := st.CountHooks()
	return int64(st.Totals().Items + hooks + channels)
}

// Next returns the next range.
func (p *RangeSource) Next(ctx context.Context) (r replication.Range, ok bool, err error) {
	switch last := p.last; {
	case last != nil && !last.End:
		r = replication.Range{Key: last.Key, Hooks: last.Hooks, After: last.Last}
	case last != nil && last.Hooks:
		return r, false, nil
	default:
		r = p.begin()
	}
	var sum collection.Digest
	weight := 0
	r.End = true
	members(p.st, &r, func(m member) bool {
		if r.Count == rangeObjects || weight > rangeBytes {
			r.End = false
			return false
		}
		r.Count++
		r.Last = m.id
		weight += m.weight()
		sum = sum.Add(m.digest(&p.h))
		err = p.pace.step(ctx)
		return err == nil
	})
	if r.End {
		r.Last = ""
	}
	r.Digest = aof.Digest(sum)
	p.last = &r
	return r, err == nil, err
}

// begin returns the start of the next collection, or of the hooks.
func (p *RangeSource) begin() replication.Range {
	pivot := ""
	if p.last != nil {
		pivot = p.last.Key + "\x00"
	}
	r := replication.Range{First: true, Hooks: true}
	p.st.Scan(pivot, func(c *collection.Collection) bool {
		r.Key, r.Hooks = c.Name(), false
		return false
	})
	return r
}

// Hashes returns the lower halves of the digests of a range's objects.
func (p *RangeSource) Hashes(r replication.Range) []uint64 {
	hashes := make([]uint64, 0, r.Count)
	members(p.st, &r, func(m member) bool {
		hashes = append(hashes, m.digest(&p.h).Lo)
		return true
	})
	return hashes
}

// Items visits the commands that make the objects of a range that are in pick.
func (p *RangeSource) Items(
	ctx context.Context, r replication.Range, pick replication.Bits, visit func(args []string) error,
) (err error) {
	i := -1
	members(p.st, &r, func(m member) bool {
		if i++; !pick.Has(i) {
			return true
		}
		if err = p.pace.step(ctx); err != nil {
			return false
		}
		if m.hook != nil {
			err = visit(p.w.Hook(m.hook, p.mark.Time))
		} else {
			err = visit(p.w.Item(r.Key, m.item, p.mark.Time))
		}
		return err == nil
	})
	return err
}
