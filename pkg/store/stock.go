package store

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/tidwall/redcon"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/dump"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/engine/shadow"
)

// Following a stock Tile38: its commands become batches of the own log, in the
// own epoch, and what its log leads to can be compared with the own state.

// unwritableWait is the time between two looks at a log that cannot be written.
const unwritableWait = 200 * time.Millisecond

// Applied says what became of a piece of a stock leader's stream.
type Applied struct {
	Commands int
	Refused  int    // commands that were passed over, as a replay does
	First    string // the first of them, and why
	Whole    bool   // all of the piece has been carried out, whatever the error
}

// ApplyCommands carries out payload, whole commands of a stock leader, while
// writes of clients are refused, and logs and commits them as the own. Fences of
// channels do not fire: what they say is in the stream, as PUBLISH. It waits
// while the log cannot be written; only the end of ctx or of the log leaves a
// part undone.
func (s *Store) ApplyCommands(ctx context.Context, payload []byte) (Applied, error) {
	var a Applied
	steps, err := s.foreign(payload, &a)
	if err != nil {
		return a, err
	}
	var offset int64
	for len(steps) > 0 {
		n, at, err := s.applyNext(ctx, steps, &a)
		if err != nil {
			return a, err
		}
		steps, offset = steps[n:], at
	}
	a.Whole = true
	if offset == 0 {
		return a, nil
	}
	return a, s.Commit(ctx, offset)
}

// applyNext carries out the first steps, one at least, and says how many. One that
// is about very many items is carried out in parts, as from a client.
func (s *Store) applyNext(ctx context.Context, steps []step, a *Applied) (n int, offset int64, err error) {
	first := &steps[0]
	if first.spec.Parts == nil || !s.large(&Write{Request: first.req}) {
		n = 1
		for n < len(steps) && steps[n].spec.Parts == nil {
			n++
		}
		steps = steps[:n]
		err = s.writable(ctx, func() (err error) {
			n, offset, err = s.applySome(steps, a)
			return err
		})
		return n, offset, err
	}
	from := ""
	for more := true; more && err == nil; more = from != "" {
		err = s.writable(ctx, func() (err error) {
			offset, from, err = s.applyPart(first, from, a)
			return err
		})
	}
	a.Commands++
	return 1, offset, err
}

// writable does something that begins a batch, again as long as the log cannot be
// written.
func (s *Store) writable(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil || errors.Is(err, aof.ErrClosed) {
			return err
		}
		if !pause(ctx, unwritableWait) {
			return fmt.Errorf("%w while the log cannot be written: %w", context.Cause(ctx), err)
		}
	}
}

