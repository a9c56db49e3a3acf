package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tidwall/redcon"

	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/forward"
	"evenkeel/pkg/settings"
	"evenkeel/pkg/upstream"
)

// Forward says what a follower sends to its leader, and for how long it tries. Zero
// fields mean the default.
type Forward struct {
	// LocalWrites leaves writes here, which refuses them. Default: they go to the leader.
	LocalWrites bool
	// ReadFrom says who answers reads. Default upstream.ReadFit.
	ReadFrom upstream.ReadFrom
	// OwnWrites is how long a read waits for what the same connection has written
	// through the leader; then the leader answers it. Default 1 s.
	OwnWrites time.Duration
	// Timeout is how long commands that have not been carried out wait for a leader that
	// can be reached. Default 5 s.
	Timeout time.Duration
	// MaxWaiting bounds the connections whose commands wait for a leader. Default 1024.
	MaxWaiting int
	// MaxLinks bounds the connections to the leader, IdleTimeout is how long one is kept
	// that nobody needs. Defaults 64 and 1 min.
	MaxLinks    int
	IdleTimeout time.Duration
}

// EnsureDefaults replaces zero fields by their defaults.
func (f *Forward) EnsureDefaults() {
	f.ReadFrom = cmp.Or(f.ReadFrom, upstream.ReadFit)
	f.OwnWrites = cmp.Or(f.OwnWrites, time.Second)
	f.Timeout = cmp.Or(f.Timeout, 5*time.Second)
	f.MaxWaiting = cmp.Or(f.MaxWaiting, 1024)
	f.MaxLinks = cmp.Or(f.MaxLinks, 64)
	f.IdleTimeout = cmp.Or(f.IdleTimeout, time.Minute)
}

// Validate reports every fault of the options.
func (f Forward) Validate() error {
	var errs []error
	switch f.ReadFrom {
	case upstream.ReadLocal, upstream.ReadFit, upstream.ReadLeader:
	default:
		errs = append(errs, fmt.Errorf("option ReadFrom: %q is not local, fit or leader", f.ReadFrom))
	}
	for _, v := range []struct {
		name  string
		value int64
	}{
		{"OwnWrites", int64(f.OwnWrites)}, {"Timeout", int64(f.Timeout)}, {"MaxWaiting", int64(f.MaxWaiting)},
		{"MaxLinks", int64(f.MaxLinks)}, {"IdleTimeout", int64(f.IdleTimeout)},
	} {
		if v.value < 1 {
			errs = append(errs, fmt.Errorf("option %s: %d is not positive", v.name, v.value))
		}
	}
	return errors.Join(errs...)
}

// ForwardStats are what has become of commands that were sent to the leader: those of
// upstream.Stats that mean something here, and more.
type ForwardStats struct {
	upstream.Stats
	Retried int64 `json:"commands_retried"` // attempts more for commands that were known not to have run
	Waiting int64 `json:"clients_waiting"`  // connections whose commands wait for a leader, now
	Here    int64 `json:"commands_here"`    // commands that were to be forwarded, and carried out here: this node had become the leader
}

// forwards counts.
type forwards struct {
	forwarded, leaderReads, ownWaits, ownMisses atomic.Int64
	refused, lost, retried, waiting, here       atomic.Int64

	downAt atomic.Int64 // since when no leader has been reached, in ns after Node.started; 0: the last attempt reached it
	fitAt  atomic.Int64 // when fit was found out, in ns after Node.started
	fit    atomic.Bool
}

// Forwarding returns the counters now, nil when nothing is forwarded.
func (n *Node) Forwarding() *ForwardStats {
	if n.links == nil {
		return nil
	}
	f, l := &n.forwards, n.links.Stats()
	return &ForwardStats{
		Stats: upstream.Stats{
			Links: l.Links, Dials: l.Dials, DialFailures: l.DialFailures, Lost: l.Lost,
			Refused: f.refused.Load(), LostCommands: f.lost.Load(), Forwarded: f.forwarded.Load(), LeaderReads: f.leaderReads.Load(),
			OwnWriteWaits: f.ownWaits.Load(), OwnWriteMisses: f.ownMisses.Load(),
		},
		Retried: f.retried.Load(), Waiting: f.waiting.Load(), Here: f.here.Load(),
	}
}

