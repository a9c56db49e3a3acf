package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"evenkeel/internal/load"
)

// kind is how a server is started.
type kind string

// The kinds of servers.
const (
	sidecar kind = "sidecar"
	tile38  kind = "tile38"
)

// server is a running server process.
type server struct {
	program
	name string
	dir  string // its data
	addr string
	// empty is its resident memory without objects, in bytes; 0: not measured.
	empty int64
	cmd   *exec.Cmd
	done  chan error // what the process ended with; filled once
}

// startTimeout is how long a start may take, loading included.
const startTimeout = 5 * time.Minute

// newServer prepares a server with an empty folder for its data.
func newServer(p program, name, dir string) (*server, error) {
	data := filepath.Join(dir, name)
	return &server{program: p, name: name, dir: data}, os.MkdirAll(data, 0o755)
}

// start runs the process; leader is an address to follow, or empty. It returns
// as soon as the process runs.
func (s *server) start(ctx context.Context, leader string) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	s.addr = net.JoinHostPort("127.0.0.1", port)
	args := []string{"-h", "127.0.0.1", "-p", port, "-d", s.dir}
	if s.kind == sidecar {
		args = []string{"run", "--listen", s.addr, "--data-dir", s.dir,
			"--probe-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
			"--aofshrink-min-size", "0"} // only the compaction that is measured
		if leader != "" {
			args = append(args, "--follow", leader, "--read-from", "local")
		}
	}
	if err := s.exec(ctx, s.path, args); err != nil {
		return err
	}
	if leader == "" || s.kind == sidecar {
		return nil
	}
	if err := s.until(ctx, func() bool { _, err := load.Ask(ctx, s.target(), "PING"); return err == nil }); err != nil {
		return err
	}
	host, leaderPort, err := net.SplitHostPort(leader)
	if err != nil {
		return err
	}
	_, err = load.Ask(ctx, s.target(), "FOLLOW", host, leaderPort)
	return err
}

// freePort finds a port that nobody listens on.
// target is where its clients connect.
func (s *server) target() load.Server { return load.Server{Addr: s.addr} }

func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(ln.Addr().String())
	return port, errors.Join(err, ln.Close())
}

// until waits for a condition, and fails when the process ends first or the
// time is over.
func (s *server) until(ctx context.Context, holds func() bool) error {
	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-s.done:
			s.done <- err // for stop
			return fmt.Errorf("%s ended: %w; its last words:\n%s", s.name, err, s.lastWords())
		case <-timeout.C:
			return fmt.Errorf("%s was not ready after %v; its last words:\n%s", s.name, startTimeout, s.lastWords())
		case <-tick.C:
		}
	}
	return nil
}

// lastWords is the end of what the process printed.
func (s *server) lastWords() string {
	b, err := os.ReadFile(s.dir + ".out")
	if err != nil {
		return err.Error()
	}
	return string(b[max(len(b)-2000, 0):])
}

// holds tells whether the server answers and has that many objects.
func (s *server) holds(ctx context.Context, objects int) bool {
	return s.member(ctx, "num_objects") == strconv.Itoa(objects)
}

// levelWith tells whether the server has taken all of the leader's log.
func (s *server) levelWith(ctx context.Context, leader *server) bool {
	size := leader.member(ctx, "aof_size")
	return size != "" && s.member(ctx, "aof_size") == size
}

// member is a member of SERVER, "" while the server does not answer.
func (s *server) member(ctx context.Context, name string) string {
	kv, err := load.Ask(ctx, s.target(), "SERVER")
	if err != nil {
		return ""
	}
	for i := 0; i+1 < len(kv); i += 2 {
		if kv[i] == name {
			return kv[i+1]
		}
	}
	return ""
}

// compacting tells whether an AOFSHRINK runs.
func (s *server) compacting(ctx context.Context) bool {
	info, err := load.Ask(ctx, s.target(), "INFO", "persistence")
	return err != nil || !strings.Contains(strings.Join(info, ""), "aof_rewrite_in_progress:0")
}

// stop ends the process and waits for it; a second call does nothing.
func (s *server) stop() error {
	if s.cmd == nil {
		return nil
	}
	cmd := s.cmd
	s.cmd = nil
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-s.done: // its exit code is no matter here
		return nil
	case <-time.After(30 * time.Second):
	}
	_ = cmd.Process.Kill()
	<-s.done
	return fmt.Errorf("%s did not end by itself within 30 s", s.name)
}

// memory reads resident memory and its peak, in bytes.
func (s *server) memory() (resident, peak int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range bytes.Lines(b) {
		f := strings.Fields(string(line))
		if len(f) != 3 {
			continue
		}
		kib, err := strconv.ParseInt(f[1], 10, 64)
		switch {
		case f[0] == "VmRSS:" && err == nil:
			resident = kib << 10
		case f[0] == "VmHWM:" && err == nil:
			peak = kib << 10
		}
	}
	if resident == 0 {
		return 0, 0, fmt.Errorf("%s: /proc does not tell its memory", s.name)
	}
	return resident, peak, nil
}

// received counts the bytes that the process has read, from files and sockets.
func (s *server) received() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	var n int64
	if _, err := fmt.Sscanf(string(b), "rchar: %d", &n); err != nil {
		return 0, fmt.Errorf("%s: /proc/…/io: %w", s.name, err)
	}
	return n, nil
}
