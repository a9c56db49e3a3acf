package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/compactor"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/settings"
)

// errNoReplicas refuses a write before it is carried out.
var errNoReplicas = &reply.Error{
	JSON: "not enough good replicas to write",
	RESP: "NOREPLICAS Not enough good replicas to write.",
}

// replicas is what min-replicas-to-write and min-replicas-timeout say.
type replicas struct {
	n       atomic.Int64
	timeout atomic.Int64 // ns
}

func (r *replicas) watch(set *settings.Settings) {
	set.Watch(settings.MinReplicas, func(v string) {
		n, _ := strconv.Atoi(v) // it has been checked
		r.n.Store(int64(n))
	})
	set.Watch(settings.MinReplicasTimeout, func(v string) {
		d, _ := settings.Duration(v)
		r.timeout.Store(int64(d))
	})
}

// tooFew says whether fewer followers are connected than have to sync a write. Those of
// a leader that was elected just now are on their way, and waited for as long as for a
// write.
func (n *Node) tooFew(ctx context.Context) bool {
	want := int(n.replicas.n.Load())
	if want == 0 || n.opt.Store.Refusal() != nil || n.opt.Leader.Streaming() >= want {
		return false
	}
	left := time.Until(n.role.elected().Add(time.Duration(n.replicas.timeout.Load())))
	if left <= 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	return n.opt.Leader.WaitSynced(ctx, 0, want) < want
}

// replicated waits until enough followers have what is in the log up to offset
// on their disks.
func (n *Node) replicated(ctx context.Context, offset int64) error {
	want := int(n.replicas.n.Load())
	if want == 0 {
		return nil
	}
	timeout := time.Duration(n.replicas.timeout.Load())
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if got := n.opt.Leader.WaitSynced(ctx, offset, want); got < want {
		text := fmt.Sprintf("the write is done here, but %d of %d replicas have it on disk after %s", got, want, timeout)
		return &reply.Error{JSON: text, RESP: "NOREPLICAS " + text}
	}
	return nil
}

// wait is WAIT n timeout: how many followers have all that was written before it
// on their disks, as soon as they are n, or after so many milliseconds; 0 is
// without end.
func (c *call) wait() error {
	if len(c.args) != 3 {
		return reply.ErrNumArgs
	}
	n, err := strconv.ParseUint(c.args[1], 10, 16)
	if err != nil {
		return reply.InvalidArgument(c.args[1])
	}
	ctx, cancel, err := c.within(c.args[2])
	if err != nil {
		return err
	}
	defer cancel()
	if !c.node.role.leads() {
		return errNotLeader
	}
	offset := c.node.opt.Log.Position().Offset
	if err := c.node.opt.Store.Commit(ctx, offset); err != nil {
		return reply.Plain(err.Error())
	}
	got := c.node.opt.Leader.WaitSynced(ctx, offset, int(n))
	if c.out.JSON {
		c.out.OK()
		c.out.Member("replicas")
		c.out.Buf = strconv.AppendInt(c.out.Buf, int64(got), 10)
		return nil
	}
	c.out.Int(got)
	return nil
}

// within reads a number of milliseconds; 0 is as long as the server runs.
func (c *call) within(ms string) (context.Context, context.CancelFunc, error) {
	n, err := strconv.ParseUint(ms, 10, 31)
	if err != nil {
		return nil, nil, reply.InvalidArgument(ms)
	}
	if n == 0 {
		ctx, cancel := context.WithCancel(c.batch.ctx)
		return ctx, cancel, nil
	}
	ctx, cancel := context.WithTimeout(c.batch.ctx, time.Duration(n)*time.Millisecond)
	return ctx, cancel, nil
}

