package node

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/forward"
	"evenkeel/pkg/proxy"
	"evenkeel/pkg/resp"
	"evenkeel/pkg/store"
	"evenkeel/pkg/upstream"
)

// session is one connection. Do is called by one goroutine; what CLIENT LIST
// reads from others is atomic.
type session struct {
	node   *Node
	conn   *proxy.Conn
	name   atomic.Pointer[string] // CLIENT SETNAME
	authed bool
	json   bool
	resp3  bool      // HELLO 3
	chosen bool      // json is settled: by the first command's form, then by OUTPUT
	kind   resp.Kind // of the last command carried out

	follower followerHello // what REPLCONF said, see role.go

	pause func() error // checkOutput

	forwarded bool      // the commands are those of another server's clients
	stays     bool      // nothing goes to the leader: who asks compares what is here
	own       ownWrites // what is on its way through the leader

	stream io.Closer // what AOF reads from, closed with the session
	batch  *batch    // of the pipeline under way; nil between two
}

// batch is one pipeline under way.
type batch struct {
	ctx     context.Context
	out     reply.Reply
	base    int             // where the pipeline's answers begin
	req     command.Request // of the read under way
	started time.Time
	begun   time.Duration // after started: when the command under way began
	answers []answer
	writes  []store.Write // consecutive data writes, not yet carried out
	away    []passed      // consecutive commands that go to the leader, not yet sent
	replies []byte        // space for what it answers
	wait    respite       // for a leader
	inside  bool          // it does something as a leader, which a change of the leader waits for
	term    uint64        // that of the leader that this node was while it carried something out; 0: it was none
	offset  int64         // the log must be committed up to here before out is sent
	verdict proxy.Verdict
}

// answer says where in the output a command's answer ends.
type answer struct {
	name    string
	end     int
	keep    int // bytes at its beginning that belong to the connection
	kind    resp.Kind
	write   bool
	failed  bool
	elapsed time.Duration

	safe      bool // what it has written is committed
	elsewhere bool // it is the leader's, or says that nobody has carried the command out
}

// call is one command of the node's own, while it runs.
type call struct {
	*session
	args []string
	name string // lower case
	out  *reply.Reply

	finished bool // the answer is complete as it stands in out
	wrote    bool // the answer must wait for the log

	bound  func() error       // of TIMEOUT; nil: none
	end    float64            // when TIMEOUT ends it, in Unix seconds; 0: never
	counts func() store.Stats // nil: those of the store
}

// handler carries out a command; its error is the answer.
type handler func(c *call) error

// Close ends the session.
func (s *session) Close() {
	s.node.forget(s)
	if s.stream != nil {
		// It has only been read from.
		_ = s.stream.Close()
	}
}

// AppendError appends an error of the connection itself, in the output that
// the client has chosen.
func (s *session) AppendError(out []byte, text string) []byte {
	r := reply.Reply{JSON: s.json, Bare: s.kind > resp.Inline, Buf: out}
	r.Fail("", &reply.Error{JSON: text, RESP: text})
	r.Finish(len(out), 0)
	return s.kind.Wrap(r.Buf, len(out))
}

// Do carries out a pipeline. Consecutive writes share one hold of the lock, and
// the whole pipeline one commit of the log.
func (s *session) Do(ctx context.Context, cmds []resp.Command, out []byte) ([]byte, proxy.Verdict) {
	s.choose(cmds[0].Kind)
	b := s.node.takeBatch(ctx)
	s.batch = b
	b.out = reply.Reply{JSON: s.json, RESP3: s.resp3, Buf: out}
	b.base = len(out)

	done := 0
	for i := range cmds {
		if cmds[i].Kind > resp.Inline {
			s.wrapped(&cmds[i])
		} else {
			s.kind = cmds[i].Kind
			s.one(cmds[i].Args)
		}
		done++
		if b.verdict.Close || b.verdict.Hijack != nil || int64(len(b.out.Buf)) > s.conn.BatchOutput() {
			break
		}
	}
	s.flushWrites()
	s.commit()
	s.confirm()
	s.leave()
	s.node.rest(&b.wait)
	s.observe()
	s.json, s.resp3 = b.out.JSON, b.out.RESP3
	verdict, buf := b.verdict, b.out.Buf
	verdict.Done = done
	s.batch = nil
	s.node.giveBatch(b)
	return buf, verdict
}

