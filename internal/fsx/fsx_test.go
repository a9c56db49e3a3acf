package fsx_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
)

func TestWriteFileAtomic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, want := range []string{"one", "", "a longer second"} {
		if err := fsx.WriteFileAtomic(fsx.OS{}, path, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := fsx.ReadFile(fsx.OS{}, path); err != nil || string(got) != want {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
	}
}

// The file has its old or its new content whatever operation fails.
func TestWriteFileAtomicFaults(t *testing.T) {
	for n := 0; ; n++ {
		path := filepath.Join(t.TempDir(), "f")
		faulty := fsxtest.New(fsx.OS{})
		if err := fsx.WriteFileAtomic(faulty, path, []byte("old")); err != nil {
			t.Fatal(err)
		}
		start := faulty.Ops()
		faulty.FailWith(func(i int, _ fsxtest.Op, _ string) error {
			if i == start+1+n {
				return syscall.EIO
			}
			return nil
		})
		err := fsx.WriteFileAtomic(faulty, path, []byte("new"))
		got, rerr := os.ReadFile(path)
		if rerr != nil || (string(got) != "old" && string(got) != "new") {
			t.Fatalf("operation %d failed: content %q, %v", n, got, rerr)
		}
		if err == nil {
			if string(got) != "new" || n < 4 {
				t.Fatalf("no error after %d operations, content %q", n, got)
			}
			return
		}
		if !errors.Is(err, syscall.EIO) {
			t.Fatalf("operation %d: %v", n, err)
		}
		if _, err := os.Stat(path + fsx.TempSuffix); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("operation %d left the temporary file: %v", n, err)
		}
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	lock, err := fsx.OS{}.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fsx.OS{}.Lock(dir)
	le, ok := errors.AsType[*fsx.LockedError](err)
	if !ok || le.PID != os.Getpid() || !strings.Contains(err.Error(), dir) {
		t.Fatalf("second lock: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	lock, err = fsx.OS{}.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
}

// Readers share a lock that keeps the owner out, and change nothing.
func TestLockRead(t *testing.T) {
	dir := t.TempDir()
	free, err := fsx.OS{}.LockRead(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, fsx.LockName)); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a reader made the lock file: %v", err)
	}
	_ = free.Close()
	lock, err := fsx.OS{}.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fsx.OS{}.LockRead(dir)
	if le, ok := errors.AsType[*fsx.LockedError](err); !ok || le.PID != os.Getpid() {
		t.Fatalf("a reader beside the owner: %v", err)
	}
	_ = lock.Close()
	before, _ := os.ReadFile(filepath.Join(dir, fsx.LockName))
	one, err1 := fsx.OS{}.LockRead(dir)
	two, err2 := fsx.OS{}.LockRead(dir)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if _, err := (fsx.OS{}).Lock(dir); err == nil {
		t.Fatal("the owner came in beside readers")
	}
	_, _ = one.Close(), two.Close()
	if after, _ := os.ReadFile(filepath.Join(dir, fsx.LockName)); !bytes.Equal(after, before) {
		t.Errorf("the lock file says %q, not %q", after, before)
	}
}

// The lock of a process that was killed is free.
func TestLockOfDeadProcess(t *testing.T) {
	if dir := os.Getenv("FSX_TEST_LOCK"); dir != "" {
		if _, err := (fsx.OS{}).Lock(dir); err != nil {
			os.Exit(3)
		}
		_, _ = os.Stdout.WriteString("locked\n")
		select {}
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=TestLockOfDeadProcess$")
	cmd.Env = append(os.Environ(), "FSX_TEST_LOCK="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 7)
	if _, err := out.Read(b); err != nil || string(b) != "locked\n" {
		t.Fatalf("child said %q, %v", b, err)
	}
	if _, err := (fsx.OS{}).Lock(dir); err == nil || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("lock of a running process: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	lock, err := fsx.OS{}.Lock(dir)
	if err != nil {
		t.Fatalf("lock of a dead process: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFaults(t *testing.T) {
	faulty := fsxtest.New(fsx.OS{})
	path := filepath.Join(t.TempDir(), "f")
	f, err := faulty.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	faulty.Room(5)
	if n, err := f.WriteAt([]byte("1234567"), 0); n != 5 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("full disk: %d, %v", n, err)
	}
	faulty.Room(-1)
	faulty.ShortWrites(2)
	if n, err := f.WriteAt([]byte("67"), 5); n != 2 || err != nil {
		t.Errorf("short write: %d, %v", n, err)
	}
	faulty.FailOp(fsxtest.OpSync, syscall.EIO)
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("sync: %v", err)
	}
	faulty.FailOp(fsxtest.OpRename, syscall.EIO)
	if err := faulty.Rename(path, path+"2"); !errors.Is(err, syscall.EIO) {
		t.Errorf("rename: %v", err)
	}
	faulty.FailOp("", nil)
	if err := f.Sync(); err != nil {
		t.Errorf("healed sync: %v", err)
	}
	if got, _ := os.ReadFile(path); string(got) != "1234567" {
		t.Errorf("content %q", got)
	}
	if n, err := f.Size(); n != 7 || err != nil {
		t.Errorf("size %d, %v", n, err)
	}
	free, err := faulty.FreeSpace(filepath.Dir(path))
	if free <= 0 || err != nil {
		t.Errorf("free space %d, %v", free, err)
	}
	if size, err := (fsx.OS{}).DiskSize(filepath.Dir(path)); size < free || err != nil {
		t.Errorf("size of the disk %d with %d free, %v", size, free, err)
	}
	if _, err := (fsx.OS{}).DiskSize(path + "/nothing"); err == nil {
		t.Error("a folder that is not there has a disk")
	}
}
