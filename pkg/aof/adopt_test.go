package aof

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"evenkeel/internal/fsx/fsxtest"

	"evenkeel/internal/fsx"
)

func adoptDir(t testing.TB, content []byte) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	path = filepath.Join(dir, adoptedName)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, path
}

// adopted replays a log whose base is an adopted file.
func adopted(t testing.TB, l *Log) (payload []byte, commands int, last Batch) {
	t.Helper()
	err := l.Replay(bg, func(b Batch) error {
		payload = append(payload, b.Payload...)
		last = b
		last.Payload = bytes.Clone(b.Payload)
		return EachCommand(b.Payload, func([]string) error { commands++; return nil })
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return payload, commands, last
}

var (
	a = string(command("SET", "z", "a", "POINT", "1", "2"))
	b = string(command("SET", "z", "b", "STRING", "*1\r\n"))
	z = strings.Repeat("\x00", 300)
)

// What a plain append-only file may look like, as a Tile38 server takes it.
func TestAdopt(t *testing.T) {
	big := string(command("SET", "z", "big", "STRING", strings.Repeat("v", 3*chunkBytes)))
	for _, c := range []struct {
		name, content, payload string
		cut                    int // bytes
	}{
		{"empty", "", "", 0},
		{"plain", a + b, a + b, 0},
		{"zeros in between", a + z + b, a + b, 0},
		{"zeros at the end", a + b + z, a + b, 0},
		{"zeros at the start", z + a, a, 0},
		{"zeros only", z, "", 0},
		{"many zeros", a + strings.Repeat(z, 10000) + b, a + b, 0},
		{"empty command", a + "*0\r\n" + b, a + "*0\r\n" + b, 0},
		{"zeros in a value", string(command("SET", "z", z)) + a, string(command("SET", "z", z)) + a, 0},
		{"torn", a + b[:len(b)-3], a, len(b) - 3},
		{"torn first", a[:20], "", 20},
		{"torn header", a + "*", a, 1},
		{"torn after zeros", a + z + b[:10], a, 10},
		{"torn, then zeros", a + b[:len(b)-3] + z, a, len(b) - 3 + len(z)},
		{"large value", a + big + b, a + big + b, 0},
		{"torn large value", a + big[:2*chunkBytes], a, 2 * chunkBytes},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, path := adoptDir(t, []byte(c.content))
			l := openLog(t, dir)
			kept := len(c.content) - c.cut
			r := l.Recovery()
			if r.AdoptedFrom != path || r.CutBytes != int64(c.cut) || (c.cut > 0) != (r.CutFile == path) {
				t.Errorf("%+v", r)
			}
			if c.cut > 0 {
				b, err := os.ReadFile(fmt.Sprintf("%s.cut-%d", path, kept))
				if err != nil || string(b) != c.content[kept:] || r.KeptIn != fmt.Sprintf("%s.cut-%d", path, kept) {
					t.Errorf("kept in %s: %q, %v", r.KeptIn, b, err)
				}
			}
			end := int64(len(c.payload))
			for round := range 2 {
				if got, err := os.ReadFile(path); err != nil || string(got) != c.content[:kept] {
					t.Fatalf("the file is %q, %v", got, err)
				}
				payload, _, last := adopted(t, l)
				if string(payload) != c.payload || last.Mark != (Mark{Offset: end, Time: 777}) || !last.Unchecked {
					t.Fatalf("replayed %q, last %+v", payload, last)
				}
				if l.Last().Offset != end || l.PayloadSize() != end {
					t.Fatalf("ends at %v, payload %d", l.Last(), l.PayloadSize())
				}
				if round == 0 {
					closeLog(t, l)
					l = openLog(t, dir, func(o *Options) { o.Now = func() int64 { return 999 } })
				}
			}
			d := Digest{1, 2}
			if err := l.SetBaseDigest(d); err != nil {
				t.Fatal(err)
			}
			if err := l.SetBaseDigest(d); err != nil {
				t.Fatal(err)
			}
			if err := l.SetBaseDigest(Digest{3, 4}); err == nil {
				t.Error("another digest: no error")
			}
			off := write(t, l, 1000, set(1))
			closeLog(t, l)
			l = openLog(t, dir)
			var marks []Mark
			if err := l.Replay(bg, func(b Batch) error {
				if !b.Unchecked {
					marks = append(marks, b.Mark)
				}
				return nil
			}, nil); err != nil {
				t.Fatal(err)
			}
			if want := []Mark{{end, 777, d}, {off, 1000, digestAt(off)}}; fmt.Sprint(marks) != fmt.Sprint(want) {
				t.Errorf("marks %v, want %v", marks, want)
			}
		})
	}
}

