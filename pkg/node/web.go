package node

import (
	"crypto/subtle"
	"errors"
	"strings"

	"evenkeel/pkg/engine/mvt"
	"evenkeel/pkg/resp"
)

// This file carries out commands whose replies go into an envelope: those of
// the native protocol, of HTTP and of WebSocket.

// choose settles the output of a connection by the form of its first command:
// RESP for RESP and plain lines, JSON for all others. OUTPUT changes it.
func (s *session) choose(first resp.Kind) {
	if !s.chosen {
		s.chosen = true
		s.json = first > resp.Inline
	}
}

// wrapped carries out a command and puts its reply into the envelope of its
// transport. What a command that hijacks the connection has answered stays as
// it is (AOF, MONITOR); what it answers and pushes from then on is its matter.
func (s *session) wrapped(cmd *resp.Command) {
	b := s.batch
	s.flushWrites() // of another kind
	if s.passes() {
		s.commit() // as pass does, which must not move the place where this answer begins
	}
	s.kind = cmd.Kind
	if cmd.Kind == resp.HTTP && s.page(cmd) {
		return
	}
	if cmd.Web != nil {
		b.out.Buf = append(b.out.Buf, cmd.Web.Handshake...)
	}
	start, answered := len(b.out.Buf), len(b.answers)
	b.out.Bare = true
	s.run(cmd)
	s.flushWrites()
	b.out.Bare = false
	if b.verdict.Hijack == nil {
		sick := cmd.Kind == resp.HTTP && len(b.answers) > answered && b.answers[answered].failed && b.answers[answered].name == "healthz"
		s.envelope(cmd, start, sick)
		b.verdict.Close = b.verdict.Close || cmd.Web != nil // a request is the only one of its connection
	}
	if len(b.answers) > answered {
		a := &b.answers[len(b.answers)-1]
		a.end = len(b.out.Buf)
		if cmd.Web != nil {
			a.keep = len(cmd.Web.Handshake)
		}
	}
}

// envelope wraps the reply that stands behind start. QUIT is an exception: as in
// Tile38 its reply is not wrapped. sick: a probe over HTTP that failed, which alone
// among all commands has another status.
func (s *session) envelope(cmd *resp.Command, start int, sick bool) {
	out := &s.batch.out
	switch {
	case sick:
		out.Buf = resp.WrapHTTP(out.Buf, start, resp.StatusBadResult, resp.TypeJSON)
	case !strings.EqualFold(cmd.Args[0], "quit"):
		out.Buf = cmd.Kind.Wrap(out.Buf, start)
	}
}

// run carries out the command of a request; what is odd about some is Tile38's.
func (s *session) run(cmd *resp.Command) {
	args, e := cmd.Args, s.node.lookup(cmd.Args[0])
	if cmd.Web == nil {
		s.one(args)
		return
	}
	if e == nil || !e.open {
		// A name that is not allowed to be asked for is not looked up either.
		switch done, err := s.authorize(cmd.Web.Authorization); {
		case err != nil:
			s.fail(e, args, err)
			return
		case done && cmd.Kind == resp.WebSocket:
			s.one([]string{"auth", cmd.Web.Authorization}) // the answer to it is all that comes
			return
		}
	}
	if cmd.Kind == resp.HTTP {
		name, _, query := strings.Cut(args[0], "?")
		switch {
		case strings.EqualFold(name, "auth") && s.node.opt.Settings.Get(passProperty) != "": // that is what the header is for
			s.fail(nil, args, unknownCommand(args...))
			return
		case query && len(args) == 1 && !errors.Is(s.admit(nil, args), errAuthRequired):
			// A query belongs to pages and tiles, but is part of the name that was looked up.
			s.fail(nil, args, unknownCommand(name))
			return
		}
	}
	s.one(args)
}

// authorize takes the password of a request for the connection's; done: it is
// the right one, and was needed.
func (s *session) authorize(given string) (done bool, err error) {
	pass := s.node.opt.Settings.Get(passProperty)
	switch {
	case s.authed || pass == "" || given == "":
		return false, nil
	case subtle.ConstantTimeCompare([]byte(given), []byte(pass)) != 1:
		return false, errPassword
	}
	s.authed = true
	return true, nil
}

// page answers what is no command over HTTP: OPTIONS, tiles, and /viewer, which
// is not there.
func (s *session) page(cmd *resp.Command) bool {
	b := s.batch
	if cmd.Web.Options {
		// The connection stays open, as Tile38's does: the browser sends its
		// request on it, or closes it.
		b.out.Buf = append(b.out.Buf, resp.Preflight...)
		return true
	}
	if len(cmd.Args) != 1 {
		return false
	}
	path, _, _ := strings.Cut(cmd.Args[0], "?")
	args, isTile := mvt.Search(cmd.Args[0])
	switch {
	case isTile:
		s.tile(cmd, args)
	case path == "viewer/":
		b.out.Buf = resp.AppendHTTP(b.out.Buf, resp.StatusRedirect, resp.TypeHTML, "<h1>307 Redirect</h1>\n", "Location: /viewer\r\n")
	case path == "viewer", strings.HasPrefix(path, "viewer/"): // Tile38 has a page there
		b.out.Buf = resp.AppendHTTP(b.out.Buf, resp.StatusNotFound, resp.TypeHTML, "<h1>404 Not Found</h1>\n")
	default:
		return false
	}
	b.verdict.Close = true
	return true
}

// tile carries out the command that makes a tile and answers the tile itself.
func (s *session) tile(cmd *resp.Command, args []string) {
	b := s.batch
	start, answered, asJSON := len(b.out.Buf), len(b.answers), b.out.JSON
	b.out.JSON, b.out.Bare = true, true
	if _, err := s.authorize(cmd.Web.Authorization); err != nil {
		s.fail(nil, args, err)
	} else {
		s.one(args)
	}
	b.out.JSON, b.out.Bare = asJSON, false
	if tile, ok := mvt.FromAnswer(b.out.Buf[start:]); ok {
		b.out.Buf = resp.WrapHTTP(append(b.out.Buf[:start], tile...), start, resp.StatusOK, resp.TypeTile)
	} else {
		b.out.Buf = resp.WrapHTTP(b.out.Buf, start, resp.StatusBadResult, resp.TypeJSON)
	}
	if len(b.answers) > answered {
		b.answers[len(b.answers)-1].end = len(b.out.Buf)
	}
}
