package upstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"evenkeel/pkg/proxy"
)

// Backend serves connections by passing their bytes to engines.
type Backend struct {
	opts    Options
	table   *table
	pools   *pools
	count   counters
	engine  *target
	control controls
	sharing *sharing
	began   time.Time

	mu     sync.Mutex
	leader *target // the last one that was asked for
}

var _ proxy.RawBackend = (*Backend)(nil)

// New makes a Backend, for proxy.NewRaw. Close it when the server has ended.
func New(opts Options) (*Backend, error) {
	opts.EnsureDefaults()
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("upstream options: %w", err)
	}
	b := &Backend{opts: opts, table: newTable(), pools: newPools(), began: time.Now()}
	b.engine = b.newTarget("engine", opts.Engine, opts.DialEngine, opts.ConnectWait)
	b.control.init(b)
	var err error
	if b.sharing, err = newSharing(b, opts.SharedConnections); err != nil {
		return nil, err
	}
	return b, nil
}

// OpenRaw begins to serve a connection. Nothing is dialled before its first byte.
func (b *Backend) OpenRaw(*proxy.Conn) proxy.RawSession { return newSession(b) }

// CommandNames lists the names that Options.Observe can be called with.
func (b *Backend) CommandNames() []string { return b.table.list() }

// Close ends the connections that no client has for itself.
func (b *Backend) Close() error { return errors.Join(b.control.close(), b.sharing.close()) }

// Ping says whether the engine takes connections.
func (b *Backend) Ping(ctx context.Context) error {
	nc, err := b.engine.once(ctx)
	if err != nil {
		return err
	}
	return nc.Close()
}

// leaderAt returns the target for a leader's address.
func (b *Backend) leaderAt(addr string) *target {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.leader == nil || b.leader.addr != addr {
		b.leader = b.newTarget("leader", addr, b.opts.DialLeader, b.opts.LeaderWait)
	}
	return b.leader
}
