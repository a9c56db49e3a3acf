package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/tidwall/redcon"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/follower/stock"
	"evenkeel/pkg/replication"
)

// kind is what a node is to its leader.
type kind uint8

const (
	leading   kind = iota
	following      // place.addr
	undecided      // neither, for the moment: place.why
)

// place is a node's place among the others.
type place struct {
	kind kind
	addr string // whom it follows, host:port
	why  string // why that is not known
	// epoch is a history that the leader must have, or go on from; "": whoever is at
	// addr is followed.
	epoch string
	// given: who decides is not a client with FOLLOW. Only then are commands sent to
	// the leader: who says FOLLOW expects what a Tile38 does.
	given bool
}

// Bits of role.term, and what it grows by.
const (
	termLeads = 1 << iota
	termGiven
	termStep
)

var errStopped = errors.New("the node is shutting down")

// set makes at the node's place.
func (r *role) set(at place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leads() && at.kind == undecided {
		r.caughtUp = true // what it has was the truth a moment ago
	}
	term := (r.term.Load()/termStep + 1) * termStep
	if at.kind == leading {
		term |= termLeads
	}
	if at.given {
		term |= termGiven
	}
	r.place = at
	if at.kind == leading {
		r.led = true
		if at.given {
			r.ledSince = time.Now()
		}
	}
	r.term.Store(term)
	close(r.changed)
	r.changed = make(chan struct{})
	r.node.forwards.downAt.Store(0)
	if r.node.links != nil {
		r.node.links.Lead(at.addr)
	}
}

// settle is set, with all that depends on it. The node follows nobody at the
// moment; fol, which may be nil, follows the leader. The change lock is held.
func (r *role) settle(at place, fol *either) {
	r.set(at)
	r.refuse() // before the first batch of a leader: the log is the leader's
	if fol != nil {
		r.start(fol)
	}
}

// now returns the node's place.
func (r *role) now() place {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.place
}

// watch returns the node's place, and what is closed when that has changed.
func (r *role) watch() (place, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.place, r.changed
}

// hasLed says whether the node has been the leader at any time.
func (r *role) hasLed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.led
}

// elected is when the node was made the leader by who decides about roles; the zero time: never.
func (r *role) elected() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ledSince
}

// leads says whether the node is the leader.
func (r *role) leads() bool { return r.term.Load()&termLeads != 0 }

// given says whether it is not for clients to decide who leads.
func (r *role) given() bool { return r.term.Load()&termGiven != 0 }

// PeerCommand is the command by which pods of a cluster talk to each other about who leads.
// Its argument and its answer are for Options.Peer alone.
const PeerCommand = "evenkeel"

var errNoPeers = reply.Plain("the role of this server is not elected")

// peer is PeerCommand.
func (c *call) peer() error {
	if len(c.args) != 2 {
		return reply.ErrNumArgs
	}
	if c.node.opt.Peer == nil {
		return errNoPeers
	}
	c.out.Buf = redcon.AppendBulk(c.out.Buf, c.node.opt.Peer(c.batch.ctx, []byte(c.args[1])))
	c.finished = true
	return nil
}

// Lead makes the node the leader, and begins a history of its own, unless it leads
// already. It is for who decides about roles in the place of clients; the settings do
// not change. After an error the node is undecided.
func (n *Node) Lead(ctx context.Context) error {
	r := &n.role
	r.change.Lock()
	defer r.change.Unlock()
	if r.ended {
		return errStopped
	}
	if r.leads() {
		return nil
	}
	r.stop(stock.ErrPromoted)
	if err := n.opt.Store.BeginEpoch(ctx); err != nil {
		err = fmt.Errorf("cannot become a leader: %w", err)
		r.settle(place{kind: undecided, why: err.Error(), given: true}, nil)
		return err
	}
	r.settle(place{kind: leading, given: true}, nil)
	return nil
}

// Follow makes the node a follower of host and port, which need not be there yet. epoch is a
// history that the leader must have, or go on from, so that nobody else is followed who has got
// its address, or has lost its data; "": any. See Lead.
func (n *Node) Follow(ctx context.Context, host string, port int, epoch string) error {
	addr := net.JoinHostPort(host, strconv.Itoa(port))
	r := &n.role
	r.change.Lock()
	defer r.change.Unlock()
	at := r.now()
	switch {
	case r.ended:
		return errStopped
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case at.kind == following && at.addr == addr && at.epoch == epoch:
		at.given = true
		r.set(at)
		return nil
	}
	fol, err := r.newFollower(addr, epoch, true)
	if err != nil {
		return fmt.Errorf("cannot follow %s: %w", addr, err)
	}
	r.stop(context.Canceled)
	r.settle(place{kind: following, addr: addr, epoch: epoch, given: true}, fol)
	return nil
}

// errStale says that a server at the leader's address is not the leader that is meant.
var errStale = errors.New("it is not the leader that was named: it does not have the history")

// accept returns what makes sure that a leader has the history epoch.
func (r *role) accept(epoch string) func(a replication.Answer) error {
	if epoch == "" {
		return nil
	}
	log := r.node.opt.Log
	return func(a replication.Answer) error {
		if a.Epoch == epoch || slices.ContainsFunc(a.Forks, func(f aof.Fork) bool { return f.Epoch == epoch }) {
			return nil
		}
		if _, ok := log.ForkOf(epoch); ok && a.Kind == replication.Continue {
			return nil // it goes on from where this log is, which has that history behind it
		}
		return fmt.Errorf("%w %s", errStale, epoch)
	}
}

// Undecided makes the node neither a leader nor a follower until the next call of
// Lead or Follow: it does not know who leads. Writes wait for that, or are refused for
// the reason why; reads are served as a follower does that is not ready.
func (n *Node) Undecided(why string) {
	r := &n.role
	r.change.Lock()
	defer r.change.Unlock()
	if r.ended {
		return
	}
	r.settle(place{kind: undecided, why: why, given: true}, nil)
	r.stop(context.Canceled)
}
