package fsxtest

import (
	"bytes"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"evenkeel/internal/fsx"
)

// Memory is one folder in memory that knows what a loss of power would leave.
type Memory struct {
	folder string

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

// NewMemory returns an empty folder of this name, which Stat knows; names of files
// are whole paths.
func NewMemory(folder string) *Memory {
	return &Memory{folder: folder, names: map[string]*memFile{}, synced: map[string]*memFile{}}
}

// Loss is what survives besides what was synced.
type Loss struct {
	Name  string
	Names float64 // the part of new names, renames and removals
	Data  bool    // a random beginning of the unsynced data of every file
}

// Losses are kinds of loss to try.
func Losses() []Loss {
	return []Loss{
		{"strict", 0, false}, {"names survive", 1, false}, {"some names survive", 0.5, false},
		{"some data survives", 0, true}, {"all names, some data", 1, true}, {"some of both", 0.5, true},
	}
}

// AfterPowerLoss returns what is left.
func (m *Memory) AfterPowerLoss(l Loss, r *rand.Rand) *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := maps.Clone(m.synced)
	for _, op := range m.since {
		if r.Float64() < l.Names {
			op.apply(names)
		}
	}
	out := NewMemory(m.folder)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		f := names[name]
		b := bytes.Clone(f.synced)
		if l.Data && len(f.data) > len(b) {
			b = append(b, f.data[len(b):len(b)+r.IntN(len(f.data)-len(b)+1)]...)
		}
		out.names[name] = &memFile{data: b, synced: bytes.Clone(b)}
	}
	out.synced = maps.Clone(out.names)
	return out
}

func (m *Memory) change(op nameOp) {
	op.apply(m.names)
	m.since = append(m.since, op)
}

// OpenFile opens a file; of flag, O_CREATE, O_EXCL and O_TRUNC count.
func (m *Memory) OpenFile(path string, flag int, _ fs.FileMode) (fsx.File, error) {
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

// Rename renames a file.
func (m *Memory) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.change(nameOp{from: from, to: to, file: m.names[from]})
	return nil
}

// Remove removes a file.
func (m *Memory) Remove(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.names[path]; !ok {
		return fs.ErrNotExist
	}
	m.change(nameOp{from: path})
	return nil
}

// ReadDir lists all files.
func (m *Memory) ReadDir(string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []fs.DirEntry
	for _, path := range slices.Sorted(maps.Keys(m.names)) {
		out = append(out, fs.FileInfoToDirEntry(memInfo{path, int64(len(m.names[path].data))}))
	}
	return out, nil
}

// Stat tells of a file, or of the folder.
func (m *Memory) Stat(path string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f, ok := m.names[path]; ok {
		return memInfo{path, int64(len(f.data))}, nil
	}
	if path == m.folder {
		return memInfo{path, -1}, nil
	}
	return nil, &fs.PathError{Op: "stat", Path: path, Err: fs.ErrNotExist}
}

// SyncDir makes the names safe.
func (m *Memory) SyncDir(string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.synced, m.since = maps.Clone(m.names), nil
	return nil
}

// MkdirAll does nothing: there is one folder.
func (m *Memory) MkdirAll(string, fs.FileMode) error { return nil }

// Lock locks nothing.
func (m *Memory) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// LockRead locks nothing.
func (m *Memory) LockRead(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// FreeSpace is 1 TiB.
func (m *Memory) FreeSpace(string) (int64, error) { return 1 << 40, nil }

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
	fs *Memory
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
