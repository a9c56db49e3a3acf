package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	req     command.Request
	refused int   // commands that the engine did not accept
	first   error // the first of them
}

func (s *Store) replayer(eng *engine.Engine) *replayer { return &replayer{store: s, eng: eng} }

// errReplay is a command of the log that cannot be understood at all.
var errReplay = errors.New("unknown command in the log")

// source delivers the batches of a log or of a base, in order.
type source func(ctx context.Context, visit func(aof.Batch) error) error

// load replays a source into the replayer's engine, which has no data. One
// goroutine reads, checks and splits; this one applies.
func (r *replayer) load(ctx context.Context, src source) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	full, free := make(chan *chunk, chunksAhead), make(chan *chunk, chunksAhead+2)
	for range cap(free) {
		free <- &chunk{}
	}
	var readErr error
	go func() {
		defer close(full)
		readErr = read(ctx, src, full, free)
	}()
	err := r.eng.Load(func() error {
		var err error
		for c := range full { // to the end also after an error: the reader is joined
			if err == nil {
				if err = c.apply(r); err != nil {
					cancel(err)
				}
			}
			c.reset()
			free <- c
		}
		return err
	})
	if err != nil {
		return err
	}
	return readErr
}

const (
	// chunkWords is how many words of commands are handed over at a time.
	chunkWords = 8192
	// chunksAhead is how many chunks the reader may be ahead.
	chunksAhead = 4
)

// chunk is some batches, split into words.
type chunk struct {
	batches  []aof.Batch // without their payloads
	commands []int       // per batch: how many of ends are its commands'
	ends     []int       // per command: where in words it ends
	words    []string
}

func (c *chunk) reset() {
	clear(c.words) // they keep whole payloads alive
	c.batches, c.commands, c.ends, c.words = c.batches[:0], c.commands[:0], c.ends[:0], c.words[:0]
}

// read splits the batches of src into chunks.
func read(ctx context.Context, src source, full chan<- *chunk, free <-chan *chunk) error {
	c := <-free
	err := src(ctx, func(b aof.Batch) error {
		if err := aof.EachCommand(b.Payload, func(args []string) error {
			c.words = append(c.words, args...)
			c.ends = append(c.ends, len(c.words))
			return nil
		}); err != nil {
			return fmt.Errorf("batch that ends at offset %d: %w", b.Offset, err)
		}
		b.Payload = nil
		c.batches = append(c.batches, b)
		c.commands = append(c.commands, len(c.ends))
		if len(c.words) < chunkWords {
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

// apply carries out the chunk's commands.
func (c *chunk) apply(r *replayer) error {
	word, cmd := 0, 0
	for i, b := range c.batches {
		r.req.Now = b.Time
		for ; cmd < c.commands[i]; cmd++ {
			if err := r.command(c.words[word:c.ends[cmd]]); err != nil {
				return fmt.Errorf("batch that ends at offset %d: %w", b.Offset, err)
			}
			word = c.ends[cmd]
		}
		r.check(b)
	}
	return nil
}

// check compares the state with the digest that the batch must lead to. A
// difference is reported and lived with: refusing to start would turn a bug
// into an outage, and followers find out by themselves.
func (r *replayer) check(b aof.Batch) {
	if b.Unchecked || aof.Digest(r.eng.State().Digest()) == b.Digest {
		return
	}
	if r.store.stats.mismatches.Add(1) == 1 {
		r.store.opt.Logger.Error("the log leads to another state than it says; it may have been written by another version",
			"offset", b.Offset, "want", b.Digest.String(), "got", r.eng.State().Digest().String())
	}
}

func (r *replayer) command(args []string) error {
	if len(args) == 0 {
		return nil
	}
	r.req.Args = args
	r.req.Name = lower(args[0])
	spec := r.eng.LookupLogged(r.req.Name)
	if spec == nil || spec.Write == nil {
		return fmt.Errorf("%w: %q", errReplay, args[0])
	}
	r.store.stats.commands.Add(1)
	r.out.Buf = r.out.Buf[:0]
	ch, err := r.eng.Prepare(spec, &r.req, &r.out)
	switch {
	case err != nil:
		// It was accepted once; a stock Tile38 passes over such a command when
		// it loads, and so do we, but not silently.
		r.refused++
		if r.first == nil {
			r.first = fmt.Errorf("%q: %w", args, err)
		}
	case ch != nil:
		r.eng.Apply(ch)
	}
	return nil
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
