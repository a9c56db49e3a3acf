package reptest

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"evenkeel/pkg/replication"
	"evenkeel/pkg/resp"
)

// Serve is leader.Leader's method of this name.
type Serve func(ctx context.Context, conn net.Conn, r io.Reader, hello replication.Hello) error

// Server takes connections on a port of its own, answers AUTH, and hands
// REPLICATE on, as a session of a pod does.
type Server struct {
	Addr string

	serve    Serve
	password atomic.Pointer[string]
	l        net.Listener
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup
}

// Listen starts a server. The test's end stops it.
func Listen(t testing.TB, serve Serve) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Addr: l.Addr().String(), serve: serve, l: l}
	s.Protect("")
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.wg.Go(s.accept)
	t.Cleanup(s.Stop)
	return s
}

// Stop ends all connections and waits for them.
func (s *Server) Stop() {
	s.cancel()
	s.l.Close()
	s.wg.Wait()
}

// Protect makes AUTH with this password necessary; empty: not any more.
func (s *Server) Protect(password string) { s.password.Store(&password) }

func (s *Server) accept() {
	for {
		conn, err := s.l.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() {
			defer conn.Close()
			unhook := context.AfterFunc(s.ctx, func() { conn.Close() })
			defer unhook()
			s.session(conn)
		})
	}
}

func (s *Server) session(conn net.Conn) {
	r := resp.NewReader(conn, resp.Limits{})
	password := *s.password.Load()
	welcome := password == ""
	for {
		cmd, err := r.Next()
		if err != nil {
			return
		}
		reply := "-ERR unknown command\r\n"
		switch strings.ToUpper(cmd.Args[0]) {
		case "AUTH":
			welcome = len(cmd.Args) == 2 && cmd.Args[1] == password
			reply = "+OK\r\n"
			if !welcome {
				reply = "-ERR invalid password\r\n"
			}
		case replication.CommandName:
			if !welcome {
				reply = "-ERR authentication required\r\n"
				break
			}
			hello, err := replication.ParseHello(cmd.Args)
			if err != nil {
				reply = string(replication.AppendRefusal(nil, err))
				break
			}
			rest := io.MultiReader(bytes.NewReader(bytes.Clone(r.Buffered())), conn)
			_ = s.serve(s.ctx, conn, rest, hello) // the leader counts how it ended
			return
		}
		if _, err := io.WriteString(conn, reply); err != nil {
			return
		}
	}
}
