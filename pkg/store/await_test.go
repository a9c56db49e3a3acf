package store

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// TestAwait: it ends when the follower's state is where the leader's was, by its epoch
// or by one behind it; and says when that will never be.
func TestAwait(t *testing.T) {
	lead, fol := open(t, t.TempDir()), open(t, t.TempDir())
	join(t, fol, lead)
	for i := range 20 {
		lead.mustWrite(fmt.Sprintf("SET k %d POINT 1 1", i))
		want := lead.log.Position()
		done := make(chan error, 1)
		go func() { done <- fol.Await(t.Context(), want) }()
		for fol.moved.waiting.Load() == 0 { // it is waiting, or about to
		}
		select {
		case err := <-done:
			t.Fatalf("round %d: it did not wait: %v", i, err)
		default:
		}
		if err := fol.ApplyBatch(t.Context(), batches(t, lead)[i]); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	before := lead.log.Position()
	if err := lead.BeginEpoch(t.Context()); err != nil {
		t.Fatal(err)
	}
	lead.mustWrite("SET k z POINT 1 1")
	behind := lead.log.Position()
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := fol.Await(short, behind); !errors.Is(err, context.Canceled) {
		t.Errorf("an epoch that is not known: %v", err)
	}
	if err := lead.Await(short, before); err != nil {
		t.Errorf("an offset of the epoch before: %v", err)
	}
	before.Offset++
	if err := lead.Await(t.Context(), before); !errors.Is(err, ErrParted) {
		t.Errorf("an offset that the history has left out: %v", err)
	}
}
