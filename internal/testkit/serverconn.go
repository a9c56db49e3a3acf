package testkit

import (
	"bufio"
	"crypto/md5" //nolint:gosec // AOFMD5 is a checksum by definition of the protocol, no protection
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/resp"
)

// client is one connection.
type client struct {
	conn     net.Conn
	authed   bool
	chosen   bool // whether answers are in JSON
	json     bool
	kind     resp.Kind                 // of the last command
	announce struct{ port, ip string } // REPLCONF
	stream   bool                      // it reads the file
	pos      int64                     // up to where
	messages []byte                    // that it is still to be sent
	channels []string                  // that it listens to
}

func (s *Server) accept(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		c := &client{conn: conn}
		s.mu.Lock()
		if !s.running {
			s.mu.Unlock()
			_ = conn.Close()
			return
		}
		s.clients[c] = true
		s.life.wg.Go(func() {
			s.serve(c)
			_ = conn.Close()
			s.mu.Lock()
			delete(s.clients, c)
			s.mu.Unlock()
		})
		s.mu.Unlock()
	}
}

// serve answers the commands of a connection.
func (s *Server) serve(c *client) {
	rd := resp.NewReader(bufio.NewReader(c.conn), resp.Limits{})
	var cmds []resp.Command
	for {
		var err error
		if cmds, err = rd.Batch(cmds[:0], 1000); err != nil {
			return
		}
		var out []byte
		for _, cmd := range cmds {
			if strings.EqualFold(cmd.Args[0], "quit") {
				_, _ = c.conn.Write(append(out, "+OK\r\n"...))
				return
			}
			if c.kind = cmd.Kind; !c.chosen {
				c.chosen, c.json = true, c.kind >= resp.Native
			}
			if c.kind == resp.WebSocket && cmd.Web != nil {
				out = append(out, cmd.Web.Handshake...)
			}
			out = c.kind.Wrap(append(out, s.answer(c, cmd.Args)...), len(out))
			if c.stream || c.kind >= resp.HTTP {
				break
			}
		}
		if _, err := c.conn.Write(out); err != nil || c.kind >= resp.HTTP {
			return
		}
		if c.stream {
			s.stream(c)
			return
		}
	}
}

// answer carries out a command and returns its answer.
func (s *Server) answer(c *client, args []string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := strings.ToLower(args[0])
	s.commands = append(s.commands, strings.Join(args[:min(2, len(args))], " "))
	if isSubscribe(args) && !s.catchingUp() && (s.config["requirepass"] == "" || c.authed) {
		return s.subscribe(c, args)
	}
	out := reply.Reply{JSON: c.json, Bare: c.kind >= resp.Native}
	if err := s.run(c, name, args, &out); err != nil {
		out.Buf = out.Buf[:0]
		out.Fail(name, err)
	}
	if name == "output" || out.JSON && len(out.Buf) > 0 && out.Buf[0] != '{' {
		return out.Buf // it has its envelope
	}
	out.Finish(0, time.Microsecond)
	return out.Buf
}

// Errors as the server answers them.
var (
	errAuth       = reply.Plain("authentication required")
	errCatchingUp = reply.Plain("catching up to leader")
	errNotLevel   = reply.Plain("not caught up")
	errNotLeader  = reply.Plain("not the leader")
	errReadOnly   = reply.Plain("read only")
)

// run carries out a command of a client. mu is held.
func (s *Server) run(c *client, name string, args []string, out *reply.Reply) error {
	switch name { // always allowed
	case "ping":
		return s.ping(args, out)
	case "auth":
		return s.auth(c, args, out)
	case "output":
		return s.output(c, args, out)
	}
	if s.config["requirepass"] != "" && !c.authed {
		return errAuth
	}
	if do := s.own(name); do != nil {
		return do(c, args, out)
	}
	if name == "publish" {
		return s.publish(args, out)
	}
	spec := s.eng.Lookup(name)
	if spec == nil {
		return reply.Plain("unknown command '" + args[0] + "'")
	}
	if spec.Write != nil {
		switch {
		case s.follow.addr != "":
			return errNotLeader
		case s.readOnly:
			return errReadOnly
		}
		return s.write(args, Command(args...), out)
	}
	if s.catchingUp() {
		return errCatchingUp
	}
	err := spec.Read(&command.Request{Args: args, Name: name, Now: time.Now().UnixMilli()}, s.eng.State(), out)
	if err == nil {
		out.Rest()
	}
	return err
}

// catchingUp says that reads are refused: a follower that was level once answers
// them whatever it has. mu is held.
func (s *Server) catchingUp() bool { return s.follow.addr != "" && !s.follow.once }

// own returns the handler of a command that is not one of the data.
func (s *Server) own(name string) func(c *client, args []string, out *reply.Reply) error {
	ready := func(do func(c *client, args []string, out *reply.Reply) error) func(c *client, args []string, out *reply.Reply) error {
		return func(c *client, args []string, out *reply.Reply) error {
			if s.catchingUp() {
				return errCatchingUp
			}
			return do(c, args, out)
		}
	}
	switch name {
	case "config":
		return s.configure
	case "readonly":
		return s.setReadOnly
	case "follow", "slaveof":
		return s.setLeader
	case "replconf":
		return s.replconf
	case "aof":
		return ready(s.aof)
	case "aofmd5":
		return ready(s.aofMD5)
	case "aofshrink":
		return func(_ *client, _ []string, out *reply.Reply) error {
			s.beginShrink()
			out.OK()
			return nil
		}
	case "gc":
		return okay
	case "healthz":
		return func(c *client, args []string, out *reply.Reply) error {
			switch {
			case s.catchingUp():
				return errCatchingUp
			case s.follow.addr != "" && !s.follow.level:
				return errNotLevel
			}
			return okay(c, args, out)
		}
	case "server":
		return ready(s.server)
	case "info":
		return ready(s.info)
	case "role":
		return ready(s.role)
	case "client":
		return ready(s.clientList)
	}
	return nil
}

