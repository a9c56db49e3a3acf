package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"evenkeel/internal/testkit"
	"evenkeel/pkg/tile38"
)

// server is a tile38-server: a real one, in a process of its own, or one that is
// played.
type server struct {
	t    *testing.T
	Addr string
	Dir  string
	fake *testkit.Server
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
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// newServer starts one without data, the real one or the one that is played.
func newServer(t *testing.T, genuine bool) *server {
	t.Helper()
	s := &server{t: t}
	if !genuine {
		s.Dir = t.TempDir()
		s.fake = testkit.NewServer(t, testkit.ServerOptions{Dir: s.Dir, Block: 32 << 10})
		s.Addr = s.fake.Addr
		t.Cleanup(s.close)
		return s
	}
	testkit.Binary(t)
	s.Addr, s.Dir = "127.0.0.1:"+freePort(t), t.TempDir()
	s.Start()
	t.Cleanup(s.Kill)
	return s
}

// Start starts the process and waits until it answers.
func (s *server) Start() {
	s.t.Helper()
	if s.fake != nil {
		s.fake.Start()
		return
	}
	_, port, _ := net.SplitHostPort(s.Addr)
	s.cmd = exec.Command(testkit.Binary(s.t), "-h", "127.0.0.1", "-p", port, "-d", s.Dir) //nolint:gosec // the tester names it
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		// One that follows answers when it is level.
		if _, err := s.Try("SERVER"); err == nil || strings.Contains(err.Error(), "catching up") {
			return
		}
		if time.Now().After(end) {
			s.t.Fatal("the server does not begin to answer")
		}
	}
}

// close ends the connection of the test.
func (s *server) close() {
	if s.c != nil {
		_ = s.c.Close()
		s.c = nil
	}
}

// Kill ends the process as a crash does.
func (s *server) Kill() {
	s.close()
	if s.fake != nil {
		s.fake.Stop()
	} else if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// Term ends it in good order.
func (s *server) Term() {
	s.close()
	if s.fake != nil {
		s.fake.Stop()
		return
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
