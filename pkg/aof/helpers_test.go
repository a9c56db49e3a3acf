package aof

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidwall/redcon"
	"go.uber.org/goleak"

	"evenkeel/internal/fsx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var bg = context.Background()

// digestAt is the digest that these tests give to the state at an offset.
func digestAt(off int64) Digest {
	if off == 0 {
		return Digest{}
	}
	return Digest{Hi: uint64(off) * 0x9e3779b97f4a7c15, Lo: uint64(off)}
}

func openLog(t testing.TB, dir string, change ...func(*Options)) *Log {
	t.Helper()
	l, err := tryOpen(dir, change...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeLog(t, l) })
	return l
}

func tryOpen(dir string, change ...func(*Options)) (*Log, error) {
	o := Options{Dir: dir, Fsync: FsyncNo, Now: func() int64 { return 777 }}
	for _, c := range change {
		c(&o)
	}
	return Open(o)
}

func closeLog(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(bg); err != nil {
		t.Errorf("close: %v", err)
	}
}

func command(args ...string) []byte {
	b := redcon.AppendArray(nil, len(args))
	for _, a := range args {
		b = redcon.AppendBulkString(b, a)
	}
	return b
}

// add appends commands as one writer and does not wait for the disk.
func add(t testing.TB, l *Log, now int64, cmds ...[]string) int64 {
	t.Helper()
	if _, err := l.Begin(now); err != nil {
		t.Fatal(err)
	}
	off := l.Last().Offset
	for _, c := range cmds {
		l.Add(c)
		off += int64(len(command(c...)))
	}
	if got := l.End(digestAt(off)); got != off {
		t.Fatalf("End returned %d, want %d", got, off)
	}
	return off
}

// write is add, committed.
func write(t testing.TB, l *Log, now int64, cmds ...[]string) int64 {
	t.Helper()
	off := add(t, l, now, cmds...)
	if err := l.Commit(bg, off); err != nil {
		t.Fatal(err)
	}
	return off
}

func set(i int) []string { return []string{"SET", "fleet", fmt.Sprint(i), "POINT", "33.5", "-112.25"} }

// contents is what a log delivers at Replay.
type contents struct {
	base, log []byte
	last      Mark // of the last batch
	batches   int
}

func replayAll(l *Log) (c contents, err error) {
	baseOffset := l.Stats().Base.Offset
	err = l.Replay(bg, func(b Batch) error {
		c.batches++
		c.last = b.Mark
		if b.Unchecked || len(b.Payload) == 0 {
			if len(c.log) > 0 || b.Offset != baseOffset {
				return fmt.Errorf("a batch of the base at %v", b.Mark)
			}
			c.base = append(c.base, b.Payload...)
			return nil
		}
		if got := baseOffset + int64(len(c.log)+len(b.Payload)); got != b.Offset {
			return fmt.Errorf("batch %v after %d bytes", b.Mark, got)
		}
		if b.Digest != digestAt(b.Offset) {
			return fmt.Errorf("batch %v has a wrong digest", b.Mark)
		}
		c.log = append(c.log, b.Payload...)
		return nil
	}, nil)
	return c, err
}

func mustReplay(t testing.TB, l *Log) contents {
	t.Helper()
	c, err := replayAll(l)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// copyDir copies the files of a directory.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	for name, b := range dirFiles(t, from) {
		if err := os.WriteFile(filepath.Join(to, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func dirFiles(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, e := range entries {
		if e.Name() == fsx.LockName || e.IsDir() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = b
	}
	return files
}

// sameFiles reports what differs between two states of a directory.
func sameFiles(a, b map[string][]byte) error {
	for name := range a {
		if _, ok := b[name]; !ok {
			return fmt.Errorf("%s is gone", name)
		}
		if !bytes.Equal(a[name], b[name]) {
			return fmt.Errorf("%s changed", name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			return fmt.Errorf("%s is new", name)
		}
	}
	return nil
}

// names lists the files of a directory with a prefix.
func names(t testing.TB, dir, prefix string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			out = append(out, e.Name())
		}
	}
	return out
}

// compact writes a base of cmds at the current end.
func compact(t testing.TB, l *Log, now int64, cmds ...[]string) (Mark, int64) {
	t.Helper()
	m := l.Seal(now, l.Last().Digest)
	b, err := l.CreateBase(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cmds {
		if err := b.Add(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Verify(bg, nil); err != nil {
		t.Fatal(err)
	}
	freed, err := b.Install(bg)
	if err != nil {
		t.Fatal(err)
	}
	return m, freed
}

// withoutSync makes tests fast that open many directories and lose no power.
func withoutSync(o *Options) { o.FS = lazyFS{} }

type lazyFS struct{ fsx.OS }

type lazyFile struct{ fsx.File }

func (lazyFS) SyncDir(string) error { return nil }

func (lazyFile) Sync() error { return nil }

func (f lazyFS) OpenFile(path string, flag int, perm fs.FileMode) (fsx.File, error) {
	file, err := f.OS.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err
	}
	return lazyFile{file}, nil
}
