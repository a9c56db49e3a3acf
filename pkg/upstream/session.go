package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"evenkeel/pkg/proxy"
	"evenkeel/pkg/resp"
)

// session is one client. What is not said otherwise belongs to its goroutine.
type session struct {
	b     *Backend
	r     *proxy.Raw
	ctx   context.Context //nolint:containedctx // that of the connection, which the session is
	began time.Time
	in    source
	req   requests
	held  []byte   // an incomplete command
	batch []entry  // commands in what is to be sent next
	web   *request // an HTTP request that is coming

	formed    bool // a command has come: see form
	firstJSON bool // the first one was in a form that is answered in JSON

	side   side  // where commands go at the moment
	routed bool  // that has been decided for the command that is inside
	drop   error // why the command that is inside goes nowhere: its engine cannot be reached
	route  Route // as of the last piece
	own    ownWrites
	streak int  // commands that could be shared since the last other one
	spoke  bool // it has sent commands over a shared connection
	wants  int  // how many make a shared connection worth a try

	again  int           // commands of what comes next that have been counted
	waited time.Duration // how long those have been here

	guest atomic.Pointer[guest] // the client is on a shared connection

	opaque  atomic.Bool
	here    atomic.Bool // nothing goes to the leader: see tile38.LocalName
	waiting atomic.Bool // somebody waits on cond
	wg      sync.WaitGroup

	mu     sync.Mutex
	cond   sync.Cond
	links  [numSides]*link
	state  [numSlots][]byte // commands to say again
	rev    int              // of state
	json   bool             // OUTPUT json
	live   bool             // pushes without being asked
	quit   bool             // QUIT has been sent
	ending bool             // the client sends nothing more
	over   bool
	why    proxy.CloseReason
	err    error
}

func newSession(b *Backend) *session {
	s := &session{b: b, began: time.Now(), streak: settled, wants: settled}
	s.cond.L = &s.mu
	s.req.table = b.table
	return s
}

// Serve reads the client until its connection is to end.
func (s *session) Serve(ctx context.Context, r *proxy.Raw) (proxy.CloseReason, error) {
	s.ctx, s.r = ctx, r
	s.in.init(s.b.pools, r.NetConn())
	stop := context.AfterFunc(ctx, s.hangUp)
	defer s.wg.Wait()
	defer s.hangUp()
	defer stop()
	if s.mayShare() { // before anything is dialled for it
		s.share(nil)
	}
	for !s.isOver() {
		before := len(s.held)
		b, err := s.in.read(s.held)
		if err != nil {
			s.readFailed(err)
			continue
		}
		s.held = s.held[:0]
		if before == 0 && s.mayShare() && s.share(b) {
			continue
		}
		s.take(b, before)
		s.in.release()
	}
	return s.why, s.err
}

// Idle says whether the client is owed nothing.
func (s *session) Idle() bool {
	if g := s.guest.Load(); g != nil && g.owed.Load() > 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.links {
		if l != nil && (l.pending.n > 0 || !l.done && l.web.Load() != nil) {
			return false
		}
	}
	return !s.live
}

// finish ends the session; the first reason counts.
func (s *session) finish(why proxy.CloseReason, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.over, s.why, s.err = true, why, err
	s.cond.Broadcast()
	s.r.Wake()
}

func (s *session) isOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}

// hangUp closes the links, whatever they are doing.
func (s *session) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	for _, l := range s.links {
		if l != nil {
			_ = l.nc.Close() // nothing could be done about an error
		}
	}
}

func (s *session) readFailed(err error) {
	switch {
	case proxy.Woken(err):
		s.r.Rest() // before looking why: a drain that begins behind it wakes again
		if !s.isOver() && s.r.Draining() {
			s.drain()
		}
	case errors.Is(err, io.EOF):
		s.halfClose()
	default:
		s.finish(proxy.ClosedByReset, err)
	}
}

// halfClose passes on that the client sends nothing more, and lets it have what
// the engine still says.
func (s *session) halfClose() {
	why := proxy.ClosedByClient
	if s.web != nil {
		s.held = s.web.b
	}
	if len(s.held) > 0 || s.req.inside {
		why = proxy.ClosedMidCommand
	}
	s.endInput()
	s.finish(why, io.EOF)
}

