package upstream

import (
	"bytes"
	"sync"
	"time"

	"evenkeel/pkg/engine/mvt"
	"evenkeel/pkg/proxy"
	"evenkeel/pkg/resp"
)

// A Tile38 answers one HTTP request on a connection and closes it, and a WebSocket
// carries the one command that its handshake names, with what a live fence tells
// behind it. So a request is one command: its head, and the beginning of its body,
// are held back until they say which, then the session turns to the engine that
// the command is for, and becomes opaque there.

// request is an HTTP request that is coming.
type request struct {
	b    []byte        // what has come of it
	at   time.Duration // when the last of that did
	head bool          // its first line says that it is one
}

// gather goes on with a request; b is the next of it.
func (s *session) gather(b []byte, at time.Duration) {
	if s.web == nil {
		s.web = &request{}
	}
	w := s.web
	w.b, w.at = append(w.b, b...), at
	cmd, ok := s.understand(w)
	if !ok && len(w.b) <= s.b.opts.MaxHead {
		return
	}
	s.web = nil
	s.r.Head(false)
	s.r.Transport(transportOf(resp.HTTP, w.b))
	if cmd == nil {
		s.passHere(w.b)
		return
	}
	s.r.Received(0, 1)
	s.ask(w, cmd)
}

// understand finds the command of a request. ok: enough of it has come, which may
// show that it is not one to be understood.
func (s *session) understand(w *request) (cmd *known, ok bool) {
	h, http, whole, err := resp.ReadHead(w.b, resp.Limits{})
	switch {
	case err != nil || h.Size > s.b.opts.MaxHead:
		return nil, true
	case !http:
		return nil, bytes.IndexByte(w.b, '\n') >= 0
	case !whole:
		if !w.head {
			w.head = true
			s.r.Head(true)
		}
		return nil, false
	}
	s.r.Head(false)
	body := min(h.Body, holdBytes)
	if len(w.b) < h.Size+body {
		return nil, false
	}
	s.req.begin()
	s.req.kind = resp.HTTP
	if _, tile := mvt.Search(h.Command); tile && body == 0 {
		s.req.cmd = &s.b.table.tile
	} else if s.req.split(append([]byte(h.Command), w.b[h.Size:h.Size+body]...)) != eventCommand || s.req.cmd == nil {
		return nil, true
	}
	return s.req.cmd, true
}

// ask sends a request to the engine that it is for, and leaves the two alone.
func (s *session) ask(w *request, cmd *known) {
	s.settle() // what is measured is then the answer to this
	s.turn(nil)
	if s.isOver() {
		return
	}
	l, err := s.dial(s.side)
	s.mu.Lock()
	if err == nil {
		l.web.Store(&webAnswer{name: cmd.name, at: w.at, live: s.req.live || cmd.turns})
	}
	s.live = s.live || cmd.turns || s.req.live || cmd.fence && livens(w.b)
	s.makeOpaque()
	s.mu.Unlock()
	if err != nil {
		s.refuse(err)
		return
	}
	s.write(l, w.b)
}

// webAnswer is what is known of the answer to an HTTP request.
type webAnswer struct {
	name string
	at   time.Duration // when the request had come
	live bool          // it has no end

	mu     sync.Mutex
	begun  bool
	failed bool
	last   time.Duration // when the last of it came
}

// look notes a part of the answer.
func (a *webAnswer) look(b []byte, now time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = now
	if a.begun {
		return
	}
	a.begun = true
	const status = len("HTTP/1.1 ")
	a.failed = len(b) <= status || b[status] > '3'
	if _, body, ok := bytes.Cut(b, []byte("\r\n\r\n")); ok {
		a.failed = a.failed || bytes.HasPrefix(body, []byte(jsonFailed)) || bytes.HasPrefix(body, []byte("-"))
	}
}

// done tells how long the answer took, when there was one.
func (a *webAnswer) done(observe func(name string, took time.Duration, failed bool)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.begun && !a.live {
		observe(a.name, a.last-a.at, a.failed)
	}
}

// unanswered says whether l's engine owes the answer to an HTTP request and is
// gone: one that is there has closed the connection on purpose.
func (l *link) unanswered() bool {
	a := l.web.Load()
	if a == nil {
		return false
	}
	a.mu.Lock()
	begun := a.begun
	a.mu.Unlock()
	return !begun && !l.t.lives(l.s.ctx)
}

// sorry answers the HTTP request that l's engine has not answered.
func (l *link) sorry(text string) {
	s := l.s
	s.b.count.lost.Add(1)
	s.b.count.lostCommands.Add(1)
	if _, err := s.r.Write(opaqueError(resp.HTTP, text)); err != nil {
		s.finish(proxy.ClosedByReset, err)
		return
	}
	s.finish(proxy.ClosedEngineLost, nil)
}
