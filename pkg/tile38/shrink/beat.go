package shrink

import (
	"context"
	"fmt"
	"sync"
	"time"

	"evenkeel/pkg/tile38"
)

// Beats writes a heartbeat at once and after each interval until ctx ends.
func Beats(ctx context.Context, every time.Duration, beat func(context.Context) error, onError func(error)) {
	for {
		if err := beat(ctx); err != nil && ctx.Err() == nil {
			onError(fmt.Errorf("heartbeat: %w", err))
		}
		if !pause(ctx, every) {
			return
		}
	}
}

// Beater returns what writes heartbeats to a server, over a connection of its own,
// and what closes it. command makes each.
func Beater(opt tile38.Options, command func(time.Time) []string) (beat func(context.Context) error, end func()) {
	var mu sync.Mutex
	l := newLink(opt)
	beat = func(ctx context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		_, err := l.do(ctx, command(time.Now())...)
		return err
	}
	return beat, func() {
		mu.Lock()
		defer mu.Unlock()
		l.close()
	}
}