// drain ends the session when all that has been received is answered.
func (s *session) drain() {
	s.mu.Lock()
	live := s.live
	s.mu.Unlock()
	switch {
	case live:
	case s.opaque.Load():
		time.AfterFunc(time.Second, s.hangUp) // harmless when it comes too late
		s.endInput()
	default:
		s.settle()
	}
	s.finish(proxy.ClosedDrain, nil)
}

// endInput closes the sending side of the link, and waits until the engine
// closes the other one.
func (s *session) endInput() {
	s.mu.Lock()
	s.ending = true
	l := s.links[s.side]
	s.mu.Unlock()
	if l == nil {
		return
	}
	if len(s.held) > 0 {
		_, _ = l.nc.Write(s.held) // its reader sees what is wrong
	}
	if half, ok := l.nc.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		_ = l.nc.Close()
	}
	s.await(l)
}

// settle waits until the engine has answered all, and its link writes nothing.
func (s *session) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.links[s.side]; l != nil {
		s.waitFor(l.quiet)
	}
}

// await waits until a link has ended.
func (s *session) await(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waitFor(func() bool { return l.done })
}

// waitFor is called with mu held.
func (s *session) waitFor(cond func() bool) {
	s.waiting.Store(true)
	for !cond() {
		s.cond.Wait()
	}
	s.waiting.Store(false)
}

// take passes on what has come; the first held bytes of it have come before.
func (s *session) take(b []byte, held int) {
	if s.opaque.Load() {
		s.r.Received(len(b)-held, 0)
		s.pass(b)
		return
	}
	s.route = s.b.opts.Route()
	at := time.Since(s.began) - s.waited
	commands, start, off := -s.again, 0, 0
	s.waited, s.again = 0, 0
	if s.web != nil {
		s.r.Received(len(b), 0)
		s.gather(b, at)
		return
	}
	for off < len(b) {
		n, ev := s.req.next(b[off:])
		if ev == eventHold {
			s.held = append(s.held, b[off:]...)
			b = b[:off]
			break
		}
		if ev == eventOpaque {
			s.r.Received(len(b)-held, commands)
			s.turnOpaque(b[start:], off-start, at)
			return
		}
		if ev != eventNothing && !s.routed && s.turn(b[start:off]) {
			start = off
		}
		s.routed = ev == eventMore
		off += n
		if s.drop != nil {
			s.dropped(ev, at)
			start = off
		} else if ev == eventCommand {
			commands++
			s.note(b[off-n:off], at)
		}
	}
	s.r.Received(len(b)+len(s.held)-held, commands)
	s.send(b[start:], s.req.inside)
}

// note adds a command that ends in raw to the batch.
func (s *session) note(raw []byte, at time.Duration) {
	if len(s.batch) == 0 {
		s.r.Transport(s.req.kind)
	}
	cmd := s.req.cmd
	if s.streak++; !cmd.small && !cmd.search || s.req.live || s.req.kind != resp.RESP {
		s.streak = 0
	}
	e := entry{cmd: cmd, at: at, n: 1, live: s.req.live, native: s.req.kind == resp.Native}
	if cmd.keeps {
		if e.keep = keep(cmd, raw); e.keep != nil && e.keep.slot == slotName {
			// Whatever the engine thinks of names: what follows may be a FLUSHDB that is
			// meant for this engine alone.
			s.here.Store(e.keep.here)
		}
	}
	if last := len(s.batch) - 1; last >= 0 && e.keep == nil {
		if p := &s.batch[last]; p.cmd == cmd && p.live == e.live && p.native == e.native && p.keep == nil {
			p.n++
			return
		}
	}
	s.batch = append(s.batch, e)
}

// dropped is about a command whose engine cannot be reached.
func (s *session) dropped(ev event, at time.Duration) {
	if ev == eventMore {
		return
	}
	err := s.drop
	s.drop = nil
	s.batch = append(s.batch[:0], entry{cmd: s.req.cmd, at: at, n: 1, native: s.req.kind == resp.Native})
	s.refuse(err)
}

