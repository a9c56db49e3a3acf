package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/follower"
	"evenkeel/pkg/follower/stock"
	"evenkeel/pkg/replication"
	"evenkeel/pkg/settings"
	"evenkeel/pkg/store"
	"evenkeel/pkg/tile38"
)

var (
	errNotLeader  = reply.Plain("not the leader")
	errNeverLed   = reply.Plain("this server has just begun and knows no leader: what it has may be nothing")
	errCatchingUp = reply.Plain("catching up to leader")
	errFollowSelf = reply.Plain("cannot follow self")
	errChained    = reply.Plain("cannot follow a follower")
)

// askTimeout bounds FOLLOW's question to the leader.
const askTimeout = 5 * time.Second

// role is whom the node follows, if anybody.
type role struct {
	node *Node

	change sync.Mutex // held while the role or READONLY changes; taken before mu
	ended  bool       // run has: nothing may begin; under change

	// term is different after each change of the role, whose termLeads and termGiven are
	// bits of it.
	term atomic.Uint64

	mu       sync.Mutex // guards what follows
	place    place
	changed  chan struct{} // closed when place has changed
	fol      *either       // follows place.addr; nil as long as that has not begun
	cancel   context.CancelCauseFunc
	done     chan struct{} // closed when fol's goroutine has ended
	caughtUp bool          // it has caught up with this leader at least once
	led      bool          // it has been the leader at any time
	ledSince time.Time     // when it became the leader in the place of another one, or of none
}

// init takes up the role in name, before the first client comes; run does the
// rest.
func (r *role) init(n *Node) {
	r.node, r.changed = n, make(chan struct{})
	host, port := n.opt.Settings.Follow()
	switch {
	case n.opt.Undecided != "":
		r.set(place{kind: undecided, why: n.opt.Undecided, given: true})
	case n.opt.Follow != "":
		r.set(place{kind: following, addr: n.opt.Follow, given: true})
	case host != "":
		r.set(place{kind: following, addr: net.JoinHostPort(host, strconv.Itoa(port))})
	default:
		r.set(place{kind: leading})
	}
	r.refuse()
}

// run takes up the role that the settings name and keeps it until ctx ends.
func (r *role) run(ctx context.Context) {
	r.change.Lock()
	if addr := r.leader(); addr != "" && r.cancel == nil {
		if fol, err := r.newFollower(addr, "", false); err != nil {
			r.node.opt.Logger.Error("cannot follow", "leader", addr, "err", err)
		} else {
			r.start(fol)
		}
	}
	r.change.Unlock()
	<-ctx.Done()
	r.change.Lock()
	defer r.change.Unlock()
	r.ended = true
	r.stop(context.Cause(ctx))
}

// follow makes the node a follower of host and port, for good; host "" makes it
// a leader. After an error it is what it was.
func (r *role) follow(host string, port int) error {
	addr := ""
	if host != "" {
		addr = net.JoinHostPort(host, strconv.Itoa(port))
	}
	r.change.Lock()
	defer r.change.Unlock()
	now := r.now()
	same := addr == now.addr && now.kind != undecided
	var fol *either
	if addr != "" && !same {
		var err error
		if fol, err = r.newFollower(addr, "", true); err != nil {
			return err
		}
	}
	if err := r.node.opt.Settings.SetFollow(host, port); err != nil {
		return err
	}
	if same {
		return nil // as Tile38: nothing changes
	}
	why := context.Canceled
	if addr == "" {
		why = stock.ErrPromoted
	}
	r.stop(why)
	if addr == "" {
		// What is written from now on belongs to a history of its own.
		if err := r.node.opt.Store.BeginEpoch(context.Background()); err != nil {
			return r.remain(err)
		}
	}
	at := place{kind: leading}
	if addr != "" {
		at = place{kind: following, addr: addr}
	}
	r.settle(at, fol)
	return nil
}

