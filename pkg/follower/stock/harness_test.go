package stock_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
	"evenkeel/internal/testkit"
	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/follower"
	"evenkeel/pkg/follower/stock"
	"evenkeel/pkg/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for an event.
const patience = time.Minute

// pair is a leader and a follower with a real store.
type pair struct {
	*testkit.Leader
	t     *testing.T
	disk  *fsxtest.FS
	log   *aof.Log
	store *store.Store
	opt   stock.Options
	fol   *stock.Follower
	stop  func(cause error) error // ends the follower, and returns how

	mu     sync.Mutex
	events []follower.Event
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{Leader: testkit.NewLeader(t), t: t}
	p.open(t.TempDir())
	p.opt = stock.Options{
		Leader: p.Addr, Store: p.store, ListeningPort: 1, PollInterval: 10 * time.Millisecond,
		BackoffMin: time.Millisecond, BackoffMax: 20 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		OnEvent: func(e follower.Event) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.events = append(p.events, e)
		},
	}
	return p
}

func (p *pair) open(dir string) {
	p.t.Helper()
	var err error
	p.disk = fsxtest.New(fsx.OS{})
	if p.log, err = aof.Open(aof.Options{FS: p.disk, Dir: dir, Fsync: aof.FsyncNo}); err != nil {
		p.t.Fatal(err)
	}
	log := p.log
	p.t.Cleanup(func() {
		if err := log.Close(context.Background()); err != nil {
			p.t.Error(err)
		}
	})
	if p.store, err = store.Open(p.t.Context(), store.Options{Log: p.log}); err != nil {
		p.t.Fatal(err)
	}
}

// own writes to the follower's own data, before it follows.
func (p *pair) own(lines ...string) {
	p.t.Helper()
	var out reply.Reply
	for _, line := range lines {
		args := strings.Fields(line)
		name := strings.ToLower(args[0])
		p.store.Write([]store.Write{{Spec: p.store.Lookup(name), Request: command.Request{Args: args, Name: name}}}, &out)
	}
	if strings.Contains(string(out.Buf), "-ERR") {
		p.t.Fatalf("%s", out.Buf)
	}
}

// start lets the follower run.
func (p *pair) start() {
	p.t.Helper()
	var err error
	if p.fol, err = stock.New(p.opt); err != nil {
		p.t.Fatal(err)
	}
	p.store.Refuse(errors.New("not the leader"))
	ctx, cancel := context.WithCancelCause(p.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.fol.Run(ctx) }()
	var once sync.Once
	var how error
	p.stop = func(cause error) error {
		once.Do(func() { cancel(cause); how = <-ended })
		return how
	}
	p.t.Cleanup(func() { _ = p.stop(context.Canceled) })
}

func (p *pair) until(what string, ok func() bool) {
	p.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("waited %s for %s; %+v", patience, what, p.fol.Status())
		}
	}
}

func (p *pair) ownDigest() collection.Digest {
	d, _ := p.store.Digest()
	return d
}

// level waits until the follower is where the leader is, and has its data.
func (p *pair) level() {
	p.t.Helper()
	p.until("the follower to be level", func() bool {
		st := p.fol.Status()
		return st.CaughtUp && st.Offset == p.Size() && p.ownDigest() == p.Digest()
	})
}

// count returns how many events of a kind there were.
func (p *pair) count(kind follower.EventKind) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}
