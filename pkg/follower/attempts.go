package follower

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// What followers of every protocol do alike: try again, and tell.

// Attempts calls attempt until it returns an error, which it returns, or ctx
// ends, whose cause it returns. The wait between two attempts doubles from least
// to most, less up to half of it at random.
func Attempts(ctx context.Context, least, most time.Duration, attempt func() error) error {
	wait := least
	for {
		began := time.Now()
		if err := attempt(); err != nil {
			return err
		}
		// A connection that lasted is no sign that the next attempt will fail. One
		// that did not, however far it got, must not make resyncs follow each other
		// without a pause.
		if time.Since(began) > most {
			wait = least
		}
		if err := sleep(ctx, wait-rand.N(wait/2+1)); err != nil {
			return err
		}
		wait = min(2*wait, most)
	}
}

// sleep waits for d or for the end of ctx, whose cause it returns.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Teller tells of events, in the log and to OnEvent. One goroutine uses it.
type Teller struct {
	Name     string // what the lines in the log begin with
	Logger   *slog.Logger
	OnEvent  func(Event)
	lastLost string // the error that was logged last
}

// Tell tells of an event; attrs come first in its line.
func (t *Teller) Tell(ctx context.Context, e Event, attrs ...any) {
	level := slog.LevelInfo
	switch {
	case e.Kind == EventDiverged:
		level = slog.LevelError
	case e.Kind == EventLost && e.Err.Error() == t.lastLost:
		level = slog.LevelDebug // the same again: one line in the log is enough
	case e.Kind == EventLost:
		level = slog.LevelWarn
		t.lastLost = e.Err.Error()
	}
	if e.Kind != EventLost {
		t.lastLost = ""
	}
	if e.Bytes > 0 {
		attrs = append(attrs, "bytes", e.Bytes)
	}
	if e.Kind == EventRanges || e.Kind == EventRangesDone {
		attrs = append(attrs, "objects", e.Objects)
	}
	if e.Err != nil {
		attrs = append(attrs, "error", e.Err)
	}
	t.Logger.Log(ctx, level, t.Name+": "+string(e.Kind), attrs...)
	t.OnEvent(e)
}