// remain takes a promotion back that failed with cause. The change lock is held.
func (r *role) remain(cause error) error {
	addr := r.leader()
	host, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(port)
	err := r.node.opt.Settings.SetFollow(host, n)
	fol, ferr := r.newFollower(addr, "", false)
	if ferr == nil {
		r.start(fol)
	}
	return fmt.Errorf("cannot become a leader: %w", errors.Join(cause, err, ferr))
}

// readOnly switches READONLY.
func (r *role) readOnly(on bool) error {
	r.change.Lock()
	defer r.change.Unlock()
	if err := r.node.opt.Settings.SetReadOnly(on); err != nil {
		return err
	}
	r.refuse()
	return nil
}

// replica is the store as a follower writes to it.
type replica struct{ *store.Store }

// ApplyBatch says in the follower's terms that the states differ.
func (r replica) ApplyBatch(ctx context.Context, b aof.Batch) error {
	err := r.Store.ApplyBatch(ctx, b)
	if errors.Is(err, store.ErrDigest) {
		return fmt.Errorf("%w: %w", follower.ErrDiverged, err)
	}
	return err
}

// BeginResync begins a range resync.
func (r replica) BeginResync(ctx context.Context, h aof.History, m aof.Mark, lost int64) (follower.Resync, error) {
	return r.Store.BeginResync(ctx, h, m, lost)
}

// nativeFollower makes a follower of an Evenkeel, which does not run yet.
func (r *role) nativeFollower(addr, epoch string, told func(follower.Event)) (*follower.Follower, error) {
	opt := r.node.opt
	return follower.New(follower.Options{
		Leader:        addr,
		Auth:          opt.Settings.Get(settings.LeaderAuth),
		ID:            opt.Settings.ServerID(),
		ListeningPort: r.node.announcedPort(),
		IPAddress:     r.node.announcedIP(),
		Accept:        r.accept(epoch),
		Store:         replica{opt.Store},
		Ranges:        replica{opt.Store},
		Synced:        opt.Log.Synced,
		Sync:          opt.Log.Sync,
		Compact:       r.node.compact,
		Dial:          opt.DialLeader,
		MaxLag:        opt.MaxLag,
		OnEvent:       told,
		Logger:        opt.Logger,
	})
}

// announcedIP is replica_announce_ip, if it can be said in a handshake.
func (n *Node) announcedIP() string {
	ip := n.opt.Settings.Get(settings.AnnounceIP)
	if ip != "" && !replication.ValidID(ip) {
		n.opt.Logger.Warn("replica_announce_ip is not told to the leader: it is no address", "value", ip)
		return ""
	}
	return ip
}

// announcedPort is where clients reach this node: replica_announce_port, or
// the port that it listens on.
func (n *Node) announcedPort() int {
	if p, err := strconv.Atoi(n.opt.Settings.Get(settings.AnnouncePort)); err == nil && p > 0 {
		return p
	}
	return n.opt.ListenPort
}

// start lets fol run. The role's change lock is held, and writes of clients
// are refused.
func (r *role) start(fol *either) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx, cancel := context.WithCancelCause(context.Background()) // stop ends it
	done := make(chan struct{})
	r.fol, r.cancel, r.done, r.caughtUp = fol, cancel, done, false
	go func() {
		defer close(done)
		if err := fol.Run(ctx); ctx.Err() == nil {
			r.node.opt.Logger.Error("follower ended", "err", err)
		}
	}()
}

// stop ends the follower and waits for its end.
func (r *role) stop(why error) {
	r.mu.Lock()
	cancel, done := r.cancel, r.done
	r.mu.Unlock()
	if cancel == nil {
		return
	}
	cancel(why)
	<-done
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fol, r.cancel, r.done = nil, nil, nil
}

// refuse tells the store what to answer to writes of clients, and the queue of
// webhooks whether it delivers. The change lock
// is held, but at the beginning.
func (r *role) refuse() {
	at := r.now()
	r.node.events.role(at.kind != leading)
	switch {
	case at.kind == undecided:
		r.node.opt.Store.Refuse(reply.Plain(errNotLeader.JSON + ": " + at.why))
	case at.kind == following:
		r.node.opt.Store.Refuse(errNotLeader)
	case r.node.opt.Settings.ReadOnly():
		r.node.opt.Store.Refuse(errReadOnly)
	default:
		r.node.opt.Store.Refuse(nil)
	}
}

