package aoftool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/redcon"
	"go.uber.org/goleak"

	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var bg = context.Background()

// folder is the one directory of the tests' filesystem.
const folder = "data"

const began = int64(1_700_000_000_000)

// sample is a directory, and which state belongs to which offset.
type sample struct {
	files   map[string][]byte
	digests map[int64]string
	end     int64
}

// maker writes a sample.
type maker struct {
	t   *testing.T
	mem *fsxtest.Memory
	now int64
	log *aof.Log
	s   *store.Store
	out *sample
}

func newMaker(t *testing.T, mem *fsxtest.Memory, backlog int64) *maker {
	t.Helper()
	m := &maker{t: t, mem: mem, now: began, out: &sample{digests: map[int64]string{}}}
	var err error
	m.log, err = aof.Open(aof.Options{FS: mem, Dir: folder, Fsync: aof.FsyncAlways, SegmentBytes: 600, BacklogBytes: backlog, Now: m.clock})
	if err != nil {
		t.Fatal(err)
	}
	m.s, err = store.Open(bg, store.Options{Log: m.log, Now: m.clock})
	if err != nil {
		t.Fatal(errors.Join(err, m.log.Close(bg)))
	}
	m.note()
	return m
}

func (m *maker) clock() int64 { return m.now }

func (m *maker) note() {
	d, mark := m.s.Digest()
	m.out.digests[mark.Offset], m.out.end = d.String(), mark.Offset
}

// do carries out commands, each in a batch of its own, a second apart.
func (m *maker) do(lines ...string) {
	m.t.Helper()
	for _, line := range lines {
		m.now += 1000
		args := strings.Fields(line)
		name := strings.ToLower(args[0])
		var out reply.Reply
		ws := []store.Write{{Spec: m.s.Lookup(name), Request: command.Request{Args: args, Name: name}}}
		if err := m.log.Commit(bg, m.s.Write(ws, &out)); err != nil {
			m.t.Fatal(err)
		}
		if bytes.HasPrefix(out.Buf, []byte("-")) {
			m.t.Fatalf("%s: %s", line, out.Buf)
		}
		m.note()
	}
}

func (m *maker) compact() {
	m.t.Helper()
	m.now += 1000
	if _, err := m.s.Compact(bg); err != nil {
		m.t.Fatal(err)
	}
}

func (m *maker) finish() *sample {
	m.t.Helper()
	if err := m.log.Close(bg); err != nil {
		m.t.Fatal(err)
	}
	m.out.files = contents(m.t, m.mem)
	return m.out
}

// batch returns some commands.
func lines(from, n int) (out []string) {
	for i := from; i < from+n; i++ {
		switch i % 5 {
		case 3:
			out = append(out, fmt.Sprintf("DEL fleet truck%d", i-2))
		case 4:
			out = append(out, fmt.Sprintf("SET fleet text%d EX %d STRING #%d", i, 1000+i, i))
		default:
			out = append(out, fmt.Sprintf("SET fleet truck%d FIELD speed %d POINT 33.%d -112.25", i, i, i))
		}
	}
	return out
}

func contents(t *testing.T, mem fsx.FS) map[string][]byte {
	t.Helper()
	entries, err := mem.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, e := range entries {
		if files[e.Name()], err = fsx.ReadFile(mem, filepath.Join(folder, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func memory(t *testing.T, files map[string][]byte) *fsxtest.Memory {
	t.Helper()
	mem := fsxtest.NewMemory(folder)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := mem.OpenFile(filepath.Join(folder, name), os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(files[name], 0); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if err := mem.SyncDir(folder); err != nil {
		t.Fatal(err)
	}
	return mem
}

// damaged returns the files with one of them changed.
func (s *sample) damaged(name string, change func(b []byte) []byte) map[string][]byte {
	files := maps.Clone(s.files)
	b := change(bytes.Clone(files[name]))
	delete(files, name)
	if b != nil {
		files[name] = b
	}
	return files
}

func options(mem fsx.FS) Options {
	return Options{FS: mem, Dir: folder, Now: func() int64 { return began + 3_600_000 }}
}

// plainFile is what Tile38 writes.
func plainFile(cmds []string) (b []byte) {
	for _, line := range cmds {
		args := strings.Fields(line)
		b = redcon.AppendArray(b, len(args))
		for _, a := range args {
			b = redcon.AppendBulkString(b, a)
		}
	}
	return b
}

// samples are the kinds of directory that there are.
func samples(t *testing.T) map[string]*sample {
	t.Helper()
	out := map[string]*sample{}
	// The backlog reaches back to offset 0.
	m := newMaker(t, fsxtest.NewMemory(folder), 1<<20)
	m.do(lines(0, 9)...)
	m.compact()
	m.do(lines(9, 13)...)
	out["backlog"] = m.finish()
	// It does not.
	m = newMaker(t, fsxtest.NewMemory(folder), 300)
	m.do(lines(0, 14)...)
	m.compact()
	m.do("SETCHAN yard NEARBY fleet FENCE POINT 33 -112 1000")
	m.do(lines(14, 12)...)
	out["base"] = m.finish()
	// No compaction yet.
	m = newMaker(t, fsxtest.NewMemory(folder), 300)
	m.do(lines(0, 14)...)
	out["young"] = m.finish()
	// An adopted file.
	m = newMaker(t, memory(t, map[string][]byte{aof.AdoptedName: plainFile(lines(0, 4))}), 300)
	m.do(lines(4, 10)...)
	out["adopted"] = m.finish()
	// The same with a time to live, of which MANIFEST alone knows where it begins.
	m = newMaker(t, memory(t, map[string][]byte{aof.AdoptedName: plainFile(lines(0, 6))}), 300)
	m.do(lines(6, 10)...)
	out["mortal"] = m.finish()
	return out
}
