package store

import (
	"context"
	"fmt"
	"strings"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/dump"
	"evenkeel/pkg/engine/reply"
)

// Offline is the state that some batches lead to, without a log behind it: for
// tools that look at a log and do not go on with it. It belongs to one goroutine.
type Offline struct {
	s *Store

	// Difference is the first batch whose digest is not the state's, and Got what
	// the state's was; nil: there is none.
	Difference *aof.Mark
	Got        aof.Digest
	// Refused is the number of commands that were passed over, and First the first
	// of them with the reason.
	Refused int
	First   string
}

// Rebuild carries out the batches that src delivers, in order, on an empty
// state. The answer is what came before an error, too.
func Rebuild(ctx context.Context, o engine.Options, src func(ctx context.Context, visit func(aof.Batch) error) error) (*Offline, error) {
	opt := Options{Engine: o}
	opt.EnsureDefaults()
	s := &Store{opt: opt, eng: engine.New(o)}
	out := &Offline{s: s}
	r := s.replayer(s.eng)
	r.differs = func(want aof.Mark, got aof.Digest) {
		if out.Difference == nil {
			out.Difference, out.Got = &want, got
		}
	}
	err := r.load(ctx, src)
	out.Refused, out.First = r.refused, r.first
	if err != nil {
		return out, fmt.Errorf("replay: %w", err)
	}
	return out, nil
}

// Stats returns the counts of the state.
func (o *Offline) Stats() Stats { return o.s.Stats() }

// Digest returns the digest of the state.
func (o *Offline) Digest() aof.Digest { return aof.Digest(o.s.eng.State().Digest()) }

// Expire deletes what is over at now, Unix milliseconds, and returns how much
// that was.
func (o *Offline) Expire(now int64) (n int, err error) {
	var out reply.Reply
	for {
		cmds := o.s.due(now)
		for _, args := range cmds {
			out.Buf = out.Buf[:0]
			req := command.Request{Args: args, Name: args[0], Now: now}
			ch, err := o.s.eng.Prepare(o.s.eng.Lookup(args[0]), &req, &out)
			if err != nil {
				return n, fmt.Errorf("delete what is over: %s: %w", strings.Join(args, " "), err)
			}
			if ch == nil {
				return n, fmt.Errorf("delete what is over: %s: nothing changed", strings.Join(args, " "))
			}
			o.s.eng.Apply(ch)
			n++
		}
		if len(cmds) == 0 {
			return n, nil
		}
	}
}

// Dump visits one command for each object, hook and channel, which make the state
// again when they are carried out at now, Unix milliseconds.
func (o *Offline) Dump(now int64, visit func(args []string) error) error {
	return dump.Items(o.s.eng.State(), now, visit)
}
