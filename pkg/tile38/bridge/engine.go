package bridge

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/redcon"

	"evenkeel/pkg/resp"
	"evenkeel/pkg/tile38"
)

// The side of the follower: what it asks before it takes the stream is answered at
// once and without asking the leader, as it holds up all its clients meanwhile.

const (
	// shownID is the id that the follower sees. It wants one that is not its own, and
	// remembers none.
	shownID = "00000000000000000000000000000000"
	// sendBytes is about how much is written at once.
	sendBytes = 128 << 10
	// maxPiece is the largest piece that AOFMD5 is asked for, in bytes; Tile38 asks
	// for 512 KiB.
	maxPiece = 64 << 20
)

// link is a connection on which the follower takes the stream.
type link struct {
	conn net.Conn
	done chan struct{} // closed when nothing is written to it any more
}

// accept serves connections until ctx ends, and returns when all have ended.
func (b *Bridge) accept(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer context.AfterFunc(ctx, func() { _ = b.opt.Listener.Close() })()
	for {
		conn, err := b.opt.Listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return context.Cause(ctx)
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("bridge: accept: %w", err)
		case err != nil: // too many open files, an aborted connection
			b.opt.Logger.Warn("bridge: accept", "error", err)
			pause(ctx, 100*time.Millisecond)
			continue
		}
		wg.Go(func() {
			unhook := context.AfterFunc(ctx, func() { _ = conn.Close() })
			defer unhook()
			defer func() { _ = conn.Close() }()
			if err := b.serve(ctx, conn); err != nil && !errors.Is(err, io.EOF) && ctx.Err() == nil {
				b.opt.Logger.Debug("bridge: a connection of the follower has ended", "error", err)
			}
		})
	}
}

// serve answers questions until the stream is asked for, and is the stream then.
func (b *Bridge) serve(ctx context.Context, conn net.Conn) error {
	br := bufio.NewReader(conn)
	rd := resp.NewReader(br, resp.Limits{})
	for {
		if err := conn.SetDeadline(b.opt.Now().Add(time.Minute)); err != nil {
			return err
		}
		cmd, err := rd.Next()
		if err != nil {
			return err
		}
		if len(cmd.Args) == 0 {
			continue
		}
		name := strings.ToLower(cmd.Args[0])
		if name == "aof" {
			if err := conn.SetDeadline(time.Time{}); err != nil {
				return err
			}
			return b.stream(ctx, conn, br)
		}
		if _, err := conn.Write(b.answer(ctx, name, cmd.Args)); err != nil {
			return err
		}
		if name == "quit" {
			return nil
		}
	}
}

// answer is what the follower hears of its leader: that it has what it has itself.
func (b *Bridge) answer(ctx context.Context, name string, args []string) []byte {
	switch name {
	case "server":
		// The size decides nothing but what the follower calls caught up; see DESIGN.md.
		var out []byte
		members := []string{
			"id", shownID, "following", "", "aof_size", "0", "caught_up", "true",
			"caught_up_once", "true", "read_only", "false",
		}
		out = redcon.AppendArray(out, len(members))
		for _, m := range members {
			out = redcon.AppendBulkString(out, m)
		}
		return out
	case "aofmd5":
		return b.answerMD5(ctx, args)
	case "auth", "replconf", "ping", "quit", "output", "client":
		return redcon.AppendString(nil, "OK")
	}
	return redcon.AppendError(nil, fmt.Sprintf("ERR unknown command '%.64s'", args[0]))
}

func (b *Bridge) answerMD5(ctx context.Context, args []string) []byte {
	if len(args) != 3 {
		return redcon.AppendError(nil, "ERR wrong number of arguments for 'aofmd5' command")
	}
	pos, err1 := strconv.ParseInt(args[1], 10, 64)
	size, err2 := strconv.ParseInt(args[2], 10, 64)
	if err1 != nil || err2 != nil || pos < 0 || size < 0 || size > maxPiece {
		return redcon.AppendError(nil, "ERR invalid argument")
	}
	sum, err := b.file.md5(ctx, pos, size)
	switch {
	case err != nil:
		b.opt.Logger.Error("bridge: the follower's file cannot be read", "error", err)
		return redcon.AppendError(nil, "ERR "+err.Error())
	case sum == "":
		return redcon.AppendError(nil, "ERR EOF")
	}
	return redcon.AppendString(nil, sum)
}

// stream makes conn the one that the follower is fed by; another one before it is
// closed. It returns when the connection has ended.
func (b *Bridge) stream(run context.Context, conn net.Conn, r io.Reader) error {
	ctx, cancel := context.WithCancelCause(run)
	defer cancel(nil)
	l := &link{conn: conn, done: make(chan struct{})}
	defer close(l.done)
	b.mu.Lock()
	old := b.link
	b.link = l
	b.mu.Unlock()
	if old != nil {
		_ = old.conn.Close()
		<-old.done
	}
	gone := make(chan struct{})
	go func() { // the follower says nothing any more, until it ends the connection
		defer close(gone)
		_, err := io.Copy(io.Discard, r)
		if err == nil {
			err = io.EOF
		}
		cancel(err)
	}()
	err := b.feed(ctx, conn)
	_ = conn.Close()
	<-gone
	b.mu.Lock()
	if b.link == l {
		b.link = nil
	}
	b.mu.Unlock()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if run.Err() == nil {
		b.happened(run, Event{Kind: EventFollowerLost, Err: err})
	}
	return err
}

