package node

import (
	"cmp"
	"crypto/subtle"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/forward"
	"evenkeel/pkg/settings"
	"evenkeel/pkg/store"
	"evenkeel/pkg/tile38"
)

const passProperty = settings.RequirePass

var (
	errAuthRequired = reply.Plain("authentication required")
	errPassword     = reply.Plain("invalid password")
	errNoClient     = reply.Plain("No such client")
	errClientName   = reply.Plain("Client names cannot contain spaces, newlines or special characters.")
	errClientUsage  = reply.Plain("Syntax error, try CLIENT (LIST | KILL | GETNAME | SETNAME)")
	errTimeout      = reply.Plain("timeout")
	errTooLarge     = reply.Plain("the reply is too large; ask for less with LIMIT, or raise --max-output")
)

// ownCommands is the table of the node's own commands.
func ownCommands() []*entry {
	return []*entry{
		{name: "ping", run: (*call).ping, open: true, free: true, timeless: true},
		{name: "echo", run: (*call).ping, open: true, free: true, timeless: true},
		{name: "output", run: (*call).output, open: true, free: true},
		{name: "auth", run: (*call).auth, open: true, free: true},
		{name: "hello", run: (*call).hello, open: true, free: true, timeless: true},
		{name: "publish", run: (*call).publish},
		{name: "subscribe", run: (*call).subscribe},
		{name: "psubscribe", run: (*call).subscribe},
		{name: "monitor", run: (*call).monitor},
		{name: "quit", run: (*call).quit, open: true, free: true, timeless: true},
		{name: "timeout", run: (*call).timeout, timeless: true},
		{name: "script", run: (*call).script, free: true},
		{name: "script load", run: (*call).script, free: true},
		{name: "script exists", run: (*call).script, free: true},
		{name: "script flush", run: (*call).script, free: true},
		{name: "eval", run: (*call).eval, free: true},
		{name: "evalsha", run: (*call).eval, free: true},
		{name: "evalro", run: (*call).evalRO},
		{name: "evalrosha", run: (*call).evalRO},
		{name: "evalna", run: (*call).evalNA, free: true},
		{name: "evalnasha", run: (*call).evalNA, free: true},
		{name: "client", run: (*call).client, free: true},
		{name: "config", run: (*call).config, free: true},
		{name: "config get", run: (*call).config, free: true},
		{name: "config set", run: (*call).config, free: true},
		{name: "config rewrite", run: (*call).config, free: true},
		{name: "readonly", run: (*call).readonly, free: true},
		{name: "server", run: (*call).serverStats},
		{name: "info", run: (*call).info},
		{name: "role", run: (*call).role},
		{name: "healthz", run: (*call).healthz, open: true},
		{name: "gc", run: (*call).gc, free: true},
		{name: "aofshrink", run: (*call).aofshrink, free: true},
		{name: "wait", run: (*call).wait, free: true},
		{name: "aofmd5", run: (*call).aofmd5, free: true},
		{name: "aof", run: (*call).aof, free: true},
		{name: "follow", run: (*call).follow, free: true},
		{name: "slaveof", run: (*call).follow, free: true},
		{name: "replconf", run: (*call).replconf, free: true},
		{name: "replicate", run: (*call).replicate, free: true},
		{name: forward.Command, run: (*call).forwardFrom, free: true},
		{name: PeerCommand, run: (*call).peer, free: true},
	}
}

// ping is PING [text] and ECHO [text]; in JSON the text stands under the
// command's name.
func (c *call) ping() error {
	switch {
	case c.out.JSON:
		text := "pong"
		if len(c.args) > 1 {
			text = c.args[1]
		}
		c.out.OK()
		c.out.Member(c.name)
		c.out.String(text)
	case len(c.args) > 1:
		c.out.Bulk(c.args[1])
	default:
		c.out.Simple("PONG")
	}
	return nil
}

// ok answers OK.
func (c *call) ok() error {
	c.out.OK()
	return nil
}

