package fsx

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FS is a filesystem. Its methods may be called from several goroutines; paths
// are the host's. Errors wrap the cause (fs.ErrNotExist, syscall.ENOSPC, …) and
// name the path.
type FS interface {
	// OpenFile opens path with the flags of package os.
	OpenFile(path string, flag int, perm fs.FileMode) (File, error)
	// Rename gives oldpath the name newpath and replaces what was there.
	Rename(oldpath, newpath string) error
	// Remove deletes a file.
	Remove(path string) error
	// ReadDir lists a folder, sorted by name.
	ReadDir(dir string) ([]fs.DirEntry, error)
	// MkdirAll creates a folder and its parents.
	MkdirAll(dir string, perm fs.FileMode) error
	// Stat describes path.
	Stat(path string) (fs.FileInfo, error)
	// SyncDir makes the names in dir durable.
	SyncDir(dir string) error
	// Lock takes the exclusive lock of dir, a file LOCK in it, without waiting.
	// It is held until the Closer is closed or the process ends. When somebody
	// else has it the error is a *LockedError.
	Lock(dir string) (io.Closer, error)
	// LockRead keeps dir from whoever wants Lock, and changes nothing in it. Others
	// may have it too. A folder that was never locked is left as it is.
	LockRead(dir string) (io.Closer, error)
	// FreeSpace returns the bytes that an unprivileged process may still write
	// in dir.
	FreeSpace(dir string) (int64, error)
}

// File is an open file. ReadAt and WriteAt may be called from several goroutines
// and together with Sync. A write that returns fewer bytes than it was given has
// written exactly those.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.WriterAt
	io.Seeker
	io.Closer
	// Sync makes content and size durable.
	Sync() error
	// Truncate sets the size in bytes.
	Truncate(size int64) error
	// Size returns the size in bytes.
	Size() (int64, error)
}

// LockName is the name of the lock file in a locked folder.
const LockName = "LOCK"

// TempSuffix ends the names of files that are not finished. Whoever owns a
// folder may remove such files when it starts.
const TempSuffix = ".tmp"

// LockedError says that another process holds the lock of Dir.
type LockedError struct {
	Dir string
	PID int // the holder's, 0 when unknown
}

func (e *LockedError) Error() string {
	if e.PID > 0 {
		return fmt.Sprintf("directory %s is in use by process %d", e.Dir, e.PID)
	}
	return fmt.Sprintf("directory %s is in use by another process", e.Dir)
}

// ReadFile returns the whole content of path.
func ReadFile(fsys FS, path string) ([]byte, error) {
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return b, nil
}

// WriteFileAtomic replaces path by data: whoever opens path, also after a crash
// at any moment, finds either the old content or the new one, whole. When it has
// returned nil the new content is durable.
func WriteFileAtomic(fsys FS, path string, data []byte) error {
	return CopyFileAtomic(fsys, path, bytes.NewReader(data))
}

// CopyFileAtomic is WriteFileAtomic for content that is read from r.
//
// After an error of the final directory sync the new content may be in place.
func CopyFileAtomic(fsys FS, path string, r io.Reader) error {
	tmp := path + TempSuffix
	if err := copyTo(fsys, tmp, r); err != nil {
		// The rest of an unfinished file is of no use; it would be removed at the
		// next start anyway.
		return errors.Join(err, ignoreNotExist(fsys.Remove(tmp)))
	}
	if err := fsys.Rename(tmp, path); err != nil {
		return errors.Join(err, ignoreNotExist(fsys.Remove(tmp)))
	}
	return fsys.SyncDir(filepath.Dir(path))
}

func copyTo(fsys FS, path string, r io.Reader) (err error) {
	f, err := fsys.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	if _, err := io.Copy(fullWriter{f}, r); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Sync()
}

// fullWriter goes on where a write stopped without an error.
type fullWriter struct{ w io.Writer }

func (f fullWriter) Write(b []byte) (done int, err error) {
	for done < len(b) {
		n, err := f.w.Write(b[done:])
		done += n
		if err == nil && n == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

func ignoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