// makeLinks makes the connections to the leader possible.
func (n *Node) makeLinks() {
	f := n.opt.Forward
	if f == nil {
		return
	}
	own := *f
	own.EnsureDefaults()
	n.opt.Forward = &own
	id := n.opt.Settings.ServerID()
	var err error
	if n.links, err = forward.New(forward.Options{
		Dial: n.opt.DialLeader, Auth: func() string { return n.opt.Settings.Get(settings.LeaderAuth) },
		Name: "evenkeel:forward:" + id[:min(len(id), 12)], ID: id, Silence: own.Timeout,
		MaxLinks: own.MaxLinks, IdleTimeout: own.IdleTimeout,
	}); err != nil {
		n.opt.Logger.Error("nothing is forwarded", "err", err)
	}
}

// forwardFrom is FORWARD, by which another Evenkeel sends what its clients have asked
// it for. See package forward.
func (c *call) forwardFrom() error {
	if len(c.args) < 2 {
		return reply.ErrNumArgs
	}
	out := &reply.Reply{Buf: c.out.Buf}
	switch word := c.args[1]; {
	case len(c.args) == 3 && strings.EqualFold(word, forward.From):
		if err := c.setName(c.args[2]); err != nil {
			return err
		}
		c.forwarded = true
		role := "follower"
		if c.node.role.leads() && c.node.fenced() == nil {
			role = forward.Leading
		}
		out.Array(2)
		out.Bulk(role)
		out.Bulk(c.node.opt.Settings.ServerID())
	case len(c.args) == 2 && strings.EqualFold(word, forward.At):
		p := c.node.opt.Log.Position()
		out.Array(2)
		out.Bulk(p.Epoch)
		out.Buf = redcon.AppendInt(out.Buf, p.Offset)
	default:
		return reply.InvalidArgument(word)
	}
	c.out.Buf = out.Buf
	c.finished = true
	return nil
}

// notLeader says whether err is the refusal of a server that does not lead.
func notLeader(err error) bool {
	e, ok := errors.AsType[*reply.Error](err)
	return ok && len(e.JSON) >= len(errNotLeader.JSON) && e.JSON[:len(errNotLeader.JSON)] == errNotLeader.JSON
}

// Pauses between attempts to reach a leader.
const (
	minPause = 5 * time.Millisecond
	maxPause = 250 * time.Millisecond
)

// errCrowd says that too many wait already.
var errCrowd = errors.New("too many commands wait for a leader")

// respite is the time that the commands of one pipeline may wait for a leader.
type respite struct {
	until   time.Time // zero: nothing has waited yet
	pause   time.Duration
	waiting bool // one of Forward.MaxWaiting
}

// wait waits until it is worth another attempt, which is when the node's place changes
// or a while later. It fails when that is not worth it.
func (n *Node) wait(ctx context.Context, p *respite, changed <-chan struct{}) error {
	now := time.Now()
	if p.until.IsZero() {
		p.until, p.pause = now.Add(n.opt.Forward.Timeout), minPause
	}
	left := p.until.Sub(now)
	if left <= 0 {
		return context.DeadlineExceeded
	}
	if !p.waiting {
		if n.forwards.waiting.Add(1) > int64(n.opt.Forward.MaxWaiting) {
			n.forwards.waiting.Add(-1)
			return errCrowd
		}
		p.waiting = true
	}
	timer := time.NewTimer(min(p.pause, left))
	defer timer.Stop()
	select {
	case <-changed:
		p.pause = minPause
	case <-timer.C:
		p.pause = min(2*p.pause, maxPause)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// left is how long a pipeline may wait yet.
func (n *Node) left(p *respite) time.Duration {
	if p.until.IsZero() {
		return n.opt.Forward.Timeout
	}
	return max(time.Until(p.until), minPause)
}

// down says whether there has been no leader for so long that a read need not wait
// for one: it is not the read that would be lost.
func (n *Node) down() bool {
	at, now := n.forwards.downAt.Load(), int64(time.Since(n.started))
	if at == 0 {
		n.forwards.downAt.CompareAndSwap(0, now)
		return false
	}
	return now-at > int64(n.opt.Forward.Timeout)
}

// rest ends the waiting of a pipeline.
func (n *Node) rest(p *respite) {
	if p.waiting {
		n.forwards.waiting.Add(-1)
	}
	*p = respite{}
}
