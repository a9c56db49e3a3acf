package aof

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"evenkeel/internal/fsx"
)

// Writers, a tail and compactions at once: the tail gets every byte once, in
// order, and notices nothing.
func TestTailThroughCompactions(t *testing.T) {
	l := openLog(t, t.TempDir(), func(o *Options) { o.SegmentBytes = 2000; o.BacklogBytes = -1; o.Fsync = FsyncEverySecond })
	tail, err := l.Tail(l.Position(), Digest{})
	if err != nil {
		t.Fatal(err)
	}
	const writers, each, compactions = 4, 150, 8
	var store sync.Mutex
	var want []byte
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				store.Lock()
				if _, err := l.Begin(int64(i)); err != nil {
					t.Error(err)
				}
				c := set(w*10000 + i)
				l.Add(c)
				want = append(want, command(c...)...)
				off := l.End(digestAt(int64(len(want))))
				store.Unlock()
				if err := l.Commit(bg, off); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for i := range compactions {
			store.Lock()
			m := l.Seal(int64(1000*i), digestAt(int64(len(want))))
			store.Unlock()
			b, err := l.CreateBase(m)
			if err != nil {
				t.Error(err)
				return
			}
			if err := b.Add(set(i)); err != nil {
				t.Error(err)
			}
			if _, err := b.Install(bg); err != nil {
				t.Error(err)
			}
		}
	})
	var got []byte
	var last Mark
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(bg)
	go func() {
		defer close(done)
		for {
			raw, m, err := tail.Next(ctx)
			if err != nil {
				if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				return
			}
			if err := ParseBatches(raw, func(b Batch) error {
				if b.Offset-int64(len(b.Payload)) != int64(len(got)) || b.Digest != digestAt(b.Offset) {
					return fmt.Errorf("batch %v after %d bytes", b.Mark, len(got))
				}
				got = append(got, b.Payload...)
				last = b.Mark
				return nil
			}); err != nil || last != m {
				t.Errorf("%v; mark %v, last %v", err, m, last)
			}
		}
	}()
	wg.Wait()
	end := int64(len(want))
	eventually(t, func() bool { return tail.Lag() == 0 && l.Written().Offset == end })
	cancel()
	<-done
	if !bytes.Equal(got, want) {
		t.Errorf("the tail got %d bytes, appended were %d", len(got), len(want))
	}
	if err := tail.Close(); err != nil {
		t.Error(err)
	}
	if c := mustReplay(t, l); len(c.base) == 0 || !bytes.HasSuffix(want, c.log) {
		t.Error("the log is not the end of what was appended")
	}
}

