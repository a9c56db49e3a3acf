package store

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/script"
)

// Options configure a Store.
type Options struct {
	Log    *aof.Log
	Engine engine.Options
	// Now is the wall clock in Unix milliseconds.
	Now func() int64
	// ReadSlice is how long a read may hold the lock before it goes on with a
	// snapshot. Default 500 µs.
	ReadSlice time.Duration
	// Pace is how fast a compaction, and the like of it, may go now. It is asked
	// thousands of times a second. nil: always CompactCPU.
	Pace func() Pace
	// CompactCPU is the share of one processor, in percent. Default 12.
	CompactCPU int
	// Progress hears of the replay: bytes done and in all.
	Progress func(done, total int64)
	Logger   *slog.Logger
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.Now == nil {
		o.Now = func() int64 { return time.Now().UnixMilli() }
	}
	if o.ReadSlice == 0 {
		o.ReadSlice = 500 * time.Microsecond
	}
	if o.CompactCPU == 0 {
		o.CompactCPU = 12
	}
	if o.Pace == nil {
		fixed := Pace{Percent: float64(o.CompactCPU)}
		o.Pace = func() Pace { return fixed }
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Store is the state, its log and the lock that keeps them together.
type Store struct {
	opt Options
	log *aof.Log

	files sync.Mutex // one at a time replaces files of the log: Compact, Reset; taken before mu

	mu     sync.RWMutex   // guards what follows, up to parted; taken before any lock of the log
	eng    *engine.Engine // the state may be read under RLock
	events Events         // set by Attach, under mu; nil before it
	refuse error          // what writes of clients are answered with; nil: they are welcome
	// halfway: the state is on its way to that of a leader, see Resync. The log has
	// the state from before.
	halfway bool
	// parted is where the log left the history that the state is on its way to,
	// nil if it did not go on beyond it.
	parted *int64

	heavy chan struct{} // a place for each piece of heavy work, see admitHeavy

	moved moved // who waits for the state to get somewhere, see Await

	deadline chan struct{} // an earlier deadline than before: see expire.go
	next     int64         // the earliest deadline known, under mu

	stats counters
}

type counters struct {
	commands   atomic.Int64
	expired    atomic.Int64
	snapshots  atomic.Int64
	baseBytes  atomic.Int64
	mismatches atomic.Int64
}

// Stats are counts since the start.
type Stats struct {
	Commands       int64 `json:"commands"`           // writes applied, replayed ones included
	Expired        int64 `json:"expired"`            // objects deleted because their time was over
	ReadSnapshots  int64 `json:"read_snapshots"`     // reads that were long enough to need a snapshot
	BaseBytes      int64 `json:"base_written_bytes"` // of new bases, those that came to nothing included
	DigestMismatch int64 `json:"digest_mismatch"`    // batches whose replay did not lead to the digest in the log
	Collections    int   `json:"collections"`
	Objects        int   `json:"objects"`
	Texts          int   `json:"strings"`
	Points         int   `json:"points"`
	ContentBytes   int64 `json:"content_bytes"`
	Hooks          int   `json:"hooks"`
	Channels       int   `json:"channels"`
}

// Open replays the log into a new engine. The log is open already; Open does
// not close it.
func Open(ctx context.Context, opt Options) (*Store, error) {
	opt.EnsureDefaults()
	s := &Store{
		opt:      opt,
		log:      opt.Log,
		eng:      engine.New(opt.Engine),
		deadline: make(chan struct{}, 1),
		heavy:    make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
	r := s.replayer(s.eng)
	if err := r.load(ctx, func(ctx context.Context, visit func(aof.Batch) error) error {
		return s.log.Replay(ctx, visit, opt.Progress)
	}); err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	r.report(opt.Logger)
	if s.log.Recovery().AdoptedFrom != "" {
		if err := s.log.SetBaseDigest(aof.Digest(s.eng.State().Digest())); err != nil {
			return nil, fmt.Errorf("adopt: %w", err)
		}
	}
	s.rebuilt()
	s.next = s.eng.State().NextDeadline()
	return s, nil
}

// Lookup returns the engine's command with this lower-case name, or nil.
func (s *Store) Lookup(name string) *command.Spec { return s.eng.Lookup(name) }

// Scripts returns what carries out EVAL and SCRIPT.
func (s *Store) Scripts() *script.Scripts { return s.eng.Scripts() }

// Commands lists the engine's commands.
func (s *Store) Commands() []*command.Spec { return s.eng.Commands() }

// Refuse makes all writes of clients fail with err; nil lets them through
// again. When it returns, no write that was let through is under way in the
// engine.
func (s *Store) Refuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = err
}

// Refusal returns what writes of clients are answered with, or nil.
func (s *Store) Refusal() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.refuse
}

// Digest returns the state's digest and the offset at which the state stands.
func (s *Store) Digest() (collection.Digest, aof.Mark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.eng.State().Digest(), s.log.Last()
}

// Stats returns the counts.
func (s *Store) Stats() Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.StatsOf(s.eng.State())
}

// StatsOf is Stats for a state that the caller holds: a snapshot, or the live
// one under the lock.
func (s *Store) StatsOf(state *collection.State) Stats {
	st := Stats{
		Commands:       s.stats.commands.Load(),
		Expired:        s.stats.expired.Load(),
		ReadSnapshots:  s.stats.snapshots.Load(),
		BaseBytes:      s.stats.baseBytes.Load(),
		DigestMismatch: s.stats.mismatches.Load(),
	}
	total := state.Totals()
	st.Collections = state.Len()
	st.Objects, st.Texts, st.Points, st.ContentBytes = total.Items, total.Texts, total.Points, int64(total.Weight)
	st.Hooks, st.Channels = state.CountHooks()
	return st
}
