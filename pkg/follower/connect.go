package follower

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/replication"
)

// handshakeBuffer holds lines of the handshake, and what the leader sent right
// behind them, in bytes.
const handshakeBuffer = 64 << 10

// ErrStalled says that the leader said nothing for Options.ReadTimeout.
var ErrStalled = errors.New("the leader is silent")

// link is one connection to the leader.
type link struct {
	f       *Follower
	conn    net.Conn
	timeout time.Duration // for one read
	writing sync.Mutex    // held while something whole is written
	r       *bufio.Reader // on the link itself, so that reads are timed and counted
	cut     atomic.Bool   // a read or a write failed
}

// connect dials, authenticates and asks. The connection is closed when it fails.
func (f *Follower) connect(ctx context.Context) (*link, replication.Answer, error) {
	f.progress(func(p *replication.Progress) { p.Connecting(f.opt.Leader) })
	conn, err := f.opt.Dial(ctx, f.opt.Leader)
	if err != nil {
		return nil, replication.Answer{}, fmt.Errorf("connect to leader %s: %w", f.opt.Leader, err)
	}
	l := &link{f: f, conn: conn, timeout: f.opt.AnswerTimeout}
	l.r = bufio.NewReaderSize(l, handshakeBuffer)
	unhook := context.AfterFunc(ctx, func() { conn.Close() })
	a, err := f.handshake(l)
	if !unhook() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, replication.Answer{}, fmt.Errorf("leader %s: %w", f.opt.Leader, err)
	}
	l.timeout = f.opt.ReadTimeout
	return l, a, nil
}

func (f *Follower) handshake(l *link) (replication.Answer, error) {
	if f.opt.Auth != "" {
		if err := l.auth(f.opt.Auth); err != nil {
			return replication.Answer{}, err
		}
	}
	hello := f.hello()
	if err := l.write(hello.Append(nil)); err != nil {
		return replication.Answer{}, err
	}
	line, err := l.line()
	if err != nil {
		return replication.Answer{}, fmt.Errorf("answer to %s: %w", replication.CommandName, err)
	}
	a, err := replication.ParseAnswer(line)
	if err != nil {
		return a, err
	}
	switch {
	case a.LeaderID != "" && a.LeaderID == f.opt.ID:
		return a, replication.ErrSelf
	case a.Kind == replication.Ranges && hello.Objects == 0:
		return a, fmt.Errorf("%w: the leader sends ranges, which were not asked for", replication.ErrProtocol)
	case a.Kind == replication.Continue && !continues(a, hello.Position):
		return a, fmt.Errorf("%w: asked for epoch %s offset %d, the leader continues epoch %s offset %d",
			replication.ErrProtocol, hello.Position.Epoch, hello.Position.Offset, a.Epoch, a.Start.Offset)
	case f.opt.Accept != nil:
		return a, f.opt.Accept(a)
	}
	return a, nil
}

// continues says whether a CONTINUE goes on from pos: in the same epoch, or in
// one whose history is the same up to there.
func continues(a replication.Answer, pos aof.Position) bool {
	if a.Start.Offset != pos.Offset {
		return false
	}
	if len(a.Forks) > 0 && a.Forks[0].Epoch == pos.Epoch {
		return pos.Offset <= a.Forks[0].Offset
	}
	return a.Epoch == pos.Epoch
}

// hello is what we ask for: to go on, or everything.
func (f *Follower) hello() replication.Hello {
	h := replication.Hello{
		Version:       replication.Version,
		ListeningPort: f.opt.ListeningPort,
		IPAddress:     f.opt.IPAddress,
		ID:            f.opt.ID,
	}
	if !f.needFull {
		h.Position, h.Digest = f.opt.Store.Position()
	}
	if f.opt.Ranges != nil && !f.noRanges {
		h.Objects = f.opt.Ranges.Objects()
	}
	return h
}

// auth sends the password as one RESP command.
func (l *link) auth(password string) error {
	if err := l.write(fmt.Appendf(nil, "*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n", len(password), password)); err != nil {
		return err
	}
	line, err := l.line()
	if err != nil {
		return fmt.Errorf("answer to AUTH: %w", err)
	}
	if !strings.HasPrefix(line, "+") {
		return fmt.Errorf("%w the password: %.128s", replication.ErrRefused, strings.TrimPrefix(line, "-ERR "))
	}
	return nil
}

// line reads a line of the handshake, without its end.
func (l *link) line() (string, error) {
	var line []byte
	for {
		c, err := l.r.ReadByte()
		if err != nil {
			return "", err
		}
		if c == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		if len(line) > replication.MaxLine {
			return "", fmt.Errorf("%w: line of more than %d bytes: %.64q",
				replication.ErrProtocol, replication.MaxLine, line)
		}
		line = append(line, c)
	}
}

// Read reads from the connection, within the timeout, and counts.
func (l *link) Read(p []byte) (int, error) {
	if err := l.conn.SetReadDeadline(time.Now().Add(l.timeout)); err != nil {
		return 0, fmt.Errorf("read: %w", err)
	}
	n, err := l.conn.Read(p)
	l.f.progress(func(p *replication.Progress) { p.Received(int64(n)) })
	if err != nil {
		l.cut.Store(true)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return n, fmt.Errorf("%w: nothing for %s", ErrStalled, l.timeout)
	}
	return n, err
}

// write sends b within the timeout, whole, whoever else writes.
func (l *link) write(b []byte) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.conn.SetWriteDeadline(time.Now().Add(l.f.opt.ReadTimeout)); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if _, err := l.conn.Write(b); err != nil {
		l.cut.Store(true)
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
