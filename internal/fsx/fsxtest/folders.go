package fsxtest

import (
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"

	"evenkeel/internal/fsx"
)

// Folders is a filesystem of Memory folders, each with files alone. Power fails
// for all of them at one moment. That a folder is there is never lost.
type Folders struct {
	mu  sync.Mutex
	dir map[string]*Memory
}

var _ fsx.FS = (*Folders)(nil)

// NewFolders returns a filesystem without folders; MkdirAll makes them.
func NewFolders() *Folders { return &Folders{dir: map[string]*Memory{}} }

// AfterPowerLoss returns what is left of all folders.
func (f *Folders) AfterPowerLoss(l Loss, r *rand.Rand) *Folders {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := NewFolders()
	for _, name := range slices.Sorted(maps.Keys(f.dir)) {
		out.dir[name] = f.dir[name].AfterPowerLoss(l, r)
	}
	return out
}

func (f *Folders) folder(op, dir string) (*Memory, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.dir[dir]; m != nil {
		return m, nil
	}
	return nil, &fs.PathError{Op: op, Path: dir, Err: fs.ErrNotExist}
}

// OpenFile implements fsx.FS.
func (f *Folders) OpenFile(path string, flag int, perm fs.FileMode) (fsx.File, error) {
	m, err := f.folder("open", filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	return m.OpenFile(path, flag, perm)
}

// Rename implements fsx.FS, within one folder.
func (f *Folders) Rename(from, to string) error {
	m, err := f.folder("rename", filepath.Dir(from))
	if err != nil {
		return err
	}
	return m.Rename(from, to)
}

// Remove implements fsx.FS.
func (f *Folders) Remove(path string) error {
	m, err := f.folder("remove", filepath.Dir(path))
	if err != nil {
		return err
	}
	return m.Remove(path)
}

// ReadDir implements fsx.FS.
func (f *Folders) ReadDir(dir string) ([]fs.DirEntry, error) {
	m, err := f.folder("readdir", dir)
	if err != nil {
		return nil, err
	}
	return m.ReadDir(dir)
}

// MkdirAll makes a folder.
func (f *Folders) MkdirAll(dir string, _ fs.FileMode) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dir[dir] == nil {
		f.dir[dir] = NewMemory(dir)
	}
	return nil
}

// Stat implements fsx.FS.
func (f *Folders) Stat(path string) (fs.FileInfo, error) {
	if m, err := f.folder("stat", path); err == nil {
		return m.Stat(path)
	}
	m, err := f.folder("stat", filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	return m.Stat(path)
}

// SyncDir implements fsx.FS. What is no folder here is the parent of one, in
// which nothing is ever lost.
func (f *Folders) SyncDir(dir string) error {
	f.mu.Lock()
	m := f.dir[dir]
	f.mu.Unlock()
	if m == nil {
		return nil
	}
	return m.SyncDir(dir)
}

// Lock locks nothing.
func (f *Folders) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// LockRead locks nothing.
func (f *Folders) LockRead(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// FreeSpace is 1 TiB.
func (f *Folders) FreeSpace(string) (int64, error) { return 1 << 40, nil }