// leader returns the address of the leader, "" when the node follows nobody.
func (r *role) leader() string { return r.now().addr }

// follower returns what follows the leader, nil as long as that has not begun.
func (r *role) follower() (fol *either, leads bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fol, r.place.kind == leading
}

// status returns the follower's state, nil when the node is a leader.
func (r *role) status() *replication.Status {
	r.mu.Lock()
	fol, at := r.fol, r.place
	r.mu.Unlock()
	switch {
	case at.kind == leading:
		return nil
	case fol == nil:
		return &replication.Status{State: replication.Connecting, Leader: at.addr, LagSeconds: -1, DigestEqual: true, LastError: at.why}
	}
	st := fol.Status()
	return &st
}

// caughtUpOnce says whether the node has been level with its leader since it
// began to follow it.
func (r *role) caughtUpOnce() bool {
	st := r.status()
	r.mu.Lock()
	defer r.mu.Unlock()
	if st != nil && st.CaughtUp {
		r.caughtUp = true
	}
	return r.caughtUp
}

// catchingUp is the answer to reads as long as they would show a state that
// was never the leader's.
func (r *role) catchingUp() error {
	r.mu.Lock()
	pass := r.place.kind == leading || r.caughtUp
	r.mu.Unlock()
	if pass || r.caughtUpOnce() {
		return nil
	}
	return errCatchingUp
}

// follow is FOLLOW host port and FOLLOW no one.
func (c *call) follow() error {
	if len(c.args) != 3 || c.args[1] == "" || c.args[2] == "" {
		return reply.ErrNumArgs
	}
	if err := c.node.opt.RoleGiven(); err != nil {
		return reply.Plain("cannot follow: " + err.Error())
	}
	host, port := strings.Clone(c.args[1]), 0
	if strings.EqualFold(host, "no") && strings.EqualFold(c.args[2], "one") {
		host = ""
	} else {
		n, err := strconv.ParseUint(c.args[2], 10, 16)
		if err != nil {
			return reply.InvalidArgument(c.args[2])
		}
		port = int(n)
		if err := c.askLeader(net.JoinHostPort(host, strconv.Itoa(port))); err != nil {
			return err
		}
	}
	if err := c.node.role.follow(host, port); err != nil {
		return reply.Plain(err.Error())
	}
	c.out.OK()
	return nil
}

// askLeader finds out whether addr can be followed.
func (c *call) askLeader(addr string) error {
	set := c.node.opt.Settings
	ctx, cancel := context.WithTimeout(c.batch.ctx, askTimeout)
	defer cancel()
	s, err := askServer(ctx, tile38.Options{Addr: addr, Auth: set.Get(settings.LeaderAuth), Dial: c.node.opt.DialLeader, Timeout: askTimeout})
	switch {
	case err != nil:
		return reply.Plain("cannot follow: " + err.Error())
	case s.ID == "":
		return reply.Plain("cannot follow: invalid id")
	case s.ID == set.ServerID():
		return errFollowSelf
	case s.Following != "":
		return errChained
	}
	return nil
}

// askServer asks a server who it is.
func askServer(ctx context.Context, opt tile38.Options) (tile38.Server, error) {
	conn, err := tile38.Dial(ctx, opt)
	if err != nil {
		return tile38.Server{}, err
	}
	defer func() { _ = conn.Close() }()
	return conn.Server()
}

// Following returns the address of the leader, "" when the node is one, or knows
// of none.
func (n *Node) Following() string { return n.role.leader() }

// FollowerStatus returns what the node does as a follower, nil for a leader.
func (n *Node) FollowerStatus() *replication.Status { return n.role.status() }

// CaughtUpOnce says whether the node has been level with its leader.
func (n *Node) CaughtUpOnce() bool { return n.role.caughtUpOnce() }
