package store

import (
	"fmt"
	"strings"
	"testing"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

// ring is a polygon from 0 0 to 10 10 with that many points on its lower side.
func ring(points int) string {
	var b strings.Builder
	b.WriteString(`{"type":"Polygon","coordinates":[[[10,10],[0,10]`)
	for i := range points {
		fmt.Fprintf(&b, ",[%.5f,0]", 10*float64(i)/float64(points-1))
	}
	b.WriteString(",[10,10]]]}")
	return b.String()
}

func (f *fixture) locked() bool {
	if !f.mu.TryLock() {
		return true
	}
	f.mu.Unlock()
	return false
}

// TestLargeWriteIsReadAhead: while a large geometry is read, others write; the
// handler takes what was read.
func TestLargeWriteIsReadAhead(t *testing.T) {
	f := open(t, t.TempDir())
	spec := *f.Lookup("set")
	early, write := spec.Early, spec.Write
	var steps []string
	spec.Early = func(req *command.Request) {
		if f.locked() {
			t.Error("the lock is held while a geometry is read")
			return
		}
		f.mustWrite("SET k other POINT 1 2")
		early(req)
		steps = append(steps, "read")
	}
	spec.Write = func(req *command.Request, st *collection.State, ch *collection.Change, out *reply.Reply) error {
		if !f.locked() {
			t.Error("a handler runs without the lock")
		}
		if req.Early != nil {
			steps = append(steps, "write what was read")
		} else {
			steps = append(steps, "write")
		}
		return write(req, st, ch, out)
	}
	var out reply.Reply
	f.Write([]Write{
		{Spec: &spec, Request: command.Request{Name: "set", Args: []string{"SET", "k", "large", "OBJECT", ring(500)}}},
		{Spec: &spec, Request: command.Request{Name: "set", Args: []string{"SET", "k", "small", "POINT", "1", "2"}}},
	}, &out)
	if got, want := strings.Join(steps, ", "), "read, write what was read, write"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := string(out.Buf), "+OK\r\n+OK\r\n"; got != want {
		t.Errorf("answer %q, want %q", got, want)
	}
	if got, want := f.read("SCAN k IDS"), "*2\r\n:0\r\n*3\r\n$5\r\nlarge\r\n$5\r\nother\r\n$5\r\nsmall\r\n"; got != want {
		t.Errorf("SCAN %q, want %q", got, want)
	}
}

// TestLargeReadTakesSnapshot: no lock is held while a large area is read.
func TestLargeReadTakesSnapshot(t *testing.T) {
	f := open(t, t.TempDir())
	f.mustWrite("SET k a POINT 1.1 4.0001", "SET k b POINT 50 50")
	spec := *f.Lookup("intersects")
	read, locked := spec.Read, false
	spec.Read = func(req *command.Request, st *collection.State, out *reply.Reply) error {
		locked = f.locked()
		return read(req, st, out)
	}
	for _, tc := range []struct {
		points int
		locked bool
	}{{10, true}, {3000, false}} {
		var out reply.Reply
		args := []string{"INTERSECTS", "k", "IDS", "OBJECT", ring(tc.points)}
		f.Read(&spec, &command.Request{Name: "intersects", Args: args}, &out)
		if locked != tc.locked {
			t.Errorf("an area of %d points: locked %v, want %v", tc.points, locked, tc.locked)
		}
		if got, want := string(out.Buf), "*2\r\n:0\r\n*1\r\n$1\r\na\r\n"; got != want {
			t.Errorf("an area of %d points: answer %q, want %q", tc.points, got, want)
		}
	}
}
