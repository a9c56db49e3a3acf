package node

import (
	"context"
	"errors"
	"sync"

	"evenkeel/pkg/follower"
	"evenkeel/pkg/follower/stock"
	"evenkeel/pkg/replication"
	"evenkeel/pkg/settings"
)

// either follows a leader in the protocol that it speaks: an Evenkeel in its own,
// a Tile38 in Tile38's. Who answers at an address may change, so that is found
// out anew with each connection: the one kind of follower ends when it meets the
// other kind of leader.
type either struct {
	r     *role
	addr  string
	epoch string // see Node.Follow
	merge bool   // see stock.Options

	mu  sync.Mutex // guards cur
	cur interface{ Status() replication.Status }
}

// newFollower makes a follower of addr, which does not run yet. merge: the own
// data are not the leader's yet.
func (r *role) newFollower(addr, epoch string, merge bool) (*either, error) {
	e := &either{r: r, addr: addr, epoch: epoch, merge: merge}
	native, err := r.nativeFollower(addr, epoch, nil)
	if err != nil {
		return nil, err
	}
	if _, err := e.newStock(); err != nil {
		return nil, err
	}
	e.cur = native // knows where the own log is
	return e, nil
}

func (e *either) newStock() (*stock.Follower, error) {
	opt := e.r.node.opt
	return stock.New(stock.Options{
		Leader:        e.addr,
		Auth:          opt.Settings.Get(settings.LeaderAuth),
		ID:            opt.Settings.ServerID(),
		ListeningPort: e.r.node.announcedPort(),
		IPAddress:     e.r.node.announcedIP(),
		Store:         opt.Store,
		Merge:         e.merge,
		Dial:          opt.DialLeader,
		MaxLag:        opt.MaxLag,
		Logger:        opt.Logger,
	})
}

// Run follows until ctx ends.
func (e *either) Run(ctx context.Context) error {
	for {
		// It is this one that asks before it tells the leader anything.
		fol, err := e.newStock()
		if err != nil {
			return err
		}
		if e.epoch == "" { // only an Evenkeel can have that
			e.set(fol)
			if err := fol.Run(ctx); !errors.Is(err, stock.ErrEvenkeel) {
				return err
			}
		}
		if err := e.runNative(ctx); err != nil {
			return err
		}
		e.merge = false
	}
}

// runNative follows an Evenkeel until ctx ends, or, without an error, until the
// leader is none.
func (e *either) runNative(ctx context.Context) error {
	here, cancel := context.WithCancel(ctx)
	defer cancel()
	fol, err := e.r.nativeFollower(e.addr, e.epoch, func(ev follower.Event) {
		if errors.Is(ev.Err, replication.ErrNotEvenkeel) && e.epoch == "" {
			cancel()
		}
	})
	if err != nil {
		return err
	}
	e.set(fol)
	err = fol.Run(here)
	if ctx.Err() == nil && here.Err() != nil {
		return nil
	}
	return err
}

func (e *either) set(f interface{ Status() replication.Status }) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cur = f
}

// Status returns what is known now.
func (e *either) Status() replication.Status {
	e.mu.Lock()
	cur := e.cur
	e.mu.Unlock()
	return cur.Status()
}

// Turn waits until the leader lets this pod compact. A Tile38 gives no turns: done
// is nil then.
func (e *either) Turn(ctx context.Context) (done func(), err error) {
	e.mu.Lock()
	native, ok := e.cur.(*follower.Follower)
	e.mu.Unlock()
	if !ok {
		return nil, nil //nolint:nilnil // there is nothing to wait for, and nothing to end
	}
	return native.Turn(ctx)
}
