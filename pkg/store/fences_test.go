package store

import (
	"context"
	"errors"
	"testing"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/fence"
)

// queue stands for the durable queue of webhooks' messages.
type queue struct {
	Events
	taken, safe int
	onCommit    func()
	err         error
}

func (q *queue) Fence(*fence.Fence, []byte)  { q.taken++ }
func (q *queue) Hook(*collection.Hook, bool) {}
func (q *queue) Rebuilt(*collection.State)   {}
func (q *queue) Blocked() error              { return nil }
func (q *queue) Publish(string, []byte) int  { return 0 }
func (q *queue) Commit(context.Context) error {
	if q.err != nil {
		return q.err
	}
	q.safe = q.taken
	if f := q.onCommit; f != nil {
		q.onCommit = nil
		f()
	}
	return nil
}

// TestMessageBeforeItsWrite: a write that comes while another is committed is
// not written along with it before its own message is safe.
func TestMessageBeforeItsWrite(t *testing.T) {
	f := open(t, t.TempDir())
	q := &queue{}
	f.Attach(q)
	f.mustWrite("SETHOOK h http://127.0.0.1:1 WITHIN k FENCE DETECT enter BOUNDS 0 0 9 9")
	before := q.safe
	q.onCommit = func() { f.send("SET", "k", "b", "POINT", "1", "1") } // it does not commit
	f.mustWrite("SET k a POINT 1 1")
	if q.taken != before+2 || q.safe != before+1 {
		t.Fatalf("%d messages, %d of them safe; want %d and %d", q.taken, q.safe, before+2, before+1)
	}
	if end, written := f.log.Last().Offset, f.log.Written().Offset; written >= end {
		t.Errorf("the second write is in the log (%d of %d bytes), its message is not safe", written, end)
	}
	if err := f.Commit(context.Background(), f.log.Last().Offset); err != nil {
		t.Fatal(err)
	}
	if q.safe != q.taken {
		t.Errorf("committed, but %d of %d messages are safe", q.safe, q.taken)
	}
}

// TestMessageCannotBeSafe: the write is not acknowledged and not written.
func TestMessageCannotBeSafe(t *testing.T) {
	f := open(t, t.TempDir())
	q := &queue{}
	f.Attach(q)
	f.mustWrite("SET k a POINT 1 1")
	q.err = errors.New("no space")
	f.send("SET", "k", "b", "POINT", "1", "1")
	end := f.log.Last().Offset
	if err := f.Commit(context.Background(), end); !errors.Is(err, q.err) {
		t.Errorf("commit: %v, want %v", err, q.err)
	}
	if f.log.Written().Offset == end {
		t.Error("the write is in the log")
	}
	q.err = nil
}
