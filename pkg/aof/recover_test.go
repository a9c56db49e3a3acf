package aof

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
)

// smallLog makes a directory with a backlog, a base, a sealed segment and an
// active one, and returns what a replay delivers.
func smallLog(t *testing.T) (dir string, want contents) {
	t.Helper()
	dir = t.TempDir()
	l := openLog(t, dir, func(o *Options) { o.Fsync = FsyncAlways })
	write(t, l, 10, set(1))
	compact(t, l, 20, set(1), set(2))
	write(t, l, 30, set(3))
	l.Seal(40, l.Last().Digest)
	write(t, l, 40, set(4), []string{"SET", "k", "v", "STRING", "\r\n#5 5 5 x\r\n*1\r\n"})
	write(t, l, 50, set(5))
	write(t, l, 60, set(6))
	want = mustReplay(t, l)
	closeLog(t, l)
	if n := len(names(t, dir, segmentName)); n != 3 {
		t.Fatalf("%d segments, want 3", n)
	}
	return dir, want
}

func lastSegment(t *testing.T, dir string) string {
	t.Helper()
	segs := names(t, dir, segmentName)
	return filepath.Join(dir, segs[len(segs)-1])
}

// A crash can end the active segment at any byte: exactly the whole batches
// before survive, and what is cut is kept.
func TestTruncatedAnywhere(t *testing.T) {
	dir, want := smallLog(t)
	raw, err := os.ReadFile(lastSegment(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	ends := map[int]Mark{0: {}}
	at := 0
	if err := ParseBatches(raw, func(b Batch) error {
		at += len(b.Payload) + len(appendAnnotation(nil, b.Mark, int64(len(b.Payload)), 0))
		ends[at] = b.Mark
		return nil
	}); err != nil || at != len(raw) {
		t.Fatal(err, at)
	}
	for size := range raw {
		cut := copyDir(t, dir)
		path := lastSegment(t, cut)
		if err := os.Truncate(path, int64(size)); err != nil {
			t.Fatal(err)
		}
		keep := size
		for ; ; keep-- {
			if _, ok := ends[keep]; ok {
				break
			}
		}
		l := openLog(t, cut, withoutSync)
		r := l.Recovery()
		if torn := keep < size; torn != (r.CutFile == path) || (torn && (r.CutAt != int64(keep) || r.CutBytes != int64(size-keep))) {
			t.Fatalf("size %d: %+v, want a cut at %d", size, r, keep)
		}
		if keep < size {
			kept, err := os.ReadFile(r.KeptIn)
			if err != nil || !bytes.Equal(kept, raw[keep:size]) || r.KeptIn != fmt.Sprintf("%s.cut-%d", path, keep) {
				t.Fatalf("size %d: kept %q in %s, %v", size, kept, r.KeptIn, err)
			}
		}
		c := mustReplay(t, l)
		lost := 0
		if keep < len(raw) {
			lost = int(want.last.Offset - l.Last().Offset)
		}
		if !bytes.Equal(c.base, want.base) || !bytes.Equal(c.log, want.log[:len(want.log)-lost]) {
			t.Fatalf("size %d: replayed %q", size, c.log)
		}
		if end := ends[keep]; keep > 0 && l.Last() != end {
			t.Fatalf("size %d: ends at %v, want %v", size, l.Last(), end)
		}
		write(t, l, 100, set(7))
		closeLog(t, l)
		again := openLog(t, cut, withoutSync)
		if got := mustReplay(t, again); !bytes.Equal(got.log, append(c.log, command(set(7)...)...)) {
			t.Fatalf("size %d: after writing on: %q", size, got.log)
		}
		closeLog(t, again)
	}
}

// A flipped bit in any byte of any file is told, or was of no consequence; in
// the very last batch it looks like a torn tail, and is cut and kept as one.
func TestFlippedAnywhere(t *testing.T) {
	dir, want := smallLog(t)
	files := dirFiles(t, dir)
	last := filepath.Base(lastSegment(t, dir))
	damaged := copyDir(t, dir)
	for name, raw := range files {
		for at := range raw {
			b := bytes.Clone(raw)
			b[at] ^= 1 << (at % 8)
			before := maps.Clone(files)
			before[name] = b
			restore(t, damaged, before)
			where := fmt.Sprintf("%s byte %d", name, at)
			l, err := tryOpen(damaged, withoutSync)
			if err != nil {
				if err := sameFiles(before, dirFiles(t, damaged)); err != nil {
					t.Fatalf("%s: Open failed and %v", where, err)
				}
				continue
			}
			got, err := replayAll(l)
			r := l.Recovery()
			closeLog(t, l)
			switch {
			case err != nil:
			case bytes.Equal(got.base, want.base) && bytes.Equal(got.log, want.log) && got.last == want.last:
				if r.CutFile != "" {
					t.Fatalf("%s: nothing missing, but %+v", where, r)
				}
			case name == last && r.CutBytes > 0 && r.CutAt+r.CutBytes == int64(len(raw)):
				kept, err := os.ReadFile(r.KeptIn)
				if err != nil || !bytes.Equal(kept, b[r.CutAt:]) {
					t.Fatalf("%s: kept %q, %v", where, kept, err)
				}
			default:
				t.Fatalf("%s: served silently: %q %+v", where, got.log, r)
			}
		}
	}
}

// restore makes files the content of dir.
func restore(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	now := dirFiles(t, dir)
	for name := range now {
		if _, ok := files[name]; !ok {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, b := range files {
		if old, ok := now[name]; ok && bytes.Equal(old, b) {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDamage(t *testing.T) {
	dir, _ := smallLog(t)
	segs := names(t, dir, segmentName)
	base := names(t, dir, baseName)[0]
	read := func(d, name string) []byte {
		b, err := os.ReadFile(filepath.Join(d, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	store := func(d, name string, b []byte) {
		if err := os.WriteFile(filepath.Join(d, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(name string) func(string) {
		return func(d string) {
			if err := os.Remove(filepath.Join(d, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	cases := []struct {
		name   string
		change func(dir string)
		file   string // of the DamageError; "": another error
		text   string
	}{
		{"base missing", remove(base), base, "missing"},
		{"sealed segment missing", remove(segs[1]), segs[1], "missing"},
		{"backlog segment missing", remove(segs[0]), segs[0], "missing"},
		{"active segment missing", remove(segs[2]), segs[2], "missing"},
		{"manifest missing", remove(manifestName), manifestName, "missing"},
		{"sealed segment shorter", func(d string) { b := read(d, segs[1]); store(d, segs[1], b[:len(b)-1]) }, segs[1], "bytes"},
		{"sealed segment longer", func(d string) { store(d, segs[1], append(read(d, segs[1]), 'x')) }, segs[1], "bytes"},
		{"base shorter", func(d string) { b := read(d, base); store(d, base, b[:len(b)-1]) }, base, "bytes"},
		{"bad batch before valid ones", func(d string) { b := read(d, segs[2]); b[10] ^= 1; store(d, segs[2], b) }, segs[2], "valid batch behind"},
		{"batch missing", func(d string) {
			b := read(d, segs[2])
			f, _, _ := decodeFrame(b)
			store(d, segs[2], b[f.size:])
		}, segs[2], "the one before it ends"},
		{"segment is a folder", func(d string) {
			remove(segs[1])(d)
			if err := os.Mkdir(filepath.Join(d, segs[1]), 0o700); err != nil {
				t.Fatal(err)
			}
		}, segs[1], "not a file"},
		{"two segments at one offset", func(d string) {
			off := int64(1 << 40)
			store(d, formatName(kindSegment, off, 1), nil)
			store(d, formatName(kindSegment, off, 2), nil)
		}, formatName(kindSegment, 1<<40, 1), "same offset"},
		{"manifest empty", func(d string) { store(d, manifestName, nil) }, "", "MANIFEST"},
		{"manifest of the future", func(d string) {
			store(d, manifestName, []byte(`{"version": 2, "surprise": true}`))
		}, "", "version 2 is not known"},
		{"manifest with an unknown field", func(d string) {
			store(d, manifestName, bytes.Replace(read(d, manifestName), []byte(`"epoch"`), []byte(`"spin": 1, "epoch"`), 1))
		}, "", "spin"},
		{"manifest edited", func(d string) {
			store(d, manifestName, bytes.Replace(read(d, manifestName), []byte(`"time": 20`), []byte(`"time": 21`), 1))
		}, "", "checksum"},
		{"manifest names a file elsewhere", func(d string) {
			b := bytes.Replace(read(d, manifestName), []byte(segs[0]), []byte("../x"), 1)
			store(d, manifestName, b[:bytes.LastIndexByte(b, ',')])
			store(d, manifestName, append(read(d, manifestName), '}'))
		}, "", "../x"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := copyDir(t, dir)
			c.change(d)
			before := dirFiles(t, d)
			l, err := tryOpen(d)
			if err == nil {
				closeLog(t, l)
				t.Fatal("no error")
			}
			de, ok := errors.AsType[*DamageError](err)
			if ok != (c.file != "") || (ok && filepath.Base(de.File) != c.file) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v", err)
			}
			if err := sameFiles(before, dirFiles(t, d)); err != nil {
				t.Error(err)
			}
		})
	}
}

// A person may edit MANIFEST when he takes its checksum out.
func TestManifestWithoutChecksum(t *testing.T) {
	dir, want := smallLog(t)
	path := filepath.Join(dir, manifestName)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b = append(b[:bytes.LastIndexByte(b, ',')], '}')
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := mustReplay(t, openLog(t, dir)); !bytes.Equal(got.log, want.log) {
		t.Errorf("replayed %q", got.log)
	}
}

func TestLeftovers(t *testing.T) {
	dir, want := smallLog(t)
	leftovers := []string{
		"MANIFEST.tmp", formatName(kindBase, 9, 1) + ".tmp", formatName(kindBase, 9, 1),
		formatName(kindSegment, 9, 1) + ".cut-5.tmp",
	}
	others := []string{"README", "x.tmp", "appendonly.aof.tmp", formatName(kindSegment, 9, 1) + ".cut-5"}
	ignored := []string{"appendonly.aof", formatName(kindSegment, 9, 1)}
	for _, list := range [][]string{leftovers, others, ignored} {
		for _, name := range list {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	l := openLog(t, dir)
	if got := mustReplay(t, l); !bytes.Equal(got.log, want.log) {
		t.Errorf("replayed %q", got.log)
	}
	for _, name := range leftovers {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
	for _, name := range append(others, ignored...) {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	r := l.Recovery()
	if len(r.Removed) != len(leftovers) || len(r.Ignored) != len(ignored) {
		t.Errorf("%+v", r)
	}
}

// A rotation that MANIFEST has not heard of.
func TestUnlistedSegments(t *testing.T) {
	dir := t.TempDir()
	faulty := fsxtest.New(fsx.OS{})
	l := openLog(t, dir, func(o *Options) { o.SegmentBytes = 100; o.FS = faulty })
	write(t, l, 1, set(1))
	if err := l.Sync(bg); err != nil {
		t.Fatal(err)
	}
	faulty.FailWith(func(_ int, _ fsxtest.Op, path string) error {
		if strings.Contains(path, manifestName) {
			return syscall.EIO
		}
		return nil
	})
	for i := range 3 {
		write(t, l, int64(i), set(i))
	}
	want := mustReplay(t, l)
	crashed := copyDir(t, dir)
	t.Run("continued", func(t *testing.T) {
		d := copyDir(t, crashed)
		l := openLog(t, d)
		if got := mustReplay(t, l); !bytes.Equal(got.log, want.log) || len(l.Recovery().Continued) != 3 {
			t.Errorf("%q, %+v", got.log, l.Recovery())
		}
		write(t, l, 9, set(9))
		closeLog(t, l)
		l = openLog(t, d)
		if got := mustReplay(t, l); len(got.log) != len(want.log)+len(command(set(9)...)) || len(l.Recovery().Continued) != 0 {
			t.Errorf("%q, %+v", got.log, l.Recovery())
		}
	})
	segs := names(t, crashed, segmentName)
	for name, size := range map[string]int64{"torn": 30, "lost": 0} {
		t.Run(name, func(t *testing.T) {
			d := copyDir(t, crashed)
			// The machine crashed: the second segment was not on the disk, the third was.
			if err := os.Truncate(filepath.Join(d, segs[1]), size); err != nil {
				t.Fatal(err)
			}
			l := openLog(t, d)
			got := mustReplay(t, l)
			r := l.Recovery()
			if !bytes.Equal(got.log, want.log[:len(command(set(1)...))]) || len(r.SetAside) != 2 || r.CutBytes != size {
				t.Errorf("%q, %+v", got.log, r)
			}
			for _, path := range r.SetAside {
				if b, err := os.ReadFile(path); err != nil || len(b) == 0 {
					t.Errorf("%s: %q, %v", path, b, err)
				}
			}
			write(t, l, 9, set(9))
			closeLog(t, l)
			closeLog(t, openLog(t, d))
		})
	}
	faulty.FailWith(nil)
}

// An unreadable directory is told and left alone.
func TestOpenErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	manifestDir := t.TempDir()
	if err := os.Mkdir(filepath.Join(manifestDir, manifestName), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"a file": file, "MANIFEST is a folder": manifestDir, "no name": ""} {
		if l, err := tryOpen(dir); err == nil {
			closeLog(t, l)
			t.Errorf("%s: no error", name)
		}
	}
	err := (&Options{Fsync: 9, SegmentBytes: -1}).Validate()
	for _, text := range []string{"directory", "policy", "segment", "pending"} {
		if !strings.Contains(fmt.Sprint(err), text) {
			t.Errorf("Validate does not tell of the %s: %v", text, err)
		}
	}
}
