package reptest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/zeebo/xxh3"

	"evenkeel/pkg/aof"
)

// Node is a log and the state that it leads to: a map, written by SET key value
// and DEL key.
type Node struct {
	Dir string
	Log *aof.Log
	// Diverged is what ApplyBatch returns for a digest that differs.
	Diverged error

	mu     sync.Mutex
	state  map[string]string
	digest aof.Digest
}

// Options for Open, over the defaults for tests.
type Options func(*aof.Options)

// Open opens the node in dir. The test's end closes it.
func Open(t testing.TB, dir string, diverged error, opts ...Options) *Node {
	t.Helper()
	o := aof.Options{Dir: dir, Fsync: aof.FsyncNo}
	for _, opt := range opts {
		opt(&o)
	}
	log, err := aof.Open(o)
	if err != nil {
		t.Fatalf("open %s: %v", dir, err)
	}
	n := &Node{Dir: dir, Log: log, Diverged: diverged, state: map[string]string{}}
	t.Cleanup(func() { n.Close(t) })
	if err := log.Replay(context.Background(), n.replay, nil); err != nil {
		t.Fatalf("replay %s: %v", dir, err)
	}
	return n
}

// Close closes the log; again it does nothing.
func (n *Node) Close(t testing.TB) {
	t.Helper()
	if err := n.Log.Close(context.Background()); err != nil && !errors.Is(err, aof.ErrClosed) {
		t.Errorf("close %s: %v", n.Dir, err)
	}
}

func (n *Node) replay(b aof.Batch) error { return n.applyLocked(b.Payload) }

func hash(k, v string) aof.Digest {
	h := xxh3.HashString128(k + "\x00" + v)
	return aof.Digest{Hi: h.Hi, Lo: h.Lo}
}

func (n *Node) put(k, v string, exists bool) {
	if old, ok := n.state[k]; ok {
		h := hash(k, old)
		n.digest.Hi -= h.Hi
		n.digest.Lo -= h.Lo
		delete(n.state, k)
	}
	if exists {
		h := hash(k, v)
		n.digest.Hi += h.Hi
		n.digest.Lo += h.Lo
		n.state[k] = v
	}
}

func (n *Node) exec(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "SET":
		n.put(args[1], args[2], true)
	case len(args) == 2 && args[0] == "DEL":
		n.put(args[1], "", false)
	default:
		return fmt.Errorf("unknown command %q", args)
	}
	return nil
}

func (n *Node) applyLocked(payload []byte) error {
	return aof.EachCommand(payload, n.exec)
}

// Write logs and applies one command, as a leader does.
func (n *Node) Write(t testing.TB, args ...string) {
	t.Helper()
	if err := n.Log.Commit(context.Background(), n.Append(t, time.Now().UnixMilli(), args...)); err != nil {
		t.Fatalf("commit %q: %v", args, err)
	}
}

// Append is Write without the commit, at a time in unix ms.
func (n *Node) Append(t testing.TB, now int64, args ...string) (offset int64) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, err := n.Log.Begin(now); err != nil {
		t.Fatalf("begin: %v", err)
	}
	n.Log.Add(args)
	if err := n.exec(args); err != nil {
		t.Fatal(err)
	}
	return n.Log.End(n.digest)
}

// Compact writes the state as a new base.
func (n *Node) Compact(t testing.TB) {
	t.Helper()
	ctx := context.Background()
	n.mu.Lock()
	state := maps.Clone(n.state)
	mark := n.Log.Seal(time.Now().UnixMilli(), n.digest)
	n.mu.Unlock()
	if err := n.Log.Commit(ctx, mark.Offset); err != nil {
		t.Fatalf("compact: %v", err)
	}
	base, err := n.Log.CreateBase(mark)
	if err != nil {
		t.Fatalf("compact: %v", err)
	}
	for _, k := range slices.Sorted(maps.Keys(state)) {
		if err := base.Add([]string{"SET", k, state[k]}); err != nil {
			t.Fatalf("compact: %v", err)
		}
	}
	if err := base.Verify(ctx, func(aof.Batch) error { return nil }); err != nil {
		t.Fatalf("compact: %v", err)
	}
	if _, err := base.Install(ctx); err != nil {
		t.Fatalf("compact: %v", err)
	}
}

// State returns a copy of the state.
func (n *Node) State() map[string]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.state)
}

// Tamper changes the state behind the log's back.
func (n *Node) Tamper(k, v string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.put(k, v, true)
}

// Position is for follower.Store.
func (n *Node) Position() (aof.Position, aof.Digest) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.Log.Position(), n.digest
}

// ApplyBatch is for follower.Store.
func (n *Node) ApplyBatch(ctx context.Context, b aof.Batch) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	offset, err := n.Log.AppendBatch(b)
	if err != nil {
		return err
	}
	if err := n.applyLocked(b.Payload); err != nil {
		return err
	}
	if n.digest != b.Digest {
		return fmt.Errorf("test store: %w", n.Diverged)
	}
	return n.Log.Commit(ctx, offset)
}

// JoinEpoch is for follower.Store.
func (n *Node) JoinEpoch(ctx context.Context, epoch string, forks []aof.Fork) error {
	return n.Log.JoinEpoch(ctx, epoch, forks)
}

// PartedFrom is for follower.Store.
func (n *Node) PartedFrom(p aof.Position, forks []aof.Fork) (offset int64, parted bool) {
	return n.Log.PartedFrom(p, forks)
}

// Reset is for follower.Store. What is lost is not put aside.
func (n *Node) Reset(ctx context.Context, h aof.History, m aof.Mark, _, size int64, r io.Reader) error {
	recv, err := n.Log.Receive(h, m, size)
	if err != nil {
		return err
	}
	fresh, err := load(ctx, recv, m, size, r)
	if err != nil {
		return errors.Join(err, recv.Abort())
	}
	if err := recv.Install(ctx); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state, n.digest = fresh.state, fresh.digest
	return nil
}

// load receives a base and makes a state of it.
func load(ctx context.Context, recv *aof.Receiver, m aof.Mark, size int64, r io.Reader) (*Node, error) {
	if _, err := io.CopyN(recv, r, size); err != nil {
		return nil, err
	}
	fresh := &Node{state: map[string]string{}}
	if err := recv.Verify(ctx, fresh.replay); err != nil {
		return nil, err
	}
	if fresh.digest != m.Digest {
		return nil, fmt.Errorf("base at offset %d: digest %s, want %s", m.Offset, fresh.digest, m.Digest)
	}
	return fresh, nil
}
