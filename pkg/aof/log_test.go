package aof

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
)

// The bytes on the disk are an interface: other programs and later versions
// read them.
func TestFormat(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir)
	add(t, l, 1000, []string{"SET", "k", "a", "STRING", "x"}, []string{"DEL", "k", "a"})
	add(t, l, 1004, []string{"SET", "k", "b", "STRING", ""}) // shares the batch
	write(t, l, 1005, []string{"SET", "k", "c", "STRING", "\x00\r\n#*"})
	m := l.Seal(2000, l.Last().Digest)
	b, err := l.CreateBase(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Add([]string{"SET", "k", "b", "STRING", ""}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Install(bg); err != nil {
		t.Fatal(err)
	}
	write(t, l, 3000, []string{"DROP", "k"})
	if err := l.Sync(bg); err != nil {
		t.Fatal(err)
	}
	l.wakeWorker()
	closeLog(t, l)
	var got strings.Builder
	for _, name := range names(t, dir, "") {
		if name == fsx.LockName {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(raw), l.epoch, strings.Repeat("0123456789", 4))
		if name == manifestName {
			text = blankChecksum(text)
		}
		fmt.Fprintf(&got, "== %s\n", name)
		for line := range strings.Lines(text) {
			if name != manifestName {
				line = fmt.Sprintf("%q", line) + "\n"
			}
			got.WriteString(line)
		}
	}
	golden := filepath.Join("testdata", "format.golden")
	if os.Getenv("AOF_GOLDEN") == "write" {
		if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got:\n%s\nwant (AOF_GOLDEN=write accepts it):\n%s", got.String(), want)
	}
}

// blankChecksum hides the manifest's own checksum, which depends on the epoch.
func blankChecksum(text string) string {
	at := strings.LastIndex(text, `"crc32c": "`) + len(`"crc32c": "`)
	return text[:at] + "xxxxxxxx" + text[at+8:]
}

func TestReopen(t *testing.T) {
	for _, policy := range []FsyncPolicy{FsyncAlways, FsyncEverySecond, FsyncNo} {
		t.Run(policy.String(), func(t *testing.T) {
			dir := t.TempDir()
			var want []byte
			var last Mark
			for i := range 5 {
				l := openLog(t, dir, func(o *Options) { o.Fsync = policy; o.SegmentBytes = 300 })
				if i == 0 != l.Recovery().New {
					t.Errorf("open %d: %+v", i, l.Recovery())
				}
				if c := mustReplay(t, l); !bytes.Equal(c.log, want) {
					t.Fatalf("open %d: replayed %q, want %q", i, c.log, want)
				}
				if l.Last() != last || l.Written() != last {
					t.Fatalf("open %d: ends at %v, want %v", i, l.Last(), last)
				}
				for j := range 4 {
					write(t, l, int64(10*i+j), set(j))
					want = append(want, command(set(j)...)...)
				}
				last = l.Last()
				closeLog(t, l)
			}
			if n := len(names(t, dir, segmentName)); n < 4 {
				t.Errorf("%d segments, want several", n)
			}
		})
	}
}

func TestBeginSharesAndClamps(t *testing.T) {
	l := openLog(t, t.TempDir())
	steps := []struct{ now, want int64 }{
		{100, 100}, {104, 100}, {105, 105}, {90, 105}, {109, 105}, {110, 110},
	}
	for i, s := range steps {
		got, err := l.Begin(s.now)
		if err != nil || got != s.want {
			t.Fatalf("step %d: Begin(%d) = %d, %v; want %d", i, s.now, got, err, s.want)
		}
		l.Add(set(i))
		l.End(digestAt(l.Last().Offset + int64(len(command(set(i)...)))))
	}
	// What is not ended is forgotten.
	if _, err := l.Begin(200); err != nil {
		t.Fatal(err)
	}
	l.Add(set(99))
	end := write(t, l, 201, set(6))
	c := mustReplay(t, l)
	if c.batches != 4 || c.last.Time != 201 || c.last.Offset != end || bytes.Contains(c.log, []byte("99")) {
		t.Errorf("%d batches, last %v: %q", c.batches, c.last, c.log)
	}
	if got, err := l.Begin(50); got != 201 || err != nil {
		t.Errorf("time went back to %d, %v", got, err)
	}
	if got := l.End(Digest{}); got != end {
		t.Errorf("an empty End returned %d", got)
	}
}

// A flush in the middle of a writer's commands does not tear them apart.
func TestFlushBetweenBeginAndEnd(t *testing.T) {
	l := openLog(t, t.TempDir())
	first := add(t, l, 100, set(1))
	now, err := l.Begin(103)
	if err != nil || now != 100 {
		t.Fatalf("Begin = %d, %v", now, err)
	}
	l.Add(set(2))
	if err := l.Commit(bg, first); err != nil {
		t.Fatal(err)
	}
	l.Add(set(3))
	second := l.End(digestAt(3 * first))
	if second != 3*first {
		t.Fatalf("offset %d, want %d", second, 3*first)
	}
	if err := l.Commit(bg, second); err != nil {
		t.Fatal(err)
	}
	var times []Mark
	if err := l.Replay(bg, func(b Batch) error { times = append(times, b.Mark); return nil }, nil); err != nil {
		t.Fatal(err)
	}
	want := []Mark{{first, 100, digestAt(first)}, {second, 100, digestAt(second)}}
	if fmt.Sprint(times) != fmt.Sprint(want) {
		t.Errorf("batches %v, want %v", times, want)
	}
}

// What is appended while the disk is busy is not called written.
func TestAppendDuringFlush(t *testing.T) {
	l, disk, _ := faulty(t, FsyncNo)
	first := add(t, l, 1, set(1))
	var once sync.Once
	disk.FailWith(func(_ int, op fsxtest.Op, path string) error {
		if op == fsxtest.OpWrite && strings.Contains(path, segmentName) {
			once.Do(func() {
				add(t, l, 2, set(2))
				l.Seal(3, l.Last().Digest)
				add(t, l, 4, set(3))
			})
		}
		return nil
	})
	if err := l.Commit(bg, first); err != nil {
		t.Fatal(err)
	}
	if got := l.Written(); got != (Mark{first, 1, digestAt(first)}) {
		t.Errorf("written %v, want %d", got, first)
	}
	if got := mustReplay(t, l); got.last.Offset != first {
		t.Errorf("replayed up to %v", got.last)
	}
	if err := l.Commit(bg, 3*first); err != nil {
		t.Fatal(err)
	}
	if got := mustReplay(t, l); got.last.Offset != 3*first || l.Stats().Segments != 2 {
		t.Errorf("replayed up to %v, %d segments", got.last, l.Stats().Segments)
	}
}

func TestCommitBeyondTheEnd(t *testing.T) {
	l := openLog(t, t.TempDir())
	off := write(t, l, 1, set(1))
	if err := l.Commit(bg, off+1); err == nil {
		t.Error("no error")
	}
	if err := l.Commit(bg, off); err != nil {
		t.Error(err)
	}
}

func TestAppendBatch(t *testing.T) {
	leader := openLog(t, t.TempDir())
	follower := openLog(t, t.TempDir(), func(o *Options) { o.SegmentBytes = 200 })
	for i := range 10 {
		write(t, leader, int64(100+i*10), set(i), set(i+1))
	}
	err := leader.Replay(bg, func(b Batch) error {
		off, err := follower.AppendBatch(b)
		if err != nil {
			return err
		}
		return follower.Commit(bg, off)
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if leader.Last() != follower.Last() {
		t.Errorf("leader ends at %v, follower at %v", leader.Last(), follower.Last())
	}
	if a, b := mustReplay(t, leader), mustReplay(t, follower); !bytes.Equal(a.log, b.log) || a.batches != b.batches {
		t.Error("the logs differ")
	}
	end := follower.Last().Offset
	good := command("DEL", "a", "b")
	for name, b := range map[string]Batch{
		"gap":      {Mark: Mark{Offset: end + int64(len(good)) + 1}, Payload: good},
		"overlap":  {Mark: Mark{Offset: end}, Payload: good},
		"empty":    {Mark: Mark{Offset: end}},
		"not RESP": {Mark: Mark{Offset: end + 5}, Payload: []byte("hello")},
		"torn":     {Mark: Mark{Offset: end + 5}, Payload: good[:5]},
		"line":     {Mark: Mark{Offset: end + 5}, Payload: []byte("#1 2\n")},
	} {
		if _, err := follower.AppendBatch(b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if follower.Last().Offset != end {
		t.Error("a refused batch moved the end")
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir)
	_, err := tryOpen(dir)
	if le, ok := errors.AsType[*fsx.LockedError](err); !ok || le.PID != os.Getpid() {
		t.Fatalf("second open: %v", err)
	}
	closeLog(t, l)
	closeLog(t, openLog(t, dir))
}

func TestClosed(t *testing.T) {
	l := openLog(t, t.TempDir())
	write(t, l, 1, set(1))
	tail, err := l.Tail(l.Position(), l.Last().Digest)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() { _, _, err := tail.Next(bg); got <- err }()
	closeLog(t, l)
	if err := <-got; !errors.Is(err, ErrClosed) {
		t.Errorf("Next: %v", err)
	}
	if err := tail.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Begin(1); !errors.Is(err, ErrClosed) {
		t.Errorf("Begin: %v", err)
	}
	if err := l.Sync(bg); !errors.Is(err, ErrClosed) {
		t.Errorf("Sync: %v", err)
	}
	if _, err := l.Tail(Position{l.epoch, 0}, Digest{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Tail: %v", err)
	}
	if _, err := l.CreateBase(Mark{}); !errors.Is(err, ErrClosed) {
		t.Errorf("CreateBase: %v", err)
	}
}

// Many writers commit together: everything is there once, in the order of the
// offsets, in fewer flushes than commits.
func TestGroupCommit(t *testing.T) {
	for _, policy := range []FsyncPolicy{FsyncAlways, FsyncEverySecond} {
		t.Run(policy.String(), func(t *testing.T) {
			l := openLog(t, t.TempDir(), func(o *Options) { o.Fsync = policy; o.SegmentBytes = 10_000 })
			const writers, each = 16, 30
			var store sync.Mutex // the caller's own lock
			var want []byte
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					for i := range each {
						store.Lock()
						if _, err := l.Begin(int64(i)); err != nil {
							t.Error(err)
						}
						c := set(w*1000 + i)
						l.Add(c)
						want = append(want, command(c...)...)
						off := l.End(digestAt(int64(len(want))))
						store.Unlock()
						if err := l.Commit(bg, off); err != nil {
							t.Error(err)
						}
						if l.Written().Offset < off {
							t.Errorf("commit of %d returned at %d", off, l.Written().Offset)
						}
					}
				})
			}
			wg.Wait()
			if c := mustReplay(t, l); !bytes.Equal(c.log, want) {
				t.Error("the log is not what was appended")
			}
			s := l.Stats()
			if s.Rotations == 0 || s.Flushes == 0 || s.PendingBytes != 0 || s.SinceBytes == 0 {
				t.Errorf("stats %+v", s)
			}
			if policy == FsyncAlways && (s.Syncs == 0 || s.Syncs > writers*each+2*s.Rotations) {
				t.Errorf("%d syncs for %d commits", s.Syncs, writers*each)
			}
		})
	}
}

func TestRotationIsRecorded(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, func(o *Options) { o.SegmentBytes = 200; o.Fsync = FsyncAlways })
	for i := range 5 {
		write(t, l, int64(i), set(i))
	}
	// With FsyncAlways what is acknowledged is in a segment that MANIFEST knows.
	b, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		t.Fatal(err)
	}
	m, err := decodeManifest(b)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Files) != 3 || m.Files[2].End != nil || *m.Files[1].End != m.Files[2].Start {
		t.Errorf("manifest %s", b)
	}
	for _, f := range m.Files[1:] {
		if d, err := ParseDigest(f.StartDigest); err != nil || d != digestAt(f.Start) {
			t.Errorf("%s: start digest %v, %v", f.Name, d, err)
		}
	}
}

