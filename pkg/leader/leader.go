package leader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"evenkeel/pkg/replication"
)

// Reason is why a follower's stream ended. There are few of them, so they can
// label a metric.
type Reason string

// Why a stream ended.
const (
	ReasonHungUp   Reason = "hung-up"   // the follower, or the network
	ReasonSlow     Reason = "slow"      // took nothing for WriteTimeout
	ReasonBehind   Reason = "behind"    // more of the log than MaxHeld was kept for it
	ReasonSilent   Reason = "silent"    // said nothing for AckTimeout
	ReasonProtocol Reason = "protocol"  // said what the protocol does not know
	ReasonStopped  Reason = "stopped"   // the leader, or its caller, ended
	ReasonLog      Reason = "log-error" // the log could not be read
)

var (
	// ErrSlow says that the follower took nothing for Options.WriteTimeout.
	ErrSlow = errors.New("the follower is too slow")
	// ErrSilent says that the follower said nothing for Options.AckTimeout.
	ErrSilent = errors.New("the follower is silent")
	// ErrBehind says that more of the log than Options.MaxHeld is kept for a follower.
	ErrBehind = errors.New("the follower is too far behind")
	// ErrClosed says that the leader is closed.
	ErrClosed = errors.New("the leader is closed")
	// ErrTooMany says that Options.MaxFollowers are connected.
	ErrTooMany = errors.New("too many followers")
)

// FollowerStat is what is known of one connected follower. Offsets are logical.
type FollowerStat struct {
	ID            string // server id; empty if it did not say
	Addr          string // remote address, host:port
	ListeningPort int    // where clients reach it; 0 if it did not say
	IPAddress     string // the same; empty: the host of Addr
	FullResync    bool   // a base, or what differs from a snapshot, is being sent
	Since         time.Time

	SentOffset int64 // end of the last batch that was sent
	Acked      int64 // applied by the follower
	Synced     int64 // on the follower's disk
	LagBytes   int64 // from Acked       to the end of the log
	LastAck    time.Time
	BytesSent  int64 // all bytes on the connection: answer, base, log, heartbeats
}

// Stats are counts since the start.
type Stats struct {
	Followers int // connected now
	Continues int64
	Ranges    int64
	Fulls     int64
	Refused   int64
	BytesSent int64
	BaseBytes int64 // part of BytesSent: bases, and what range resyncs sent
	Ended     map[Reason]int64
}

// Leader serves one log to any number of followers. Its methods may be called
// by several goroutines.
type Leader struct {
	opt   Options
	turns *turns

	mu      sync.Mutex    // guards what follows; taken before that of a stream's control
	acks    chan struct{} // closed when a follower has acknowledged something, or begins to be sent the log
	streams map[*stream]context.CancelCauseFunc
	closed  bool
	stats   Stats
	serving sync.WaitGroup
}

// New returns a leader that serves opt.Log.
func New(opt Options) (*Leader, error) {
	opt.EnsureDefaults()
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	return &Leader{
		opt:     opt,
		turns:   newTurns(),
		acks:    make(chan struct{}),
		streams: map[*stream]context.CancelCauseFunc{},
		stats:   Stats{Ended: map[Reason]int64{}},
	}, nil
}

// Serve answers hello and runs one follower until it ends. r gives what the
// follower sent behind its REPLICATE: conn itself or a buffered reader on it.
// Serve owns conn from now on and closes it.
//
// It returns nil when the follower hung up, the context's error when ctx ended,
// and otherwise why the follower was refused or cut.
func (l *Leader) Serve(ctx context.Context, conn net.Conn, r io.Reader, hello replication.Hello) error {
	defer conn.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := newStream(l.opt, conn, hello)
	s.turns, s.onAck = l.turns, l.acknowledged
	defer close(s.ended)
	if err := l.enter(s, cancel); err != nil {
		s.refuse(err)
		return fmt.Errorf("follower %s: %w", s.addr, err)
	}
	defer l.serving.Done()
	l.opt.Logger.Info("follower connected", "follower", s.addr, "id", hello.ID,
		"epoch", hello.Position.Epoch, "offset", hello.Position.Offset)
	err := s.serve(ctx, cancel, r, l.granted)
	reason := l.leave(s, err)
	l.opt.Logger.Info("follower gone", "follower", s.addr, "id", hello.ID, "reason", string(reason),
		"sent_offset", s.sentOffset.Load(), "acked_offset", s.acked.Load(), "bytes", s.sent.Load(), "error", err)
	if reason == ReasonHungUp {
		return nil
	}
	return fmt.Errorf("follower %s: %w", s.addr, err)
}

