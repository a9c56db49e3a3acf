package rig

import (
	"context"
	"errors"
	"fmt"
	"time"

	"evenkeel/internal/fsx/fsxtest"
	"evenkeel/pkg/follower"
	"evenkeel/pkg/store"
)

// Compact compacts and waits for the end. One that is under way is waited for
// first.
func (p *Pod) Compact() error {
	p.files <- struct{}{}
	defer func() { <-p.files }()
	_, err := p.Store.Compact(context.Background())
	if err == nil {
		p.Compactions.Add(1)
	}
	return err
}

// CompactMeanwhile begins a compaction, unless one is under way, and does not
// wait for it. failed hears how it failed, unless the pod has ended.
func (p *Pod) CompactMeanwhile(failed func(error)) {
	select {
	case p.files <- struct{}{}:
	default:
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	end := p.stop
	p.stop = func() { cancel(); end() }
	st := p.Store
	p.parts.Go(func() {
		defer func() { cancel(); <-p.files }()
		if err := p.compactNow(ctx, st); err != nil && ctx.Err() == nil {
			failed(err)
		}
	})
}

// TurnWait is how long a compaction waits for its turn, at most. Everything that
// has the turn lets it go much sooner.
const TurnWait = time.Minute

// CompactInTurn is CompactMeanwhile of one pod at a time: the leader gives the turn, and a
// pod without a leader goes on alone. has hears that the pod has the turn, and again when
// it gives it back.
func (p *Pod) CompactInTurn(has func(bool), failed func(error)) {
	select {
	case p.turning <- struct{}{}:
	default:
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	end := p.stop
	p.stop = func() { cancel(); end() }
	st, take := p.Store, p.turn()
	p.parts.Go(func() {
		defer func() { cancel(); <-p.turning }()
		wait, stop := context.WithTimeout(ctx, TurnWait)
		defer stop()
		done, err := take(wait)
		switch {
		case err == nil:
			has(true)
			defer func() { has(false); done() }()
		case ctx.Err() != nil:
			return
		case !errors.Is(err, follower.ErrNoLeader):
			failed(fmt.Errorf("no turn within %s: %w", TurnWait, err))
			return
		}
		if err := p.compactSoon(ctx, st); err != nil && ctx.Err() == nil {
			failed(err)
		}
	})
}

// Compacting says whether a compaction waits for its turn, or has it.
func (p *Pod) Compacting() bool { return len(p.turning) > 0 }

// turn is how the pod gets its turn.
func (p *Pod) turn() func(ctx context.Context) (done func(), err error) {
	if p.Options.Follow != "" {
		return p.Follower.Turn
	}
	return p.Leader.Turn
}

func (p *Pod) compactSoon(ctx context.Context, st *store.Store) error {
	select {
	case p.files <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	defer func() { <-p.files }()
	return p.compactNow(ctx, st)
}

// compactNow compacts. A store that is halfway refuses, as it should, and the disk
// of a killed pod is dead before the compaction hears that it shall end.
func (p *Pod) compactNow(ctx context.Context, st *store.Store) error {
	_, err := st.Compact(ctx)
	if errors.Is(err, store.ErrHalfway) || errors.Is(err, fsxtest.ErrDead) {
		return nil
	}
	if err == nil {
		p.Compactions.Add(1)
	}
	return err
}
