package aoftool

import (
	"context"
	"errors"
	"fmt"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/store"
)

// Repaired is what Repair did.
type Repaired struct {
	Before *Report     `json:"before"`
	Plan   *aof.Repair `json:"plan,omitempty"` // nil: there was nothing to do
	Done   bool        `json:"done"`
	Kept   []string    `json:"kept,omitempty"` // paths of what was taken out
	After  *Report     `json:"after,omitempty"`
}

// ErrState says that all files are whole and lead to another state than they
// say. It is no damage of files: there is nothing to cut.
var ErrState = errors.New("the files are whole, but lead to another state than they say: they may have been written by another version; " +
	"a compaction without a backlog writes the state down anew")

// Repair looks what would make the log whole, asks agree, which may show it, and
// does it. The lock is held all the time. An error that wraps aof.ErrNoRepair
// comes with what was found.
func Repair(ctx context.Context, o Options, agree func(*Repaired) (bool, error)) (_ *Repaired, err error) {
	w, err := look(o, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.lock.Close()) }()
	out := &Repaired{}
	if out.Before, err = w.verify(ctx); err != nil {
		return nil, err
	}
	if out.Plan, err = w.d.Plan(func(r *aof.Repair) error { return w.prove(ctx, r) }); err != nil {
		return out, err
	}
	if out.Plan == nil {
		if !out.Before.Clean() {
			return out, fmt.Errorf("%w: %w", aof.ErrNoRepair, ErrState)
		}
		return out, nil
	}
	if ok, err := agree(out); err != nil || !ok {
		return out, err
	}
	if out.Kept, err = out.Plan.Carry(); err != nil {
		return out, err
	}
	out.Done = true
	// A second look from the start: what was done is not taken on trust.
	if err := w.read(); err != nil {
		return out, err
	}
	out.After, err = w.verify(ctx)
	return out, err
}

// prove replays a planned log that is put together otherwise than the manifest
// says: its digests must agree.
func (w *work) prove(ctx context.Context, r *aof.Repair) error {
	if w.d.Manifest == "ok" && r.Base == w.d.Base() {
		return nil
	}
	src := func(ctx context.Context, visit func(aof.Batch) error) error {
		files := r.Log
		if r.Base != nil {
			files = append([]*aof.FileInfo{r.Base}, files...)
		}
		for _, f := range files {
			scratch := *f
			if err := w.d.Scan(ctx, &scratch, func(_ int64, b aof.Batch) error { return visit(b) }, nil); err != nil {
				return err
			}
		}
		return nil
	}
	off, err := store.Rebuild(ctx, w.o.Engine, src)
	if err != nil {
		return err
	}
	if m := off.Difference; m != nil {
		return fmt.Errorf("the batch that ends at offset %d leads to the digest %v, not to %v: the files do not belong together",
			m.Offset, off.Got, m.Digest)
	}
	if r.End.Digest != (aof.Digest{}) && off.Digest() != r.End.Digest {
		return fmt.Errorf("the files lead to the digest %v, not to %v", off.Digest(), r.End.Digest)
	}
	return nil
}
