package proxy

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

// responder sends what the Reader of a hijacked WebSocket answers by itself:
// pongs, and the answer to a close. It has its own deadline: the one that the
// last push has left may be over.
type responder struct {
	ctx     context.Context //nolint:containedctx // it lives as long as the call of the hijacker that ctx is for
	nc      net.Conn
	timeout *atomic.Int64 // ns
}

// Write sends one frame.
func (w responder) Write(frame []byte) (int, error) {
	if err := w.nc.SetWriteDeadline(time.Now().Add(time.Duration(w.timeout.Load()))); err != nil {
		return 0, err
	}
	if err := w.ctx.Err(); err != nil {
		return 0, err // what ended it may have set a deadline before
	}
	return w.nc.Write(frame)
}
