package kubeapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// port is one address on 127.0.0.1 and the connections to it. It is kept while it
// refuses connections: a second socket is bound to it that never listens.
type port struct {
	addr   string
	bound  int           // the second socket
	conns  chan net.Conn // to Accept
	closed chan struct{}

	mu     sync.Mutex
	ln     net.Listener // nil while connections are refused
	open   map[*conn]bool
	read   gate // what clients send
	write  gate // what clients are sent
	ended  bool
	accept sync.WaitGroup
}

// gate holds back whoever comes through while it is shut.
type gate struct{ shut chan struct{} } // nil is open; closed when it opens

func (g *gate) set(shut bool) {
	switch {
	case shut && g.shut == nil:
		g.shut = make(chan struct{})
	case !shut && g.shut != nil:
		close(g.shut)
		g.shut = nil
	}
}

func newPort() (*port, error) {
	bound, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	p := &port{bound: bound, conns: make(chan net.Conn), closed: make(chan struct{}), open: make(map[*conn]bool)}
	if err := p.bind(); err != nil {
		return nil, errors.Join(err, unix.Close(bound))
	}
	if err := p.listen(); err != nil {
		return nil, errors.Join(err, unix.Close(bound))
	}
	return p, nil
}

// bind takes a free port for the socket that does not listen.
func (p *port) bind() error {
	if err := unix.SetsockoptInt(p.bound, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(p.bound, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	name, err := unix.Getsockname(p.bound)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	at, ok := name.(*unix.SockaddrInet4)
	if !ok {
		return errors.New("kubeapi: a socket of another family")
	}
	p.addr = fmt.Sprintf("127.0.0.1:%d", at.Port)
	return nil
}

// listen takes connections from now on.
func (p *port) listen() error {
	shared := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var set error
		err := raw.Control(func(fd uintptr) {
			set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		})
		return errors.Join(err, set)
	}}
	ln, err := shared.Listen(context.Background(), "tcp4", p.addr)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.ln = ln
	p.mu.Unlock()
	p.accept.Go(func() { p.serve(ln) })
	return nil
}

// serve hands the connections of one listener over until it is closed.
func (p *port) serve(ln net.Listener) {
	for {
		raw, err := ln.Accept()
		if err != nil {
			return
		}
		c := &conn{Conn: raw, port: p, gone: make(chan struct{})}
		if !p.enter(c, ln) {
			c.reset()
			continue
		}
		select {
		case p.conns <- c:
		case <-p.closed:
			c.reset()
		}
	}
}

// enter counts c in, unless ln is not the listener any more.
func (p *port) enter(c *conn, ln net.Listener) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ln != ln {
		return false
	}
	p.open[c] = true
	return true
}

// hold lets nothing in, nothing out, or neither, until told otherwise.
func (p *port) hold(read, write bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.read.set(read)
	p.write.set(write)
}

// refuse resets all connections and refuses new ones.
func (p *port) refuse() error {
	p.mu.Lock()
	ln, open := p.ln, p.open
	p.ln, p.open = nil, make(map[*conn]bool)
	p.mu.Unlock()
	if ln == nil {
		return nil
	}
	err := ln.Close()
	p.accept.Wait()
	for c := range open {
		c.reset()
	}
	return err
}

// heal ends what hold and refuse began.
func (p *port) heal() error {
	p.hold(false, false)
	p.mu.Lock()
	refused := p.ln == nil && !p.ended
	p.mu.Unlock()
	if refused {
		return p.listen()
	}
	return nil
}

// end gives the port back. It may be called again.
func (p *port) end() error {
	p.mu.Lock()
	ended := p.ended
	p.ended = true
	p.mu.Unlock()
	if ended {
		return nil
	}
	close(p.closed)
	p.hold(false, false)
	return errors.Join(p.refuse(), unix.Close(p.bound))
}

// Accept, Close and Addr make a port the listener of an http.Server.
func (p *port) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *port) Close() error { return p.end() }

func (p *port) Addr() net.Addr { return addr(p.addr) }

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

// conn waits at the gates of its port. What the kernel has taken while they were
// shut arrives when they open, as it does after a cut of a real network.
type conn struct {
	net.Conn
	port *port
	once sync.Once
	gone chan struct{} // closed with the connection
}

// wait returns when the gate is open, or the connection closed.
func (c *conn) wait(g *gate) error {
	for {
		c.port.mu.Lock()
		shut := g.shut
		c.port.mu.Unlock()
		if shut == nil {
			return nil
		}
		select {
		case <-shut:
		case <-c.gone:
			return net.ErrClosed
		}
	}
}

func (c *conn) Read(b []byte) (int, error) {
	if err := c.wait(&c.port.read); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(b)
	if gate := c.wait(&c.port.read); gate != nil { // it may have been shut while nothing came
		return 0, gate
	}
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	if err := c.wait(&c.port.write); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *conn) Close() error {
	c.port.mu.Lock()
	delete(c.port.open, c)
	c.port.mu.Unlock()
	c.once.Do(func() { close(c.gone) })
	return c.Conn.Close()
}

// reset closes the connection so that the client sees a reset.
func (c *conn) reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) //nolint:errcheck // a connection that is gone already is as good
	}
	c.Close() //nolint:errcheck // likewise
}
