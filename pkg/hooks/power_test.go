package hooks

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
	"evenkeel/pkg/aof"
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

// life is what a process did before the power failed.
type life struct {
	policy    aof.FsyncPolicy
	appended  map[string]int // messages 0 … n-1 of a hook
	committed map[string]int
	removed   int // messages of r before its removal, which was committed; 0: it was not
	before    *inbox
	moved     uint64
}

// live lets a process do a bit of everything on the disk, which may die.
func live(disk fsx.FS, policy aof.FsyncPolicy) *life {
	l := &life{policy: policy, appended: map[string]int{}, committed: map[string]int{}, before: newInbox()}
	q, err := tryOpen("data", func(o *Options) {
		o.FS, o.Fsync, o.Local, o.SegmentBytes = disk, policy, l.before, 200
	})
	if err != nil {
		return l
	}
	for _, h := range []string{"a", "b", "r"} {
		q.SetHook(h, []string{"local://" + h})
	}
	q.SetHook("d", []string{"kafka://h/t"})
	if q.Start() != nil {
		return l
	}
	write := func(n int, hooks ...string) {
		for range n {
			for _, h := range hooks {
				q.Append(h, []byte(strconv.Itoa(l.appended[h])))
				l.appended[h]++
			}
			if q.Commit(bg) == nil {
				maps.Copy(l.committed, l.appended)
			}
		}
	}
	settle := func() {
		for end := time.Now().Add(patience); time.Now().Before(end) && q.Blocked() == nil; {
			s := q.Stats()
			if int(s.Waiting) == l.appended["d"] && q.quiet() {
				return
			}
			time.Sleep(100 * time.Microsecond)
		}
	}
	write(2, "d")
	write(18, "a", "b")
	settle()
	q.Pause()
	write(6, "a", "r")
	q.RemoveHook("r")
	if q.Commit(bg) == nil {
		l.removed = l.appended["r"]
	}
	write(3, "b")
	q.Resume()
	write(5, "a")
	settle()
	q.Pause()
	write(4, "b", "a", "d")
	l.moved = q.Stats().Moved
	_ = q.Stop(bg) // the disk may be dead
	return l
}

// check starts again on what is left.
func (l *life) check(t *testing.T, when string, disk fsx.FS) {
	t.Helper()
	after := newInbox()
	q, err := tryOpen("data", func(o *Options) { o.FS, o.Local = disk, after })
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	for _, h := range []string{"a", "b", "r", "d"} {
		q.SetHook(h, []string{"local://" + h})
	}
	start(t, q)
	drained(t, q)
	s := q.Stats()
	stop(t, q)
	if s.Damaged > 0 && l.policy == aof.FsyncAlways {
		t.Errorf("%s: %d damaged", when, s.Damaged)
	}
	for _, h := range []string{"a", "b", "d"} {
		got := map[int]bool{}
		for _, m := range l.before.list(h) {
			n, _ := strconv.Atoi(m)
			got[n] = true
		}
		last := -1
		for _, m := range after.list(h) {
			n, err := strconv.Atoi(m)
			if err != nil || n <= last || n >= l.appended[h] {
				t.Fatalf("%s: hook %s: %q after %d of %d", when, h, m, last, l.appended[h])
			}
			got[n], last = true, n
		}
		if l.policy != aof.FsyncAlways {
			continue
		}
		for n := range l.committed[h] {
			if !got[n] {
				t.Fatalf("%s: hook %s: message %d was committed and is lost", when, h, n)
			}
		}
	}
	if r := after.list("r"); l.policy == aof.FsyncAlways && l.removed > 0 && len(r) > 0 {
		t.Fatalf("%s: %q of a hook that was removed", when, r)
	}
}

// Power fails at any operation on the disk, and again while the next process
// starts. What was committed with FsyncAlways and not delivered is there.
func TestPowerLossAnywhere(t *testing.T) {
	for _, policy := range []aof.FsyncPolicy{aof.FsyncAlways, aof.FsyncNo} {
		random := rand.New(rand.NewPCG(uint64(policy), 2))
		survived := false
		for n := 0; !survived; n++ {
			mem := newMemFS()
			disk := fsxtest.New(mem)
			disk.DieAt(n)
			l := live(disk, policy)
			survived = disk.Ops() <= n
			if survived && (l.committed["a"] != 33 || l.removed != 6 || l.moved == 0) {
				t.Fatalf("a whole life: %v, %d removed, %d moved", l.committed, l.removed, l.moved)
			}
			for _, loss := range losses {
				when := fmt.Sprintf("%v, power lost at %d, %s", policy, n, loss.name)
				left := mem.afterPowerLoss(loss, random)
				again := fsxtest.New(left)
				again.DieAt(random.IntN(8))
				if q, err := tryOpen("data", func(o *Options) { o.FS = again }); err == nil {
					_ = q.Stop(bg) // the disk may be dead
				}
				l.check(t, when, left.afterPowerLoss(losses[random.IntN(len(losses))], random))
			}
		}
	}
}
