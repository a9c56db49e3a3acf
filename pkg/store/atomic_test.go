package store

import (
	"context"
	"errors"
	"strings"
	"testing"

	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

// do carries out one command in a transaction and returns its answer.
func (f *fixture) do(tx *Tx, line string) string {
	f.t.Helper()
	args := strings.Fields(line)
	name := strings.ToLower(args[0])
	var out reply.Reply
	if err := tx.Do(f.Lookup(name), &command.Request{Args: args, Name: name}, &out); err != nil {
		return err.Error()
	}
	return string(out.Buf)
}

func TestAtomic(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	f.write("SET k a STRING before")
	var during string
	done := make(chan struct{})
	offset, err := f.Atomic(func(tx *Tx) {
		go func() {
			defer close(done)
			during = f.write("SET k a STRING other")
		}()
		if got := f.do(tx, "SET k a STRING within"); got != "+OK\r\n" {
			t.Errorf("SET: %q", got)
		}
		if got := f.do(tx, "GET k a"); got != "$6\r\nwithin\r\n" {
			t.Errorf("GET sees %q", got)
		}
		if got := f.do(tx, "SET k a POINT x y"); got != "invalid argument 'x'" {
			t.Errorf("a bad SET: %q", got)
		}
		f.do(tx, "SET k b STRING too")
		if st := f.StatsOf(tx.State()); st.Objects != 2 {
			t.Errorf("%d objects", st.Objects)
		}
	})
	if err != nil || offset == 0 {
		t.Fatalf("offset %d, %v", offset, err)
	}
	if err := f.Commit(context.Background(), offset); err != nil {
		t.Fatal(err)
	}
	<-done
	if during != "+OK\r\n" || f.read("GET k a") != "$5\r\nother\r\n" {
		t.Errorf("the other's write: %q, the value %q", during, f.read("GET k a"))
	}
	f.Refuse(errors.New("read only"))
	if _, err := f.Atomic(func(*Tx) { t.Error("it ran") }); err == nil || err.Error() != "read only" {
		t.Errorf("refused with %v", err)
	}
	f.Refuse(nil)
	// What was applied before a panic is in the log.
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is gone")
			}
		}()
		_, _ = f.Atomic(func(tx *Tx) {
			f.do(tx, "SET k c STRING last")
			panic("a bug")
		})
	}()
	f.write("SET k d STRING after")
	digest, _ := f.Digest()
	f.close()
	f = open(t, dir)
	if again, _ := f.Digest(); again != digest || f.read("GET k c") != "$4\r\nlast\r\n" || f.Stats().DigestMismatch != 0 {
		t.Errorf("after a restart: digest %v, was %v; c is %q", again, digest, f.read("GET k c"))
	}
}
