package aof

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
)

// memFS is one folder in memory that knows what a loss of power would leave.
type memFS struct {
	mu     sync.Mutex
	names  map[string]*memFile
	synced map[string]*memFile // names as of the last SyncDir
	since  []nameOp            // what was done to names since then
}

// nameOp gives file the name to (none: it is removed) and takes from away.
type nameOp struct {
	from, to string
	file     *memFile
}

func (o nameOp) apply(names map[string]*memFile) {
	delete(names, o.from)
	if o.to != "" {
		names[o.to] = o.file
	}
}

type memFile struct {
	data   []byte
	synced []byte // data as of the last Sync
}

func newMemFS() *memFS {
	return &memFS{names: map[string]*memFile{}, synced: map[string]*memFile{}}
}

// loss is what survives besides what was synced.
type loss struct {
	name  string
	names float64 // the part of new names, renames and removals
	data  bool    // a random beginning of the unsynced data of every file
}

var losses = []loss{
	{"strict", 0, false}, {"names survive", 1, false}, {"some names survive", 0.5, false},
	{"some data survives", 0, true}, {"all names, some data", 1, true}, {"some of both", 0.5, true},
}

func (m *memFS) afterPowerLoss(l loss, r *rand.Rand) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := maps.Clone(m.synced)
	for _, op := range m.since {
		if r.Float64() < l.names {
			op.apply(names)
		}
	}
	out := newMemFS()
	for _, name := range slices.Sorted(maps.Keys(names)) {
		f := names[name]
		b := bytes.Clone(f.synced)
		if l.data && len(f.data) > len(b) {
			b = append(b, f.data[len(b):len(b)+r.IntN(len(f.data)-len(b)+1)]...)
		}
		out.names[name] = &memFile{data: b, synced: bytes.Clone(b)}
	}
	out.synced = maps.Clone(out.names)
	return out
}

func (m *memFS) change(op nameOp) {
	op.apply(m.names)
	m.since = append(m.since, op)
}

func (m *memFS) OpenFile(path string, flag int, _ fs.FileMode) (fsx.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.names[path]
	switch {
	case !ok && flag&syscall.O_CREAT == 0:
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	case ok && flag&syscall.O_EXCL != 0:
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrExist}
	case !ok:
		f = &memFile{}
		m.change(nameOp{to: path, file: f})
	}
	if flag&syscall.O_TRUNC != 0 {
		f.data = nil
	}
	return &memHandle{fs: m, f: f}, nil
}

func (m *memFS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.change(nameOp{from: from, to: to, file: m.names[from]})
	return nil
}

func (m *memFS) Remove(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.names[path]; !ok {
		return fs.ErrNotExist
	}
	m.change(nameOp{from: path})
	return nil
}

func (m *memFS) ReadDir(string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []fs.DirEntry
	for _, path := range slices.Sorted(maps.Keys(m.names)) {
		out = append(out, fs.FileInfoToDirEntry(memInfo{path, int64(len(m.names[path].data))}))
	}
	return out, nil
}

func (m *memFS) Stat(path string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f, ok := m.names[path]; ok {
		return memInfo{path, int64(len(f.data))}, nil
	}
	if filepath.Ext(path) == "" && filepath.Base(path) != manifestName {
		return memInfo{path, -1}, nil // the folder
	}
	return nil, &fs.PathError{Op: "stat", Path: path, Err: fs.ErrNotExist}
}

func (m *memFS) SyncDir(string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.synced, m.since = maps.Clone(m.names), nil
	return nil
}

func (m *memFS) MkdirAll(string, fs.FileMode) error { return nil }
func (m *memFS) Lock(string) (io.Closer, error)     { return io.NopCloser(nil), nil }
func (m *memFS) FreeSpace(string) (int64, error)    { return 1 << 40, nil }

type memInfo struct {
	path string
	size int64
}

func (i memInfo) Name() string       { return filepath.Base(i.path) }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) Mode() fs.FileMode  { return 0o600 }
func (i memInfo) ModTime() time.Time { return time.Time{} }
func (i memInfo) IsDir() bool        { return i.size < 0 }
func (i memInfo) Sys() any           { return nil }

type memHandle struct {
	fs *memFS
	f  *memFile
	at int64
}

