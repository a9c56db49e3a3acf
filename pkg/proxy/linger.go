package proxy

import (
	"context"
	"io"
	"net"
	"time"
)

const (
	// lingerTime is how long a client may take to close its side.
	lingerTime = time.Second
	// lingerBytes is how much of what it still sends is read and dropped.
	lingerBytes = 1 << 20
)

// linger sends the end of the stream and waits for the client to close too. A
// connection that is closed while there is unread input is reset by the kernel,
// and the reset can overtake the last reply.
func linger(nc net.Conn) {
	half, ok := nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	if nc.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	// However it ends, the connection is closed next.
	_, _ = io.CopyN(io.Discard, nc, lingerBytes)
}

// closeAfter closes nc when ctx ends, unless stop is called before.
func closeAfter(ctx context.Context, nc net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { closeQuietly(nc) })
}

// closeQuietly closes nc; nothing could be done about an error, nor is anything
// lost by it, since replies that were written are the kernel's.
func closeQuietly(nc net.Conn) { _ = nc.Close() }