// feed finds out where the follower stands and sends what it has not.
func (b *Bridge) feed(ctx context.Context, conn net.Conn) error {
	// A command that changes nothing: until there is one, a follower that had little
	// of its own does not take itself for caught up, and answers no question.
	hello := tile38.AppendCommand(redcon.AppendString(nil, "OK"), "DEL", b.opt.HeartbeatKey, "-")
	if err := b.write(conn, hello); err != nil {
		return err
	}
	c, err := b.attach(ctx)
	if err != nil {
		return err
	}
	var buf []byte
	for {
		piece, end, err := b.ring.piece(ctx, &c, sendBytes, buf)
		switch {
		case err != nil:
			return err
		case len(piece) == 0:
			err = b.write(conn, tile38.AppendCommand(nil, "PUBLISH", b.opt.Channel, b.mark(c.gen, end)))
		default:
			err = b.write(conn, piece)
			buf = piece
			c.at = end
			b.ring.delivered(c.gen, end)
			b.count(func(s *Status) { s.BytesSent += int64(len(piece)) })
		}
		if err != nil {
			return err
		}
		if cap(buf) > 8*sendBytes {
			buf = nil
		}
	}
}

// attach finds the follower in its history, or begins another one.
func (b *Bridge) attach(ctx context.Context) (cursor, error) {
	e, err := b.written(ctx)
	if err != nil {
		return cursor{}, fmt.Errorf("where the follower stands: %w", err)
	}
	gen, h, err := b.ring.find(e, b.beats)
	if err == nil && !b.stuck(gen, h) {
		b.ring.stands(gen, h)
		b.attached()
		b.happened(ctx, Event{Kind: EventFollower, Bytes: b.missing(h)})
		return cursor{gen: gen, at: h, marked: -1}, nil
	}
	if err == nil {
		err = errStuck
	}
	gen, h = b.ring.seed(e.cmds, e.whole)
	b.attached()
	b.happened(ctx, Event{Kind: EventFollowerUnknown, Err: err})
	return cursor{gen: gen, at: h, marked: -1}, nil
}

// attached counts a connection. What the follower is has to be seen again: while it
// was away it may have been given commands that are not the leader's.
func (b *Bridge) attached() {
	b.count(func(s *Status) {
		s.FollowerConnects++
		s.Verified, b.compared = false, false
	})
}

// errStuck is why a history is given up though the follower is found in it.
var errStuck = errors.New("the follower ends its connection at the same place again and again: it does not take what comes there")

// flushWait is how long the follower may take to write what it has logged: it does
// once a second.
const flushWait = 3 * time.Second

// written returns the end of the follower's file when all is in it that the follower
// has logged.
func (b *Bridge) written(ctx context.Context) (*ending, error) {
	for end := time.Now().Add(flushWait); ; {
		own, err := b.engine(ctx)
		e, ferr := b.file.ending(b.beats)
		late := time.Now().After(end)
		if ferr != nil || err == nil && e.size >= own.AOFSize || late {
			if late && ferr == nil {
				b.opt.Logger.Warn("bridge: the follower's file is not what the follower says",
					"size", e.size, "says", own.AOFSize, "error", err)
			}
			return e, ferr
		}
		if !pause(ctx, 5*time.Millisecond) {
			return nil, context.Cause(ctx)
		}
	}
}

// stuckAfter connections that ended at the same place, what follows there is not
// taken by the follower.
const stuckAfter = 6

// stuck says whether the follower does not get further, and begins to count anew.
func (b *Bridge) stuck(gen, h int64) bool {
	_, end, _, _ := b.ring.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if at := (place{gen, h}); at != b.stopped.place || h == end {
		b.stopped = stop{place: at}
	}
	b.stopped.times++
	if b.stopped.times < stuckAfter {
		return false
	}
	b.stopped = stop{}
	return true
}

type place struct{ gen, h int64 }

type stop struct {
	place
	times int
}

func (b *Bridge) missing(h int64) int64 {
	_, end, _, _ := b.ring.now()
	return end - h
}

// write sends all of p. What takes longer than WriteTimeout without an end is given
// up: the follower connects again.
func (b *Bridge) write(conn net.Conn, p []byte) error {
	for len(p) > 0 {
		if err := conn.SetWriteDeadline(time.Now().Add(b.opt.WriteTimeout)); err != nil {
			return err
		}
		n, err := conn.Write(p[:min(len(p), sendBytes)])
		if err != nil {
			return fmt.Errorf("send to the follower: %w", err)
		}
		p = p[n:]
	}
	return nil
}

// askEngine asks the follower itself.
func (b *Bridge) askEngine(ctx context.Context, ask func(c *tile38.Conn) error) error {
	c, err := tile38.Dial(ctx, b.engineOptions())
	if err != nil {
		return fmt.Errorf("follower %s: %w", b.opt.Engine, err)
	}
	defer func() { _ = c.Close() }()
	if err := ask(c); err != nil {
		return fmt.Errorf("follower %s: %w", b.opt.Engine, err)
	}
	return nil
}

func (b *Bridge) engineOptions() tile38.Options {
	return tile38.Options{Addr: b.opt.Engine, Auth: b.opt.EngineAuth, Timeout: b.opt.Timeout}
}
