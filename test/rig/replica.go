package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/follower"
	"evenkeel/pkg/store"
)

// replica is the store as a follower writes to it. A resync waits for a
// compaction to end, and a compaction for it, as in the store, but not for a
// mutex: what comes may be long on its way.
type replica struct {
	*store.Store
	files chan struct{} // Pod.files
}

// Reset receives a base.
func (r replica) Reset(ctx context.Context, h aof.History, m aof.Mark, lost, size int64, from io.Reader) error {
	r.files <- struct{}{}
	defer func() { <-r.files }()
	return r.Store.Reset(ctx, h, m, lost, size, from)
}

// BeginResync begins a range resync.
func (r replica) BeginResync(ctx context.Context, h aof.History, m aof.Mark, lost int64) (follower.Resync, error) {
	r.files <- struct{}{}
	inner, err := r.Store.BeginResync(ctx, h, m, lost)
	if err != nil {
		<-r.files
		return nil, err
	}
	return &resync{Resync: inner, free: sync.OnceFunc(func() { <-r.files })}, nil
}

// resync is a range resync that lets compactions wait.
type resync struct {
	follower.Resync
	free func()
}

// Close ends it.
func (r *resync) Close() {
	r.Resync.Close()
	r.free()
}

// ApplyBatch says in the follower's terms that the states differ.
func (r replica) ApplyBatch(ctx context.Context, b aof.Batch) error {
	err := r.Store.ApplyBatch(ctx, b)
	if errors.Is(err, store.ErrDigest) {
		return fmt.Errorf("%w: %w", follower.ErrDiverged, err)
	}
	return err
}