// aofshrink is AOFSHRINK, which starts a compaction: as in Tile38 the answer
// says that it has begun, not that it is done; one that runs already is as good.
// AOFSHRINK WAIT [milliseconds] answers when this pod and all its followers have compacted
// and have the same state.
func (c *call) aofshrink() error {
	if len(c.args) > 1 && strings.EqualFold(c.args[1], "wait") {
		return c.aofshrinkWait()
	}
	if err := c.node.opt.Compactor.Trigger(); err != nil && !errors.Is(err, compactor.ErrRunning) {
		return reply.Plain(err.Error())
	}
	c.out.OK()
	return nil
}

// shrunk is what AOFSHRINK WAIT says of one pod.
type shrunk struct {
	pod    string
	offset int64
	err    error
}

func (c *call) aofshrinkWait() error {
	ms := "0"
	switch len(c.args) {
	case 2:
	case 3:
		ms = c.args[2]
	default:
		return reply.ErrNumArgs
	}
	ctx, cancel, err := c.within(ms)
	if err != nil {
		return err
	}
	defer cancel()
	offset, _, err := c.node.compact(ctx)
	pods := []shrunk{{pod: c.node.opt.Settings.ServerID(), offset: offset, err: err}}
	if err == nil && c.node.role.leads() {
		for _, f := range c.node.opt.Leader.CompactAll(ctx, rand.Text()) {
			pods = append(pods, shrunk{pod: strings.TrimSpace(f.ID + " " + f.Addr), offset: f.Offset, err: f.Err})
		}
	}
	return c.answerShrunk(pods)
}

// answerShrunk answers pod, offset and state of each, or an error that names
// those which are not done.
func (c *call) answerShrunk(pods []shrunk) error {
	var faults []string
	for _, p := range pods {
		if p.err != nil {
			faults = append(faults, p.pod+": "+p.err.Error())
		}
	}
	if len(faults) > 0 {
		return reply.Plain(fmt.Sprintf("%d of %d pods have not compacted: %s", len(faults), len(pods), strings.Join(faults, "; ")))
	}
	if c.out.JSON {
		c.out.OK()
		c.out.Member("pods")
		c.out.Buf = append(c.out.Buf, '[')
		for i, p := range pods {
			if i > 0 {
				c.out.Buf = append(c.out.Buf, ',')
			}
			c.out.Buf = append(c.out.Buf, `{"pod":`...)
			c.out.String(p.pod)
			c.out.Buf = fmt.Appendf(c.out.Buf, `,"offset":%d}`, p.offset)
		}
		c.out.Buf = append(c.out.Buf, ']')
		return nil
	}
	c.out.Array(len(pods))
	for _, p := range pods {
		c.out.Array(2)
		c.out.Bulk(p.pod)
		c.out.Int(int(p.offset))
	}
	return nil
}

// compact compacts the log, which takes its turn, and returns where the new base
// stands.
func (n *Node) compact(ctx context.Context) (int64, aof.Digest, error) {
	if _, err := n.opt.Compactor.Do(ctx); err != nil {
		return 0, aof.Digest{}, err
	}
	base := n.opt.Log.Stats().Base
	return base.Offset, base.Digest, nil
}

// Turn waits until no other pod of the cluster compacts; done lets the next one.
// The leader gives the turns. Without one, or when it takes too long, this pod goes on alone: a log
// that grows without end is worse than two compactions at once.
func (n *Node) Turn(ctx context.Context) (done func(), err error) {
	if n.opt.TurnWait < 0 {
		return func() {}, nil
	}
	wait, cancel := context.WithTimeout(ctx, n.opt.TurnWait)
	defer cancel()
	if fol, leads := n.role.follower(); leads {
		done, err = n.opt.Leader.Turn(wait)
	} else if fol != nil {
		done, err = fol.Turn(wait)
	}
	switch {
	case ctx.Err() != nil:
		if done != nil {
			done()
		}
		return nil, context.Cause(ctx)
	case err != nil:
		n.opt.Logger.Warn("compacting without a turn", "err", err)
	}
	if done == nil {
		done = func() {}
	}
	return done, nil
}
