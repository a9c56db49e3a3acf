package verify

import (
	"context"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// groupObjects is how many suspects are looked at again at once.
	groupObjects = 512
	// groupBytes is about how large those may be together.
	groupBytes = 8 << 20
	// patience is how many times the usual number of looks something may take that
	// changes each time.
	patience = 6
)

// suspects waits with what differs for another look.
type suspects struct {
	open   group     // still growing
	stages [][]group // one behind each pause, in the order of due
	count  int
	seed   maphash.Seed
}

// group are suspects of one collection.
type group struct {
	key  string
	list []*suspect
	due  time.Time

	bytes int
}

// suspect is an object that differed when it was last looked at.
type suspect struct {
	id         string
	looks      int
	want, have shape
	steady     [kinds]uint8 // for how many looks it differed so, without a change
}

// shape is what is kept of an object between two looks.
type shape struct {
	there, text   bool
	value, fields uint64
	expires       int64
}

func (s *suspects) shape(o *Object) shape {
	if o == nil {
		return shape{}
	}
	var h maphash.Hash
	h.SetSeed(s.seed)
	for _, f := range o.Fields {
		_, _ = h.WriteString(f.Name)
		_ = h.WriteByte(0)
		_, _ = h.WriteString(f.Value)
		_ = h.WriteByte(0)
	}
	return shape{true, o.Text, maphash.String(s.seed, o.Value), h.Sum64(), o.Expires}
}

// changed says in which kinds an object has changed between two looks.
func (a shape) changed(b shape, tolerance time.Duration) Why {
	var w Why
	if a.there != b.there {
		return 1<<kinds - 1
	}
	if a.text != b.text {
		w |= Kind
	}
	if a.value != b.value {
		w |= Value
	}
	if a.fields != b.fields {
		w |= Fields
	}
	if !sameTime(a.expires, b.expires, tolerance) {
		w |= Expiry
	}
	return w
}

// suspect keeps what differs for another look, and takes those looks that are due.
func (c *comparison) suspect(ctx context.Context, key string, want, have *Object) error {
	s := &c.suspects
	if s.stages == nil {
		s.stages, s.seed = make([][]group, len(c.o.Pauses)), maphash.MakeSeed()
	}
	if s.open.key != key {
		c.close()
	}
	id := want
	if id == nil {
		id = have
	}
	s.open.key = key
	s.open.list = append(s.open.list, &suspect{id: strings.Clone(id.ID), want: s.shape(want), have: s.shape(have)})
	for _, o := range []*Object{want, have} {
		if o != nil {
			s.open.bytes += len(o.Value)
		}
	}
	s.count++
	c.sum.Again++
	if len(s.open.list) < min(groupObjects, c.o.Suspects) && s.open.bytes < groupBytes {
		return nil
	}
	c.close()
	return c.settle(ctx, c.o.Suspects)
}

// close queues the group that grows.
func (c *comparison) close() {
	s := &c.suspects
	if len(s.open.list) > 0 {
		s.open.due = time.Now().Add(c.o.Pauses[0])
		s.stages[0] = append(s.stages[0], s.open)
	}
	s.open = group{}
}

// settle takes the looks that are due, and waits for others until there are no
// more than most suspects.
func (c *comparison) settle(ctx context.Context, most int) error {
	s := &c.suspects
	if s.count == 0 {
		return nil
	}
	if most == 0 {
		c.close()
	}
	for s.count > 0 {
		stage := s.first()
		if stage < 0 {
			return nil // all are in the open group
		}
		g := s.stages[stage][0]
		if pause := time.Until(g.due); pause > 0 {
			if s.count < most {
				return nil
			}
			if err := wait(ctx, pause); err != nil {
				return err
			}
		}
		s.stages[stage] = s.stages[stage][1:]
		if err := c.again(ctx, g, stage); err != nil {
			return err
		}
	}
	return nil
}

// first returns the stage whose first group is due first, or -1.
func (s *suspects) first() int {
	at := -1
	for i, st := range s.stages {
		if len(st) > 0 && (at < 0 || st[0].due.Before(s.stages[at][0].due)) {
			at = i
		}
	}
	return at
}

// again looks at a group again and puts what is not decided into the next stage.
func (c *comparison) again(ctx context.Context, g group, stage int) error {
	s := &c.suspects
	want, have, err := c.look(ctx, g, slices.ContainsFunc(g.list, c.last))
	if err != nil {
		return err
	}
	next := min(stage+1, len(s.stages)-1)
	left := group{key: g.key, due: time.Now().Add(c.o.Pauses[next])}
	for i, one := range g.list {
		why, undecided := c.judge(one, want[i], have[i])
		if undecided {
			left.list = append(left.list, one)
			continue
		}
		s.count--
		if why == 0 {
			continue
		}
		if err := c.report(Difference{Key: g.key, ID: one.id, Why: why, Want: want[i], Have: have[i]}); err != nil {
			return err
		}
	}
	if len(left.list) > 0 {
		s.stages[next] = append(s.stages[next], left)
	}
	return nil
}

// judge decides about a suspect: it is equal (0), differs (why), or is to be
// looked at again.
func (c *comparison) judge(s *suspect, want, have *Object) (why Why, undecided bool) {
	now := compareObjects(want, have, c.o.Tolerance)
	if now == 0 {
		return 0, false
	}
	w, h := c.suspects.shape(want), c.suspects.shape(have)
	steady := now &^ (s.want.changed(w, c.o.Tolerance) | s.have.changed(h, c.o.Tolerance))
	s.want, s.have = w, h
	s.looks++
	for i := range s.steady {
		if steady&(1<<i) == 0 {
			s.steady[i] = 0
			continue
		}
		if s.steady[i]++; int(s.steady[i]) >= len(c.o.Pauses) {
			why |= 1 << i
		}
	}
	if why == 0 && s.looks >= patience*len(c.o.Pauses) {
		c.sum.Unsettled++
		return 0, false
	}
	return why, why == 0
}

// last says whether the next look at a suspect may be the last.
func (c *comparison) last(s *suspect) bool {
	return int(slices.Max(s.steady[:])) >= len(c.o.Pauses)-1
}

// look looks at both sides of a group: at once; or, before anything is reported, at one
// when it has what was there when the other was looked at.
func (c *comparison) look(ctx context.Context, g group, last bool) (want, have []*Object, err error) {
	ids := make([]string, len(g.list))
	for i := range g.list {
		ids[i] = g.list[i].id
	}
	if last && c.o.Level != nil {
		if want, err = c.want.Look(ctx, g.key, ids); err != nil {
			return nil, nil, err
		}
		if err := c.o.Level(ctx); err != nil {
			return nil, nil, err
		}
		have, err = c.have.Look(ctx, g.key, ids)
		return want, have, err
	}
	var wg sync.WaitGroup
	var haveErr error
	wg.Go(func() { have, haveErr = c.have.Look(ctx, g.key, ids) })
	want, err = c.want.Look(ctx, g.key, ids)
	wg.Wait()
	if err == nil {
		err = haveErr
	}
	return want, have, err
}