func (h *memHandle) ReadAt(b []byte, off int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if off >= int64(len(h.f.data)) {
		return 0, io.EOF
	}
	n := copy(b, h.f.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (h *memHandle) WriteAt(b []byte, off int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if need := off + int64(len(b)); need > int64(len(h.f.data)) {
		h.f.data = append(h.f.data, make([]byte, need-int64(len(h.f.data)))...)
	}
	copy(h.f.data[off:], b)
	return len(b), nil
}

func (h *memHandle) Read(b []byte) (int, error) {
	n, err := h.ReadAt(b, h.at)
	h.at += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (h *memHandle) Write(b []byte) (int, error) {
	n, err := h.WriteAt(b, h.at)
	h.at += int64(n)
	return n, err
}

func (h *memHandle) Seek(off int64, _ int) (int64, error) {
	h.at = off
	return off, nil
}

func (h *memHandle) Sync() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	h.f.synced = bytes.Clone(h.f.data)
	return nil
}

func (h *memHandle) Truncate(size int64) error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	h.f.data = h.f.data[:size]
	return nil
}

func (h *memHandle) Size() (int64, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return int64(len(h.f.data)), nil
}

func (h *memHandle) Close() error { return nil }

// Power fails at any operation on the disk. With FsyncAlways everything that was
// acknowledged is there afterwards; with the other policies the log opens and
// holds a beginning of what was appended. And again when power fails while that
// is being recovered.
func TestPowerLossAnywhere(t *testing.T) {
	leader := openLog(t, t.TempDir())
	// Its base lies where a segment of the history that it replaces begins: that
	// must not be taken for its continuation.
	at := int64(0)
	for i := range 10 {
		at += int64(len(command(set(i)...)))
	}
	at += 4 // four of the ten have a number of two digits
	pad := at - int64(len(command("SET", "k", "pad", "STRING", strings.Repeat("p", 100)))) + 100
	write(t, leader, 1, []string{"SET", "k", "pad", "STRING", strings.Repeat("p", int(pad))})
	if got := leader.Last().Offset; got != at {
		t.Fatalf("the leader is at %d, not %d", got, at)
	}
	compact(t, leader, 5, set(2))
	const rounds = 6 // with other survivors
	for round := range uint64(2 * rounds) {
		policy, random := FsyncAlways, rand.New(rand.NewPCG(round, 2))
		if round%2 == 1 {
			policy = FsyncNo
		}
		survived := false
		met := false
		for n := 0; !survived; n++ {
			mem := newMemFS()
			disk := fsxtest.New(mem)
			disk.DieAt(n)
			life := dieScript(t, leader, "data", disk, policy)
			survived = disk.Ops() <= n
			met = strings.Count(strings.Join(disk.History(), "\n"), "create "+filepath.Join("data", formatName(kindSegment, at, 1))) == 2
			for _, loss := range losses {
				when := fmt.Sprintf("round %d, %v, power lost at %d, %s", round, policy, n, loss.name)
				left := mem.afterPowerLoss(loss, random)
				again := fsxtest.New(left)
				again.DieAt(random.IntN(12))
				if l, err := tryOpen("data", func(o *Options) { o.FS = again }); err == nil {
					_ = l.Close(bg) // the disk may be dead
				}
				second := left.afterPowerLoss(losses[random.IntN(len(losses))], random)
				life.check(t, when, second, "data", leader)
			}
		}
		if !met {
			t.Fatalf("the old history has no segment that begins at %d", at)
		}
	}
}

// The process dies and the next one finds, in the system's memory, more than the
// disk has: what it then calls written survives a loss of power.
func TestOpenMakesDurable(t *testing.T) {
	mem := newMemFS()
	disk := fsxtest.New(mem)
	l, err := tryOpen("data", func(o *Options) { o.FS = disk; o.SegmentBytes = 200 })
	if err != nil {
		t.Fatal(err)
	}
	// The manifest does not learn of the rotations.
	disk.FailOp(fsxtest.OpRename, syscall.ENOSPC)
	var off int64
	for i := range 5 {
		if _, err := l.Begin(int64(i)); err != nil {
			t.Fatal(err)
		}
		l.Add(set(i))
		off = l.End(digestAt(off + int64(len(command(set(i)...)))))
		if err := l.Commit(bg, off); err != nil {
			t.Fatal(err)
		}
	}
	disk.DieAt(0)
	if err := l.Close(bg); err == nil {
		t.Fatal("it could close")
	}
	again := openLog(t, "data", func(o *Options) { o.FS = mem })
	written := again.Written()
	left := mem.afterPowerLoss(loss{}, rand.New(rand.NewPCG(1, 2)))
	third := openLog(t, "data", func(o *Options) { o.FS = left })
	if c := mustReplay(t, third); written.Offset != off || c.last != written {
		t.Errorf("left %v, written were %v of %d", c.last, written, off)
	}
}

func (life *life) check(t *testing.T, at string, disk fsx.FS, dir string, leader *Log) {
	t.Helper()
	l, err := tryOpen(dir, func(o *Options) { o.FS = disk })
	if err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	defer closeLog(t, l)
	c, err := replayAll(l)
	if err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	var state []byte
	if err := EachCommand(c.base, func(args []string) error {
		if args[0] == "STATE" {
			state = append(state, args[1]...)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if l.Position().Epoch == leader.Position().Epoch {
		if !life.received || !bytes.Equal(c.base, command(set(2)...)) || !bytes.HasPrefix(command(set(30)...), c.log) || len(c.log) < len(life.after) {
			t.Fatalf("%s: %q %q, acknowledged %q", at, c.base, c.log, life.after)
		}
		return
	}
	state = append(state, c.log...)
	if !bytes.HasPrefix(life.appended, state) {
		t.Fatalf("%s: %q is no beginning of %q", at, state, life.appended)
	}
	if life.policy == FsyncAlways && !bytes.HasPrefix(state, life.acked) {
		t.Fatalf("%s: %q, acknowledged %q", at, state, life.acked)
	}
	if life.installed {
		t.Fatalf("%s: the history that was received is gone", at)
	}
}
