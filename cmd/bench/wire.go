package main

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

// replyTimeout is how long a reply may take before a run is given up.
const replyTimeout = 2 * time.Minute

// conn is one client connection.
type conn struct {
	c net.Conn
	r *bufio.Reader
}

func dial(ctx context.Context, addr string) (*conn, error) {
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return newConn(c), nil
}

func newConn(c net.Conn) *conn { return &conn{c, bufio.NewReaderSize(c, 64<<10)} }

func (c *conn) close() { c.c.Close() }

// appendCommand appends a request as a RESP array.
func appendCommand(b []byte, args ...string) []byte {
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

// replyError is an error that the server answered.
type replyError string

func (e replyError) Error() string { return "server: " + string(e) }

// skip reads one reply and forgets it. An error reply is an replyError; other
// errors mean that the connection is lost.
func (c *conn) skip() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	switch line[0] {
	case '+', ':':
		return nil
	case '-':
		return replyError(line[1:])
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
		if err := c.skip(); err != nil {
			if !errors.As(err, new(replyError)) {
				return err
			}
			failed = err
		}
	}
	return failed
}

// line reads a reply's first line, which is valid until the next read.
func (c *conn) line() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 3 {
		return nil, fmt.Errorf("reply %q: too short", line)
	}
	return line[:len(line)-2], nil
}

// strings reads a reply as the texts in it, in order; arrays are flattened.
func (c *conn) strings() ([]string, error) {
	line, err := c.line()
	if err != nil {
		return nil, err
	}
	kind, text := line[0], string(line[1:])
	if kind == '-' {
		return nil, replyError(text)
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
		part, err := c.strings()
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
	return out, nil
}

// ask sends one command on a connection of its own and reads the reply.
func ask(ctx context.Context, addr string, args ...string) ([]string, error) {
	c, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer c.close()
	if err := c.c.SetDeadline(time.Now().Add(replyTimeout)); err != nil {
		return nil, err
	}
	if _, err := c.c.Write(appendCommand(nil, args...)); err != nil {
		return nil, err
	}
	out, err := c.strings()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", args[0], err)
	}
	return out, nil
}
