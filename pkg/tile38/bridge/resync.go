package bridge

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine/shadow"
	"evenkeel/pkg/replication"
	"evenkeel/pkg/tile38"
	"evenkeel/pkg/tile38/verify"
)

const (
	// passes is how often a difference is looked for and sent before it counts as
	// one that has failed.
	passes = 3
	// maxTries is how many differences may fail before the follower is emptied.
	maxTries = 3
	// manyCommands of a leader's file leave memory that is given back at once.
	manyCommands = 100_000
	// differenceBytes of a difference are handed on together.
	differenceBytes = 64 << 10
)

// errUnequal says that a difference does not come to an end.
var errUnequal = errors.New("the follower does not become equal to the leader's file")

// resumeByLog goes on where the follower's own file ends, when that is known to be
// this leader's history: after a restart of the sidecar. No stream and no error:
// there is no such place.
func (b *Bridge) resumeByLog(ctx context.Context, c *tile38.Conn, s tile38.Server) (*tile38.Stream, error) {
	if !b.saved.Whole || b.saved.LeaderID != s.ID || !b.ring.pristine() || b.full {
		return nil, nil
	}
	e, err := b.file.ending(b.beats)
	if err != nil {
		return nil, err
	}
	tail := b.newTail(s.ID)
	beat, behind := e.beat(b.beats)
	if beat != nil {
		tail.Add(beat, int64(len(beat)))
	} else {
		all := slices.Concat(e.cmds...)
		tail.Add(all, int64(len(all)))
	}
	found, read, err := tail.Find(s.AOFSize, b.opt.Window, func() (*tile38.Conn, error) { return b.dial(ctx) })
	b.count(func(s *Status) { s.BytesSearched += read })
	switch {
	case errors.Is(err, tile38.ErrNotFound):
		b.opt.Logger.Warn("bridge: the end of the follower's file is not in the leader's", "why", err)
		return nil, nil
	case err != nil:
		return nil, err
	}
	b.tail = found
	stream, err := b.open(ctx, c, found.Pos(), true)
	if err == nil {
		err = b.walk(ctx, stream, behind, s.AOFSize)
	}
	if err != nil {
		b.tail = nil
		return nil, err
	}
	b.count(func(st *Status) { st.Resumes.FoundByLog++ })
	b.answered(ctx, s, EventFound)
	return stream, nil
}

