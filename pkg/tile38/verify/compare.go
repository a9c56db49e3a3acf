package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"evenkeel/pkg/engine/glob"
)

// Options say what is compared, and how.
type Options struct {
	// Keys are patterns of the names of collections. Default: all.
	Keys []string
	// Exclude are names of collections that are left out.
	Exclude []string
	// NoHooks leaves hooks and channels out. With Keys, hooks are compared whose
	// collection is.
	NoHooks bool
	// Tolerance is by how much two times of ending may differ. Default 2 s.
	Tolerance time.Duration
	// Pauses are those before each further look at what differs. One that is behind
	// by less than all of them together makes no differences. Default 100 ms,
	// 400 ms, 1.5 s.
	Pauses []time.Duration
	// Level waits until what the first source has now has come to the second, as far as
	// that can be known. It is called before the last look at what differs. Default: it
	// is not known, and pauses are all.
	Level func(ctx context.Context) error
	// Suspects is how many objects may wait for another look. Default 20,000.
	Suspects int
	// Progress is told now and then how many objects have been compared.
	Progress func(objects int64)
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.Tolerance == 0 {
		o.Tolerance = 2 * time.Second
	}
	if len(o.Pauses) == 0 {
		o.Pauses = []time.Duration{100 * time.Millisecond, 400 * time.Millisecond, 1500 * time.Millisecond}
	}
	if o.Suspects == 0 {
		o.Suspects = 20000
	}
	if o.Progress == nil {
		o.Progress = func(int64) {}
	}
}

// Validate lists all that is wrong.
func (o *Options) Validate() error {
	var errs []error
	if o.Tolerance < 0 {
		errs = append(errs, fmt.Errorf("option Tolerance is %s: want 0 or more", o.Tolerance))
	}
	for _, p := range o.Pauses {
		if p < 0 {
			errs = append(errs, fmt.Errorf("a pause is %s: want 0 or more", p))
		}
	}
	if o.Suspects < 1 {
		errs = append(errs, fmt.Errorf("option Suspects is %d: want 1 or more", o.Suspects))
	}
	return errors.Join(errs...)
}

// Summary is what a comparison came to.
type Summary struct {
	Collections int   // of both sides together
	Objects     int64 // that were compared, of both sides together
	Hooks       int64 // and channels
	Differences int64
	Kinds       [kinds]int64 // of differences by kind, see Count; one may be of several
	Again       int64        // objects that were looked at again
	Unsettled   int64        // of them, those that changed too often to be compared
	Took        time.Duration
}

// Count returns how many differences are of one kind.
func (s *Summary) Count(w Why) int64 {
	for i := range s.Kinds {
		if w == 1<<i {
			return s.Kinds[i]
		}
	}
	return 0
}

// Equal says whether there is no difference.
func (s *Summary) Equal() bool { return s.Differences == 0 }

// Compare compares two sources and calls on for each difference, in about the
// order of collections and ids, hooks last, until it returns an error, which
// Compare returns. All calls are of the goroutine of the caller.
func Compare(ctx context.Context, want, have Source, o Options, on func(Difference) error) (Summary, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return Summary{}, err
	}
	begun := time.Now()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	c := &comparison{o: o, want: want, have: have, on: on}
	err := c.objects(ctx)
	if err == nil && !o.NoHooks {
		err = c.hooks(ctx)
	}
	c.sum.Took = time.Since(begun)
	return c.sum, err
}

type comparison struct {
	o          Options
	want, have Source
	on         func(Difference) error
	sum        Summary
	suspects   suspects
}

// report counts and tells a difference.
func (c *comparison) report(d Difference) error {
	c.sum.Differences++
	for i := range c.sum.Kinds {
		if d.Why&(1<<i) != 0 {
			c.sum.Kinds[i]++
		}
	}
	return c.on(d)
}

// wanted says whether a collection is to be compared.
func (c *comparison) wanted(key string) bool {
	if slices.Contains(c.o.Exclude, key) {
		return false
	}
	return len(c.o.Keys) == 0 || slices.ContainsFunc(c.o.Keys, func(p string) bool { return glob.Match(p, key) })
}

// collections returns the names of both sides.
func (c *comparison) collections(ctx context.Context) ([]string, error) {
	names, err := c.want.Collections(ctx)
	if err != nil {
		return nil, err
	}
	more, err := c.have.Collections(ctx)
	if err != nil {
		return nil, err
	}
	names = append(slices.Clone(names), more...)
	names = slices.DeleteFunc(names, func(key string) bool { return !c.wanted(key) })
	slices.Sort(names)
	return slices.Compact(names), nil
}

// objects compares all collections.
func (c *comparison) objects(ctx context.Context) error {
	names, err := c.collections(ctx)
	if err != nil {
		return err
	}
	c.sum.Collections = len(names)
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	want := stream(ctx, &wg, c.want, names)
	have := stream(ctx, &wg, c.have, names)
	for _, key := range names {
		if err := c.merge(ctx, key, want, have); err != nil {
			return err
		}
	}
	return c.settle(ctx, 0)
}

