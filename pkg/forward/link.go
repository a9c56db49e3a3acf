package forward

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tidwall/redcon"
	"golang.org/x/sys/unix"

	"evenkeel/pkg/tile38"
)

// Mode is the output that a client has chosen.
type Mode struct{ JSON, RESP3 bool }

// writeBuffer of a link, in bytes.
const writeBuffer = 16 << 10

// link is one connection. It belongs to one pipeline at a time.
type link struct {
	addr    string
	conn    net.Conn
	r       *bufio.Reader
	w       *bufio.Writer
	sent    *counter
	mode    Mode
	native  bool        // an Evenkeel answers
	used    time.Time   // when it was given back last
	changed atomic.Bool // there is another leader
}

// counter counts what a connection has taken.
type counter struct {
	conn net.Conn
	n    atomic.Int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.conn.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// connect dials a leader, and says who asks.
func (p *Pool) connect(ctx context.Context, addr string) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, p.opt.DialTimeout)
	defer cancel()
	c, err := tile38.Dial(ctx, tile38.Options{Addr: addr, Auth: p.opt.Auth(), Dial: p.opt.Dial, Timeout: p.opt.DialTimeout})
	if err != nil {
		return nil, refused(err)
	}
	l := &link{addr: addr}
	if err := l.introduce(c, p.opt); err != nil {
		return nil, errors.Join(refused(err), c.Close())
	}
	if l.conn, l.r, err = c.Take(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	l.sent = &counter{conn: l.conn}
	l.w = bufio.NewWriterSize(l.sent, writeBuffer)
	return l, nil
}

// refused tells a password that is wrong, and will be the next time, from a failure.
func refused(err error) error {
	answer, ok := errors.AsType[tile38.AnswerError](err)
	if ok && (strings.Contains(string(answer), "password") || strings.Contains(string(answer), "authentication")) {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

// introduce says that what follows was sent to another server. A Tile38 does not
// know of that; a sidecar before one does not send on what comes from LocalName.
func (l *link) introduce(c *tile38.Conn, opt Options) error {
	v, err := c.Do(Command, From, opt.Name)
	answer, answered := errors.AsType[tile38.AnswerError](err)
	switch {
	case answered && strings.Contains(strings.ToLower(string(answer)), "unknown command"):
		_, err = c.Do("client", "setname", tile38.LocalName)
		if _, answered := errors.AsType[tile38.AnswerError](err); answered {
			return nil
		}
		return err
	case err != nil:
		return err
	}
	var words []string
	v.ForEach(func(e redcon.RESP) bool {
		words = append(words, e.String())
		return true
	})
	if len(words) != 2 || words[0] != Leading || words[1] == opt.ID {
		return ErrNotLeader
	}
	l.native = true
	return nil
}

// quiet says whether the other side has neither closed the connection nor said
// anything unasked, without waiting.
func (l *link) quiet() bool {
	if l.r.Buffered() > 0 {
		return false
	}
	conn := l.conn
	if s, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		conn = s.NetConn()
	}
	s, ok := conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	if err := l.conn.SetReadDeadline(time.Time{}); err != nil { // that of the last pipeline has passed
		return false
	}
	var b [1]byte
	var got error
	if err := raw.Read(func(fd uintptr) bool {
		_, _, got = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT) // #nosec G115 -- descriptors are small
		return true
	}); err != nil {
		return false
	}
	return errors.Is(got, unix.EAGAIN)
}
