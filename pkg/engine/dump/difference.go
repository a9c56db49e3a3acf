package dump

import (
	"slices"

	"evenkeel/pkg/engine/collection"
)

// Diff says how Difference compares.
type Diff struct {
	// Now is the time at which the next commands will be carried out, in Unix
	// milliseconds. It is asked for each command with a time to live.
	Now func() int64
	// Tolerance is by how many milliseconds two deadlines may differ and still be
	// the same. What wants a deadline may have learned it from seconds that count
	// from an unknown moment; see keeps.
	Tolerance int64
	// Merge leaves alone what only have holds, instead of deleting it.
	Merge bool
}

// keeps says whether the deadline that is there may stay where another is wanted.
// A log that says "in 100 seconds" and not since when gives a deadline that is
// never too early: so what is there and is earlier, but not over, was learned
// when the command was new, and is the better one.
func (d *Diff) keeps(have, want int64) bool {
	switch {
	case have == want:
		return true
	case have == 0 || want == 0:
		return false
	case have <= want:
		return want-have <= d.Tolerance || have > d.Now()
	}
	return have-want <= d.Tolerance
}

// Difference visits the commands that make have equal to want, until visit
// returns an error, which it returns: per collection of want, in the order of
// their names, SET of what differs or is missing and DEL of what is too much;
// DROP of collections that want does not have; then hooks and channels. Items
// that are equal but for a deadline that may stay are passed over.
//
// The words are reused: visit must not keep the slice. Both states must stay as
// they are meanwhile.
func Difference(have, want *collection.State, d Diff, visit func(args []string) error) error {
	w := differ{have: have, want: want, d: d, visit: visit}
	if !d.Merge {
		have.Scan("", func(c *collection.Collection) bool {
			return want.Collection(c.Name()) != nil || w.send("drop", c.Name())
		})
	}
	want.Scan("", func(c *collection.Collection) bool { return w.err == nil && w.collection(c) })
	if w.err == nil {
		w.hooks()
	}
	return w.err
}

type differ struct {
	have, want *collection.State
	d          Diff
	visit      func(args []string) error
	out        writer
	err        error
}

// send visits a command; false is the end.
func (w *differ) send(args ...string) bool {
	w.err = w.visit(args)
	return w.err == nil
}

// collection brings one collection to what is wanted.
func (w *differ) collection(want *collection.Collection) bool {
	have := w.have.Collection(want.Name())
	common := 0
	want.Scan("", false, func(it *collection.Item) bool {
		var old *collection.Item
		if have != nil {
			old = have.Get(it.ID())
		}
		if old != nil {
			common++
			if it == old || w.d.keeps(old.Deadline(), it.Deadline()) && it.Same(old) {
				return true
			}
		}
		return w.send(w.out.item(want.Name(), it, old, w.now(it.Deadline())).args()...)
	})
	if w.err != nil || have == nil || w.d.Merge || common == have.Len() {
		return w.err == nil
	}
	have.Scan("", false, func(it *collection.Item) bool {
		return want.Get(it.ID()) != nil || w.send("del", want.Name(), it.ID())
	})
	return w.err == nil
}

// now asks for the time when there is a deadline.
func (w *differ) now(deadline int64) int64 {
	if deadline == 0 {
		return 0
	}
	return w.d.Now()
}

// hooks brings hooks and channels to what is wanted. They come last: an area may
// be that of an object.
func (w *differ) hooks() {
	w.have.ScanHooks(func(hk *collection.Hook) bool {
		other := w.want.Hook(hk.Name)
		if other != nil && other.Channel == hk.Channel || other == nil && w.d.Merge {
			return true
		}
		if hk.Channel {
			return w.send("delchan", hk.Name)
		}
		return w.send("delhook", hk.Name)
	})
	if w.err != nil {
		return
	}
	w.want.ScanHooks(func(hk *collection.Hook) bool {
		old := w.have.Hook(hk.Name)
		if old != nil && sameHook(old, hk) && w.d.keeps(old.Deadline, hk.Deadline) {
			return true
		}
		return w.send(w.out.hook(hk, w.now(hk.Deadline)).args()...)
	})
}

func sameHook(a, b *collection.Hook) bool {
	return a.Channel == b.Channel && slices.Equal(a.Endpoints, b.Endpoints) &&
		slices.Equal(a.Meta, b.Meta) && slices.Equal(a.Command, b.Command)
}
