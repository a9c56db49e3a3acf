package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"evenkeel/pkg/proxy"
	"evenkeel/pkg/pubsub"
	"evenkeel/pkg/resp"
)

// live is a connection that is told of things as they happen: a live fence, a
// subscriber, a monitor. One goroutine reads what the client sends, another
// writes everything that goes out, answers included: they take their place in
// the order of the messages.
type live struct {
	*session
	listener *pubsub.Listener
	// format appends a message as it goes out.
	format func(dst []byte, m pubsub.Message) []byte
	// command answers what the client sends, through say; the connection ends
	// when it returns false. nil: anything ends it.
	command func(args []string) bool
	ended   func() // called at the end; may be nil
	what    string // for the log
}

// say sends an answer as it is.
func (l *live) say(answer []byte) { l.listener.Push(pubsub.Message{Payload: answer}) }

// isEnd says whether m is the last message of a connection: behind it nothing is sent.
func isEnd(m *pubsub.Message) bool { return m.Kind == pubsub.KindDirect && m.Payload == nil }

// liveWrite is how much of what waits is handed to the connection at once.
const liveWrite = 64 << 10

// hijack owns the connection from now on.
func (l *live) hijack(ctx context.Context, h proxy.Hijacked) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	written := make(chan error, 1)
	go func() {
		defer cancel()
		written <- l.write(ctx, h.Conn)
	}()
	// A write that waits for the client ends when the listener is given up, or
	// the server.
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case <-l.listener.Gone():
		case <-ctx.Done():
		}
		_ = h.Conn.SetDeadline(time.Unix(1, 0)) // fails only when it is closed
	}()
	l.read(h.Reader)
	l.listener.Push(pubsub.Message{}) // see isEnd
	err := <-written
	l.listener.Close()
	<-gone
	if l.ended != nil {
		l.ended()
	}
	var slow *pubsub.SlowError
	if errors.As(err, &slow) {
		l.node.opt.Logger.Warn("a client that does not take its messages was disconnected",
			"client", l.addr(), "what", l.what, "why", err)
		return nil
	}
	return err
}

// read hands over what the client sends until it is to end.
func (l *live) read(r *resp.Reader) {
	var cmds []resp.Command
	for {
		var err error
		cmds, err = r.Batch(cmds[:0], 1)
		if err != nil || l.command == nil {
			return
		}
		if !l.command(cmds[0].Args) {
			return
		}
	}
}

// write sends what the listener gets until the connection is to end.
func (l *live) write(ctx context.Context, conn net.Conn) error {
	var waiting []pubsub.Message
	var buf []byte
	for {
		var err error
		waiting, err = l.listener.Next(ctx, waiting)
		if err != nil {
			if ctx.Err() != nil && !errors.Is(err, pubsub.ErrSlow) {
				return nil
			}
			return err
		}
		for i := range waiting {
			end := isEnd(&waiting[i])
			if !end {
				buf = l.format(buf, waiting[i])
			}
			if end || i == len(waiting)-1 || len(buf) >= liveWrite {
				if err := l.send(ctx, conn, buf); err != nil || end {
					return err
				}
				buf = buf[:0]
			}
		}
		if cap(buf) > 4*liveWrite {
			buf = nil
		}
	}
}

// send writes b, for which a client has --write-timeout.
func (l *live) send(ctx context.Context, conn net.Conn, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	_ = conn.SetWriteDeadline(time.Now().Add(l.conn.WriteTimeout())) // fails only when the write does
	if ctx.Err() == nil {                                            // else its deadline has been replaced by this one
		_, err := conn.Write(b)
		return l.failed(ctx, err)
	}
	return nil
}

// failed says what is to be reported of a write.
func (l *live) failed(ctx context.Context, err error) error {
	if err != nil && ctx.Err() == nil {
		select {
		case <-l.listener.Gone(): // the write has been given up because of it
			_, err = l.listener.Next(ctx, nil)
		default:
		}
		return fmt.Errorf("%s: %w", l.what, err)
	}
	return nil
}
