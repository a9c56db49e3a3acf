package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"evenkeel/internal/load"
	"evenkeel/pkg/proxy"
	"evenkeel/pkg/upstream"
)

// serveWord as the first argument makes this program the proxy that is measured.
const serveWord = "serve-proxy"

// serveProxy is our proxy, in a process of its own: args are where it listens,
// the engine, and how many connections clients share.
func serveProxy(ctx context.Context, args []string) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(args) != 3 {
		return fmt.Errorf("%s: want two addresses and a number", serveWord)
	}
	shared, err := strconv.Atoi(args[2])
	if err != nil {
		return fmt.Errorf("%s: %w", serveWord, err)
	}
	b, err := upstream.New(upstream.Options{Engine: args[1], SharedConnections: shared})
	if err != nil {
		return err
	}
	srv, err := proxy.NewRaw(proxy.Options{MaxConns: 100_000}, b)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	return errors.Join(srv.Serve(ctx, ln), b.Close())
}

// front is a way to the engine.
type front struct {
	name    string
	addr    string
	missing string // why it is not measured
	proc    *server
}

// fronts starts everything that stands before the engine.
func fronts(ctx context.Context, o options, engine string) ([]*front, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	all := []*front{{name: "direct", addr: engine}}
	for _, f := range []struct {
		name, path string
		prepare    func(listen, dir string) ([]string, error)
	}{
		{"evenkeel", self, func(listen, _ string) ([]string, error) {
			return []string{serveWord, listen, engine, strconv.Itoa(runtime.GOMAXPROCS(0))}, nil // as the sidecar does
		}},
		{"unshared", self, func(listen, _ string) ([]string, error) { return []string{serveWord, listen, engine, "0"}, nil }},
		{"haproxy", "haproxy", func(listen, dir string) ([]string, error) { return haproxyArgs(listen, engine, dir) }},
		{"twemproxy", "nutcracker", func(listen, dir string) ([]string, error) { return twemproxyArgs(listen, engine, dir) }},
	} {
		next := &front{name: f.name}
		all = append(all, next)
		path, err := exec.LookPath(f.path)
		if err != nil {
			next.missing = "not installed"
			continue
		}
		port, err := freePort()
		if err != nil {
			return all, err
		}
		next.addr = net.JoinHostPort("127.0.0.1", port)
		args, err := f.prepare(next.addr, o.dir)
		if err != nil {
			return all, err
		}
		next.proc = &server{name: f.name, dir: filepath.Join(o.dir, f.name), addr: next.addr}
		if err := next.proc.exec(ctx, path, args); err != nil {
			return all, err
		}
		if err := next.proc.until(ctx, func() bool { return listens(ctx, next.addr) }); err != nil {
			return all, err
		}
	}
	return all, nil
}

func listens(ctx context.Context, addr string) bool {
	c, err := load.Dial(ctx, load.Server{Addr: addr})
	if err != nil {
		return false
	}
	return c.Close() == nil
}

// haproxyArgs has HAProxy pass bytes: TCP mode, as many threads as it likes.
func haproxyArgs(listen, engine, dir string) ([]string, error) {
	path := filepath.Join(dir, "haproxy.cfg")
	text := fmt.Sprintf(`global
  maxconn 1000
defaults
  mode tcp
  timeout connect 1s
  timeout client 1h
  timeout server 1h
listen tile38
  bind %s
  server engine %s
`, listen, engine)
	return []string{"-db", "-f", path}, os.WriteFile(path, []byte(text), 0o600)
}

func twemproxyArgs(listen, engine, dir string) ([]string, error) {
	path := filepath.Join(dir, "nutcracker.yml")
	text := fmt.Sprintf(`tile38:
  listen: %s
  redis: true
  hash: fnv1a_64
  distribution: ketama
  server_connections: 8
  servers:
   - %s:1
`, listen, engine)
	stats, err := freePort() // it wants one
	if err != nil {
		return nil, err
	}
	return []string{"-c", path, "-o", filepath.Join(dir, "nutcracker.log"), "-p", filepath.Join(dir, "nutcracker.pid"),
		"-a", "127.0.0.1", "-s", stats}, os.WriteFile(path, []byte(text), 0o600)
}

// measureProxy compares ways to one engine.
func measureProxy(ctx context.Context, o options, say *progress, w io.Writer) (err error) {
	p := o.programs[0]
	engine, err := newServer(p, string(p.kind), o.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.stop()) }()
	if err := engine.start(ctx, ""); err != nil {
		return err
	}
	if err := engine.until(ctx, func() bool { return engine.holds(ctx, 0) }); err != nil {
		return err
	}
	once := o
	once.rounds = 1
	if err := load.Fill(ctx, load.Server{Addr: engine.addr}, once.filling(), func(int, int) {}); err != nil {
		return err
	}
	all, err := fronts(ctx, o, engine.addr)
	defer func() {
		for _, f := range all {
			if f.proc != nil {
				err = errors.Join(err, f.proc.stop())
			}
		}
	}()
	if err != nil {
		return err
	}
	r, err := compareFronts(ctx, o, all, say)
	if err != nil {
		return err
	}
	return r.write(w, o, string(p.kind))
}

// exec starts a program with these arguments.
func (s *server) exec(ctx context.Context, path string, args []string) error {
	out, err := os.OpenFile(s.dir+".out", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }() // joined by stop
	s.cmd, s.done = cmd, done
	return nil
}