// What is no append-only file is left alone.
func TestAdoptRefused(t *testing.T) {
	for _, c := range []struct {
		name, content string
		at            int64
	}{
		{"text", "hello world\r\n", 0},
		{"binary", "\x01\x02\x03", 0},
		{"text at the end", a + "hello\r\n", int64(len(a))},
		{"text in between", a + "hello\r\n" + b, int64(len(a))},
		{"blank line", a + "\r\n" + b, int64(len(a))},
		{"annotation", a + "#1 2 3\r\n", int64(len(a))},
		{"bad count", a + "*x\r\n" + b, int64(len(a)) + 1},
		{"negative count", a + "*-1\r\n" + b, int64(len(a)) + 1},
		{"bad length", a + "*1\r\n$x\r\n" + b, int64(len(a)) + 5},
		{"huge length", a + "*1\r\n$99999999999\r\n" + b, int64(len(a)) + 14},
		{"huge count", a + "*1000000000\r\n" + b, int64(len(a)) + 13},
		{"no end of a value", a + "*1\r\n$4\r\nPINGxx" + b, int64(len(a)) + 12},
		{"zeros inside a command", a + b[:len(b)-3] + z + a, int64(len(a)+len(b)) - 2},
		{"damaged length", a + "*1\r\n$4000\r\nPING\r\n" + b + a, int64(len(a))},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, path := adoptDir(t, []byte(c.content))
			before := dirFiles(t, dir)
			_, err := tryOpen(dir)
			de, ok := errors.AsType[*DamageError](err)
			if !ok || de.File != path || de.Offset != c.at {
				t.Errorf("error %v, want one at byte %d", err, c.at)
			}
			if err := sameFiles(before, dirFiles(t, dir)); err != nil {
				t.Error(err)
			}
		})
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, adoptedName), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := tryOpen(dir); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Errorf("a folder: %v", err)
	}
}

