package leader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/replication"
	"evenkeel/pkg/resp"
)

// Sizes in bytes.
const (
	// writeChunk is what one write may carry. A follower has to take it, or part
	// of it, within WriteTimeout.
	writeChunk = 256 << 10
	baseBuffer = 256 << 10
	// maxAckBytes and maxAckArgs bound a command that a follower sends while it
	// streams; more than an acknowledgement needs, for later versions.
	maxAckBytes = 16 << 10
	maxAckArgs  = replication.WindowRanges + 1
)

// errLog marks errors of the log, as against those of the connection.
var errLog = errors.New("log")

// errHungUp is the end of what the follower says.
var errHungUp = errors.New("the follower hung up")

// stream is one follower. Everything that changes while it runs is atomic, so
// that it can be reported without stopping it.
type stream struct {
	opt   Options
	conn  net.Conn
	hello replication.Hello
	addr  string
	since time.Time
	line  []byte // buffer for heartbeats

	said  chan []string // what the follower says during a range resync
	ctl   control
	turns *turns
	onAck func()
	ended chan struct{} // closed when it is over

	writing   sync.Mutex  // held while something whole is written
	streaming atomic.Bool // the log is sent, no base or ranges

	full       atomic.Bool
	sent       atomic.Int64 // bytes, all
	base       atomic.Int64 // bytes of a base
	sentOffset atomic.Int64
	acked      atomic.Int64
	synced     atomic.Int64
	lastAck    atomic.Int64 // unix ns, 0: never
}

func newStream(opt Options, conn net.Conn, hello replication.Hello) *stream {
	s := &stream{opt: opt, conn: conn, hello: hello, since: opt.Now(), said: make(chan []string),
		ctl: newControl(), ended: make(chan struct{})}
	if a := conn.RemoteAddr(); a != nil {
		s.addr = a.String()
	}
	return s
}

func (s *stream) stat(end int64) FollowerStat {
	st := FollowerStat{
		ID:            s.hello.ID,
		Addr:          s.addr,
		ListeningPort: s.hello.ListeningPort,
		IPAddress:     s.hello.IPAddress,
		FullResync:    s.full.Load(),
		Since:         s.since,
		SentOffset:    s.sentOffset.Load(),
		Acked:         s.acked.Load(),
		Synced:        s.synced.Load(),
		BytesSent:     s.sent.Load(),
	}
	st.LagBytes = max(0, end-st.Acked)
	if ns := s.lastAck.Load(); ns != 0 {
		st.LastAck = time.Unix(0, ns)
	}
	return st
}

// refuse answers with an error. That the connection ends tells the rest.
func (s *stream) refuse(err error) {
	_ = s.write(replication.AppendRefusal(nil, err)) // nobody is left to be told
}

// serve answers and sends until the follower, the log or ctx ends; the error
// says which. cancel ends ctx.
func (s *stream) serve(ctx context.Context, cancel context.CancelCauseFunc, r io.Reader, granted func(replication.Kind)) error {
	// Closing the connection is what ends a blocked read or write.
	unhook := context.AfterFunc(ctx, func() { s.conn.Close() })
	defer unhook()
	p, err := makePlan(ctx, s.opt, s.hello)
	if err != nil {
		err = fmt.Errorf("%w: %w", errLog, err)
		s.refuse(err)
		return err
	}
	defer func() {
		if err := p.close(); err != nil {
			s.opt.Logger.Warn("close the log of a follower", "follower", s.addr, "error", err)
		}
	}()
	granted(p.kind())

	var beside sync.WaitGroup
	ranges := p.snap != nil // send changes the plan
	beside.Go(func() { cancel(s.readAcks(ctx, r, ranges, &beside)) })
	beside.Go(func() { cancel(s.speak(ctx, p.tail.Held)) })
	err = s.send(ctx, p)
	cancel(err) // what ended ctx first stays its cause
	s.conn.Close()
	beside.Wait()
	return context.Cause(ctx)
}

// send sends what was planned and then the log. It never returns nil.
func (s *stream) send(ctx context.Context, p *plan) error {
	s.sentOffset.Store(p.start.Offset)
	s.acked.Store(s.hello.Position.Offset)
	if p.kind() != replication.Continue {
		s.acked.Store(0)
		s.full.Store(true)
	}
	if err := s.write(s.answer(p).Append(nil)); err != nil {
		return err
	}
	var err error
	switch p.kind() {
	case replication.Full:
		err = s.sendBase(p)
	case replication.Ranges:
		err = s.sendRanges(ctx, p.snap)
		p.snap = nil // which keeps alive what was overwritten
	}
	if err != nil {
		return err
	}
	s.full.Store(false)
	s.streaming.Store(true)
	s.onAck() // it counts from now on
	s.ctl.wake()
	return s.sendLog(ctx, p.tail)
}