// takeBatch returns a batch to be used for one pipeline.
func (n *Node) takeBatch(ctx context.Context) *batch {
	b, ok := n.batches.Get().(*batch)
	if !ok {
		b = new(batch)
	}
	b.ctx, b.started = ctx, time.Now()
	return b
}

// giveBatch takes it back, without what it refers to.
func (n *Node) giveBatch(b *batch) {
	if cap(b.replies) > keepReplies {
		b.replies = nil
	}
	*b = batch{answers: b.answers[:0], writes: b.writes[:0], away: b.away[:0], replies: b.replies[:0]} // flushWrites has cleared them
	n.batches.Put(b)
}

// one takes the next command of the pipeline.
func (s *session) one(args []string) {
	b := s.batch
	e := s.node.lookup(args[0])
	s.enter(e)
	if s.goes(e, args) {
		s.send(e, args)
		return
	}
	if err := s.admit(e, args); err != nil {
		s.flushWrites()
		s.fail(e, args, err)
		b.answers[len(b.answers)-1].elsewhere = true
		return
	}
	if e.spec != nil && e.spec.Write != nil {
		s.flushAway()
		b.write(e, args)
		if returns(args) {
			s.flushWrites() // so that a pipeline of them is cut when its output is large
		}
		return
	}
	if s.flushWrites(); s.own.some && s.goes(e, args) {
		s.send(e, args) // this node has ceased to be the leader with the writes before it
		return
	}
	if e.spec == nil {
		if !s.ownCommand(e, args) {
			s.send(e, args)
		}
		return
	}
	s.read(e, args)
}

// read carries out a read here.
func (s *session) read(e *entry, args []string) {
	b := s.batch
	b.guard(s.node)
	start := len(b.out.Buf)
	if e.live && asksForFence(args) {
		if yes, err := s.goLive(e, args); err != nil {
			s.fail(e, args, err)
			return
		} else if yes {
			s.note(e.name, false, start, b.lap())
			s.show(e, args, start, true)
			return
		}
	}
	admitted, err := s.admitRead(args, s.pause)
	if err != nil {
		s.fail(e, args, err)
		return
	}
	b.req = command.Request{Args: args, Name: e.name, Pause: s.pause}
	s.node.opt.Store.Read(e.spec, &b.req, &b.out)
	admitted()
	if err := s.checkOutput(); err != nil {
		b.out.Buf = b.out.Buf[:start]
		s.fail(e, args, err)
		return
	}
	s.note(e.name, false, start, b.lap())
	s.show(e, args, start, true)
}

// show tells the monitors of a command whose answer has just been noted and
// begins at start. done: the command itself has not failed.
func (s *session) show(e *entry, args []string, start int, done bool) {
	if s.node.monitors.n.Load() == 0 {
		return
	}
	a := s.batch.answers[len(s.batch.answers)-1]
	name := e.name
	if name == "timeout" && len(args) > 2 { // the command that it bounds is shown
		args = args[2:]
		name = strings.ToLower(args[0])
	}
	// What a script answers is its own affair.
	if a.failed && !(done && strings.HasPrefix(name, "eval")) && unshown(s.batch.out.Buf[start:]) {
		return
	}
	s.node.show(s.addr(), name, args)
}

// lap returns how long the command under way took. The next one begins now, so
// that the clock is looked at once a command.
func (b *batch) lap() time.Duration {
	began := b.begun
	b.begun = time.Since(b.started)
	return b.begun - began
}

// checkOutput ends a read whose reply has become too large to be sent.
func (s *session) checkOutput() error {
	if int64(len(s.batch.out.Buf)) > s.conn.MaxOutput() {
		return errTooLarge
	}
	return nil
}

