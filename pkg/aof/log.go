package aof

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/redcon"

	"evenkeel/internal/clock"
	"evenkeel/internal/fsx"
)

const (
	// openBatchAge is how long commands of different writers may share a batch.
	openBatchAge = 5 // milliseconds
	// batchBytes is the payload after which a batch gets its annotation.
	batchBytes = 64 << 10
	// keepBuffer is the largest buffer that is kept for the next batches.
	keepBuffer = 4 << 20
)

// Log is the log in one data directory. See the package's documentation for
// who may call what when.
//
// Lock order, first to last; whoever holds one takes only later ones:
//
//	turn        the right to write to the active segment: writer's fields
//	syncMu      the right to sync and close segment files
//	manifestMu  the right to replace MANIFEST and remove files
//	mu          everything in memory; never held over a file operation
type Log struct {
	o      Options
	fs     fsx.FS
	clock  clock.Clock
	logger *slog.Logger
	lock   io.Closer

	recovery Recovery

	// stage is the commands of the writer between Begin and End. It belongs to
	// that writer, whom the caller's own lock makes the only one.
	stage     []byte
	stageTime int64

	turn chan struct{} // holds a token while somebody has the turn
	w    writer        // guarded by turn

	syncMu     sync.Mutex
	manifestMu sync.Mutex

	mu       sync.Mutex
	onDisk   map[string]bool // obsolete names, not for new files; false: MANIFEST does not list it yet
	epoch    string
	previous []Fork
	base     *logFile   // nil: the log begins at offset 0
	segs     []*logFile // in order; the last is written, the others are sealed
	gen      int        // counts replaced histories
	closed   bool

	active    []byte // appended and not yet taken by the flusher
	cuts      []cut  // in active: where a new segment begins
	openAt    int    // the open batch's start in active
	openCRC   uint32
	openTime  int64
	last      Mark // appended so far; of the open batch too
	boxed     Mark // end of the last batch that has its annotation
	segBytes  int64
	inFlight  int64 // bytes that the flusher has taken and not revealed
	seen      Mark  // written; with FsyncAlways synced too
	synced    int64 // offset known to be on the disk, at least
	policy    FsyncPolicy
	backlog   int64
	failure   error // why the log cannot be written now
	fatal     bool  // failure lasts until the process is restarted
	current   *handle
	retired   []*handle // sealed segments to be synced and closed
	published bool      // MANIFEST knows every segment
	dirty     bool      // written and not synced
	left      bool      // somebody gave up waiting for the turn
	untrimmed bool      // removing old files failed
	closing   bool      // no new commands
	cursors   map[*cursor]struct{}
	before    func() error // see BeforeWrite; may be nil
	stats     counters

	fastSeen atomic.Int64 // seen.Offset, for Commit's fast path

	kick chan struct{} // wakes the worker
	quit chan struct{}
	done chan struct{}
}

// cut says that a new segment begins at pos of a buffer, in the state mark.
type cut struct {
	pos  int
	mark Mark
}

// Recovery returns what Open found and did.
func (l *Log) Recovery() Recovery { return l.recovery }

// Begin starts a writer's commands. now is Unix milliseconds; t is the time of
// the batch that the commands will be in, which is the time to execute them at.
// It fails while the log cannot be written, with an error that wraps
// ErrUnwritable.
func (l *Log) Begin(now int64) (t int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.writableLocked(); err != nil {
		return 0, err
	}
	open := len(l.active) > l.openAt
	if open && (now-l.openTime >= openBatchAge || len(l.active)-l.openAt >= batchBytes) {
		l.closeBatchLocked()
		open = false
	}
	t = max(now, l.last.Time)
	if open {
		t = l.openTime
	}
	l.stage = l.stage[:0]
	l.stageTime = t
	return t, nil
}

func (l *Log) writableLocked() error {
	switch {
	case l.closing:
		return ErrClosed
	case l.failure != nil:
		return l.failure
	case int64(len(l.active))+l.inFlight >= l.o.MaxPending:
		return fmt.Errorf("%w: %d bytes wait for the disk, the limit is %d",
			ErrUnwritable, int64(len(l.active))+l.inFlight, l.o.MaxPending)
	}
	return nil
}

// Add appends one command to the writer's commands. The log has it when End is
// called; what is not ended is forgotten at the next Begin.
func (l *Log) Add(args []string) {
	b := redcon.AppendArray(l.stage, len(args))
	for _, arg := range args {
		b = redcon.AppendBulkString(b, arg)
	}
	l.stage = b
}

// End completes the writer's commands, which lead to the digest d. It returns
// the offset to Commit.
func (l *Log) End(d Digest) (offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.stage); n > 0 && !l.closing {
		if len(l.active) == l.openAt {
			l.openTime, l.openCRC = l.stageTime, 0
		}
		l.openCRC = checksum(l.openCRC, l.stage)
		l.active = append(l.active, l.stage...)
		l.last = Mark{Offset: l.last.Offset + int64(n), Time: l.stageTime, Digest: d}
	}
	if cap(l.stage) > keepBuffer {
		l.stage = nil
	}
	l.stage = l.stage[:0]
	return l.last.Offset
}

