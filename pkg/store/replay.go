package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

// replayer carries out what the log says.
type replayer struct {
	store   *Store
	eng     *engine.Engine
	out     reply.Reply
	live    bool                                // it goes on in front of clients: fences are told
	differs func(want aof.Mark, got aof.Digest) // hears of batches that lead elsewhere; nil: they are logged
	refused int                                 // commands that the engine did not accept
	first   string                              // the first of them, and why
}

func (s *Store) replayer(eng *engine.Engine) *replayer { return &replayer{store: s, eng: eng} }

// errReplay is a command of the log that cannot be understood at all.
var errReplay = errors.New("unknown command in the log")

// source delivers the batches of a log or of a base, in order.
type source func(ctx context.Context, visit func(aof.Batch) error) error

// load replays a source into the replayer's engine, which has no data. One
// goroutine reads, checks, splits, and reads ahead what needs no state; this one
// applies.
func (r *replayer) load(ctx context.Context, src source) error {
	full, free := make(chan *chunk, chunksAhead), make(chan *chunk, chunksAhead+2)
	for range cap(free) {
		free <- &chunk{}
	}
	before := r.store.stats.commands.Load()
	var readErr error
	go func() {
		defer close(full)
		readErr = r.read(ctx, src, full, free)
	}()
	r.eng.Load(func() {
		for c := range full {
			c.apply(r)
			c.reset()
			free <- c
		}
	})
	if r.store.stats.commands.Load()-before > manyCommands {
		debug.FreeOSMemory() // of overwritten objects, and of what the indexes were built from
	}
	return readErr
}

const (
	// chunkBytes is how much of the log is handed over at a time.
	chunkBytes = 128 << 10
	// chunksAhead is how many chunks the reader may be ahead.
	chunksAhead = 4
	// manyCommands leave so much garbage that it is given back at once.
	manyCommands = 100_000
)

// chunk is some batches, split into commands.
type chunk struct {
	batches []aof.Batch // without their payloads
	ends    []int       // per batch: where in steps it ends
	steps   []step      // what lies behind its end is used again
	words   []string    // of all steps
	size    int         // bytes of payload
}

// step is one command.
type step struct {
	spec *command.Spec
	req  command.Request
}

func (c *chunk) reset() {
	if c.size > 2*chunkBytes { // it had a large batch, and may have grown with it
		*c = chunk{}
		return
	}
	clear(c.words) // they keep whole payloads alive
	c.batches, c.ends, c.steps, c.words, c.size = c.batches[:0], c.ends[:0], c.steps[:0], c.words[:0], 0
}

// read splits the batches of src into chunks.
func (r *replayer) read(ctx context.Context, src source, full chan<- *chunk, free <-chan *chunk) error {
	c := <-free
	err := src(ctx, func(b aof.Batch) error {
		if err := c.add(r.eng, b); err != nil {
			return fmt.Errorf("batch that ends at offset %d: %w", b.Offset, err)
		}
		if c.size < chunkBytes {
			return nil
		}
		full <- c
		select {
		case c = <-free:
			return nil
		case <-ctx.Done():
			c = nil
			return context.Cause(ctx)
		}
	})
	if c != nil {
		full <- c
	}
	return err
}

// add splits a batch and takes its commands.
func (c *chunk) add(eng *engine.Engine, b aof.Batch) error {
	if err := aof.EachCommand(b.Payload, func(args []string) error {
		return c.addCommand(eng, args, b.Time)
	}); err != nil {
		return err
	}
	c.size += len(b.Payload)
	b.Payload = nil
	c.batches = append(c.batches, b)
	c.ends = append(c.ends, len(c.steps))
	return nil
}

// addCommand takes a command, and reads it ahead if it can be.
func (c *chunk) addCommand(eng *engine.Engine, args []string, now int64) error {
	name := lower(args[0])
	spec := eng.LookupLogged(name)
	if spec == nil || spec.Write == nil {
		return fmt.Errorf("%w: %q", errReplay, args[0])
	}
	c.words = append(c.words, args...)
	words := c.words[len(c.words)-len(args):]
	c.steps = slices.Grow(c.steps, 1)[:len(c.steps)+1]
	s := &c.steps[len(c.steps)-1]
	s.spec = spec
	s.req.Args, s.req.Name, s.req.Now = words, name, now
	if spec.Early == nil {
		s.req.Early = nil
		return nil
	}
	spec.Early(&s.req)
	return nil
}

// apply carries out the chunk's commands.
func (c *chunk) apply(r *replayer) {
	at := 0
	for i, b := range c.batches {
		for ; at < c.ends[i]; at++ {
			r.carryOut(c.steps[at].spec, &c.steps[at].req)
		}
		r.check(b)
	}
	r.store.stats.commands.Add(int64(len(c.steps)))
}

// check compares the state with the digest that the batch must lead to. A
// difference is reported and lived with: refusing to start would turn a bug
// into an outage, and followers find out by themselves.
func (r *replayer) check(b aof.Batch) {
	if b.Unchecked || aof.Digest(r.eng.State().Digest()) == b.Digest {
		return
	}
	first := r.store.stats.mismatches.Add(1) == 1
	switch {
	case r.differs != nil:
		r.differs(b.Mark, aof.Digest(r.eng.State().Digest()))
	case first:
		r.store.opt.Logger.Error("the log leads to another state than it says; it may have been written by another version",
			"offset", b.Offset, "want", b.Digest.String(), "got", r.eng.State().Digest().String())
	}
}

// command carries out one command of a leader.
func (r *replayer) command(c *step) {
	r.store.stats.commands.Add(1)
	r.carryOut(c.spec, &c.req)
	if args := c.req.Args; c.req.Name == "publish" && len(args) == 3 && r.store.events != nil {
		r.store.events.Publish(strings.Clone(args[1]), []byte(args[2]))
	}
}

func (r *replayer) carryOut(spec *command.Spec, req *command.Request) {
	r.out.Buf = r.out.Buf[:0]
	ch, err := r.eng.Prepare(spec, req, &r.out)
	switch {
	case err != nil:
		// It was accepted once; a stock Tile38 passes over such a command when
		// it loads, and so do we, but not silently.
		r.refused++
		if r.first == "" {
			r.first = fmt.Sprintf("%q: %v", req.Args, err)
		}
	case ch != nil:
		r.eng.Apply(ch)
		if r.live {
			r.store.tellReplica(req.Name, req.Now, ch)
		}
	}
}

func (r *replayer) report(l *slog.Logger) {
	if r.refused > 0 {
		l.Warn("commands of the log were passed over", "count", r.refused, "first", r.first)
	}
}

// lower returns name in lower case; names in the log are nearly always of one
// case, which costs nothing.
func lower(name string) string {
	switch name {
	case "SET", "set":
		return "set"
	case "DEL", "del":
		return "del"
	}
	return strings.ToLower(name)
}
