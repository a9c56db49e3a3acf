package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// ReplyTimeout is how long a reply may take before a run is given up.
const ReplyTimeout = 2 * time.Minute

// Server says where requests go.
type Server struct {
	Addr string // host:port
	Auth string // password; empty: none
	// Dial connects; nil: over TCP as it is.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
}

// dialTimeout is how long connecting may take.
const dialTimeout = 5 * time.Second

func (s Server) dial(ctx context.Context) (net.Conn, error) {
	if s.Dial == nil {
		return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", s.Addr)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return s.Dial(ctx, s.Addr)
}

// Conn is one client connection. Requests are written to Conn itself.
type Conn struct {
	net.Conn
	r *bufio.Reader
}

// Dial connects and, if there is a password, says it.
func Dial(ctx context.Context, to Server) (*Conn, error) {
	c, err := to.dial(ctx)
	if err != nil {
		return nil, err
	}
	conn := NewConn(c)
	if to.Auth == "" {
		return conn, nil
	}
	if _, err := conn.Do("AUTH", to.Auth); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return conn, nil
}

// NewConn returns a connection that exists already.
func NewConn(c net.Conn) *Conn { return &Conn{c, bufio.NewReaderSize(c, 64<<10)} }

// Do sends one command and reads the reply, as Strings does.
func (c *Conn) Do(args ...string) ([]string, error) {
	if err := c.SetDeadline(time.Now().Add(ReplyTimeout)); err != nil {
		return nil, err
	}
	if _, err := c.Write(AppendCommand(nil, args...)); err != nil {
		return nil, err
	}
	out, err := c.Strings()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", args[0], err)
	}
	return out, nil
}

// AppendCommand appends a request as a RESP array.
func AppendCommand(b []byte, args ...string) []byte {
	b = append(b, '*')
	b = strconv.AppendInt(b, int64(len(args)), 10)
	b = append(b, "\r\n"...)
	for _, a := range args {
		b = append(b, '$')
		b = strconv.AppendInt(b, int64(len(a)), 10)
		b = append(b, "\r\n"...)
		b = append(b, a...)
		b = append(b, "\r\n"...)
	}
	return b
}

// ReplyError is an error that the server answered.
type ReplyError string

func (e ReplyError) Error() string { return "server: " + string(e) }

// Skip reads one reply and forgets it. An error reply is a ReplyError; other
// errors mean that the connection is lost.
func (c *Conn) Skip() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	switch line[0] {
	case '+', ':':
		return nil
	case '-':
		return ReplyError(line[1:])
	}
	n, err := strconv.Atoi(string(line[1:]))
	if err != nil {
		return fmt.Errorf("reply %q: %w", line, err)
	}
	if line[0] == '$' {
		if n >= 0 {
			_, err = c.r.Discard(n + 2)
		}
		return err
	}
	var failed error
	for ; n > 0; n-- {
		if err := c.Skip(); err != nil {
			if !errors.As(err, new(ReplyError)) {
				return err
			}
			failed = err
		}
	}
	return failed
}

// line reads a reply's first line, which is valid until the next read.
func (c *Conn) line() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 3 {
		return nil, fmt.Errorf("reply %q: too short", line)
	}
	return line[:len(line)-2], nil
}

// Strings reads a reply as the texts in it, in order; arrays are flattened.
func (c *Conn) Strings() ([]string, error) {
	line, err := c.line()
	if err != nil {
		return nil, err
	}
	kind, text := line[0], string(line[1:])
	if kind == '-' {
		return nil, ReplyError(text)
	}
	if kind != '$' && kind != '*' {
		return []string{text}, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("reply %q: %w", text, err)
	}
	if kind == '$' {
		if n < 0 {
			return []string{""}, nil
		}
		b := make([]byte, n+2)
		if _, err := io.ReadFull(c.r, b); err != nil {
			return nil, err
		}
		return []string{string(b[:n])}, nil
	}
	var out []string
	for ; n > 0; n-- {
		part, err := c.Strings()
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
	return out, nil
}

// Ask sends one command on a connection of its own and reads the reply.
func Ask(ctx context.Context, to Server, args ...string) ([]string, error) {
	c, err := Dial(ctx, to)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Do(args...)
}
