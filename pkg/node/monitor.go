package node

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/pubsub"
)

// monitors are the connections that asked for MONITOR.
type monitors struct {
	n    atomic.Int32 // how many there are: what a command looks at
	mu   sync.Mutex
	list map[*pubsub.Listener]struct{}
}

// monitor is MONITOR: from now on the connection is shown what others ask for.
func (c *call) monitor() error {
	if len(c.args) != 1 {
		return reply.ErrNumArgs
	}
	m := &c.node.monitors
	l := &live{
		session: c.session, listener: c.node.opt.Hub.NewListener(), what: "monitor",
		format: func(dst []byte, m pubsub.Message) []byte { return append(dst, m.Payload...) },
	}
	l.command = func(args []string) bool { // anything ends it, but only QUIT is answered
		if strings.EqualFold(args[0], "quit") {
			l.say([]byte("+OK\r\n"))
		}
		return false
	}
	l.ended = func() { m.remove(l.listener) }
	m.add(l.listener)
	c.out.Simple("OK") // in either output
	c.finished = true
	c.batch.verdict.Hijack = l.hijack
	return nil
}

func (m *monitors) add(l *pubsub.Listener) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.list == nil {
		m.list = map[*pubsub.Listener]struct{}{}
	}
	m.list[l] = struct{}{}
	m.n.Store(int32(len(m.list)))
}

func (m *monitors) remove(l *pubsub.Listener) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.list, l)
	m.n.Store(int32(len(m.list)))
}

// unseen are the commands that MONITOR does not show. It does not show commands
// that have the wrong number of words or were refused, either.
var unseen = map[string]bool{
	"aof": true, "aofmd5": true, "auth": true, "client": true, "config": true,
	"forward": true, PeerCommand: true, "config get": true, "config set": true, "config rewrite": true, "echo": true, "follow": true, "hello": true,
	"monitor": true, "ping": true, "quit": true, "replconf": true, "replicate": true, "slaveof": true, "timeout": true,
}

// unshown says whether an answer is an error of those after which a command is
// not shown.
func unshown(answer []byte) bool {
	head := answer[:min(len(answer), 100)]
	for _, text := range refusals {
		if bytes.Contains(head, text) {
			return true
		}
	}
	return false
}

// refusals are errors after which a command is not shown.
var refusals = [][]byte{
	[]byte("invalid number of arguments"), []byte("wrong number of arguments for"),
	[]byte("read only"), []byte("not the leader"), []byte("catching up to leader"), []byte("OOM command"),
}

// show tells the monitors of a command that has been answered. from is the
// client, or "lua".
func (n *Node) show(from, name string, args []string) {
	if n.monitors.n.Load() == 0 || unseen[name] {
		return
	}
	if name == "script" && len(args) > 1 {
		args = append([]string{args[0] + " " + args[1]}, args[2:]...)
	}
	now := time.Now()
	line := fmt.Appendf(nil, "+%d.%06d [0 %s]", now.Unix(), now.Nanosecond()/1000, from)
	for _, a := range args {
		line = strconv.AppendQuote(append(line, ' '), a)
	}
	line = append(line, "\r\n"...)
	n.monitors.mu.Lock()
	defer n.monitors.mu.Unlock()
	for l := range n.monitors.list {
		l.Push(pubsub.Message{Payload: line})
	}
}