// walk passes over what the follower has logged behind a heartbeat.
func (b *Bridge) walk(ctx context.Context, stream *tile38.Stream, logged [][]byte, end int64) error {
	stream.Idle(b.opt.ReadTimeout)
	for len(logged) > 0 {
		payload, err := stream.Next(end)
		if err != nil {
			return err
		}
		if tile38.IsMessage(payload) {
			continue // it may have had it; a message is not worth a second time
		}
		n, rest, err := meet(payload, logged)
		if err == nil && len(payload) == 0 {
			err = fmt.Errorf("%w: %d commands more", errPlace, len(logged))
		}
		if err != nil {
			b.opt.Logger.Warn("bridge: the follower's file is not the leader's behind its last heartbeat",
				"position", stream.Pos(), "why", err)
			return errors.Join(fmt.Errorf("the follower's file ends otherwise than the leader's: %w", err), b.save(saved{LeaderID: b.tail.ID}))
		}
		logged = rest
		pos := stream.Pos() - int64(len(payload)-n)
		b.tail.Add(payload[:n], pos)
		if len(logged) > 0 || n == len(payload) {
			continue
		}
		if err := b.add(ctx, payload[n:], stream.Pos()); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bridge) newTail(id string) *tile38.Tail {
	t := tile38.NewTail(id, 0, 0)
	t.Beats = b.beats
	return t
}

// begin brings the follower to what the leader's file says, whatever it has.
func (b *Bridge) begin(ctx context.Context, c *tile38.Conn, s tile38.Server) (*tile38.Stream, error) {
	own, err := b.quiet(ctx)
	if err != nil {
		return nil, err
	}
	b.expect = expectation{}
	switch {
	case b.full:
		return b.refill(ctx, c, s)
	case own.Counts == (tile38.Counts{}):
		b.count(func(st *Status) { st.Resumes.Fresh++ })
		return b.fromStart(ctx, c, s, EventFresh)
	}
	if !b.opt.AcceptEmptyLeader {
		if err := b.related(ctx); err != nil {
			return nil, err
		}
	}
	return b.difference(ctx, c, s)
}

// quiet waits until the follower has carried out all that it was sent, and returns
// what it has.
func (b *Bridge) quiet(ctx context.Context) (tile38.Server, error) {
	ctx, cancel := context.WithTimeout(ctx, b.opt.VerifyTimeout)
	defer cancel()
	for {
		own, err := b.engine(ctx)
		if err == nil {
			_, end, _, _ := b.ring.now()
			err = b.ring.waitApplied(ctx, b.gen, end)
			if err != nil {
				return own, fmt.Errorf("the follower does not take what it is sent: %w", err)
			}
			return own, nil
		}
		if !pause(ctx, b.opt.BackoffMin) {
			return own, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// fromStart lets an empty follower take the leader's file.
func (b *Bridge) fromStart(ctx context.Context, c *tile38.Conn, s tile38.Server, kind EventKind) (*tile38.Stream, error) {
	b.tail = b.newTail(s.ID)
	stream, err := b.open(ctx, c, 0, false)
	if err == nil {
		err = b.save(saved{LeaderID: s.ID, Whole: true})
	}
	if err != nil {
		b.tail = nil
		return nil, err
	}
	b.full, b.tries = false, 0
	b.answered(ctx, s, kind)
	// Whatever was known to differ is gone.
	b.progress(func(p *replication.Progress) { p.Installed("", aof.Mark{}) })
	return stream, nil
}

// refill empties the follower first.
func (b *Bridge) refill(ctx context.Context, c *tile38.Conn, s tile38.Server) (*tile38.Stream, error) {
	if err := b.save(saved{LeaderID: s.ID}); err != nil {
		return nil, err
	}
	h, err := b.ring.add(ctx, b.gen, tile38.AppendCommand(nil, "FLUSHDB"))
	if err == nil {
		err = b.ring.waitApplied(ctx, b.gen, h+1)
	}
	if err != nil {
		return nil, err
	}
	b.count(func(st *Status) { st.Resumes.Full++ })
	return b.fromStart(ctx, c, s, EventFull)
}

// related fails when the leader has none of the collections that the follower has.
func (b *Bridge) related(ctx context.Context) error {
	names := func(o tile38.Options) ([]string, int, error) {
		live, err := verify.Live(verify.LiveOptions{Options: o})
		if err != nil {
			return nil, 0, err
		}
		defer live.Close()
		all, err := live.Collections(ctx)
		if err != nil {
			return nil, 0, err
		}
		hooks, err := live.Hooks(ctx)
		return slices.DeleteFunc(all, func(key string) bool { return key == b.opt.HeartbeatKey }), len(hooks), err
	}
	own, ownHooks, err := names(b.engineOptions())
	if err != nil {
		return fmt.Errorf("follower %s: %w", b.opt.Engine, err)
	}
	theirs, hooks, err := names(b.leaderOptions())
	if err != nil {
		return err
	}
	common := slices.ContainsFunc(own, func(key string) bool { return slices.Contains(theirs, key) })
	if common || len(own) == 0 && (ownHooks == 0 || len(theirs)+hooks > 0) {
		b.count(func(st *Status) { st.LeaderRefused = false })
		return nil
	}
	b.count(func(st *Status) { st.LeaderRefused = true })
	return fmt.Errorf("%w: it has %d collections, the follower %d", ErrEmptyLeader, len(theirs), len(own))
}

// difference reads the leader's file into a state and makes the follower equal to
// it. The stream goes on where the file ended then.
func (b *Bridge) difference(ctx context.Context, c *tile38.Conn, s tile38.Server) (*tile38.Stream, error) {
	if err := b.save(saved{LeaderID: s.ID}); err != nil {
		return nil, err
	}
	now := b.opt.Now()
	b.count(func(st *Status) { st.Verified, b.levelAt = false, time.Time{} })
	b.progress(func(p *replication.Progress) {
		p.Answered(replication.Answer{
			Kind: replication.Ranges, Size: s.AOFSize, End: s.AOFSize, Start: aof.Mark{Offset: s.AOFSize},
			Now: now.UnixMilli(), LeaderID: s.ID,
		}, now)
	})
	b.happened(ctx, Event{Kind: EventDifference, Bytes: s.AOFSize})
	stream, err := b.open(ctx, c, 0, false)
	if err != nil {
		return nil, err
	}
	tail := b.newTail(s.ID)
	sh, err := b.read(stream, tail, s.AOFSize)
	if err != nil {
		return nil, fmt.Errorf("read its file: %w", err)
	}
	commands, err := b.mend(ctx, sh)
	if err != nil {
		if errors.Is(err, errUnequal) {
			b.tries++
			b.full = b.tries >= maxTries
		}
		return nil, fmt.Errorf("difference: %w", err)
	}
	if sh.Refused > 0 {
		b.opt.Logger.Warn("bridge: commands of the leader's file were passed over", "count", sh.Refused, "first", sh.First)
	}
	b.tail, b.tries = tail, 0
	if err := b.save(saved{LeaderID: s.ID, Whole: true}); err != nil {
		return nil, err
	}
	b.count(func(st *Status) {
		st.Resumes.Difference++
		st.DifferenceCommands += commands
		st.Refused += int64(sh.Refused)
	})
	b.progress(func(p *replication.Progress) { p.Installed("", mark(tail.Pos(), now)) })
	if sh.Commands > manyCommands {
		sh = nil
		debug.FreeOSMemory()
	}
	b.differenceDone(ctx, s, commands)
	return stream, nil
}

// read makes the state that the leader's file leads to, up to end.
func (b *Bridge) read(stream *tile38.Stream, tail *tile38.Tail, end int64) (*shadow.Shadow, error) {
	sh := shadow.New(b.opt.Limits, nil)
	stream.Idle(b.opt.ReadTimeout)
	for stream.Pos() < end {
		payload, err := stream.Next(end)
		if err != nil {
			return nil, err
		}
		now := b.opt.Now().UnixMilli()
		if tile38.IsMessage(payload) {
			continue // who listens to the follower hears of what comes from now on
		}
		if err := aof.EachCommand(payload, func(args []string) error {
			sh.Exec(args, now)
			return nil
		}); err != nil {
			return nil, err
		}
		tail.Add(payload, stream.Pos())
		b.progress(func(p *replication.Progress) {
			p.Received(int64(len(payload)))
			p.Resynced(int64(len(payload)))
		})
	}
	return sh, nil
}

// mend makes the follower equal to the state, and returns with how many commands. It
// ends with a comparison that finds nothing.
func (b *Bridge) mend(ctx context.Context, sh *shadow.Shadow) (commands int64, err error) {
	o := b.engineOptions()
	o.Timeout = max(o.Timeout, 30*time.Second)
	have, err := verify.Live(verify.LiveOptions{Options: o})
	if err != nil {
		return 0, err
	}
	defer have.Close()
	// What is compared stands still: there is nothing to wait for before another look.
	compare := verify.Options{Pauses: []time.Duration{time.Millisecond}}
	for range passes {
		var sent int64
		var batch []byte
		flush := func() error {
			if len(batch) == 0 {
				return nil
			}
			_, err := b.ring.add(ctx, b.gen, batch)
			batch = batch[:0]
			return err
		}
		want := verify.State(sh.State(), b.opt.Now().UnixMilli())
		_, err := verify.Compare(ctx, want, have, compare, func(d verify.Difference) error {
			if b.tolerable(d) {
				return nil
			}
			for _, args := range d.Commands() {
				if d.Key == b.opt.HeartbeatKey && !d.Hook() {
					args[0] = strings.ToLower(args[0]) // it is not the heartbeat itself
				}
				batch = append(batch, tile38.AppendCommand(nil, args...)...)
				sent++
			}
			if len(batch) < differenceBytes {
				return nil
			}
			return flush()
		})
		if err == nil {
			err = flush()
		}
		if err != nil {
			return commands, err
		}
		if sent == 0 {
			return commands, nil
		}
		commands += sent
		_, end, _, _ := b.ring.now()
		if err := b.ring.waitApplied(ctx, b.gen, end); err != nil {
			return commands, err
		}
	}
	return commands, fmt.Errorf("%w: after %d commands", errUnequal, commands)
}

// tolerable says whether a difference may stay: a log says "in 100 seconds" and not
// since when, so a time of ending that is earlier and not over was learned when the
// command was new, and is the better one.
func (b *Bridge) tolerable(d verify.Difference) bool {
	if d.Why != verify.Expiry {
		return false
	}
	var have, want int64
	if d.Hook() {
		have, want = d.HaveHook.Expires, d.WantHook.Expires
	} else {
		have, want = d.Have.Expires, d.Want.Expires
	}
	return have != 0 && want != 0 && have < want
}

// differenceDone tells that the stream goes on behind the difference.
func (b *Bridge) differenceDone(ctx context.Context, s tile38.Server, commands int64) {
	pos := b.tail.Pos()
	b.ring.at(pos)
	_, end, _, _ := b.ring.now()
	b.mu.Lock()
	b.sessions++
	b.begins, b.polled, b.size = end, nil, max(s.AOFSize, pos)
	b.st.Verified, b.st.LeaderRefused, b.compared = true, false, false
	b.mu.Unlock()
	b.ring.look()
	b.happened(ctx, Event{Kind: EventDifferenceDone, Bytes: s.AOFSize, Commands: commands})
}