func TestPayloadReader(t *testing.T) {
	l := openLog(t, t.TempDir(), func(o *Options) { o.SegmentBytes = 500 })
	var want []byte
	for i := range 20 {
		write(t, l, int64(i), set(i))
		want = append(want, command(set(i)...)...)
	}
	check := func(from int64) *PayloadReader {
		t.Helper()
		p, err := l.PayloadReader(from)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(p)
		if err != nil || !bytes.Equal(got, want[from:]) {
			t.Fatalf("from %d: %q, %v; want %q", from, got, err, want[from:])
		}
		return p
	}
	everywhere := func() {
		t.Helper()
		if l.PayloadSize() != int64(len(want)) {
			t.Fatalf("size %d, want %d", l.PayloadSize(), len(want))
		}
		for from := range int64(len(want) + 1) {
			if err := check(from).Close(); err != nil {
				t.Fatal(err)
			}
		}
		for _, from := range []int64{-1, int64(len(want)) + 1} {
			if _, err := l.PayloadReader(from); !errors.Is(err, ErrGone) {
				t.Errorf("from %d: %v", from, err)
			}
		}
	}
	everywhere()
	p := check(100)
	compact(t, l, 50, set(100), set(101))
	write(t, l, 60, set(102))
	tail := command(set(102)...)
	if err := p.Wait(bg); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(p); err != nil || !bytes.Equal(got, tail) {
		t.Errorf("live: %q, %v", got, err)
	}
	if !p.Replaced() {
		t.Error("not told of the new base")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	want = bytes.Join([][]byte{command(set(100)...), command(set(101)...), tail}, nil)
	everywhere()
}
