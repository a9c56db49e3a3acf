package testkit

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/tidwall/redcon"

	"evenkeel/pkg/engine"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/tile38"
)

// Follower is a Tile38 follower: its file and its memory, which outlive its
// connections.
type Follower struct {
	// Block is the size of the pieces that are compared; Tile38's is 512 KiB.
	Block int
	File  []byte
	eng   *engine.Engine
}

// NewFollower returns one without data.
func NewFollower(block int) *Follower {
	return &Follower{Block: block, eng: engine.New(engine.Options{})}
}

// Follow connects and takes what comes until level says that it is enough. It
// returns from where it took the leader's file.
func (f *Follower) Follow(ctx context.Context, addr string, level func(collection.Digest) bool) (from int64, err error) {
	c, err := tile38.Dial(ctx, tile38.Options{Addr: addr})
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Server(); err != nil {
		return 0, err
	}
	if from, err = f.place(c); err != nil {
		return 0, err
	}
	if err := c.Announce(12345, ""); err != nil {
		return 0, err
	}
	stream, err := c.Follow(from)
	if err != nil {
		return 0, err
	}
	stream.Idle(10 * time.Second)
	for !level(f.eng.State().Digest()) {
		payload, err := stream.Next(tile38.NoLimit)
		if err != nil {
			return from, err
		}
		f.File = append(f.File, payload...)
		var end int
		if err := f.apply(payload, &end); err != nil {
			return from, err
		}
	}
	return from, nil
}

// place finds out where to begin, as Tile38 does.
func (f *Follower) place(c *tile38.Conn) (int64, error) {
	if len(f.File) < f.Block {
		return 0, nil // neither file nor memory are emptied
	}
	ok, err := c.Equal(0, f.File[:f.Block])
	if err != nil {
		return 0, err
	}
	if !ok {
		f.File = nil // but not the memory
		return 0, nil
	}
	// Where the pieces end to be the same it begins again, from its own file.
	end := f.Block
	for end < len(f.File) {
		n := min(f.Block, len(f.File)-end)
		ok, err := c.Equal(int64(end), f.File[end:end+n])
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		end += n
	}
	whole := 0
	f.eng = engine.New(engine.Options{})
	err = f.apply(f.File[:end], &whole)
	f.File = f.File[:whole]
	return int64(whole), err
}

// apply carries out the whole commands of b and says where they end.
func (f *Follower) apply(b []byte, end *int) error {
	*end = 0
	for *end < len(b) {
		n, v := redcon.ReadNextRESP(b[*end:])
		if n == 0 {
			return nil
		}
		*end += n
		var args []string
		v.ForEach(func(w redcon.RESP) bool { args = append(args, string(w.Data)); return true })
		if err := f.exec(args); err != nil {
			return err
		}
	}
	return nil
}

func (f *Follower) exec(args []string) error {
	name := strings.ToLower(args[0])
	spec := f.eng.LookupLogged(name)
	if spec == nil {
		return errors.New("unknown command " + args[0])
	}
	req := command.Request{Args: args, Name: name, Now: time.Now().UnixMilli()}
	var out reply.Reply
	ch, err := f.eng.Prepare(spec, &req, &out)
	if err == nil && ch != nil {
		f.eng.Apply(ch)
	}
	return err
}

// Digest returns the digest of the data in memory.
func (f *Follower) Digest() collection.Digest { return f.eng.State().Digest() }
