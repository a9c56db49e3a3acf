package history

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// told plays operations one after the other.
type told struct {
	write      bool
	key, value string
	outcome    Outcome
}

func play(all []told) *History {
	h := New()
	for _, o := range all {
		if o.write {
			h.Write(0, o.key, o.value, func() Outcome { return o.outcome })
		} else {
			h.Read(0, o.key, func() (string, Outcome) { return o.value, o.outcome })
		}
	}
	return h
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name string
		ops  []told
		good bool
	}{
		{"what was written is read", []told{{true, "a", "1", Done}, {false, "a", "1", Done}}, true},
		{"an acknowledged write is lost", []told{{true, "a", "1", Done}, {false, "a", "", Done}}, false},
		{"… of another key", []told{{true, "a", "1", Done}, {false, "b", "", Done}}, true},
		{"an older value comes back", []told{{true, "a", "1", Done}, {true, "a", "2", Done}, {false, "a", "1", Done}}, false},
		{"a refused write shows", []told{{true, "a", "1", NotDone}, {false, "a", "1", Done}}, false},
		{"a write of which nothing is known shows", []told{{true, "a", "1", Unknown}, {false, "a", "1", Done}}, true},
		{"… or does not", []told{{true, "a", "1", Unknown}, {false, "a", "", Done}}, true},
		{"… or only later", []told{{true, "a", "1", Unknown}, {true, "a", "2", Done}, {false, "a", "2", Done}, {false, "a", "1", Done}}, true},
		{"… and goes again", []told{{true, "a", "1", Unknown}, {false, "a", "1", Done}, {false, "a", "", Done}}, false},
		{"a read that failed says nothing", []told{{true, "a", "1", Done}, {false, "a", "", Unknown}, {false, "a", "x", NotDone}}, true},
	} {
		err := play(c.ops).Check(10*time.Second, filepath.Join(t.TempDir(), "history.html"))
		if (err == nil) != c.good {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestCounts(t *testing.T) {
	h := play([]told{{true, "a", "1", Done}, {true, "a", "2", NotDone}, {false, "a", "1", Unknown}})
	if done, not, unknown := h.Counts(); done != 1 || not != 1 || unknown != 1 {
		t.Errorf("counted %d, %d, %d", done, not, unknown)
	}
	h.Mark()
	time.Sleep(20 * time.Millisecond)
	if g := h.Gap(); g < 20*time.Millisecond || g > 10*time.Second {
		t.Errorf("no write for %s", g)
	}
}

// refusal is an answer of a server, as go-redis has it.
type refusal string

func (r refusal) Error() string { return string(r) }
func (refusal) RedisError()     {}

func TestKnown(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Outcome
	}{
		{nil, Done},
		{refusal("ERR not the leader: the command has not run"), NotDone},
		{refusal("ERR the leader was lost: the command may or may not have run"), Unknown},
		{refusal("NOREPLICAS the write is done here, but 0 of 1 replicas have it"), Unknown},
		{fmt.Errorf("pool: %w", &net.OpError{Op: "dial", Err: errors.New("connection refused")}), NotDone},
		{&net.OpError{Op: "read", Err: errors.New("connection reset")}, Unknown},
		{io.EOF, Unknown},
	} {
		if got := Known(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}