// ownCommand carries out one of the node's own commands. It returns false when the
// command has to be carried out by the leader, and has not run here.
func (s *session) ownCommand(e *entry, args []string) bool {
	b := s.batch
	out := &b.out
	start := len(out.Buf)
	c := &call{session: s, args: args, name: e.name, out: out}
	err, begun := error(nil), true
	if e.class == upstream.ClassWrite && s.node.role.leads() {
		err = s.node.fenced()
		begun = err == nil
	}
	if begun {
		if e.class != upstream.ClassLocal || e.name == "timeout" {
			b.guard(s.node)
		}
		err = e.run(c)
	}
	if s.passes() && (notLeader(err) || e.name == "timeout" && forward.NotLeader(out.Buf[start:])) {
		out.Buf = out.Buf[:start]
		return false
	}
	if err != nil {
		out.Buf = out.Buf[:start]
		s.fail(e, args, err)
		b.answers[len(b.answers)-1].elsewhere = !begun
		if e.name != "timeout" { // else the command that it bounds was not reached
			s.show(e, args, start, false)
		}
		return true
	}
	took := b.lap()
	if !c.finished {
		out.Finish(start, took)
	}
	s.note(e.name, c.wrote, start, took)
	s.show(e, args, start, true)
	return true
}

// admit says why a command may not run: it is unknown, or the client has not
// authenticated, or the node has not caught up with its leader, or it needs
// memory and there is none.
func (s *session) admit(e *entry, args []string) error {
	if !s.authed && (e == nil || !e.open) && s.node.opt.Settings.Get(passProperty) != "" {
		return errAuthRequired
	}
	if e == nil {
		return unknownCommand(args...)
	}
	switch {
	case e.grows && s.node.memory.over.Load() && s.node.opt.Store.Refusal() == nil:
		return errMemory
	case s.forwarded && (e.class != upstream.ClassLocal || e.name == "timeout") && !s.node.role.leads():
		return errNotLeader // whoever has sent it here would take the answer for the leader's
	case e.write && s.node.tooFew(s.batch.ctx) && s.node.fenced() == nil: // else it is the next leader who counts
		return errNoReplicas
	case e.free || e.write:
		return nil
	}
	return s.node.role.catchingUp()
}

// unknownCommand names the command as it was sent; of SCRIPT, as Tile38 does,
// with its second word.
func unknownCommand(args ...string) error {
	name := args[0]
	if strings.EqualFold(name, "script") && len(args) > 1 {
		name += " " + args[1]
	}
	return reply.Plain("unknown command '" + name + "'")
}

// fail answers an error.
func (s *session) fail(e *entry, args []string, err error) {
	b := s.batch
	name := otherCommand
	if e != nil {
		name = e.name
	}
	start := len(b.out.Buf)
	if args[0] == "" && !b.out.Bare {
		b.out.Buf = append(b.out.Buf, resp.NoName...)
	} else {
		b.out.Fail(strings.ToLower(args[0]), err)
		b.out.Finish(start, 0)
	}
	s.note(name, false, start, b.lap())
	b.answers[len(b.answers)-1].failed = true
}

// otherCommand stands for every name that is no command, so that clients
// cannot invent metric labels.
const otherCommand = "other"

func (s *session) note(name string, write bool, start int, d time.Duration) {
	b := s.batch
	b.answers = append(b.answers, answer{
		name: name, kind: s.kind, write: write, end: len(b.out.Buf), elapsed: d,
		failed: b.failed(b.out.Buf[start:]),
	})
}

// failed says whether an answer is an error in the output that the client has
// chosen. Only its head is looked at, however large it is.
func (b *batch) failed(answer []byte) bool {
	if !b.out.JSON || len(answer) == 0 || answer[0] == '-' {
		return len(answer) > 0 && answer[0] == '-'
	}
	if b.out.Bare {
		return bytes.HasPrefix(answer, []byte(`{"ok":false`))
	}
	_, body, _ := bytes.Cut(answer[:min(len(answer), jsonHead)], []byte("\r\n"))
	return bytes.HasPrefix(body, []byte(`{"ok":false`))
}

// jsonHead is enough of a JSON answer to know: the head of the bulk string that
// it is in, and its first member.
const jsonHead = 40

// observe reports the pipeline's commands. A write is done when it is
// committed, so its time is the pipeline's.
func (s *session) observe() {
	b := s.batch
	var all time.Duration
	for i := range b.answers {
		a := &b.answers[i]
		d := a.elapsed
		if a.write {
			if all == 0 {
				all = time.Since(b.started)
			}
			d = all
		}
		s.node.opt.Observe(a.name, d, a.failed)
	}
	s.node.commands.Add(int64(len(b.answers)))
}