// pause waits; false: ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// foreign splits payload and reads ahead what needs no state.
func (s *Store) foreign(payload []byte, a *Applied) ([]step, error) {
	var c chunk
	err := aof.EachCommand(payload, func(args []string) error {
		err := c.addCommand(s.eng, args, 0)
		if err != nil {
			a.refuse(args, err)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("split commands of the leader: %w", err)
	}
	return c.steps, nil
}

func (a *Applied) refuse(args []string, err error) {
	a.Refused++
	if a.First == "" {
		a.First = fmt.Sprintf("%.200q: %v", args, err)
	}
}

// applySome carries out the first steps, one at least, under one lock.
func (s *Store) applySome(steps []step, a *Applied) (n int, offset int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.log.Begin(s.opt.Now())
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	var out reply.Reply
	for n < len(steps) && (n%8 != 7 || time.Since(began) < longHold) {
		c := &steps[n]
		n++
		c.req.Now = now
		out.Buf, out.Later = out.Buf[:0], nil
		s.applyForeign(c, &out, a)
	}
	s.stats.commands.Add(int64(n))
	a.Commands += n
	return n, s.log.End(aof.Digest(s.eng.State().Digest())), nil
}

// applyPart carries out what of a command comes next from the item from; next is
// where to go on, "" at the end.
func (s *Store) applyPart(c *step, from string, a *Applied) (offset int64, next string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.log.Begin(s.opt.Now())
	if err != nil {
		return 0, from, err
	}
	c.req.Now = now
	cmds, next, perr := c.spec.Parts(&c.req, s.eng.State(), from)
	if perr != nil {
		a.refuse(c.req.Args, perr)
	}
	var out reply.Reply
	for _, args := range cmds {
		out.Buf, out.Later = out.Buf[:0], nil
		part := step{spec: s.eng.LookupLogged(args[0]), req: command.Request{Args: args, Name: args[0], Now: now}}
		s.applyForeign(&part, &out, a)
	}
	return s.log.End(aof.Digest(s.eng.State().Digest())), next, nil
}

// applyForeign carries out one command of the leader.
func (s *Store) applyForeign(c *step, out *reply.Reply, a *Applied) {
	args := c.req.Args
	if c.req.Name == "publish" && len(args) == 3 {
		s.log.Add([]string{publish, args[1], args[2]})
		if s.events != nil {
			s.events.Publish(strings.Clone(args[1]), []byte(args[2]))
		}
		return
	}
	ch, err := s.eng.Prepare(c.spec, &c.req, out)
	switch {
	case err != nil:
		a.refuse(args, err)
	case ch != nil:
		s.log.Add(args)
		s.eng.Apply(ch)
		s.tellReplica(c.req.Name, c.req.Now, ch)
		s.noteDeadlines(ch)
	}
}

// Empty says whether there are neither objects nor hooks.
func (s *Store) Empty() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	hooks, channels := s.eng.State().CountHooks()
	return s.eng.State().Len()+hooks+channels == 0
}

// Shadow is the state that a stock leader's log leads to, made beside the own.
// One goroutine at a time may use it.
type Shadow struct {
	sh  *shadow.Shadow
	now func() int64
}

// NewShadow returns one without data, which shares equal items with the own state.
func (s *Store) NewShadow() *Shadow {
	return &Shadow{sh: shadow.New(s.opt.Engine, s.Snapshot()), now: s.opt.Now}
}

// Add carries out payload, whole commands of the leader's log. Times to live
// count from now: the log does not say since when.
func (sh *Shadow) Add(payload []byte) error {
	now := sh.now()
	err := aof.EachCommand(payload, func(args []string) error {
		sh.sh.Exec(args, now)
		return nil
	})
	if err != nil {
		return fmt.Errorf("split commands of the leader: %w", err)
	}
	return nil
}

// Applied says how many commands there were.
func (sh *Shadow) Applied() Applied {
	return Applied{Commands: sh.sh.Commands, Refused: sh.sh.Refused, First: sh.sh.First}
}

// Difference is what Adopt had to change.
type Difference struct {
	Commands int   // of the difference
	Bytes    int64 // of them
	Shared   int   // items that the shadow had from the own state when they were set
}

// deadlineTolerance is by how much two deadlines, in milliseconds, may differ and
// still be the same: AOFSHRINK writes the rest of a time to live in tenths of a
// second, and the leader's log says nothing of when it was written.
const deadlineTolerance = 2000

// differenceBatch is the bytes of a difference that are committed together.
const differenceBatch = 64 << 10

// Adopt brings the difference between the own state and the shadow into the own
// log and state, in small batches; reads go on. With merge nothing is deleted.
// It may be done again after it was cut off anywhere. The shadow is not to be
// used afterwards.
func (s *Store) Adopt(ctx context.Context, sh *Shadow, merge bool) (Difference, error) {
	d := Difference{Shared: sh.sh.Shared}
	var payload []byte
	flush := func() error {
		if len(payload) == 0 {
			return nil
		}
		a, err := s.ApplyCommands(ctx, payload)
		if err == nil && a.Refused > 0 {
			err = fmt.Errorf("refused: %s", a.First)
		}
		payload = payload[:0]
		return err
	}
	have := s.Snapshot()
	diff := dump.Diff{Now: s.opt.Now, Tolerance: deadlineTolerance, Merge: merge}
	err := dump.Difference(have, sh.sh.State(), diff, func(args []string) error {
		n := len(payload)
		payload = redcon.AppendArray(payload, len(args))
		for _, a := range args {
			payload = redcon.AppendBulkString(payload, a)
		}
		d.Commands++
		d.Bytes += int64(len(payload) - n)
		if len(payload) < differenceBatch {
			return ctx.Err()
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return d, fmt.Errorf("bring in the difference to the leader's log: %w", err)
	}
	if sh.sh.Commands > manyCommands {
		debug.FreeOSMemory()
	}
	return d, nil
}
