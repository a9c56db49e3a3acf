package node

import (
	"strconv"
	"strings"
	"time"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/store"
)

// script is SCRIPT LOAD, EXISTS and FLUSH; the second word may be part of the
// first.
func (c *call) script() error {
	return c.node.opt.Store.Scripts().Script(&command.Request{Args: c.args, Name: c.name}, c.out)
}

// eval is EVAL and EVALSHA: nobody else's command comes between those of the
// script.
func (c *call) eval() error {
	c.node.opt.Store.Scripts().Ahead(&command.Request{Args: c.args, Name: c.name})
	var answer error
	offset, err := c.node.opt.Store.Atomic(func(tx *store.Tx) {
		answer = c.run(func(e *entry, req *command.Request, out *reply.Reply) error {
			if e.spec == nil {
				return c.ownInScript(e, req, tx.State(), out)
			}
			return tx.Do(e.spec, req, out)
		})
	})
	if err != nil {
		return err
	}
	c.wrote = true
	c.batch.offset = max(c.batch.offset, offset)
	return answer
}

// evalRO is EVALRO and EVALROSHA: the script sees one state from its beginning
// to its end, and holds up nobody for long. One that takes more than a read may
// begins anew on a snapshot.
func (c *call) evalRO() error {
	done, err := c.node.places.take(c.batch.ctx, forEval, c.bound)
	if err != nil {
		return err
	}
	defer done()
	spec := &command.Spec{Name: c.name, Read: func(req *command.Request, st *collection.State, out *reply.Reply) error {
		now := req.Now
		run := *c
		run.out, run.bound = out, req.Pause
		return run.run(func(e *entry, req *command.Request, out *reply.Reply) error {
			if e.spec == nil {
				return c.ownInScript(e, req, st, out)
			}
			if e.spec.Read == nil {
				return errReadOnly
			}
			req.Now = now
			return e.spec.Read(req, st, out)
		})
	}}
	return c.node.opt.Store.Query(spec, &command.Request{Args: c.args, Name: c.name, Pause: c.bound, Deadline: c.end}, c.out)
}

// evalNA is EVALNA and EVALNASHA: each command of the script stands alone.
func (c *call) evalNA() error {
	done, err := c.node.places.take(c.batch.ctx, forEval, c.bound)
	if err != nil {
		return err
	}
	defer done()
	return c.run(func(e *entry, req *command.Request, out *reply.Reply) error {
		if err := c.admit(e, req.Args); err != nil {
			return err
		}
		st := c.node.opt.Store
		switch {
		case e.spec == nil:
			return c.ownInScript(e, req, st.Snapshot(), out)
		case e.spec.Write != nil:
			return c.writeInScript(e, req, out)
		}
		return st.Query(e.spec, req, out)
	})
}

// admitRead waits until a search may run, if it has a script; pause is that of
// the search.
func (s *session) admitRead(args []string, pause func() error) (done func(), err error) {
	for _, a := range args {
		if len(a) >= len("whereeval") && len(a) <= len("whereevalsha") &&
			(strings.EqualFold(a, "whereeval") || strings.EqualFold(a, "whereevalsha")) {
			return s.node.places.take(s.batch.ctx, forWhere, pause)
		}
	}
	return func() {}, nil
}

// writeInScript carries out a write that stands alone.
func (c *call) writeInScript(e *entry, req *command.Request, out *reply.Reply) error {
	var answer error
	offset, err := c.node.opt.Store.Atomic(func(tx *store.Tx) { answer = tx.Do(e.spec, req, out) })
	if err != nil {
		return err
	}
	c.wrote = true
	c.batch.offset = max(c.batch.offset, offset)
	return answer
}

// run carries out the script of an EVAL; each of its commands goes through do.
func (c *call) run(do func(*entry, *command.Request, *reply.Reply) error) error {
	req := &command.Request{Args: c.args, Name: c.name, Pause: c.bound, Deadline: c.end}
	return c.node.opt.Store.Scripts().Eval(req, func(args []string) ([]byte, error) {
		return c.fromScript(args, do)
	}, c.out)
}

// fromScript carries out one command of a script.
func (c *call) fromScript(args []string, do func(*entry, *command.Request, *reply.Reply) error) ([]byte, error) {
	req := &command.Request{Args: args, Pause: c.bound}
	if strings.EqualFold(args[0], "timeout") { // package script has looked at what follows
		secs, err := strconv.ParseFloat(args[1], 64)
		if err != nil || !(secs >= 0) {
			return nil, reply.InvalidArgument(args[1])
		}
		req.Args, req.Via = args[2:], "timeout"
		req.Pause = pauseUntil(time.Now().Add(secsDuration(secs)), c.bound)
	}
	e := c.node.lookup(req.Args[0])
	if e == nil {
		return nil, unknownCommand(req.Args...)
	}
	req.Name = e.name
	var out reply.Reply
	err := c.roomFor(e)
	if err == nil {
		err = do(e, req, &out)
	}
	if err == nil || !unshown([]byte(err.Error())) {
		c.node.show("lua", e.name, req.Args)
	}
	return out.Buf, err
}

// ownInScript carries out what scripts may call of the node's own commands:
// SERVER, whose numbers are st's, as the store may be locked.
func (c *call) ownInScript(e *entry, req *command.Request, st *collection.State, out *reply.Reply) error {
	own := &call{session: c.session, args: req.Args, name: e.name, out: out}
	own.counts = func() store.Stats { return c.node.opt.Store.StatsOf(st) }
	return e.run(own)
}

// roomFor refuses a command that needs memory when there is none.
func (c *call) roomFor(e *entry) error {
	if e.grows && c.node.memory.over.Load() {
		return errMemory
	}
	return nil
}
