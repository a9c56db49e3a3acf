package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a store on real files with a clock of its own.
type fixture struct {
	*Store
	t   *testing.T
	log *aof.Log
	now *atomic.Int64
}

func open(t *testing.T, dir string) *fixture {
	t.Helper()
	f := &fixture{t: t, now: &atomic.Int64{}}
	f.now.Store(1_700_000_000_000)
	var err error
	f.log, err = aof.Open(aof.Options{Dir: dir, Fsync: aof.FsyncNo, Now: f.now.Load, SegmentBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	f.Store, err = Open(context.Background(), Options{Log: f.log, Now: f.now.Load})
	if err != nil {
		t.Fatal(errors.Join(err, f.log.Close(context.Background())))
	}
	t.Cleanup(func() { f.close() })
	return f
}

// close checks the state against itself and closes the log; it may be called
// twice.
func (f *fixture) close() {
	f.t.Helper()
	if f.log == nil {
		return
	}
	if err := f.eng.State().Check(); err != nil {
		f.t.Error(err)
	}
	if err := f.log.Close(context.Background()); err != nil {
		f.t.Error(err)
	}
	f.log = nil
}

// write carries out one command and returns its answer.
func (f *fixture) write(line string) string {
	f.t.Helper()
	args := strings.Fields(line)
	name := strings.ToLower(args[0])
	var out reply.Reply
	ws := []Write{{Spec: f.Lookup(name), Request: command.Request{Args: args, Name: name}}}
	if offset := f.Write(ws, &out); offset > 0 {
		if err := f.Commit(context.Background(), offset); err != nil {
			f.t.Fatal(err)
		}
	}
	return string(out.Buf)
}

func (f *fixture) read(line string) string {
	f.t.Helper()
	args := strings.Fields(line)
	name := strings.ToLower(args[0])
	var out reply.Reply
	f.Read(f.Lookup(name), &command.Request{Args: args, Name: name}, &out)
	return string(out.Buf)
}

func (f *fixture) mustWrite(lines ...string) {
	f.t.Helper()
	for _, line := range lines {
		if got := f.write(line); strings.HasPrefix(got, "-") {
			f.t.Fatalf("%s: %s", line, got)
		}
	}
}

func (f *fixture) digest() string {
	d, _ := f.Digest()
	return d.String()
}

// TestReopen: the same state from segments, from a base, and from both.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	f.mustWrite("SET k a POINT 1 2", "SET k b FIELD n 5 POINT 3 4 5", "SET k c STRING text", "SET k r BOUNDS 1 2 3 4",
		"SET k t EX 100 POINT 1 1", "DEL k a", "SET other x POINT 1 1", "RENAME other new")
	want := f.digest()
	f.close()
	f = open(t, dir)
	if got := f.digest(); got != want {
		t.Fatalf("from segments: digest %s, want %s", got, want)
	}
	if _, err := f.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
	f.close()
	f = open(t, dir)
	if got := f.digest(); got != want {
		t.Fatalf("from a base: digest %s, want %s", got, want)
	}
	f.mustWrite("SET k z POINT 9 9")
	want = f.digest()
	f.close()
	f = open(t, dir)
	if got := f.digest(); got != want {
		t.Fatalf("from base and segment: digest %s, want %s", got, want)
	}
	if n := f.Stats().DigestMismatch; n != 0 {
		t.Errorf("%d batches led to another digest", n)
	}
}

