package epoll

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrAgain says that it would have to wait.
var ErrAgain = errors.New("epoll: not now")

// Socket is a connection that the runtime's poller does not know of.
type Socket struct{ fd int }

// Detach takes nc out of the runtime's poller. nc is closed then, the connection
// lives on. With an error nc is as it was. Not every connection can be detached:
// what is no socket, such as one under TLS, cannot.
func Detach(nc net.Conn) (*Socket, error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("epoll: %T is no socket", nc)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("epoll: detaching a connection: %w", err)
	}
	fd, dupErr := -1, error(nil)
	err = raw.Control(func(old uintptr) { fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, dupErr); err != nil {
		return nil, fmt.Errorf("epoll: detaching a connection: %w", err)
	}
	// Whatever closing says: what it was open for has another descriptor.
	_ = nc.Close()
	return &Socket{fd: fd}, nil
}

// Attach gives the connection back to the runtime's poller. The Socket is over,
// with an error, too.
func (s *Socket) Attach() (net.Conn, error) {
	f := os.NewFile(uintptr(s.fd), "socket")
	nc, err := net.FileConn(f)
	if err = errors.Join(err, f.Close()); err != nil {
		if nc != nil {
			err = errors.Join(err, nc.Close())
		}
		return nil, fmt.Errorf("epoll: attaching a connection: %w", err)
	}
	return nc, nil
}

// Read reads what is there: ErrAgain when that is nothing, io.EOF at the end.
func (s *Socket) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(s.fd, p)
		switch {
		case err == nil && n == 0 && len(p) > 0:
			return 0, io.EOF
		case err == nil:
			return n, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return 0, ErrAgain
		default:
			return 0, os.NewSyscallError("read", err)
		}
	}
}

// Write writes as much as there is room for: ErrAgain when that is not all.
func (s *Socket) Write(p []byte) (int, error) {
	sent := 0
	for sent < len(p) {
		n, err := unix.Write(s.fd, p[sent:])
		switch {
		case err == nil:
			sent += n
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return sent, ErrAgain
		default:
			return sent, os.NewSyscallError("write", err)
		}
	}
	return sent, nil
}

// Close ends the connection.
func (s *Socket) Close() error { return os.NewSyscallError("close", unix.Close(s.fd)) }