// enter registers s, unless it must not be served.
func (l *Leader) enter(s *stream, cancel context.CancelCauseFunc) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := error(nil)
	switch {
	case l.closed:
		err = ErrClosed
	case s.hello.ID != "" && s.hello.ID == l.opt.ID:
		err = replication.ErrSelf
	case len(l.streams) >= l.opt.MaxFollowers:
		err = fmt.Errorf("%w: %d are connected", ErrTooMany, len(l.streams))
	}
	if err != nil {
		l.stats.Refused++
		return err
	}
	l.serving.Add(1)
	l.streams[s] = cancel
	return nil
}

// granted counts an answer.
func (l *Leader) granted(kind replication.Kind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch kind {
	case replication.Full:
		l.stats.Fulls++
	case replication.Ranges:
		l.stats.Ranges++
	default:
		l.stats.Continues++
	}
}

func (l *Leader) leave(s *stream, err error) Reason {
	reason := reasonOf(err)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.streams, s)
	l.stats.Ended[reason]++
	l.stats.BytesSent += s.sent.Load()
	l.stats.BaseBytes += s.base.Load()
	return reason
}

func reasonOf(err error) Reason {
	switch {
	case errors.Is(err, ErrSlow):
		return ReasonSlow
	case errors.Is(err, ErrSilent):
		return ReasonSilent
	case errors.Is(err, ErrBehind):
		return ReasonBehind
	case errors.Is(err, replication.ErrProtocol):
		return ReasonProtocol
	case errors.Is(err, ErrClosed), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return ReasonStopped
	case errors.Is(err, errLog):
		return ReasonLog
	}
	return ReasonHungUp
}

// clientAddr is where clients reach a follower, as far as it is known.
func (f FollowerStat) clientAddr() string {
	host, port, err := net.SplitHostPort(f.Addr)
	if err != nil {
		return f.Addr
	}
	if f.IPAddress != "" {
		host = f.IPAddress
	}
	if f.ListeningPort > 0 {
		port = strconv.Itoa(f.ListeningPort)
	}
	return net.JoinHostPort(host, port)
}

// Followers returns the connected followers, the one that came first first.
func (l *Leader) Followers() []FollowerStat {
	end := l.opt.Log.Written().Offset
	l.mu.Lock()
	streams := slices.Collect(maps.Keys(l.streams))
	l.mu.Unlock()
	stats := make([]FollowerStat, len(streams))
	for i, s := range streams {
		stats[i] = s.stat(end)
	}
	slices.SortFunc(stats, func(a, b FollowerStat) int { return a.Since.Compare(b.Since) })
	return stats
}

// Stats returns the counts; those of connected followers are in them.
func (l *Leader) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := l.stats
	st.Ended = maps.Clone(st.Ended)
	st.Followers = len(l.streams)
	for s := range l.streams {
		st.BytesSent += s.sent.Load()
		st.BaseBytes += s.base.Load()
	}
	return st
}

// Close ends all streams, refuses new ones, and returns when the last Serve is
// about to. It is an io.Closer; there is no error.
func (l *Leader) Close() error {
	l.mu.Lock()
	l.closed = true
	for _, cancel := range l.streams {
		cancel(ErrClosed)
	}
	l.mu.Unlock()
	l.serving.Wait()
	return nil
}
