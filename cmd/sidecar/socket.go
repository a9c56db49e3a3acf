package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"syscall"
)

// socketMode is what --unix-socket-mode says.
func (c *config) socketMode() (fs.FileMode, error) {
	n, err := strconv.ParseUint(c.unixSocketMode, 8, 32)
	if err != nil || n > uint64(fs.ModePerm) {
		return 0, fmt.Errorf("--unix-socket-mode %q: want an octal number from 0 to 777", c.unixSocketMode)
	}
	return fs.FileMode(n), nil
}

// listenUnix listens on a socket file. One that a dead server has left behind is
// replaced; one that is in use, and anything that is no socket, is an error. The
// file is removed when the listener is closed.
func listenUnix(path string, mode fs.FileMode) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("--unix-socket: %w", err)
	}
	// Nobody else may connect before the mode is set.
	old := syscall.Umask(0o177)
	ln, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("--unix-socket: %w", err)
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(fmt.Errorf("--unix-socket: %w", err), ln.Close())
	}
	return ln, nil
}

func removeStale(path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("%s exists and is no socket", path)
	}
	nc, err := net.Dial("unix", path)
	if err == nil {
		return errors.Join(fmt.Errorf("%s is in use by another process", path), nc.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%s: cannot tell whether it is in use: %w", path, err)
	}
	return os.Remove(path)
}