func (s *stream) answer(p *plan) replication.Answer {
	a := replication.Answer{
		Kind:     p.kind(),
		Forks:    p.forks,
		Epoch:    p.epoch,
		Start:    p.start,
		End:      max(p.start.Offset, s.opt.Log.Written().Offset),
		Now:      s.opt.Now().UnixMilli(),
		LeaderID: s.opt.ID,
	}
	switch a.Kind {
	case replication.Full:
		a.Size = p.base.Size()
	case replication.Ranges:
		a.Size = p.snap.Objects()
	}
	return a
}

// sendBase sends the base and closes it, so that its file can go.
func (s *stream) sendBase(p *plan) error {
	buf := make([]byte, baseBuffer)
	left := p.base.Size()
	for left > 0 {
		n, err := p.base.Read(buf[:min(int64(len(buf)), left)])
		if n > 0 {
			if err := s.write(buf[:n]); err != nil {
				return err
			}
			s.base.Add(int64(n))
			left -= int64(n)
		}
		if err != nil && left > 0 {
			return fmt.Errorf("%w: read base at offset %d: %d bytes missing: %w", errLog, p.start.Offset, left, err)
		}
	}
	return p.closeBase()
}

// sendLog sends what the tail reads, and a heartbeat at once and then whenever
// HeartbeatInterval has passed, idle or not: a follower that is behind learns
// from it by how much.
func (s *stream) sendLog(ctx context.Context, tail *aof.Tail) error {
	for {
		if err := s.heartbeat(); err != nil {
			return err
		}
		if err := s.sendUntilBeat(ctx, tail); err != nil {
			return err
		}
	}
}

// sendUntilBeat sends for one HeartbeatInterval.
func (s *stream) sendUntilBeat(ctx context.Context, tail *aof.Tail) error {
	beat, cancel := context.WithTimeout(ctx, s.opt.HeartbeatInterval)
	defer cancel()
	for beat.Err() == nil {
		raw, m, err := tail.Next(beat)
		if err != nil {
			if beat.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%w: behind offset %d: %w", errLog, s.sentOffset.Load(), err)
		}
		if err := s.write(raw); err != nil {
			return err
		}
		s.sentOffset.Store(m.Offset)
		s.ctl.sent(m.Offset)
	}
	return ctx.Err()
}

func (s *stream) heartbeat() error {
	m := s.opt.Log.Written()
	m.Time = s.opt.Now().UnixMilli()
	s.line = replication.AppendHeartbeat(s.line[:0], m)
	return s.write(s.line)
}

// write sends b, whole, whoever else writes. As long as the follower takes something it may take its time.
func (s *stream) write(b []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	for len(b) > 0 {
		if err := s.conn.SetWriteDeadline(time.Now().Add(s.opt.WriteTimeout)); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		n, err := s.conn.Write(b[:min(len(b), writeChunk)])
		s.sent.Add(int64(n))
		b = b[n:]
		switch {
		case err == nil, n > 0 && errors.Is(err, os.ErrDeadlineExceeded):
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("%w: it took nothing for %s", ErrSlow, s.opt.WriteTimeout)
		default:
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

// readAcks takes what the follower says until it ends; answers of a range resync
// go to hear. It never returns nil.
func (s *stream) readAcks(ctx context.Context, r io.Reader, ranges bool, beside *sync.WaitGroup) error {
	cmds := resp.NewReader(r, resp.Limits{
		MaxArgs: maxAckArgs, MaxBulk: maxAckBytes, MaxInline: maxAckBytes, MaxCommand: maxAckBytes,
	})
	for {
		if err := s.conn.SetReadDeadline(time.Now().Add(s.opt.AckTimeout)); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		cmd, err := cmds.Next()
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return errHungUp
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("%w: nothing for %s", ErrSilent, s.opt.AckTimeout)
		default:
			if bad := (*resp.ProtocolError)(nil); errors.As(err, &bad) {
				return fmt.Errorf("%w: %w", replication.ErrProtocol, err)
			}
			return fmt.Errorf("read: %w", err)
		}
		if ranges && !strings.EqualFold(cmd.Args[0], "REPLCONF") {
			select {
			case s.said <- slices.Clone(cmd.Args):
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		report, err := replication.ParseReport(cmd.Args)
		if err != nil {
			return err
		}
		if end := s.opt.Log.Position().Offset; max(report.Offset, report.Synced) > end {
			return fmt.Errorf("%w: acknowledges offset %d, the log ends at %d: it speaks of another one", replication.ErrProtocol, max(report.Offset, report.Synced), end)
		}
		s.report(ctx, report, beside)
	}
}
