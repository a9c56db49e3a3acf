package epoll

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Events is what a connection is waited for, or is ready for.
type Events uint32

// Events. Gone comes unasked: both sides of the connection are over.
const (
	In   Events = unix.EPOLLIN
	Out  Events = unix.EPOLLOUT
	Gone Events = unix.EPOLLHUP | unix.EPOLLERR
)

// Ready is a connection that is ready for something.
type Ready struct {
	ID     int32
	Events Events
}

// maxReady is how many connections one Wait returns at most.
const maxReady = 256

// Poller waits for connections. Wake may be called from anywhere, all else by one
// goroutine at a time.
type Poller struct {
	fd     int
	events [maxReady]unix.EpollEvent
	ready  [maxReady]Ready

	mu    sync.Mutex
	alarm int // an eventfd; -1 once it is closed
	set   bool
}

// wakeID is that of the alarm; those of connections are not negative.
const wakeID = -1

// NewPoller makes a Poller. Close it.
func NewPoller() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", os.NewSyscallError("epoll_create1", err))
	}
	p := &Poller{fd: fd}
	p.alarm, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", errors.Join(os.NewSyscallError("eventfd", err), unix.Close(fd)))
	}
	if err := p.control(unix.EPOLL_CTL_ADD, p.alarm, wakeID, In); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Add begins to wait for events of a connection, which has an id that is not
// negative. Without events only Gone is told.
func (p *Poller) Add(s *Socket, id int32, events Events) error {
	return p.control(unix.EPOLL_CTL_ADD, s.fd, id, events)
}

// Set changes what a connection that was added is waited for.
func (p *Poller) Set(s *Socket, id int32, events Events) error {
	return p.control(unix.EPOLL_CTL_MOD, s.fd, id, events)
}

// Remove ends the waiting for a connection, which must not have been closed.
func (p *Poller) Remove(s *Socket) error { return p.control(unix.EPOLL_CTL_DEL, s.fd, 0, 0) }

func (p *Poller) control(op, fd int, id int32, events Events) error {
	err := unix.EpollCtl(p.fd, op, fd, &unix.EpollEvent{Events: uint32(events), Fd: id})
	if err != nil {
		return fmt.Errorf("epoll: %w", os.NewSyscallError("epoll_ctl", err))
	}
	return nil
}

// Forever is a timeout of Wait that does not come.
const Forever time.Duration = -1

// Wait returns who is ready, after a Wake or the timeout maybe nobody. It is valid until
// the next call. The timeout is rounded up to milliseconds.
func (p *Poller) Wait(timeout time.Duration) ([]Ready, error) {
	ms := -1
	if timeout >= 0 {
		ms = int((timeout + time.Millisecond - 1) / time.Millisecond)
	}
	for {
		n, err := unix.EpollWait(p.fd, p.events[:], ms)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("epoll: %w", os.NewSyscallError("epoll_wait", err))
		}
		ready := p.ready[:0]
		for _, e := range p.events[:n] {
			if e.Fd == wakeID {
				p.calm()
				continue
			}
			ready = append(ready, Ready{ID: e.Fd, Events: Events(e.Events)})
		}
		return ready, nil
	}
}

// Wake lets the Wait that is under way, or the next one, return.
func (p *Poller) Wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alarm < 0 || p.set {
		return
	}
	p.set = true
	// It fails only when it would be woken anyway.
	_, _ = unix.Write(p.alarm, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// calm undoes Wake.
func (p *Poller) calm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b [8]byte
	_, _ = unix.Read(p.alarm, b[:]) // there is nothing to do about an error
	p.set = false
}

// Close ends the Poller; nobody may wait. The connections stay open.
func (p *Poller) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := errors.Join(os.NewSyscallError("close", unix.Close(p.alarm)), os.NewSyscallError("close", unix.Close(p.fd)))
	p.alarm = -1
	return err
}
