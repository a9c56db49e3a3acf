package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"evenkeel/pkg/tile38"
)

// server is a real tile38-server, in a process of its own.
type server struct {
	t    *testing.T
	Addr string
	Dir  string
	args []string
	cmd  *exec.Cmd
	c    *tile38.Conn
}

// freePort returns a port of 127.0.0.1 that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return fmt.Sprint(ln.Addr().(*net.TCPAddr).Port)
}

// newServer starts one without data.
func newServer(t *testing.T, args ...string) *server {
	t.Helper()
	if os.Getenv("TILE38_SERVER") == "" {
		t.Skip("TILE38_SERVER names no tile38-server")
	}
	s := &server{t: t, Addr: "127.0.0.1:" + freePort(t), Dir: t.TempDir(), args: args}
	s.Start()
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(s.Dir, "..", filepath.Base(s.Dir)+".log"))
			t.Logf("%s: %s", s.Addr, log[max(0, len(log)-3000):])
		}
		s.Kill()
	})
	return s
}

// Start starts the process and waits until it answers.
func (s *server) Start() {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(s.Addr)
	log, err := os.OpenFile(filepath.Join(s.Dir, "..", filepath.Base(s.Dir)+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	args := append([]string{"-h", "127.0.0.1", "-p", port, "-d", s.Dir, "-vv"}, s.args...)
	s.cmd = exec.Command(os.Getenv("TILE38_SERVER"), args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		// One that follows answers when it is level.
		if _, err := s.Try("SERVER"); err == nil || strings.Contains(err.Error(), "catching up") {
			return
		}
		if time.Now().After(end) {
			s.t.Fatal("the server does not begin to listen")
		}
	}
}

// Kill ends the process as a crash does.
func (s *server) Kill() {
	if s.c != nil {
		_ = s.c.Close()
		s.c = nil
	}
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// Term ends it in good order.
func (s *server) Term() {
	if s.c != nil {
		_ = s.c.Close()
		s.c = nil
	}
	_ = s.cmd.Process.Signal(os.Interrupt)
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Try sends one command, its words separated by spaces.
func (s *server) Try(args ...string) (string, error) {
	if s.c == nil {
		c, err := tile38.Dial(context.Background(), tile38.Options{Addr: s.Addr, Timeout: 20 * time.Second})
		if err != nil {
			return "", err
		}
		s.c = c
	}
	v, err := s.c.Do(args...)
	if _, ok := errors.AsType[tile38.AnswerError](err); err != nil && !ok {
		_ = s.c.Close()
		s.c = nil
	}
	return v.String(), err
}

// Do sends commands, words separated by spaces.
func (s *server) Do(lines ...string) {
	s.t.Helper()
	for _, line := range lines {
		if _, err := s.Try(strings.Fields(line)...); err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
	}
}

// Fill writes n points at once, ids from first on.
func (s *server) Fill(key string, first, n int) {
	s.t.Helper()
	c, err := tile38.Dial(context.Background(), tile38.Options{Addr: s.Addr, Timeout: 20 * time.Second})
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for n > 0 {
		k := min(n, 500)
		var cmds [][]string
		for i := range k {
			id := first + i
			cmds = append(cmds, []string{"SET", key, fmt.Sprint("o", id), "FIELD", "f", fmt.Sprint(id % 7), "POINT", fmt.Sprint(id % 80), fmt.Sprint(id % 170)})
		}
		if err := c.Send(cmds...); err != nil {
			s.t.Fatal(err)
		}
		for range k {
			if _, err := c.Receive(1 << 20); err != nil {
				s.t.Fatal(err)
			}
		}
		first, n = first+k, n-k
	}
}

// Server is what SERVER says.
func (s *server) Server() tile38.Server {
	s.t.Helper()
	c, err := tile38.Dial(context.Background(), tile38.Options{Addr: s.Addr, Timeout: 20 * time.Second})
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	v, err := c.Server()
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}