func okay(_ *client, _ []string, out *reply.Reply) error {
	out.OK()
	return nil
}

func (s *Server) ping(args []string, out *reply.Reply) error {
	switch {
	case out.JSON:
		out.OK()
		out.Member("ping")
		out.String("pong")
	case len(args) > 1:
		out.Bulk(args[1])
	default:
		out.Simple("PONG")
	}
	return nil
}

func (s *Server) auth(c *client, args []string, out *reply.Reply) error {
	pass := s.config["requirepass"]
	if pass == "" || len(args) < 2 || strings.TrimSpace(args[1]) != pass {
		return reply.Plain("invalid password")
	}
	c.authed = true
	out.OK()
	return nil
}

func (s *Server) output(c *client, args []string, out *reply.Reply) error {
	if len(args) > 1 {
		c.json = strings.EqualFold(args[1], "json")
		out.JSON = c.json
	}
	switch {
	case c.json && out.Bare:
		out.Buf = append(out.Buf, `{"ok":true,"elapsed":"1µs"}`...)
		return nil
	case c.json:
		out.JSON = false
		out.Bulk(`{"ok":true,"elapsed":"1µs"}`)
		return nil
	}
	out.OK()
	return nil
}

func (s *Server) setReadOnly(_ *client, args []string, out *reply.Reply) error {
	if len(args) != 2 {
		return reply.ErrNumArgs
	}
	s.readOnly = args[1] == "yes"
	out.OK()
	return nil
}

// configure is CONFIG GET, SET and REWRITE; what was set survives a restart.
func (s *Server) configure(_ *client, args []string, out *reply.Reply) error {
	switch {
	case len(args) == 3 && strings.EqualFold(args[1], "get"):
		out.Array(2)
		out.Bulk(args[2])
		out.Bulk(s.config[args[2]])
	case len(args) >= 3 && strings.EqualFold(args[1], "set"):
		value := ""
		if len(args) > 3 {
			value = args[3]
		}
		s.config[args[2]] = value
		out.OK()
	case len(args) == 2 && strings.EqualFold(args[1], "rewrite"):
		out.OK()
	default:
		return reply.ErrNumArgs
	}
	return nil
}

func (s *Server) replconf(c *client, args []string, out *reply.Reply) error {
	if len(args) != 3 {
		return reply.ErrNumArgs
	}
	switch args[1] {
	case "listening-port":
		if _, err := strconv.ParseUint(args[2], 10, 16); err != nil {
			return reply.InvalidArgument(args[2])
		}
		c.announce.port = args[2]
	case "ip-address":
		c.announce.ip = args[2]
	default:
		return reply.Plain("cannot find follower")
	}
	out.OK()
	return nil
}

func (s *Server) aofMD5(_ *client, args []string, out *reply.Reply) error {
	if len(args) != 3 {
		return reply.ErrNumArgs
	}
	pos, err1 := strconv.ParseInt(args[1], 10, 64)
	size, err2 := strconv.ParseInt(args[2], 10, 64)
	if err1 != nil || err2 != nil || pos < 0 || size < 0 {
		return reply.InvalidArgument(args[1])
	}
	if pos+size > s.size {
		return &reply.Error{JSON: "EOF", RESP: "EOF"}
	}
	sum := md5.New() //nolint:gosec // see above
	if _, err := io.Copy(sum, io.NewSectionReader(s.file, pos, size)); err != nil {
		return err
	}
	out.Simple(hex.EncodeToString(sum.Sum(nil)))
	return nil
}

func (s *Server) aof(c *client, args []string, out *reply.Reply) error {
	if len(args) != 2 {
		return reply.ErrNumArgs
	}
	pos, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil || pos < 0 {
		return reply.InvalidArgument(args[1])
	}
	if pos > s.size {
		return reply.Plain("pos is too big, must be less that the aof_size of leader")
	}
	c.stream, c.pos = true, pos
	out.OK()
	return nil
}

// stream sends the file from a position on, for ever.
func (s *Server) stream(c *client) {
	gone := make(chan struct{})
	s.life.wg.Go(func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, c.conn)
	})
	for {
		part, changed, err := s.next(c)
		if err != nil {
			s.t.Errorf("stream the file: %v", err)
			return
		}
		if _, err := c.conn.Write(part); err != nil {
			return
		}
		if len(part) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-gone:
			return
		case <-s.life.ctx.Done():
			return
		}
	}
}

// next returns what a stream has to send, and what says when there is more.
func (s *Server) next(c *client) (part []byte, changed <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.pos >= s.size && len(c.messages) > 0 { // never within a command
		part, c.messages = c.messages, nil
		return part, s.changed, nil
	}
	if s.blocked || c.pos >= s.size || !s.running {
		return nil, s.changed, nil
	}
	part = make([]byte, min(s.size-c.pos, 64<<10))
	if _, err := s.file.ReadAt(part, c.pos); err != nil {
		return nil, nil, fmt.Errorf("at %d of %d: %w", c.pos, s.size, err)
	}
	c.pos += int64(len(part))
	s.sent += int64(len(part))
	return part, s.changed, nil
}
