package upstream

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"evenkeel/pkg/tile38"
)

// Pauses between questions how far an engine is.
const (
	minAsk = time.Millisecond
	maxAsk = 20 * time.Millisecond
)

// controls are connections for our own questions.
type controls struct{ engine, leader control }

// control asks one server, on a connection that stays.
type control struct {
	b    *Backend
	dial func(ctx context.Context, addr string) (net.Conn, error)

	mu   sync.Mutex // held while asking
	addr string
	conn *tile38.Conn
	stop context.CancelFunc
}

func (c *controls) init(b *Backend) {
	c.engine.b, c.engine.dial = b, b.opts.DialEngine
	c.leader.b, c.leader.dial = b, b.opts.DialLeader
}

func (c *controls) close() error { return errors.Join(c.engine.close(), c.leader.close()) }

// size asks for aof_size.
func (c *control) size(ctx context.Context, addr string) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := ctx.Err(); err != nil { // while waiting for others
		return 0, err
	}
	if c.conn != nil && c.addr != addr {
		_ = c.hangUp()
	}
	if c.conn == nil {
		// The connection outlives the question.
		life, stop := context.WithCancel(context.WithoutCancel(ctx))
		conn, err := tile38.Dial(life, tile38.Options{Addr: addr, Auth: c.b.opts.Auth, Dial: c.dial, Timeout: c.b.opts.DialTimeout})
		if err != nil {
			stop()
			return 0, err
		}
		c.conn, c.stop, c.addr = conn, stop, addr
	}
	server, err := c.conn.Server()
	if isAnswer(err) {
		return 0, err
	}
	if err != nil {
		return 0, errors.Join(err, c.hangUp())
	}
	return server.AOFSize, nil
}

// isAnswer says whether err is what a server has answered.
func isAnswer(err error) bool {
	_, ok := errors.AsType[tile38.AnswerError](err)
	return ok
}

func (c *control) hangUp() error {
	err := c.conn.Close()
	c.stop()
	c.conn = nil
	return err
}

func (c *control) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return nil
	}
	return c.hangUp()
}

// offset tells how far the leader is.
func (b *Backend) offset(ctx context.Context, leader string) (int64, error) {
	if b.opts.Offset != nil {
		return b.opts.Offset(ctx)
	}
	return b.control.leader.size(ctx, leader)
}

// waitFor waits until the engine here is as far.
func (b *Backend) waitFor(ctx context.Context, offset int64) error {
	if b.opts.WaitFor != nil {
		return b.opts.WaitFor(ctx, offset)
	}
	for pause := minAsk; ; pause = min(2*pause, maxAsk) {
		size, err := b.control.engine.size(ctx, b.opts.Engine)
		if err == nil && size >= offset {
			return nil
		}
		if err != nil && !isAnswer(err) { // "catching up to leader" passes
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}
