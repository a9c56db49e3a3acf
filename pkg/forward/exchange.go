package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"evenkeel/pkg/tile38"
	"evenkeel/pkg/upstream"
)

const (
	// directBytes is what fits into the buffers of the kernel whatever the other side
	// does. More is sent while replies are read: the leader may wait for those to be
	// taken before it reads on.
	directBytes = 32 << 10
	// lastWords is how long replies are waited for when a connection has failed, or the
	// leader is none any more: one that lives says so at once.
	lastWords = time.Second
)

// Piece is a pipeline.
type Piece struct {
	Commands [][]string
	Mode     Mode
	// Where asks for the end of the leader's log behind the commands.
	Where bool
	// Patience is how long it may wait for a connection that is free.
	Patience time.Duration
	// MaxReplies bounds the replies, in bytes; 0: no bound.
	MaxReplies int64
}

// Outcome is what has become of a pipeline.
type Outcome struct {
	Replies []byte
	Ends    []int // where in Replies the reply to each command ends; as many as were answered
	Sent    int   // so many commands may have been carried out, the answered ones included
	// At is the end of the leader's log behind the commands; Known: it said it.
	At    Position
	Known bool
	// Err says why there are fewer replies than commands; nil: there are not.
	Err error
}

// Do sends a pipeline to the leader at addr. buf is space for the replies.
func (p *Pool) Do(ctx context.Context, addr string, piece Piece, buf []byte) Outcome {
	l, err := p.take(ctx, addr, piece.Patience)
	if err != nil {
		return Outcome{Replies: buf[:0], Err: err}
	}
	x := &exchange{p: p, l: l, piece: piece, out: Outcome{Replies: buf[:0], Ends: make([]int, 0, len(piece.Commands))}}
	err = x.run(ctx)
	p.give(l, err == nil && l.r.Buffered() == 0)
	if len(x.out.Ends) == len(piece.Commands) {
		return x.out // it has all but maybe where the log ends
	}
	p.lost.Add(1)
	x.out.Err = err
	return x.out
}

// exchange is one pipeline on its way.
type exchange struct {
	p     *Pool
	l     *link
	piece Piece
	out   Outcome

	intro [][]string // what makes the link's output the client's
	where [][]string // asks for the end of the log
	marks []int64    // where each command ends, in bytes that the link has sent since it began
	size  int64
}

// run sends the pipeline and reads the replies. Whatever its error, out is true.
func (x *exchange) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = x.l.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	x.plan()
	var err error
	if x.size <= directBytes {
		if err = x.send(); err != nil {
			err = errors.Join(err, x.hearOut())
		} else {
			err = x.read(ctx)
		}
	} else {
		sent := make(chan error, 1)
		go func() {
			err := x.send()
			if err != nil {
				_ = x.l.conn.SetReadDeadline(time.Now().Add(lastWords))
			}
			sent <- err
		}()
		if err = x.read(ctx); err != nil {
			_ = x.l.conn.Close() // so that sending ends
		}
		if serr := <-sent; serr != nil {
			err = serr
		}
	}
	if err == nil && !stop() {
		err = context.Cause(ctx) // its deadline is in the past
	}
	taken := x.l.sent.n.Load()
	for x.out.Sent < len(x.marks) && x.marks[x.out.Sent] <= taken {
		x.out.Sent++
	}
	x.out.Sent = max(x.out.Sent, len(x.out.Ends))
	return err
}

// hearOut reads what the leader has said before the connection failed.
func (x *exchange) hearOut() error {
	_ = x.l.conn.SetReadDeadline(time.Now().Add(lastWords))
	return x.replies(nil)
}

// introduction is what makes the link's output the client's.
func (x *exchange) introduction() (said [][]string) {
	l, want := x.l, x.piece.Mode
	if l.mode.RESP3 != want.RESP3 {
		version := "2"
		if want.RESP3 {
			version = "3"
		}
		said = append(said, []string{"hello", version}) // a leader may not know it: RESP 2 is understood, too
	}
	if l.mode.JSON != want.JSON {
		output := "resp"
		if want.JSON {
			output = "json"
		}
		said = append(said, []string{"output", output})
	}
	return said
}

// plan finds out how much there is to send.
func (x *exchange) plan() {
	x.intro, x.where = x.introduction(), x.question()
	at := x.l.sent.n.Load()
	start := at
	for _, c := range x.intro {
		at += wireSize(c)
	}
	for _, c := range x.piece.Commands {
		at += wireSize(c)
		x.marks = append(x.marks, at)
	}
	x.size = at - start
}

