package resync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/follower"
	"evenkeel/pkg/leader"
	"evenkeel/pkg/replication"
	"evenkeel/pkg/replication/reptest"
	"evenkeel/pkg/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long an event may take before a test gives up.
const patience = 5 * time.Minute

// pod is a store with its log.
type pod struct {
	*store.Store
	t   testing.TB
	dir string
	log *aof.Log

	lead    *leader.Leader
	server  *reptest.Server
	maxHeld int64 // for its followers

	compactErr error      // what its compactions for the leader end with
	lie        aof.Digest // what is added to the digest that it reports of them

	replacing func() error // in its range resyncs

	fol    *follower.Follower
	net    reptest.Network
	stop   func()
	mu     sync.Mutex
	events []follower.Event
}

// open starts a pod in a directory.
func open(t testing.TB, dir string) *pod {
	t.Helper()
	p := &pod{t: t, dir: dir}
	var err error
	if p.log, err = aof.Open(aof.Options{Dir: dir, Fsync: aof.FsyncNo, BacklogBytes: -1, SegmentBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	if p.Store, err = store.Open(context.Background(), store.Options{Log: p.log, CompactCPU: 100}); err != nil {
		t.Fatal(errors.Join(err, p.log.Close(context.Background())))
	}
	t.Cleanup(p.close)
	return p
}

func (p *pod) close() {
	if p.log == nil {
		return
	}
	p.unfollow()
	p.unserve()
	if err := p.log.Close(context.Background()); err != nil {
		p.t.Error(err)
	}
	p.log = nil
}

// serve lets others follow the pod.
func (p *pod) serve() {
	p.t.Helper()
	var err error
	p.lead, err = leader.New(leader.Options{
		Log: p.log, HeartbeatInterval: 20 * time.Millisecond, MaxHeld: p.maxHeld,
		Snapshot: func(ctx context.Context) (leader.Snapshot, error) { return p.RangeSnapshot(ctx) },
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.server = reptest.Listen(p.t, p.lead.Serve)
}

func (p *pod) unserve() {
	if p.lead == nil {
		return
	}
	if err := p.lead.Close(); err != nil {
		p.t.Error(err)
	}
	p.server.Stop()
	p.lead = nil
}

// replica is the store as a follower sees it.
type replica struct {
	*store.Store
	replacing func() error // nil, or called before each range that is replaced
}

func (r replica) ApplyBatch(ctx context.Context, b aof.Batch) error {
	err := r.Store.ApplyBatch(ctx, b)
	if errors.Is(err, store.ErrDigest) {
		return fmt.Errorf("%w: %w", follower.ErrDiverged, err)
	}
	return err
}

func (r replica) BeginResync(ctx context.Context, h aof.History, m aof.Mark, lost int64) (follower.Resync, error) {
	res, err := r.Store.BeginResync(ctx, h, m, lost)
	if err != nil || r.replacing == nil {
		return res, err
	}
	return watched{res, r.replacing}, nil
}

// watched is a resync that tells of itself, and can be made to fail.
type watched struct {
	follower.Resync
	replacing func() error
}

func (w watched) Replace(r replication.Range, hashes []uint64, items [][]string) (int, error) {
	if err := w.replacing(); err != nil {
		return 0, err
	}
	return w.Resync.Replace(r, hashes, items)
}

// follow lets the pod follow another one.
func (p *pod) follow(leader *pod) {
	p.t.Helper()
	p.Refuse(errors.New("not the leader"))
	p.net.Resolve = func() string { return leader.server.Addr }
	var err error
	p.fol, err = follower.New(follower.Options{
		Leader: "leader:9851", Store: replica{p.Store, nil}, Ranges: replica{p.Store, p.replacing}, Dial: p.net.Dial,
		Synced: p.log.Synced, Sync: p.log.Sync, Compact: p.compactFor,
		AckInterval: 10 * time.Millisecond, ReadTimeout: 20 * time.Second,
		BackoffMin: time.Millisecond, BackoffMax: 20 * time.Millisecond,
		OnEvent: func(e follower.Event) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.events = append(p.events, e)
		},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.fol.Run(ctx); !errors.Is(err, context.Canceled) {
			p.t.Errorf("Run returned %v", err)
		}
	}()
	p.stop = func() { cancel(); <-done }
}

func (p *pod) unfollow() {
	if p.stop != nil {
		p.stop()
		p.stop = nil
	}
}

// promote makes a leader of a follower.
func (p *pod) promote() {
	p.t.Helper()
	p.unfollow()
	if err := p.BeginEpoch(context.Background()); err != nil {
		p.t.Fatal(err)
	}
	p.Refuse(nil)
	p.serve()
}

// write carries out commands, each a line of words.
func (p *pod) write(lines ...string) {
	p.t.Helper()
	var out reply.Reply
	ws := make([]store.Write, 0, len(lines))
	for _, line := range lines {
		args := strings.Fields(line)
		name := strings.ToLower(args[0])
		ws = append(ws, store.Write{Spec: p.Lookup(name), Request: command.Request{Args: args, Name: name}})
	}
	offset := p.Write(ws, &out)
	if strings.Contains(string(out.Buf), "-ERR") {
		p.t.Fatalf("%.200q: %.200s", lines, out.Buf)
	}
	if err := p.Commit(context.Background(), offset); err != nil {
		p.t.Fatal(err)
	}
}

// fill writes points from to to of a collection.
func (p *pod) fill(key string, from, to int) {
	p.t.Helper()
	lines := make([]string, 0, 1000)
	for i := from; i < to; i++ {
		lines = append(lines, fmt.Sprintf("SET %s truck%07d FIELD speed %d POINT %d.25 %d.5", key, i, i%90, i%80, i%170))
		if len(lines) == 1000 || i == to-1 {
			p.write(lines...)
			lines = lines[:0]
		}
	}
}

func (p *pod) compact() {
	p.t.Helper()
	if _, err := p.Compact(context.Background()); err != nil {
		p.t.Fatal(err)
	}
}

// compactFor is a compaction that the leader asks for.
func (p *pod) compactFor(ctx context.Context) (int64, aof.Digest, error) {
	if p.compactErr != nil {
		return 0, aof.Digest{}, p.compactErr
	}
	_, err := p.Compact(ctx)
	base := p.log.Stats().Base
	base.Digest.Hi += p.lie.Hi
	return base.Offset, base.Digest, err
}

// until waits for cond.
func (p *pod) until(what string, cond func() bool) {
	p.t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// converge waits until a follower has all that its leader has, and compares.
func (p *pod) converge(leader *pod) {
	p.t.Helper()
	p.until("level with the leader", func() bool {
		pos, _ := p.Position()
		st := p.fol.Status()
		return pos == leader.log.Position() && st.Offset == pos.Offset && st.CaughtUp && st.State == "streaming"
	})
	p.same(leader)
	if ok, why := p.fol.Ready(time.Minute); !ok {
		p.t.Errorf("not ready: %q", why)
	}
}

// same compares two states.
func (p *pod) same(other *pod) {
	p.t.Helper()
	a, _ := p.Digest()
	b, _ := other.Digest()
	if a != b {
		p.t.Fatalf("digests differ: %s with %d objects, %s with %d", a, p.Objects(), b, other.Objects())
	}
}

// resyncs checks how a follower came to its data since it began to follow.
func (p *pod) resyncs(continues, ranges, fulls int64) {
	p.t.Helper()
	st := p.fol.Status()
	if st.ContinueResyncs != continues || st.RangeResyncs != ranges || st.FullResyncs != fulls {
		p.t.Errorf("%d continued, %d by ranges, %d full; want %d, %d, %d",
			st.ContinueResyncs, st.RangeResyncs, st.FullResyncs, continues, ranges, fulls)
	}
}

// reopened closes a pod and opens it again, as after a restart.
func (p *pod) reopened() *pod {
	p.t.Helper()
	p.close()
	return open(p.t, p.dir)
}

// copyOf returns a copy of a pod's directory. The pod is closed.
func copyOf(t *testing.T, p *pod) string {
	t.Helper()
	p.close()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(p.dir)); err != nil {
		t.Fatal(err)
	}
	return to
}
