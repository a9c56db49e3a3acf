package upstream

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"evenkeel/pkg/proxy"
	"evenkeel/pkg/resp"
)

// mimic is an engine whose replies say what they answer: see answerOf.
type mimic struct {
	t    testing.TB
	addr string
	wg   sync.WaitGroup
	slow atomic.Int64 // how long a search takes, in ns

	mu    sync.Mutex
	ln    net.Listener
	conns map[net.Conn]*[]string // the names of the commands that came, in order
	over  bool
}

func newMimic(t testing.TB) *mimic {
	t.Helper()
	m := &mimic{t: t, addr: "127.0.0.1:0"}
	m.listen()
	t.Cleanup(m.stop)
	return m
}

func (m *mimic) listen() {
	m.t.Helper()
	ln, err := net.Listen("tcp", m.addr)
	for end := time.Now().Add(patience); err != nil && time.Now().Before(end); time.Sleep(time.Millisecond) {
		ln, err = net.Listen("tcp", m.addr)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	m.mu.Lock()
	m.ln, m.addr, m.conns, m.over = ln, ln.Addr().String(), map[net.Conn]*[]string{}, false
	m.mu.Unlock()
	m.wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			m.mu.Lock()
			if m.over {
				_ = nc.Close()
			}
			m.conns[nc] = &[]string{}
			m.mu.Unlock()
			m.wg.Go(func() { m.serve(nc) })
		}
	})
}

// stop ends the engine with all of its connections.
func (m *mimic) stop() {
	m.mu.Lock()
	m.over = true
	_ = m.ln.Close()
	for nc := range m.conns {
		_ = nc.Close()
	}
	m.mu.Unlock()
	m.wg.Wait()
}

func (m *mimic) serve(nc net.Conn) {
	defer func() {
		_ = nc.Close()
		m.mu.Lock()
		delete(m.conns, nc)
		m.mu.Unlock()
	}()
	rd := resp.NewReader(nc, resp.Limits{})
	for {
		cmds, err := rd.Batch(nil, 1000)
		if err != nil {
			return
		}
		var out []byte
		m.mu.Lock()
		for _, c := range cmds {
			if names := m.conns[nc]; names != nil {
				*names = append(*names, strings.ToLower(c.Args[0]))
			}
		}
		m.mu.Unlock()
		for _, c := range cmds {
			if strings.EqualFold(c.Args[0], "nearby") {
				time.Sleep(time.Duration(m.slow.Load()))
			}
			out = append(out, answerOf(c.Args)...)
		}
		if _, err := nc.Write(out); err != nil {
			return
		}
	}
}

// connections tells how many there are.
func (m *mimic) connections() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.conns)
}

// got tells what came on connections on which name came.
func (m *mimic) got(name string) (all []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, names := range m.conns {
		if all = *names; strings.Contains(" "+strings.Join(all, " ")+" ", " "+name+" ") {
			return append([]string{}, all...)
		}
	}
	return nil
}

// answerOf is the reply to a command: of GET and NEARBY as many bytes as the number
// behind the last colon says, which begin with the whole command.
func answerOf(args []string) string {
	switch strings.ToLower(args[0]) {
	case "get", "nearby":
		text := strings.Join(args, " ")
		size, _ := strconv.Atoi(text[strings.LastIndexByte(text, ':')+1:])
		if size > len(text) {
			text += strings.Repeat(text[len(text)/2:], size/(len(text)-len(text)/2)+1)[:size-len(text)]
		}
		return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text)
	case "set", "output":
		return "+OK\r\n"
	case "ping":
		return "+PONG\r\n"
	}
	return "-BAD unknown command\r\n"
}

// startSharing serves before an engine with which a connection is shared.
func startSharing(t testing.TB, o Options, po proxy.Options) *fixture {
	t.Helper()
	if o.SharedConnections == 0 {
		o.SharedConnections = 1
	}
	f := start(t, o, po)
	f.call()
	return f
}

// call waits until there are shared connections.
func (f *fixture) call() {
	f.t.Helper()
	for _, l := range f.b.sharing.all {
		l.lanes[laneSmall].call()
		f.eventually("shared connection", l.lanes[laneSmall].up.Load)
	}
}

// guest is a client that a shared connection serves.
func (f *fixture) guest() *peer {
	f.t.Helper()
	before := f.b.Stats().Guests
	c := dial(f.t, f.addr)
	f.eventually("a guest", func() bool { return f.b.Stats().Guests == before+1 })
	return c
}

// ask sends a command and wants its answer.
func (p *peer) ask(args ...string) {
	p.t.Helper()
	p.send(array(args...))
	p.want(answerOf(args))
}
