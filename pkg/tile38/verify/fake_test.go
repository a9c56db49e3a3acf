package verify

import (
	"bufio"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/redcon"

	"evenkeel/pkg/engine"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/resp"
)

// fake is an engine behind a port, with the commands that this package uses.
type fake struct {
	addr string
	mu   sync.Mutex
	eng  *engine.Engine
	// before is called for each command before it is answered, with the engine to
	// change; it must not call query.
	before func(f *fake, args []string)
	// following is what SERVER says.
	following string
}

// newFake starts one. It ends with the test.
func newFake(t testing.TB) *fake {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{addr: ln.Addr().String(), eng: engine.New(engine.Options{})}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			wg.Go(func() { f.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return f
}

func (f *fake) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	rd := resp.NewReader(bufio.NewReader(conn), resp.Limits{})
	json := false
	for {
		cmd, err := rd.Next()
		if err != nil {
			return
		}
		answer := "$11\r\n{\"ok\":true}\r\n"
		if strings.EqualFold(cmd.Args[0], "output") {
			json = cmd.Args[1] == "json"
		} else {
			answer = f.answer(cmd.Args, json)
		}
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
	}
}

func (f *fake) answer(args []string, json bool) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.before != nil {
		f.before(f, args)
	}
	return f.query(args, json)
}

// query carries out a command. mu is held.
func (f *fake) query(args []string, json bool) string {
	name := strings.ToLower(args[0])
	out := reply.Reply{JSON: json}
	spec := f.eng.Lookup(name)
	if name == "server" {
		return f.server()
	}
	if spec == nil {
		out.Fail(name, reply.Plain("unknown command '"+args[0]+"'"))
	} else {
		req := command.Request{Args: args, Name: name, Now: time.Now().UnixMilli()}
		var err error
		if spec.Read != nil {
			err = spec.Read(&req, f.eng.State(), &out)
		} else {
			ch, failed := f.eng.Prepare(spec, &req, &out)
			if err = failed; err == nil && ch != nil {
				f.eng.Apply(ch)
			}
		}
		if err != nil {
			out.Buf = out.Buf[:0]
			out.Fail(name, err)
		}
	}
	out.Rest()
	out.Finish(0, time.Microsecond)
	return string(out.Buf)
}

// server is the answer to SERVER.
func (f *fake) server() string {
	members := []string{"id", f.addr, "num_objects", strconv.Itoa(f.eng.State().Totals().Items)}
	if f.following != "" {
		members = append(members, "following", f.following)
	}
	b := redcon.AppendArray(nil, len(members))
	for _, m := range members {
		b = redcon.AppendBulkString(b, m)
	}
	return string(b)
}

// do carries out commands, which must succeed.
func (f *fake) do(t testing.TB, cmds ...[]string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range cmds {
		if a := f.query(c, false); strings.HasPrefix(a, "-") {
			t.Fatalf("%q: %s", c, a)
		}
	}
}
