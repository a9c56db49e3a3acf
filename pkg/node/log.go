package node

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // AOFMD5 is a checksum by definition of the protocol, no protection
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/proxy"
	"evenkeel/pkg/replication"
)

// preface is what the file that followers of Tile38's kind see begins with. Such a
// follower begins at 0 when what it has is not the beginning of the leader's file
// any more, and when it has little; it then takes the file on top of its old
// state. This makes that state empty first, so that nothing which the leader has
// deleted stays for ever. The follower keeps it in its own file, so it counts in
// all positions; who did not announce itself as a follower is not sent it.
const preface = "*1\r\n$7\r\nFLUSHDB\r\n"

// fileSize is the size of the file that followers of Tile38's kind see.
func (n *Node) fileSize() int64 { return n.opt.Log.PayloadSize() + int64(len(preface)) }

var errPosition = reply.Plain("pos is too big, must be less that the aof_size of leader") // as clients know it

// position reads a position or a length, in bytes.
func position(arg string) (int64, error) {
	n, err := strconv.ParseInt(arg, 10, 64)
	if err != nil || n < 0 {
		return 0, reply.InvalidArgument(arg)
	}
	return n, nil
}

// aofmd5 is AOFMD5 pos size: the checksum of a piece of the log as Tile38 sees
// it, the preface and the commands alone.
func (c *call) aofmd5() error {
	if len(c.args) != 3 {
		return reply.ErrNumArgs
	}
	pos, err := position(c.args[1])
	if err != nil {
		return err
	}
	size, err := position(c.args[2])
	if err != nil {
		return err
	}
	sum, err := c.checksum(pos, size)
	if err != nil {
		return err
	}
	if c.out.JSON {
		c.out.OK()
		c.out.Member("md5")
		c.out.String(sum)
		return nil
	}
	c.out.Simple(sum)
	return nil
}

func (c *call) checksum(pos, size int64) (string, error) {
	h := md5.New() //nolint:gosec // see above
	if size > 0 {
		if size > c.node.fileSize()-pos {
			return "", errEOF // without reading all that there is
		}
		head := preface[min(pos, int64(len(preface))):]
		head = head[:min(size, int64(len(head)))]
		_, _ = io.WriteString(h, head)
		size -= int64(len(head))
		r, err := c.node.opt.Log.PayloadReader(max(pos-int64(len(preface)), 0))
		if err != nil {
			return "", errEOF
		}
		defer func() { _ = r.Close() }()
		if _, err := io.CopyN(h, r, size); err != nil {
			return "", errEOF
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

var errEOF = &reply.Error{JSON: "EOF", RESP: "EOF"}

// aof is AOF pos: the connection becomes a stream of the log's commands.
func (c *call) aof() error {
	if len(c.args) != 2 {
		return reply.ErrNumArgs
	}
	pos, err := position(c.args[1])
	if err != nil {
		return err
	}
	if pos > c.node.fileSize() {
		return errPosition
	}
	head := ""
	if c.announced() {
		head = preface[min(pos, int64(len(preface))):]
	}
	r, err := c.node.opt.Log.PayloadReader(max(pos-int64(len(preface)), 0))
	if err != nil {
		return reply.Plain(err.Error())
	}
	c.finished = true
	c.out.Simple("OK")
	c.stream = r // the session closes it: the stream may never begin
	c.batch.verdict.Hijack = func(ctx context.Context, h proxy.Hijacked) error {
		return streamCommands(ctx, h.Conn, head, r, c.node.opt.MaxHeld)
	}
	return nil
}

// streamWait is how long a client may take nothing of an AOF stream: the
// segments that it has not read are kept for it.
const streamWait = time.Minute

// streamCommands sends head and what r reads until ctx or the client ends it: the
// client sends nothing but the end of the connection.
func streamCommands(ctx context.Context, conn net.Conn, head string, r *aof.PayloadReader, maxHeld int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A write that waits for the client ends with ctx too.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	hungUp := make(chan struct{})
	go func() {
		defer close(hungUp)
		defer cancel()
		var b [1]byte
		_, _ = conn.Read(b[:]) // anything ends the stream
	}()
	err := copyCommands(ctx, conn, head, r, maxHeld)
	ended := ctx.Err() != nil
	_ = conn.Close()
	<-hungUp
	if ended {
		return nil
	}
	return err
}

// copyCommands copies head, what is in the log, and what comes, until ctx ends.
func copyCommands(ctx context.Context, conn net.Conn, head string, r *aof.PayloadReader, maxHeld int64) error {
	buf := make([]byte, 64<<10)
	for {
		if held := r.Held(); maxHeld > 0 && held > maxHeld {
			return fmt.Errorf("AOF stream: the reader is too far behind: %d bytes of log are kept for it alone, the limit is %d", held, maxHeld)
		}
		n, err := copy(buf, head), error(nil)
		if head = head[n:]; n == 0 {
			n, err = r.Read(buf)
		}
		if n > 0 {
			_ = conn.SetWriteDeadline(time.Now().Add(streamWait)) // fails only when the write does
			if ctx.Err() != nil {
				return ctx.Err() // its deadline may have been replaced by this one
			}
			if _, err := conn.Write(buf[:n]); err != nil {
				return fmt.Errorf("AOF stream: %w", err)
			}
		}
		if errors.Is(err, io.EOF) {
			err = r.Wait(ctx)
		}
		if err != nil {
			return fmt.Errorf("AOF stream: %w", err)
		}
	}
}

// replicate is REPLICATE: the connection becomes the stream of an Evenkeel
// follower.
func (c *call) replicate() error {
	hello, err := replication.ParseHello(c.args)
	if err != nil {
		return reply.Plain(err.Error())
	}
	// Who hands its role over, and does not lead any more, still brings its followers up
	// to where it has stopped.
	switch at := c.node.role.now(); {
	case at.kind == following:
		return errChained
	case at.kind == undecided && !c.node.role.hasLed():
		return errNeverLed
	}
	c.finished = true
	lead := c.node.opt.Leader
	c.batch.verdict.Hijack = func(ctx context.Context, h proxy.Hijacked) error {
		r := io.MultiReader(bytes.NewReader(h.Reader.Buffered()), h.Conn)
		return lead.Serve(ctx, h.Conn, r, hello)
	}
	return nil
}
