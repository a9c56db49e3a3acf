package testkit

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"evenkeel/pkg/tile38"
)

// Machine is a Tile38 server, played or real.
type Machine interface {
	Address() string // host:port
	File() string    // path of appendonly.aof
	Start()
	Stop()
	Restart()
}

// Binary returns the real tile38-server, named by TILE38_SERVER, or skips the
// test.
func Binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("TILE38_SERVER")
	if path == "" {
		t.Skip("TILE38_SERVER names no tile38-server")
	}
	return path
}

// patience is how long a server may take to end.
const patience = 3 * time.Second

// Process is a real tile38-server on 127.0.0.1.
type Process struct {
	Addr string
	Dir  string
	t    testing.TB
	path string
	cmd  *exec.Cmd
}

// NewProcess starts a real server in a directory of the test's, or skips the test.
// It ends with the test.
func NewProcess(t testing.TB) *Process {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{path: Binary(t), Addr: ln.Addr().String(), Dir: t.TempDir(), t: t}
	_ = ln.Close()
	p.Start()
	t.Cleanup(p.Stop)
	return p
}

// Address returns host:port.
func (p *Process) Address() string { return p.Addr }

// File returns the path of appendonly.aof.
func (p *Process) File() string { return filepath.Join(p.Dir, "appendonly.aof") }

// Start starts the server and waits until it answers.
func (p *Process) Start() {
	p.t.Helper()
	host, port, _ := net.SplitHostPort(p.Addr)
	p.cmd = exec.Command(p.path, "-h", host, "-p", port, "-d", p.Dir) //nolint:gosec // the tester names it
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := tile38.Dial(context.Background(), tile38.Options{Addr: p.Addr})
		if err == nil {
			_, err = c.Do("PING")
			_ = c.Close()
		}
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s does not answer: %v", p.path, err)
		}
	}
}

// Stop ends the server in good order.
func (p *Process) Stop() { p.end(syscall.SIGTERM) }

// Kill ends it at once.
func (p *Process) Kill() { p.end(syscall.SIGKILL) }

// Restart is Stop and Start.
func (p *Process) Restart() {
	p.Stop()
	p.Start()
}

func (p *Process) end(sig syscall.Signal) {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(sig)
	// It does not always end when it is asked to.
	late := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	_ = p.cmd.Wait() // how it ends does not matter
	late.Stop()
	p.cmd = nil
}
