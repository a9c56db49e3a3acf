package testkit

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"evenkeel/pkg/engine"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/reply"
)

// ServerOptions say what Server is like; zero values stand for the defaults.
type ServerOptions struct {
	// Dir holds appendonly.aof. Default: a directory of the test's.
	Dir string
	// Block is the size of the pieces that a follower compares. Default: 512 KiB,
	// as Tile38's; a test wants less.
	Block int
	// Retry is how long a follower that has lost its leader waits. Default: 20 ms;
	// Tile38's is 1 s.
	Retry time.Duration
	// ID of the server. Default: one that no other of this process has.
	ID string
}

func (o *ServerOptions) ensureDefaults(t testing.TB) {
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Block == 0 {
		o.Block = 512 << 10
	}
	if o.Retry == 0 {
		o.Retry = 20 * time.Millisecond
	}
	if o.ID == "" {
		o.ID = newID()
	}
}

// Server is a tile38-server on 127.0.0.1: it leads, and follows after FOLLOW. Its
// address, directory, id, CONFIG and leader stay what they are through Stop and
// Start.
type Server struct {
	Addr string
	opt  ServerOptions
	t    testing.TB

	life struct { // of the running process
		ln   net.Listener
		wg   sync.WaitGroup
		ctx  context.Context
		stop context.CancelFunc
	}

	mu       sync.Mutex
	running  bool
	started  time.Time
	changed  chan struct{} // closed and replaced when the file grows or is swapped
	eng      *engine.Engine
	file     *os.File
	size     int64 // of the file
	synced   int64 // how much of it Kill leaves in any case
	counter  int64 // aof_size as it is reported
	config   map[string]string
	readOnly bool
	clients  map[*client]bool
	shrink   shrinking
	follow   following
	blocked  bool // the leader's streams stand still
	sent     int64
	commands []string
}

// NewServer starts a server without data, or with those of the directory. It ends
// with the test.
func NewServer(t testing.TB, opt ServerOptions) *Server {
	t.Helper()
	opt.ensureDefaults(t)
	s := &Server{
		Addr: "127.0.0.1:0", opt: opt, t: t, changed: make(chan struct{}),
		config: map[string]string{}, clients: map[*client]bool{},
	}
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// ID returns the server's id.
func (s *Server) ID() string { return s.opt.ID }

// Address returns host:port.
func (s *Server) Address() string { return s.Addr }

// File returns the path of appendonly.aof.
func (s *Server) File() string { return filepath.Join(s.opt.Dir, "appendonly.aof") }

// Start begins to serve what is in the file.
func (s *Server) Start() {
	s.t.Helper()
	ln, err := net.Listen("tcp", s.Addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Addr = ln.Addr().String()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(); err != nil {
		_ = ln.Close()
		s.t.Fatal(err)
	}
	s.life.ctx, s.life.stop = context.WithCancel(context.Background()) //nolint:fatcontext // each life has its own
	s.life.ln, s.running, s.started = ln, true, time.Now()
	s.life.wg.Go(func() { s.accept(ln) })
	s.life.wg.Go(s.expire)
	s.follow.once, s.follow.level = false, false
	if s.follow.addr != "" {
		s.startFollowing()
	}
}

// Stop ends the server in good order; it may be started again.
func (s *Server) Stop() {
	s.mu.Lock()
	if !s.running {
		s.mu.Unlock()
		return
	}
	s.running = false
	s.life.stop()
	_ = s.life.ln.Close()
	for c := range s.clients {
		_ = c.conn.Close()
	}
	s.release()
	s.mu.Unlock()
	s.life.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.synced = s.size
	s.shrink = shrinking{}
	_ = s.file.Close()
}

// Restart is Stop and Start: times to live begin anew.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.Start()
}

// Kill ends the server as a crash of its machine does: the last lose bytes of the
// file, as far as they are not synced, are gone.
func (s *Server) Kill(lose int64) {
	s.t.Helper()
	s.mu.Lock()
	keep := s.synced
	s.mu.Unlock()
	s.Stop()
	if err := os.Truncate(s.File(), max(keep, s.size-lose)); err != nil {
		s.t.Fatal(err)
	}
}

// Sync makes what is in the file survive Kill. Tile38 does it each second.
func (s *Server) Sync() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.synced = s.size
}

// Wipe ends the server and takes its data and its id away; what is started again
// is another one, behind the same address.
func (s *Server) Wipe() {
	s.t.Helper()
	s.Stop()
	if err := os.Remove(s.File()); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
	s.opt.ID = newID()
}

// Drop closes all connections of clients and followers.
func (s *Server) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.clients {
		_ = c.conn.Close()
	}
}

// Block lets the streams to followers stand still, or go on.
func (s *Server) Block(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocked = on
	s.wake()
}

// Sent returns how many bytes of the file all streams to followers have sent.
func (s *Server) Sent() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

// Commands returns what connections have sent since the last call, names and
// first words.
func (s *Server) Commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.commands
	s.commands = nil
	return c
}

// Size returns the size of the file; aof_size may be another.
func (s *Server) Size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// Counter returns aof_size.
func (s *Server) Counter() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counter
}

// Digest returns the digest of the data in memory.
func (s *Server) Digest() collection.Digest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.eng.State().Digest()
}

// Do carries out commands of a client, words separated by spaces.
func (s *Server) Do(lines ...string) {
	s.t.Helper()
	for _, line := range lines {
		if answer := s.Args(strings.Fields(line)...); strings.HasPrefix(answer, "-") {
			s.t.Fatalf("%s: %s", line, answer)
		}
	}
}

// Bend carries out writes in memory alone, whomever the server follows: it is not what
// it should be then, and neither file nor leader know.
func (s *Server) Bend(lines ...string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range lines {
		if changed, err := s.change(strings.Fields(line), &reply.Reply{}); err != nil || !changed {
			s.t.Fatalf("%s: changed %v, %v", line, changed, err)
		}
	}
}

// Args carries out a command of a client and returns its answer in RESP.
func (s *Server) Args(args ...string) string {
	c := &client{authed: true}
	return string(s.answer(c, args))
}

// wake lets the streams look at the file. mu is held.
func (s *Server) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}
