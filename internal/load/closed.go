package load

import (
	"context"
	"errors"
	"sync"
	"time"
)

// InParallel runs do on that many connections at once and waits for all.
func InParallel(ctx context.Context, to Server, conns int, do func(c *Conn, worker int) error) error {
	errs := make([]error, conns)
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			c, err := Dial(ctx, to)
			if err != nil {
				errs[i] = err
				return
			}
			defer c.Close()
			defer context.AfterFunc(ctx, func() { _ = c.Close() })() // frees a blocked read
			errs[i] = do(c, i)
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.Join(errs...)
}

// Exchange sends requests from..to in one write and reads their replies.
func (c *Conn) Exchange(buf []byte, from, to int, request func(b []byte, n int) []byte) ([]byte, error) {
	buf = buf[:0]
	for n := from; n < to; n++ {
		buf = request(buf, n)
	}
	if err := c.SetDeadline(time.Now().Add(ReplyTimeout)); err != nil {
		return buf, err
	}
	if _, err := c.Write(buf); err != nil {
		return buf, err
	}
	for range to - from {
		if err := c.Skip(); err != nil {
			return buf, err
		}
	}
	return buf, nil
}