// TestCompactWhileWriting: writers, readers and compactions beside each other;
// nothing is lost.
func TestCompactWhileWriting(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	ctx := context.Background()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var counts [4]int
	for w := range counts {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					counts[w] = i
					return
				default:
				}
				f.mustWrite(fmt.Sprintf("SET k%d %d FIELD n %d POINT %d %d", w, i, i, i%80, w))
				if i%7 == 0 {
					f.mustWrite(fmt.Sprintf("SET shared %d POINT %d 1", i%100, i%80))
				}
			}
		})
	}
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				f.read("SCAN k0 COUNT")
				f.read("NEARBY k1 LIMIT 5 POINT 1 1")
			}
		}
	})
	for range 5 {
		c, err := f.Compact(ctx)
		if err != nil {
			t.Error(err)
		}
		if c.Objects == 0 && c.Offset > 0 {
			t.Errorf("a base of nothing at offset %d", c.Offset)
		}
	}
	close(stop)
	wg.Wait()
	want := f.digest()
	f.close()
	f = open(t, dir)
	if got := f.digest(); got != want {
		t.Errorf("digest %s after reopening, want %s", got, want)
	}
	for w, n := range counts {
		if got := f.read(fmt.Sprintf("SCAN k%d COUNT", w)); got != fmt.Sprintf(":%d\r\n", n) {
			t.Errorf("writer %d wrote %d objects, there are %s", w, n, got)
		}
	}
}