// question asks for the end of the log, so that the answer is in RESP.
func (x *exchange) question() [][]string {
	switch {
	case !x.piece.Where:
		return nil
	case x.l.native:
		return [][]string{{Command, At}}
	case x.piece.Mode.JSON: // a Tile38 answers as the client would have it
		return [][]string{{"output", "resp"}, {"server"}, {"output", "json"}}
	}
	return [][]string{{"server"}}
}

// send sends it all.
func (x *exchange) send() error {
	for _, part := range [][][]string{x.intro, x.piece.Commands, x.where} {
		for _, c := range part {
			if err := x.command(c); err != nil {
				return err
			}
		}
	}
	return x.l.w.Flush()
}

// command sends one command, in pieces when it is large.
func (x *exchange) command(args []string) error {
	w := x.l.w
	head := func(mark byte, n int) error {
		b := append(w.AvailableBuffer(), mark)
		b = strconv.AppendInt(b, int64(n), 10)
		_, err := w.Write(append(b, '\r', '\n'))
		return err
	}
	if err := head('*', len(args)); err != nil {
		return err
	}
	for _, a := range args {
		if err := head('$', len(a)); err != nil {
			return err
		}
		if _, err := w.WriteString(a); err != nil {
			return err
		}
		if _, err := w.WriteString("\r\n"); err != nil {
			return err
		}
	}
	return nil
}

// wireSize is the size of a command as it is sent.
func wireSize(args []string) int64 {
	n := 1 + digits(len(args)) + 2
	for _, a := range args {
		n += 1 + digits(len(a)) + 2 + len(a) + 2
	}
	return int64(n)
}

func digits(n int) int {
	d := 1
	for ; n > 9; n /= 10 {
		d++
	}
	return d
}

// read reads the replies, for as long as the leader lives.
func (x *exchange) read(ctx context.Context) error {
	return x.replies(func() error {
		for {
			if err := x.l.conn.SetReadDeadline(time.Now().Add(x.p.opt.Silence)); err != nil {
				return err
			}
			if x.l.changed.Load() { // the same holds for the moment that is left
				if err := x.l.conn.SetReadDeadline(time.Now().Add(lastWords)); err != nil {
					return err
				}
			}
			if ctx.Err() != nil { // it may have set its deadline before
				return context.Cause(ctx)
			}
			_, err := x.l.r.Peek(1)
			if !errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil {
				return err
			}
			if x.l.changed.Load() {
				return ErrChanged
			}
			if err := x.alive(ctx); err != nil {
				return err
			}
		}
	})
}

// alive asks a leader that takes long for an answer whether it is there.
func (x *exchange) alive(ctx context.Context) error {
	l, err := x.p.connect(ctx, x.l.addr)
	if err == nil {
		return l.conn.Close()
	}
	if _, answered := errors.AsType[tile38.AnswerError](err); answered || errors.Is(err, ErrNotLeader) {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrSilent, err)
}

// replies takes all replies; fill waits until there are bytes, nil: as the reader
// does.
func (x *exchange) replies(fill func() error) error {
	if fill == nil {
		fill = func() error {
			_, err := x.l.r.Peek(1)
			return err
		}
	}
	for range x.intro {
		if _, err := x.reply(fill, false); err != nil {
			return err
		}
	}
	x.l.mode = x.piece.Mode
	for range x.piece.Commands {
		if _, err := x.reply(fill, true); err != nil {
			return err
		}
		x.out.Ends = append(x.out.Ends, len(x.out.Replies))
	}
	for range x.where {
		reply, err := x.reply(fill, false)
		if err != nil {
			return err
		}
		if at, ok := parsePosition(reply); ok {
			x.out.At, x.out.Known = at, true
		}
	}
	return nil
}

// reply reads one reply; kept: into out.Replies, else it is returned.
func (x *exchange) reply(fill func() error, kept bool) ([]byte, error) {
	var scan upstream.Replies
	start := len(x.out.Replies)
	for {
		if x.l.r.Buffered() == 0 {
			if err := fill(); err != nil {
				x.out.Replies = x.out.Replies[:start]
				if errors.Is(err, io.EOF) {
					err = errors.New("connection closed")
				}
				return nil, err
			}
		}
		b, _ := x.l.r.Peek(x.l.r.Buffered())
		n, whole, ok := scan.Next(b)
		if !ok {
			x.out.Replies = x.out.Replies[:start]
			return nil, errors.New("what it answers is no reply")
		}
		x.out.Replies = append(x.out.Replies, b[:n]...)
		_, _ = x.l.r.Discard(n) // they are buffered
		if most := x.piece.MaxReplies; most > 0 && int64(len(x.out.Replies)) > most {
			x.out.Replies = x.out.Replies[:start]
			return nil, ErrTooLarge
		}
		if whole {
			break
		}
	}
	if kept {
		return nil, nil
	}
	reply := x.out.Replies[start:]
	x.out.Replies = x.out.Replies[:start]
	return reply, nil
}
