package node

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestPlaces: no more scripts run at once than may, of each use; who waits gives
// up with his time, his connection, and when a script could have ended.
func TestPlaces(t *testing.T) {
	s := newPlaces(2, 50*time.Millisecond)
	ctx := context.Background()
	admit := func() func() {
		t.Helper()
		done, err := s.take(ctx, forEval, nil)
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	first, second := admit(), admit()
	if done, err := s.take(ctx, forWhere, nil); err != nil {
		t.Errorf("a search waits for scripts: %v", err)
	} else {
		done()
	}
	if _, err := s.take(ctx, forEval, nil); err == nil || !strings.Contains(err.Error(), "too many scripts") {
		t.Errorf("a third script: %v", err)
	}
	over := errors.New("over")
	if _, err := s.take(ctx, forEval, func() error { return over }); !errors.Is(err, over) {
		t.Errorf("one whose time is over: %v", err)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.take(gone, forEval, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("one whose client has gone: %v", err)
	}
	third := make(chan func())
	go func() {
		done, err := s.take(ctx, forEval, nil)
		if err != nil {
			t.Errorf("one that waits: %v", err)
			done = func() {}
		}
		third <- done
	}()
	first()
	(<-third)()
	second()
	admit()()
}
