package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
)

// idleConns is how many clients are connected to the proxy and silent.
const idleConns = 10_000

// idleMemory is how much memory a proxy has with that many clients, each of which has
// sent a command before, in MB.
func idleMemory(ctx context.Context, f *front) (mb float64, err error) {
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			err = errors.Join(err, c.Close())
		}
	}()
	const pong = "+PONG\r\n"
	for len(conns) < idleConns {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", f.addr)
		if err != nil {
			return 0, fmt.Errorf("client %d: %w", len(conns), err)
		}
		conns = append(conns, c)
		if _, err := io.WriteString(c, "*1\r\n$4\r\nPING\r\n"); err != nil {
			return 0, fmt.Errorf("client %d: %w", len(conns), err)
		}
		var got [len(pong)]byte
		if _, err := io.ReadFull(c, got[:]); err != nil || string(got[:]) != pong {
			return 0, fmt.Errorf("client %d: %q, %w", len(conns), got, err)
		}
	}
	resident, _, err := f.proc.memory()
	return float64(resident) / 1e6, err
}
