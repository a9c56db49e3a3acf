package shrink

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"evenkeel/pkg/tile38"
)

// tripwire is a connection that reads the end of the log: the swap of the file
// closes it.
type tripwire struct {
	stop context.CancelFunc
	wg   sync.WaitGroup
	gone chan struct{} // closed when the server has ended the connection
}

// newTripwire reads the log from size on. A follower's aof_size may be more than it
// has: then all of it is read.
func newTripwire(ctx context.Context, opt tile38.Options, size int64) (*tripwire, error) {
	ctx, stop := context.WithCancel(ctx)
	c, err := tile38.Dial(ctx, opt)
	if err != nil {
		stop()
		return nil, err
	}
	s, err := c.Follow(size)
	if answered(err) && size > 0 {
		s, err = c.Follow(0)
	}
	if err != nil {
		stop()
		return nil, fmt.Errorf("read the end of the log: %w", errors.Join(err, c.Close()))
	}
	w := &tripwire{stop: stop, gone: make(chan struct{})}
	w.wg.Go(func() {
		defer func() { _ = c.Close() }()
		for {
			_, err := s.Next(tile38.NoLimit)
			switch {
			case err == nil:
				continue
			case ctx.Err() == nil && !errors.Is(err, tile38.ErrFormat):
				close(w.gone)
			}
			return
		}
	})
	return w, nil
}

// cut says whether the server has ended the connection.
func (w *tripwire) cut() bool {
	select {
	case <-w.gone:
		return true
	default:
		return false
	}
}

func (w *tripwire) close() {
	w.stop()
	w.wg.Wait()
}