// AppendBatch appends a batch of the history that this log follows, with the
// mark that the leader gave it. It returns the offset to Commit.
func (l *Log) AppendBatch(b Batch) (int64, error) {
	if len(b.Payload) == 0 {
		return 0, fmt.Errorf("append a batch at offset %d: it has no commands", b.Offset)
	}
	if err := checkCommands(b.Payload); err != nil {
		return 0, fmt.Errorf("append the batch that ends at offset %d: %w", b.Offset, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.writableLocked(); err != nil {
		return 0, err
	}
	if start := b.Offset - int64(len(b.Payload)); start != l.last.Offset {
		return 0, fmt.Errorf("append the batch at offset %d: the log ends at %d", start, l.last.Offset)
	}
	l.closeBatchLocked()
	l.openTime = b.Time
	l.openCRC = checksum(0, b.Payload)
	l.active = append(l.active, b.Payload...)
	l.last = b.Mark
	l.closeBatchLocked()
	return b.Offset, nil
}

// Seal ends the open batch and lets the next one begin a new segment. It does
// not touch the disk. The mark it returns is where a base that holds the state
// of now belongs; its time is now.
func (l *Log) Seal(now int64, d Digest) Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closeBatchLocked()
	l.cutLocked()
	l.last.Time = max(now, l.last.Time)
	return Mark{Offset: l.last.Offset, Time: l.last.Time, Digest: d}
}

// closeBatchLocked gives the open batch its annotation, if there is one.
func (l *Log) closeBatchLocked() {
	payload := len(l.active) - l.openAt
	if payload == 0 {
		return
	}
	m := Mark{Offset: l.last.Offset, Time: l.openTime, Digest: l.last.Digest}
	l.active = appendAnnotation(l.active, m, int64(payload), l.openCRC)
	l.segBytes += int64(len(l.active) - l.openAt)
	l.openAt = len(l.active)
	l.boxed = m
	l.stats.batches++
	if l.segBytes >= l.o.SegmentBytes {
		l.cutLocked()
	}
}

// cutLocked lets a new segment begin here, unless one just has. No batch is open.
func (l *Log) cutLocked() {
	if l.segBytes == 0 {
		return
	}
	l.cuts = append(l.cuts, cut{pos: len(l.active), mark: l.boxed})
	l.segBytes = 0
}

// Last returns the end of what is appended, written or not.
func (l *Log) Last() Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// Position returns the epoch and the end of what is appended.
func (l *Log) Position() Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Position{Epoch: l.epoch, Offset: l.last.Offset}
}

// Written returns the end of what is written to the file; with FsyncAlways, of
// what is synced.
func (l *Log) Written() Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen
}

// SetFsync changes the policy from the next write on.
func (l *Log) SetFsync(p FsyncPolicy) {
	l.mu.Lock()
	l.policy = p
	l.mu.Unlock()
	l.wakeWorker()
}

// SetBacklogBytes changes how much of the log before the base is kept, in bytes
// of payload; 0 or less: nothing.
func (l *Log) SetBacklogBytes(n int64) {
	l.mu.Lock()
	l.backlog = n
	l.mu.Unlock()
	l.wakeWorker()
}

// SetBaseDigest records the digest of the state that an adopted file leads to.
// Replay tells it from then on. On another base it only checks.
func (l *Log) SetBaseDigest(d Digest) error {
	l.manifestMu.Lock()
	defer l.manifestMu.Unlock()
	l.mu.Lock()
	base := l.base
	if base == nil || base.digestKnown {
		ok := base == nil || base.end.Digest == d
		l.mu.Unlock()
		if !ok {
			return fmt.Errorf("digest %s of the base: %s has %s", d, base.name, base.end.Digest)
		}
		return nil
	}
	base.end.Digest, base.digestKnown = d, true
	for _, m := range []*Mark{&l.last, &l.boxed, &l.seen} {
		if m.Offset == base.end.Offset {
			m.Digest = d
		}
	}
	for _, s := range l.segs {
		if s.start == base.end.Offset {
			s.startDigest, s.startKnown = d, true
		}
	}
	m := l.manifestLocked(l.base, l.segs, l.obsoleteNames())
	l.mu.Unlock()
	if err := l.writeManifest(m); err != nil {
		return fmt.Errorf("record the digest of %s: %w", base.name, err)
	}
	return nil
}

// manifestLocked describes a set of files. Segments behind one that is not
// durable yet are left out: MANIFEST never promises what a crash could take, and
// Open takes up segments that continue the last one.
func (l *Log) manifestLocked(base *logFile, segs []*logFile, obsolete []string) *manifest {
	m := &manifest{
		Version:  manifestVersion,
		Epoch:    l.epoch,
		Previous: slices.Clone(l.previous),
		Files:    []manifestFile{},
		Obsolete: obsolete,
	}
	if m.Previous == nil {
		m.Previous = []Fork{}
	}
	placed := base == nil
	for _, s := range segs {
		if !placed && s.start >= base.end.Offset {
			m.Files = append(m.Files, base.describe())
			placed = true
		}
		m.Files = append(m.Files, s.describe())
		if !s.sealed || !s.synced {
			break
		}
	}
	if !placed {
		m.Files = append(m.Files, base.describe())
	}
	return m
}

func (l *Log) obsoleteNames() []string {
	names := make([]string, 0, len(l.onDisk))
	for name := range l.onDisk {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// takeTurn waits for the turn to write.
func (l *Log) takeTurn(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		return nil
	default:
	}
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *Log) giveTurn() { <-l.turn }

// counters are sums since Open; guarded by mu.
type counters struct {
	batches, flushes, syncs, cuts int64
	syncTime                      time.Duration
	syncErr                       error
}