// TestCancelledCompaction leaves the old files in force.
func TestCancelledCompaction(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	for i := range 2000 {
		f.mustWrite(fmt.Sprintf("SET k %d POINT 1 1", i))
	}
	want := f.digest()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.Compact(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("Compact with an ended context: %v", err)
	}
	if f.log.Stats().BaseBytes != 0 {
		t.Error("there is a base")
	}
	f.close()
	f = open(t, dir)
	if got := f.digest(); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

// TestExpire deletes what is due, in order, through the log; and nothing while
// writes are refused.
func TestExpire(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	f.mustWrite("SET k a EX 10 POINT 1 1", "SET k b EX 20 POINT 1 1", "SET k c POINT 1 1")
	offset := f.log.Last().Offset
	f.now.Add(15_000)
	if n, _, _ := f.expireOnce(); n != 1 {
		t.Errorf("%d objects expired after 15 s, want 1", n)
	}
	if f.log.Last().Offset == offset {
		t.Error("the deletion is not in the log")
	}
	f.Refuse(errors.New("not the leader"))
	f.now.Add(15_000)
	if n, _, next := f.expireOnce(); n != 0 || next <= f.now.Load() {
		t.Errorf("refusing writes, %d objects expired; next look at %d, now is %d", n, next, f.now.Load())
	}
	f.Refuse(nil)
	if n, _, next := f.expireOnce(); n != 1 || next != 0 {
		t.Errorf("%d objects expired, next deadline %d; want 1 and none", n, next)
	}
	want := f.digest()
	f.close()
	f = open(t, dir)
	if got := f.digest(); got != want {
		t.Errorf("digest %s after reopening, want %s", got, want)
	}
}

// TestExpireWakesUp: the loop serves an earlier deadline that comes later.
func TestExpireWakesUp(t *testing.T) {
	f := open(t, t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { f.Expire(ctx) })
	defer wg.Wait()
	defer cancel()
	f.mustWrite("SET k a EX 1000 POINT 1 1")
	f.now.Add(2000)
	f.mustWrite("SET k b EX -1 POINT 1 1")
	if wait := f.untilDeadline(); wait < expireGrace {
		t.Errorf("the expiry looks %v after a deadline was set, want %v", wait, expireGrace)
	}
	deadline := time.Now().Add(30 * time.Second)
	for f.Stats().Expired == 0 {
		if time.Now().After(deadline) {
			t.Fatal("k b is still there")
		}
		time.Sleep(time.Millisecond)
	}
	if got := f.read("EXISTS k a"); got != ":1\r\n" {
		t.Errorf("EXISTS k a = %q", got)
	}
}

// batches returns what the log of f holds.
func batches(t *testing.T, f *fixture) (all []aof.Batch) {
	t.Helper()
	err := f.log.Replay(context.Background(), func(b aof.Batch) error {
		b.Payload = bytes.Clone(b.Payload)
		all = append(all, b)
		return nil
	}, func(int64, int64) {})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// join makes f an empty follower of the history of l.
func join(t *testing.T, f, l *fixture) {
	t.Helper()
	if err := f.Reset(context.Background(), aof.History{Epoch: l.log.Position().Epoch}, aof.Mark{}, -1, 0, strings.NewReader("")); err != nil {
		t.Fatal(err)
	}
}

// TestApplyBatch: a follower that takes the leader's batches has its state and
// its position; a wrong digest is an error.
func TestApplyBatch(t *testing.T) {
	l, f := open(t, t.TempDir()), open(t, t.TempDir())
	l.mustWrite("SET k a POINT 1 1", "SET k b EX 5 POINT 1 1", "DEL k a")
	join(t, f, l)
	ctx := context.Background()
	all := batches(t, l)
	for _, b := range all {
		if err := f.ApplyBatch(ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	lp, ld := l.Position()
	if fp, fd := f.Position(); fp != lp || fd != ld {
		t.Errorf("follower at %v %v, leader at %v %v", fp, fd, lp, ld)
	}
	l.mustWrite("SET k c POINT 1 1")
	b := batches(t, l)[len(all)]
	b.Digest.Lo++
	if err := f.ApplyBatch(ctx, b); !errors.Is(err, ErrDigest) {
		t.Errorf("a batch with another digest: %v", err)
	}
}

// TestReset takes a base, and stays as it was when the base is not what it
// should be.
func TestReset(t *testing.T) {
	l, f := open(t, t.TempDir()), open(t, t.TempDir())
	for i := range 500 {
		l.mustWrite(fmt.Sprintf("SET k %d POINT %d 1", i, i%80))
	}
	ctx := context.Background()
	if _, err := l.Compact(ctx); err != nil {
		t.Fatal(err)
	}
	base, err := l.log.OpenBase()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = base.Close() }()
	raw, err := io.ReadAll(base)
	if err != nil {
		t.Fatal(err)
	}
	f.mustWrite("SET own x POINT 1 1")
	before := f.digest()
	epoch, mark := base.Position().Epoch, base.Mark()

	bad := bytes.Clone(raw)
	bad[len(bad)/2] ^= 1
	wrong := mark
	wrong.Digest.Hi++
	for name, r := range map[string]struct {
		raw  []byte
		mark aof.Mark
	}{"damaged": {bad, mark}, "cut short": {raw[:len(raw)/2], mark}, "wrong digest": {raw, wrong}} {
		if err := f.Reset(ctx, aof.History{Epoch: epoch}, r.mark, -1, int64(len(raw)), bytes.NewReader(r.raw)); err == nil {
			t.Errorf("%s: no error", name)
		}
		if f.digest() != before {
			t.Fatalf("%s: the state has changed", name)
		}
	}
	if err := f.Reset(ctx, aof.History{Epoch: epoch}, mark, -1, int64(len(raw)), bytes.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
	if f.digest() != l.digest() {
		t.Errorf("digest %s, want %s", f.digest(), l.digest())
	}
	if got := f.read("EXISTS own x"); got != "-ERR key not found\r\n" && got != ":0\r\n" {
		t.Errorf("what the follower had of its own is still there: %q", got)
	}
}

// TestReadSlice: a long read goes on with a snapshot and gives the same answer.
func TestReadSlice(t *testing.T) {
	f := open(t, t.TempDir())
	for i := range 3000 {
		f.mustWrite(fmt.Sprintf("SET k %04d FIELD n %d POINT %d 1", i, i, i%80))
	}
	want := f.read("SCAN k LIMIT 3000 WHERE n 100 2900")
	f.opt.ReadSlice = 1 // ns
	if got := f.read("SCAN k LIMIT 3000 WHERE n 100 2900"); got != want {
		t.Error("a read on a snapshot has another answer")
	}
	if f.Stats().ReadSnapshots == 0 {
		t.Error("no read took a snapshot")
	}
}
