package fsx

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// OS is the operating system's filesystem.
type OS struct{}

var _ FS = OS{}

// OpenFile implements FS.
func (OS) OpenFile(path string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(path, flag, perm) // #nosec G304 -- paths come from the operator
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Rename implements FS.
func (OS) Rename(oldpath, newpath string) error { return os.Rename(oldpath, newpath) }

// Remove implements FS.
func (OS) Remove(path string) error { return os.Remove(path) }

// ReadDir implements FS.
func (OS) ReadDir(dir string) ([]fs.DirEntry, error) { return os.ReadDir(dir) }

// MkdirAll implements FS.
func (OS) MkdirAll(dir string, perm fs.FileMode) error { return os.MkdirAll(dir, perm) }

// Stat implements FS.
func (OS) Stat(path string) (fs.FileInfo, error) { return os.Stat(path) }

// SyncDir implements FS.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir) // #nosec G304 -- paths come from the operator
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// FreeSpace implements FS.
func (OS) FreeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(st.Bavail) * st.Bsize, nil // #nosec G115 -- block counts fit
}

// DiskSize returns the bytes of dir's filesystem that are used or may be used
// by an unprivileged process.
func (OS) DiskSize(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(st.Blocks-st.Bfree+st.Bavail) * st.Bsize, nil // #nosec G115 -- block counts fit
}

// Lock implements FS. The file holds the owner's process id for the error
// message of whoever comes second; the lock itself is an advisory flock, so a
// file that a dead process left behind locks nobody out.
func (OS) Lock(dir string) (io.Closer, error) {
	path := filepath.Join(dir, LockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) // #nosec G304 -- paths come from the operator
	if err != nil {
		return nil, err
	}
	if err := flock(f, unix.LOCK_EX); err != nil {
		return nil, notLocked(f, dir, err)
	}
	// Naming the holder is a courtesy: a full disk must not keep it from the
	// lock that it already has.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

// LockRead implements FS. Whoever has the lock has made its file, so where there
// is none nobody has it.
func (OS) LockRead(dir string) (io.Closer, error) {
	f, err := os.Open(filepath.Join(dir, LockName)) // #nosec G304 -- paths come from the operator
	if errors.Is(err, fs.ErrNotExist) {
		return io.NopCloser(nil), nil
	}
	if err != nil {
		return nil, err
	}
	if err := flock(f, unix.LOCK_SH); err != nil {
		return nil, notLocked(f, dir, err)
	}
	return f, nil
}

// notLocked closes the lock file and says why it could not be locked.
func notLocked(f *os.File, dir string, err error) error {
	pid := holder(f)
	_ = f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return &LockedError{Dir: dir, PID: pid}
	}
	return &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
}

func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB) // #nosec G115 -- descriptors are small
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// holder returns the process that wrote its name into the lock file, if it runs
// still: who holds the lock to read does not write.
func holder(f *os.File) int {
	var b [32]byte
	n, _ := f.ReadAt(b[:], 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil || pid <= 0 || errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
		return 0
	}
	return pid
}

type osFile struct{ *os.File }

// Sync uses fdatasync: content and size, which is all that the log needs; not
// the time stamps, which cost a second journal write on some filesystems.
func (f osFile) Sync() error {
	for {
		err := unix.Fdatasync(int(f.Fd())) // #nosec G115 -- descriptors are small
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return &fs.PathError{Op: "sync", Path: f.Name(), Err: err}
		}
	}
}

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("size: %w", err)
	}
	return st.Size(), nil
}
