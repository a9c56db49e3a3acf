// Package fsxtest wraps a filesystem and injects faults: a disk that is full for
// a while, writes that stop half way, syncs and renames that fail, and a process
// that dies at a chosen operation. Memory is a folder that knows what
// a loss of power would leave. For tests only.
package fsxtest

import (
	"fmt"
	"io"
	"io/fs"
	"sync"
	"syscall"

	"evenkeel/internal/fsx"
)

// Op is a kind of operation that a fault can hit.
type Op string

// The operations that change something. Reads are not counted.
const (
	OpCreate   Op = "create"
	OpWrite    Op = "write"
	OpSync     Op = "sync"
	OpTruncate Op = "truncate"
	OpRename   Op = "rename"
	OpRemove   Op = "remove"
	OpSyncDir  Op = "syncdir"
)

// ErrDead is what a disk says after DieAt.
var ErrDead = fmt.Errorf("the process is dead: %w", syscall.EIO)

// FS is a filesystem with faults. Without any it only counts.
type FS struct {
	fsx.FS

	mu      sync.Mutex
	ops     int
	fail    func(n int, op Op, path string) error
	room    int64 // bytes that may still be written; < 0: no limit
	most    int   // bytes that one write takes; 0: no limit
	history []string
}

// New wraps inner.
func New(inner fsx.FS) *FS { return &FS{FS: inner, room: -1} }

// FailWith lets fail decide about every changing operation, the nth since New,
// counted from 1: an error it returns is the operation's, which is not carried
// out then. nil: no faults.
func (f *FS) FailWith(fail func(n int, op Op, path string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

// FailOp lets every operation of one kind fail with err; err nil heals it.
func (f *FS) FailOp(op Op, err error) {
	if err == nil {
		f.FailWith(nil)
		return
	}
	f.FailWith(func(_ int, o Op, _ string) error {
		if o == op {
			return err
		}
		return nil
	})
}

// DieAt lets the nth changing operation from now, counted from 0, and every later
// one fail with ErrDead: to the disk that looks like the end of the process.
func (f *FS) DieAt(n int) {
	at := f.Ops() + n
	f.FailWith(func(i int, op Op, path string) error {
		if i > at {
			return fmt.Errorf("%s %s: %w", op, path, ErrDead)
		}
		return nil
	})
}

// Room leaves n bytes on the disk: what goes beyond fails with ENOSPC after as
// much as fits is written. Negative: no limit.
func (f *FS) Room(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.room = n
}

// ShortWrites lets one write take n bytes at most and return without an error,
// as a careless implementation might; 0: no limit.
func (f *FS) ShortWrites(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.most = n
}

// Ops returns how many changing operations were asked for.
func (f *FS) Ops() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops
}

// History returns the changing operations, "op path" each.
func (f *FS) History() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.history...)
}

func (f *FS) check(op Op, path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ops++
	f.history = append(f.history, string(op)+" "+path)
	if f.fail == nil {
		return nil
	}
	return f.fail(f.ops, op, path)
}

// grant says how much of a write of n bytes is carried out, and its error.
func (f *FS) grant(n int, path string) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.most > 0 && n > f.most {
		n = f.most
	}
	if f.room < 0 || int64(n) <= f.room {
		if f.room >= 0 {
			f.room -= int64(n)
		}
		return n, nil
	}
	n = int(f.room)
	f.room = 0
	return n, &fs.PathError{Op: "write", Path: path, Err: syscall.ENOSPC}
}

// OpenFile implements fsx.FS.
func (f *FS) OpenFile(path string, flag int, perm fs.FileMode) (fsx.File, error) {
	if flag&syscall.O_CREAT != 0 {
		if err := f.check(OpCreate, path); err != nil {
			return nil, err
		}
	}
	inner, err := f.FS.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err
	}
	return &file{File: inner, fs: f, path: path}, nil
}

// Rename implements fsx.FS.
func (f *FS) Rename(oldpath, newpath string) error {
	if err := f.check(OpRename, newpath); err != nil {
		return err
	}
	return f.FS.Rename(oldpath, newpath)
}

// Remove implements fsx.FS.
func (f *FS) Remove(path string) error {
	if err := f.check(OpRemove, path); err != nil {
		return err
	}
	return f.FS.Remove(path)
}

// SyncDir implements fsx.FS.
func (f *FS) SyncDir(dir string) error {
	if err := f.check(OpSyncDir, dir); err != nil {
		return err
	}
	return f.FS.SyncDir(dir)
}

type file struct {
	fsx.File
	fs   *FS
	path string
}

// write carries out as much of a write as the faults allow.
func (f *file) write(b []byte, do func([]byte) (int, error)) (int, error) {
	if err := f.fs.check(OpWrite, f.path); err != nil {
		return 0, err
	}
	granted, fault := f.fs.grant(len(b), f.path)
	n, err := do(b[:granted])
	if err == nil {
		err = fault
	}
	return n, err
}

func (f *file) Write(b []byte) (int, error) { return f.write(b, f.File.Write) }

func (f *file) WriteAt(b []byte, off int64) (int, error) {
	return f.write(b, func(b []byte) (int, error) { return f.File.WriteAt(b, off) })
}

func (f *file) Sync() error {
	if err := f.fs.check(OpSync, f.path); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *file) Truncate(size int64) error {
	if err := f.fs.check(OpTruncate, f.path); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

var _ io.WriterAt = (*file)(nil)