func TestTailErrors(t *testing.T) {
	l := openLog(t, t.TempDir())
	first := write(t, l, 1, set(1))
	end := write(t, l, 10, set(2))
	other := strings.Repeat("a", 40)
	for _, c := range []struct {
		name string
		p    Position
		d    Digest
		want error
	}{
		{"start", Position{l.epoch, 0}, Digest{}, nil},
		{"first batch", Position{l.epoch, first}, digestAt(first), nil},
		{"end", Position{l.epoch, end}, digestAt(end), nil},
		{"epoch", Position{other, 0}, Digest{}, ErrEpoch},
		{"beyond", Position{l.epoch, end + 1}, Digest{}, ErrGone},
		{"negative", Position{l.epoch, -1}, Digest{}, ErrGone},
		{"inside a batch", Position{l.epoch, first + 1}, digestAt(first), ErrDiverged},
		{"digest at the start", Position{l.epoch, 0}, digestAt(1), ErrDiverged},
		{"digest in between", Position{l.epoch, first}, digestAt(end), ErrDiverged},
		{"digest at the end", Position{l.epoch, end}, digestAt(first), ErrDiverged},
	} {
		tail, err := l.Tail(c.p, c.d)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil {
			if want := end - c.p.Offset; tail.Lag() != want {
				t.Errorf("%s: lag %d, want %d", c.name, tail.Lag(), want)
			}
			if err := tail.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if n := l.Stats().Tails; n != 0 {
		t.Errorf("%d tails left", n)
	}
	tail, err := l.Tail(Position{l.epoch, end}, digestAt(end))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if _, _, err := tail.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Next: %v", err)
	}
	if err := tail.Close(); err != nil {
		t.Error(err)
	}
	if _, _, err := tail.Next(bg); !errors.Is(err, ErrClosed) {
		t.Errorf("Next after Close: %v", err)
	}
}

// One batch that is larger than what a tail delivers at once, in the midst of
// small ones.
func TestTailLargeBatch(t *testing.T) {
	l := openLog(t, t.TempDir())
	var want []byte
	for i := range 3000 {
		c := set(i)
		if i == 1500 {
			c = []string{"SET", "k", "big", "STRING", strings.Repeat("y", 3*tailBytes)}
		}
		add(t, l, int64(10*i), c)
		want = append(want, command(c...)...)
	}
	if err := l.Sync(bg); err != nil {
		t.Fatal(err)
	}
	tail, err := l.Tail(Position{l.epoch, 0}, Digest{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tail.Close(); err != nil {
			t.Error(err)
		}
	}()
	var got []byte
	for len(got) < len(want) {
		raw, _, err := tail.Next(bg)
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) > tailBytes && len(raw) < 3*tailBytes {
			t.Errorf("%d bytes at once", len(raw))
		}
		if err := ParseBatches(raw, func(b Batch) error { got = append(got, b.Payload...); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, want) {
		t.Error("other bytes")
	}
	// Positions in the middle are found through the index and without it.
	for _, index := range []bool{true, false} {
		if !index {
			l.segs[0].index = nil
		}
		var off int64
		for i := range 3000 {
			c := set(i)
			if i == 1500 {
				c = []string{"SET", "k", "big", "STRING", strings.Repeat("y", 3*tailBytes)}
			}
			off += int64(len(command(c...)))
			if i%100 == 0 {
				x, err := l.Tail(Position{l.epoch, off}, digestAt(off))
				if err != nil {
					t.Fatal(err)
				}
				if err := x.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// renameHook calls before when a manifest is about to be put into its place.
type renameHook struct {
	fsx.OS
	before atomic.Pointer[func()] // the worker renames as well
}

func (h *renameHook) Rename(from, to string) error {
	if before := h.before.Load(); before != nil && filepath.Base(to) == manifestName {
		(*before)()
	}
	return h.OS.Rename(from, to)
}

// While a compaction changes over to its base, what is before that one is on its way
// out: a tail does not begin there, and waits for what is never there again. Who begins
// anew finds the new base.
func TestTailWhileBaseIsReplaced(t *testing.T) {
	hook := &renameHook{}
	l := openLog(t, t.TempDir(), func(o *Options) { o.BacklogBytes = -1; o.FS = hook })
	compact(t, l, 1, set(1))
	old, err := l.OpenBase()
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, l, 2, set(2))
	ended, read := make(chan error, 1), make(chan error, 1)
	before := func() {
		l.mu.Lock()
		begun := l.segs[0].dropping
		l.mu.Unlock()
		if !begun || hook.before.Swap(nil) == nil {
			return
		}
		go func() {
			tail, err := l.Tail(old.Position(), old.Mark().Digest)
			if err == nil {
				err = errors.Join(errors.New("it began"), tail.Close())
			}
			ended <- err
		}()
		go func() {
			p, err := l.PayloadReader(0)
			if err == nil {
				err = p.Close()
			}
			read <- err
		}()
		select {
		case err := <-ended:
			t.Errorf("before it is known what there will be: %v", err)
			ended <- err
		case <-time.After(50 * time.Millisecond):
		}
	}
	hook.before.Store(&before)
	compact(t, l, 3, set(2))
	if err := <-ended; !errors.Is(err, ErrGone) {
		t.Fatalf("a tail behind the old base: %v, want ErrGone", err)
	}
	if err := <-read; err != nil {
		t.Errorf("the whole log: %v", err)
	}
	base, err := l.OpenBase()
	if err != nil {
		t.Fatal(err)
	}
	tail, err := l.Tail(base.Position(), base.Mark().Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(base.Close(), tail.Close()); err != nil {
		t.Error(err)
	}
}