func (c *call) output() error {
	switch len(c.args) {
	case 1:
		if c.out.JSON {
			c.out.OK()
			c.out.Member("output")
			c.out.String("json")
		} else {
			c.out.Bulk("resp")
		}
		return nil
	case 2:
	default:
		return reply.ErrNumArgs
	}
	switch strings.ToLower(c.args[1]) {
	case "json":
		c.out.JSON = true
	case "resp":
		c.out.JSON = false
	default:
		return reply.InvalidArgument(c.args[1])
	}
	return c.ok()
}

func (c *call) auth() error {
	given := ""
	if len(c.args) > 1 {
		given = c.args[1]
	}
	if err := c.login(given); err != nil {
		return err
	}
	return c.ok()
}

// login checks a password.
func (c *call) login(given string) error {
	pass := c.node.opt.Settings.Get(passProperty)
	given = strings.TrimSpace(given)
	if pass == "" || subtle.ConstantTimeCompare([]byte(given), []byte(pass)) != 1 {
		return errPassword
	}
	c.authed = true
	return nil
}

func (c *call) quit() error {
	c.batch.verdict.Close = true
	if c.out.JSON { // Tile38 closes the connection without a word
		c.finished = true
		return nil
	}
	return c.ok()
}

// timeout runs a data command that must end within so many seconds.
func (c *call) timeout() error {
	if len(c.args) < 3 || c.args[1] == "" {
		return reply.ErrNumArgs
	}
	secs, err := strconv.ParseFloat(c.args[1], 64)
	if err != nil || !(secs >= 0) {
		return reply.InvalidArgument(c.args[1])
	}
	inner := c.node.lookup(c.args[2])
	if inner != nil && inner.write && inner.name != "jdel" { // Tile38 takes JDEL for a read
		return reply.Plain("timeout not supported for '" + inner.name + "'")
	}
	if !time.Now().Before(c.batch.started.Add(secsDuration(secs))) { // TIMEOUT 0: not even looked at
		return errTimeout
	}
	if inner == nil || inner.timeless {
		return unknownCommand(c.args[2])
	}
	if inner.spec != nil {
		return c.bounded(inner, secsDuration(secs))
	}
	if err := c.admit(inner, c.args[2:]); err != nil {
		return err
	}
	c.args, c.name = c.args[2:], inner.name
	end := c.batch.started.Add(secsDuration(secs))
	c.bound, c.end = pauseUntil(end, nil), float64(end.UnixNano())/1e9
	return inner.run(c)
}

// secsDuration is a duration in seconds, within bounds.
func secsDuration(secs float64) time.Duration {
	return time.Duration(min(secs, 1e9) * float64(time.Second))
}

// pauseUntil returns what fails from end on, or with outer, which may be nil.
func pauseUntil(end time.Time, outer func() error) func() error {
	return func() error {
		if outer != nil {
			if err := outer(); err != nil {
				return err
			}
		}
		if !time.Now().Before(end) {
			return errTimeout
		}
		return nil
	}
}

// bounded carries out a data command within d.
func (c *call) bounded(e *entry, d time.Duration) error {
	b := c.batch
	c.finished = true
	req := command.Request{Args: c.args[2:], Name: e.name, Via: c.name}
	if e.spec.Write != nil {
		c.wrote = true
		if offset := c.node.opt.Store.Write([]store.Write{{Spec: e.spec, Request: req}}, c.out); offset > 0 {
			b.offset = offset
		}
		return nil
	}
	req.Pause = pauseUntil(b.started.Add(d), c.pause)
	if err := req.Pause(); err != nil {
		return err
	}
	admitted, err := c.admitRead(req.Args, req.Pause)
	if err != nil {
		return err
	}
	defer admitted()
	c.node.opt.Store.Read(e.spec, &req, c.out)
	return req.Pause()
}

// client is CLIENT LIST, KILL, GETNAME, SETNAME.
func (c *call) client() error {
	if len(c.args) < 2 {
		return reply.ErrNumArgs
	}
	switch strings.ToLower(c.args[1]) {
	case "list":
		return c.clientList()
	case "getname":
		return c.clientGetName()
	case "setname":
		return c.clientSetName()
	case "kill":
		return c.clientKill()
	}
	return errClientUsage
}