// merge compares one collection.
func (c *comparison) merge(ctx context.Context, key string, want, have *reader) error {
	w, err := want.next(ctx)
	if err != nil {
		return err
	}
	h, err := have.next(ctx)
	if err != nil {
		return err
	}
	for w != nil || h != nil {
		a, b := w, h
		switch {
		case a != nil && b != nil && a.ID < b.ID:
			b = nil
		case a != nil && b != nil && b.ID < a.ID:
			a = nil
		}
		if why := compareObjects(a, b, c.o.Tolerance); why != 0 {
			if err := c.suspect(ctx, key, a, b); err != nil {
				return err
			}
		}
		if c.sum.Objects++; c.sum.Objects%1024 == 0 {
			c.o.Progress(c.sum.Objects)
		}
		if a != nil {
			if w, err = want.next(ctx); err != nil {
				return err
			}
		}
		if b != nil {
			if h, err = have.next(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

const (
	// batchObjects and batchBytes are how much of a source is handed over at once.
	batchObjects = 512
	batchBytes   = 1 << 20
)

// batch is a part of a collection, in order.
type batch struct {
	objects []Object
	end     bool // of the collection
	err     error
}

// reader takes what a source delivers, collection after collection.
type reader struct {
	batches <-chan batch
	now     batch
}

// stream scans collections one after the other, some batches ahead of who reads.
func stream(ctx context.Context, wg *sync.WaitGroup, src Source, names []string) *reader {
	out := make(chan batch, 2)
	wg.Go(func() {
		for _, key := range names {
			if !deliver(ctx, src, key, out) {
				return
			}
		}
	})
	return &reader{batches: out}
}

// deliver scans one collection; false is the end.
func deliver(ctx context.Context, src Source, key string, out chan<- batch) bool {
	var b batch
	bytes := 0
	send := func() bool {
		select {
		case out <- b:
			b, bytes = batch{}, 0
			return true
		case <-ctx.Done():
			return false
		}
	}
	ok := true
	err := src.Scan(ctx, key, "", func(o Object) bool {
		b.objects = append(b.objects, o)
		bytes += len(o.Value) + len(o.ID)
		if len(b.objects) == batchObjects || bytes > batchBytes {
			ok = send()
		}
		return ok
	})
	if err != nil {
		err = fmt.Errorf("collection %q: %w", key, err)
	}
	b.end, b.err = true, err
	return ok && send() && err == nil
}

// next returns the next object of the collection, or nil at its end. It is valid
// as long as anybody keeps it.
func (r *reader) next(ctx context.Context) (*Object, error) {
	for len(r.now.objects) == 0 {
		if r.now.end {
			err := r.now.err
			r.now = batch{}
			return nil, err
		}
		select {
		case r.now = <-r.batches:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	o := &r.now.objects[0]
	r.now.objects = r.now.objects[1:]
	return o, nil
}

// hooks compares hooks and channels: what differs in each look, and does not
// change between them, is a difference.
func (c *comparison) hooks(ctx context.Context) error {
	var before map[string]Difference
	for look := range len(c.o.Pauses) + 1 {
		if look > 0 {
			if err := wait(ctx, c.o.Pauses[look-1]); err != nil {
				return err
			}
		}
		now, err := c.lookHooks(ctx, look == len(c.o.Pauses))
		if err != nil {
			return err
		}
		for name, d := range now {
			old, ok := before[name]
			if look > 0 && (!ok || compareHooks(old.WantHook, d.WantHook, c.o.Tolerance) != 0 ||
				compareHooks(old.HaveHook, d.HaveHook, c.o.Tolerance) != 0) {
				delete(now, name)
			}
		}
		if before = now; len(now) == 0 {
			return nil
		}
	}
	for _, name := range sortedNames(before) {
		if err := c.report(before[name]); err != nil {
			return err
		}
	}
	return nil
}

func sortedNames(m map[string]Difference) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare)
	return names
}

// lookHooks returns the hooks that differ, by name.
func (c *comparison) lookHooks(ctx context.Context, last bool) (map[string]Difference, error) {
	want, err := c.want.Hooks(ctx)
	if err == nil && last && c.o.Level != nil {
		err = c.o.Level(ctx)
	}
	if err != nil {
		return nil, err
	}
	have, err := c.have.Hooks(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]Difference{}
	for i := range want {
		if h := &want[i]; c.wanted(h.Key) {
			all[h.Name] = Difference{Key: h.Key, ID: h.Name, WantHook: h}
		}
	}
	for i := range have {
		h := &have[i]
		d, ok := all[h.Name]
		if !ok && !c.wanted(h.Key) {
			continue
		}
		if !ok {
			d = Difference{Key: h.Key, ID: h.Name}
		}
		d.HaveHook = h
		all[h.Name] = d
	}
	c.sum.Hooks = int64(len(all))
	for name, d := range all {
		if d.Why = compareHooks(d.WantHook, d.HaveHook, c.o.Tolerance); d.Why == 0 {
			delete(all, name)
			continue
		}
		all[name] = d
	}
	return all, nil
}