// maxBatch is the largest batch that a session keeps, in entries.
const maxBatch = 16

// send passes p on, which completes the commands of the batch. inside: it ends
// within another one.
func (s *session) send(p []byte, inside bool) {
	if len(p) == 0 {
		return
	}
	for !s.isOver() {
		l, err := s.dial(s.side)
		if err != nil {
			s.refuse(err)
			if inside {
				s.drop = err
			}
			break
		}
		if s.register(l, inside) {
			s.write(l, p)
			break
		} // else it was lost since, and nothing of p has been sent
	}
	if clear(s.batch); cap(s.batch) > maxBatch {
		s.batch = nil
	}
	s.batch = s.batch[:0]
}

// register notes the batch as under way, when there is room for it. It returns
// false when the link has been lost; it has ended then.
func (s *session) register(l *link, inside bool) bool {
	n := 0
	for i := range s.batch {
		n += int(s.batch[i].n)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if room := s.b.opts.MaxPending - n; l.pending.n > room && !l.lost {
		s.waitFor(func() bool { return l.lost || l.pending.n == 0 || l.pending.n <= room })
	}
	if l.lost {
		s.waitFor(func() bool { return l.done })
		return false
	}
	for i := range s.batch {
		s.quit = s.quit || s.batch[i].cmd.ends
		if !s.opaque.Load() {
			l.pending.add(s.batch[i])
		}
	}
	l.cut = inside
	return true
}

// write sends p. When that fails the reader of the link knows, and says it.
func (s *session) write(l *link, p []byte) {
	if _, err := l.nc.Write(p); err == nil {
		return
	}
	_ = l.nc.Close()
	s.await(l)
}

// turnOpaque passes on what cannot be told apart, from off on, or is one HTTP
// request; before it the batch ends.
func (s *session) turnOpaque(b []byte, off int, at time.Duration) {
	s.send(b[:off], false)
	if s.req.kind == resp.HTTP && !s.opaque.Load() {
		s.gather(b[off:], at)
		return
	}
	s.r.Transport(s.req.kind)
	s.passHere(b[off:])
}

// passHere lets the engine here have what nobody looks at any more.
func (s *session) passHere(b []byte) {
	if s.side != sideEngine {
		s.settle()
		s.side = sideEngine
	}
	s.mu.Lock()
	s.makeOpaque()
	s.mu.Unlock()
	s.pass(b)
}

// makeOpaque is called with mu held.
func (s *session) makeOpaque() {
	if s.opaque.Swap(true) {
		return
	}
	s.b.count.opaque.Add(1)
	for _, l := range s.links {
		if l != nil {
			l.pending.clear()
		}
	}
	s.cond.Broadcast()
}

// pass sends what nobody looks at any more.
func (s *session) pass(b []byte) {
	if s.isOver() || len(b) == 0 {
		return
	}
	if livens(b) {
		s.mu.Lock()
		s.live = true
		s.mu.Unlock()
	}
	s.batch = s.batch[:0]
	l, err := s.dial(s.side)
	if err != nil {
		s.refuse(err)
		return
	}
	s.write(l, b)
}

// livens looks for words in an opaque session behind which it may wait for ever.
func livens(b []byte) bool {
	var small [256]byte
	for len(b) > 0 {
		part := lower(small[:0], b[:min(len(b), len(small))])
		for _, word := range [][]byte{[]byte("fence"), []byte("subscribe"), []byte("monitor"), []byte("websocket")} {
			if bytes.Contains(part, word) {
				return true
			}
		}
		if len(b) <= len(small) {
			return false
		}
		b = b[len(small)-len("subscribe"):]
	}
	return false
}

// transportOf tells what b, which is opaque, is counted as.
func transportOf(k resp.Kind, b []byte) resp.Kind {
	if k == resp.HTTP && bytes.Contains(bytes.ToLower(b), []byte("\nsec-websocket-key:")) {
		return resp.WebSocket
	}
	return k
}