func (c *call) clientGetName() error {
	if len(c.args) != 2 {
		return reply.ErrNumArgs
	}
	if c.out.JSON {
		c.out.OK()
		c.out.Member("name")
		c.out.String(c.clientName())
	} else {
		c.out.Bulk(c.clientName())
	}
	return nil
}

func (s *session) clientName() string {
	if p := s.name.Load(); p != nil {
		return *p
	}
	return ""
}

func (c *call) clientSetName() error {
	if len(c.args) != 3 {
		return reply.ErrNumArgs
	}
	if err := c.setName(c.args[2]); err != nil {
		return err
	}
	return c.ok()
}

func (s *session) setName(name string) error {
	for _, b := range []byte(name) {
		if b < '!' || b > '~' {
			return errClientName
		}
	}
	name = strings.Clone(name)
	s.name.Store(&name)
	s.stays = name == tile38.LocalName
	return nil
}

// clientList lists all connections by their ids.
func (c *call) clientList() error {
	if len(c.args) != 2 {
		return reply.ErrNumArgs
	}
	now := time.Now()
	if c.out.JSON {
		c.out.OK()
		c.out.Member("list")
		c.out.Buf = append(c.out.Buf, '[')
		for i, s := range c.node.list() {
			if i > 0 {
				c.out.Buf = append(c.out.Buf, ',')
			}
			c.out.Buf = fmt.Appendf(c.out.Buf, `{"addr":%q,"age":%d,"id":%d,"idle":%d,"name":`,
				s.addr(), s.age(now), s.conn.ID(), s.idle(now))
			c.out.Escaped(s.clientName())
			c.out.Buf = append(c.out.Buf, '}')
		}
		c.out.Buf = append(c.out.Buf, ']')
		return nil
	}
	var text []byte
	for _, s := range c.node.list() {
		text = fmt.Appendf(text, "id=%d addr=%s name=%s age=%d idle=%d\n",
			s.conn.ID(), s.addr(), s.clientName(), s.age(now), s.idle(now))
	}
	c.out.Bulk(string(text))
	return nil
}

// list returns all sessions, by their connections' ids.
func (n *Node) list() []*session {
	n.mu.Lock()
	all := make([]*session, 0, len(n.sessions))
	for _, s := range n.sessions {
		all = append(all, s)
	}
	n.mu.Unlock()
	slices.SortFunc(all, func(a, b *session) int { return cmp.Compare(a.conn.ID(), b.conn.ID()) })
	return all
}

func (s *session) addr() string { return s.conn.RemoteAddr().String() }

func (s *session) age(now time.Time) int64 { return int64(now.Sub(s.conn.Opened()).Seconds()) }

func (s *session) idle(now time.Time) int64 {
	return max(0, int64(now.Sub(s.conn.LastCommand()).Seconds()))
}

// clientKill ends a connection, named by address or by id.
func (c *call) clientKill() error {
	if len(c.args) < 3 {
		return reply.ErrNumArgs
	}
	by, value := strings.ToLower(c.args[2]), c.args[len(c.args)-1]
	switch {
	case by == "addr" || by == "id":
		if len(c.args) != 4 {
			return reply.ErrNumArgs
		}
	case len(c.args) == 3:
		by = "addr"
	case strings.Contains(by, ":"):
		return reply.ErrNumArgs
	default: // a filter that nobody knows, and so meets nobody
		return errNoClient
	}
	for _, s := range c.node.list() {
		if by == "addr" && s.addr() == value || by == "id" && strconv.FormatInt(s.conn.ID(), 10) == value {
			if s == c.session {
				c.batch.verdict.Close = true
			} else {
				c.node.forget(s) // at once: it takes a moment until its goroutine has ended
				s.conn.Kill()
			}
			return c.ok()
		}
	}
	return errNoClient
}
