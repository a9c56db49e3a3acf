package upstream

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
)

const (
	// smallBuffer and largeBuffer are what is read at once, in bytes: the larger
	// one after a read that has filled the smaller.
	smallBuffer = 16 << 10
	largeBuffer = 64 << 10
	// restBuffer is held by a connection under TLS that waits.
	restBuffer = 512
)

// pools of buffers, shared by all sessions of a Backend.
type pools struct{ small, large sync.Pool }

func newPools() *pools {
	p := &pools{}
	p.small.New = func() any { b := make([]byte, smallBuffer); return &b }
	p.large.New = func() any { b := make([]byte, largeBuffer); return &b }
	return p
}

func (p *pools) get(large bool) *[]byte {
	pool := &p.small
	if large {
		pool = &p.large
	}
	b, _ := pool.Get().(*[]byte)
	return b
}

func (p *pools) put(b *[]byte) {
	switch {
	case b == nil:
	case len(*b) == largeBuffer:
		p.large.Put(b)
	case len(*b) == smallBuffer:
		p.small.Put(b)
	}
}

// source reads a connection into a buffer that is there only once bytes are.
type source struct {
	pools *pools
	nc    net.Conn
	raw   syscall.RawConn // nil: TLS
	try   func(fd uintptr) bool
	large bool

	// Of the read under way, or the last one.
	held []byte // what the buffer is to begin with
	buf  *[]byte
	n    int
	err  error
}

func (s *source) init(p *pools, nc net.Conn) {
	s.pools, s.nc = p, nc
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			s.raw, s.try = raw, s.attempt
		}
	}
}

// read waits for bytes and returns them behind held, which is at most holdBytes.
// They are valid until release. As with io.Reader bytes may come with an error.
func (s *source) read(held []byte) ([]byte, error) {
	s.held = held
	if s.raw == nil {
		return s.readTLS()
	}
	s.n, s.err = 0, nil
	if err := s.raw.Read(s.try); err != nil {
		return nil, err
	}
	if s.err != nil {
		s.release()
		return nil, s.err
	}
	s.large = s.n == len(*s.buf)
	return (*s.buf)[:s.n], nil
}

// attempt is called when the connection may have something to read.
func (s *source) attempt(fd uintptr) bool {
	if s.buf == nil {
		s.buf = s.pools.get(s.large)
	}
	b := *s.buf
	used := copy(b, s.held)
	for {
		n, err := syscall.Read(int(fd), b[used:]) //nolint:gosec // a descriptor
		switch {
		case err == nil && n == 0:
			s.err = io.EOF
		case err == nil:
			s.n = used + n
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			s.release() // nobody holds a buffer while waiting
			return false
		default:
			s.err = err
		}
		return true
	}
}

// readTLS cannot know whether there is something: it waits with a small buffer.
func (s *source) readTLS() ([]byte, error) {
	if s.large {
		s.buf = s.pools.get(true)
	} else {
		b := make([]byte, holdBytes+restBuffer)
		s.buf = &b
	}
	b := *s.buf
	used := copy(b, s.held)
	n, err := s.nc.Read(b[used:])
	if n == 0 && err != nil {
		s.release()
		return nil, err
	}
	s.large = used+n == len(b)
	return b[:used+n], nil // an error comes again
}

// release gives the buffer back.
func (s *source) release() {
	s.pools.put(s.buf)
	s.buf = nil
}