// The adopted file serves a full sync and the plain stream, and goes at the
// first compaction.
func TestAdoptedAsBase(t *testing.T) {
	content := []byte(a + z + b)
	for i := range 3000 {
		content = append(content, command(set(i)...)...)
	}
	plain := bytes.ReplaceAll(content, []byte(z), nil)
	dir, path := adoptDir(t, content)
	l := openLog(t, dir)
	if _, err := l.OpenBase(); !errors.Is(err, ErrNoDigest) {
		t.Errorf("OpenBase without a digest: %v", err)
	}
	if _, err := l.Tail(l.Position(), Digest{}); !errors.Is(err, ErrDiverged) {
		t.Errorf("Tail without a digest: %v", err)
	}
	d := Digest{5, 6}
	if err := l.SetBaseDigest(d); err != nil {
		t.Fatal(err)
	}
	follower := openLog(t, t.TempDir())
	if err := transfer(t, l, follower); err != nil {
		t.Fatal(err)
	}
	if got, _, last := adopted(t, follower); !bytes.Equal(got, plain) || last.Mark != (Mark{int64(len(plain)), 777, d}) || last.Unchecked {
		t.Errorf("the follower has %d bytes, %+v", len(got), last)
	}
	tail, err := l.Tail(follower.Position(), follower.Last().Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := tail.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Tail(Position{l.epoch, 0}, Digest{}); !errors.Is(err, ErrGone) {
		t.Errorf("from the start: %v", err)
	}
	write(t, l, 800, set(1))
	plain = append(plain, command(set(1)...)...)
	for from := 0; from < len(plain); from += 997 {
		p, err := l.PayloadReader(int64(from))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(p); err != nil || !bytes.Equal(got, plain[from:]) {
			t.Fatalf("from %d: %d bytes, %v", from, len(got), err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	compact(t, l, 900, set(1))
	if _, err := os.Stat(path); err == nil {
		t.Error("the adopted file is still there")
	}
	closeLog(t, l)
	if c := mustReplay(t, openLog(t, dir)); !bytes.Equal(c.base, command(set(1)...)) {
		t.Errorf("base %q", c.base)
	}
}

// A single flipped byte of an adopted file after its adoption is told.
func TestAdoptedFlipped(t *testing.T) {
	dir, path := adoptDir(t, []byte(a+z+b))
	closeLog(t, openLog(t, dir))
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range raw {
		damaged := bytes.Clone(raw)
		damaged[at] ^= 1 << (at % 8)
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		l := openLog(t, dir, withoutSync)
		err := l.Replay(bg, func(Batch) error { return nil }, nil)
		if de, ok := errors.AsType[*DamageError](err); !ok || de.File != path {
			t.Fatalf("byte %d: %v", at, err)
		}
		closeLog(t, l)
	}
}

// The process dies while it adopts a torn file.
func TestDeathWhileAdopting(t *testing.T) {
	torn := b[:len(b)-3]
	survived := false
	for n := 0; !survived; n++ {
		dir, path := adoptDir(t, []byte(a+torn))
		disk := fsxtest.New(fsx.OS{})
		disk.DieAt(n)
		l, err := tryOpen(dir, func(o *Options) { o.FS = disk })
		if survived = err == nil; survived {
			disk.FailWith(nil)
			closeLog(t, l)
		}
		l = openLog(t, dir)
		if payload, _, _ := adopted(t, l); string(payload) != a {
			t.Fatalf("death at %d: %q", n, payload)
		}
		kept, err := os.ReadFile(fmt.Sprintf("%s.cut-%d", path, len(a)))
		if err != nil || string(kept) != torn {
			t.Fatalf("death at %d: kept %q, %v", n, kept, err)
		}
		closeLog(t, l)
	}
}

// The corpus: small files as they are, the others when the environment names
// the folder.
func TestAdoptCorpus(t *testing.T) {
	files := map[string]string{"zeros": filepath.Join("testdata", "zeros.aof")}
	if dir := os.Getenv("EVENKEEL_CONFORMANCE"); dir != "" {
		for _, name := range []string{"plain", "shrunk", "torn", "zeros"} {
			files["corpus/"+name] = filepath.Join(dir, "aof", name+".aof")
		}
	} else {
		t.Log("EVENKEEL_CONFORMANCE is not set: plain.aof, shrunk.aof and torn.aof of the conformance corpus are left out")
	}
	for name, path := range files {
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			dir, to := adoptDir(t, content)
			l := openLog(t, dir)
			payload, commands, _ := adopted(t, l)
			r := l.Recovery()
			t.Logf("%d bytes, %d of commands, %d commands, cut %d at %d", len(content), len(payload), commands, r.CutBytes, r.CutAt)
			if torn := strings.HasSuffix(name, "torn"); torn != (r.CutBytes > 0) {
				t.Errorf("%+v", r)
			}
			plain := bytes.ReplaceAll(content[:int64(len(content))-r.CutBytes], []byte{0}, nil)
			if !bytes.Equal(payload, plain) || commands == 0 {
				t.Errorf("%d bytes of payload, want %d", len(payload), len(plain))
			}
			if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, content[:len(got)]) || int64(len(got))+r.CutBytes != int64(len(content)) {
				t.Errorf("the file has changed: %d bytes, %v", len(got), err)
			}
		})
	}
}
