package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"evenkeel/pkg/follower/stock"
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

// leads says whether the node is the leader.
func (r *role) leads() bool { return r.term.Load()&termLeads != 0 }

// given says whether it is not for clients to decide who leads.
func (r *role) given() bool { return r.term.Load()&termGiven != 0 }

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

// Follow makes the node a follower of host and port, which need not be there yet.
// See Lead.
func (n *Node) Follow(ctx context.Context, host string, port int) error {
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
	case at.kind == following && at.addr == addr:
		at.given = true
		r.set(at)
		return nil
	}
	fol, err := r.newFollower(addr, true)
	if err != nil {
		return fmt.Errorf("cannot follow %s: %w", addr, err)
	}
	r.stop(context.Canceled)
	r.settle(place{kind: following, addr: addr, given: true}, fol)
	return nil
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
