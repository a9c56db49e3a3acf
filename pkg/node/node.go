package node

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/compactor"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/forward"
	"evenkeel/pkg/hooks"
	"evenkeel/pkg/leader"
	"evenkeel/pkg/proxy"
	"evenkeel/pkg/pubsub"
	"evenkeel/pkg/settings"
	"evenkeel/pkg/store"
	"evenkeel/pkg/upstream"
)

// TileVersion is the version of Tile38 whose wire protocol the node speaks,
// and what SERVER and INFO report as the version: clients look at it.
const TileVersion = "1.37.0"

// Options are the parts that a node stands on, and its settings.
type Options struct {
	Store     *store.Store
	Log       *aof.Log
	Compactor *compactor.Compactor
	Leader    *leader.Leader
	Hub       *pubsub.Hub
	Hooks     *hooks.Queue
	Settings  *settings.Settings
	// Observe hears of every command: a name of the command table or "other",
	// the time from its start until its answer could be sent, and whether it
	// failed.
	Observe func(name string, d time.Duration, failed bool)
	// Follow is the leader, host:port, whatever the settings say; "": as they say.
	Follow string
	// Undecided says why it is not known yet whether the node leads or follows; "": it
	// is. Who decides calls Lead, Follow and Undecided.
	Undecided string
	// RoleGiven says why clients may not decide with FOLLOW. Default: they may.
	RoleGiven func() error
	// Fence says why a node that believes it leads may not any more; nil: it may. It is
	// asked for every pipeline, so it must be quick. Default: a leader is one.
	Fence func() error
	// Peer answers what another pod says with PeerCommand; nil: nobody does.
	Peer func(ctx context.Context, message []byte) []byte
	// Forward sends commands to the leader; nil: a follower refuses them. It counts where
	// the role is given by Follow or by who calls Lead and Follow, not where a client
	// has said FOLLOW, who expects what a Tile38 does.
	Forward *Forward
	// ListenPort is what a follower tells its leader.
	ListenPort int
	// NoHTTP: HTTP clients are not served; SERVER says so.
	NoHTTP bool
	// MaxScripts is how many scripts that do not hold the lock may run at once, and
	// how many searches with one; 0 is four for each processor. Others wait, for
	// ScriptWait at most; default 5 s.
	MaxScripts int
	ScriptWait time.Duration
	// DialLeader connects to leaders. Default: TCP.
	DialLeader func(ctx context.Context, addr string) (net.Conn, error)
	// MaxLag is how far behind a follower may be and still be ready. Default
	// 5 s.
	MaxLag time.Duration
	// MaxHeld is how much of the log may be kept for the reader of an AOF stream
	// alone, in bytes of commands; 0 or less: any amount.
	MaxHeld int64
	// TurnWait is how long a compaction waits for its turn, one pod at a time.
	// Default 10 min; negative: not at all.
	TurnWait time.Duration
	Logger   *slog.Logger
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.Observe == nil {
		o.Observe = func(string, time.Duration, bool) {}
	}
	if o.RoleGiven == nil {
		o.RoleGiven = func() error { return nil }
	}
	if o.ScriptWait == 0 {
		o.ScriptWait = 5 * time.Second
	}
	if o.MaxLag == 0 {
		o.MaxLag = 5 * time.Second
	}
	if o.TurnWait == 0 {
		o.TurnWait = 10 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Node serves the embedded engine. It is a proxy.Backend.
type Node struct {
	opt      Options
	table    map[string]*entry // by name in lower and in upper case
	started  time.Time
	role     role
	links    *forward.Pool // to the leader; nil: nothing is forwarded
	forwards forwards
	hold     hold
	drain    atomic.Bool
	collect  chan struct{} // GC asks for a collection
	memory   memory
	replicas replicas
	places   *places

	monitors monitors
	events   events

	batches sync.Pool // of *batch: an idle session holds none

	commands atomic.Int64 // commands carried out
	server   Server       // the listener's counts; set once by Attach

	mu       sync.Mutex // guards sessions
	sessions map[int64]*session
}

// Server is what the node asks the connections' owner for.
type Server interface {
	Stats() proxy.Stats
}

// entry is one command of the node's table: a data command (spec) or one of
// the node's own (run).
type entry struct {
	name  string
	spec  *command.Spec
	run   handler
	write bool // changes data
	class upstream.Class
	open  bool // allowed before AUTH
	free  bool // allowed while a follower has not yet caught up
	grows bool // refused over maxmemory
	// timeless commands cannot be bounded by TIMEOUT, and live ones may ask for a
	// live fence.
	timeless, live bool
}

var _ proxy.Backend = (*Node)(nil)

// New makes a node. Run must be called for it to follow a leader. Options.Forward must
// be valid.
func New(opt Options) *Node {
	opt.EnsureDefaults()
	n := &Node{
		opt:      opt,
		table:    map[string]*entry{},
		started:  time.Now(),
		collect:  make(chan struct{}, 1),
		places:   newPlaces(opt.MaxScripts, opt.ScriptWait),
		sessions: map[int64]*session{},
	}
	classes := upstream.Classes()
	for _, e := range ownCommands() {
		first, _, _ := strings.Cut(e.name, " ")
		e.class = classes[first]
		n.add(e)
	}
	for _, spec := range opt.Store.Commands() {
		// As in Tile38 it is these two that need memory.
		grows := spec.Name == "set" || spec.Name == "fset"
		fence := spec.Name == "nearby" || spec.Name == "within" || spec.Name == "intersects"
		n.add(&entry{name: spec.Name, spec: spec, class: classes[spec.Name], write: spec.Write != nil, grows: grows, live: fence})
	}
	opt.Settings.Watch(settings.MaxMemory, n.memory.setLimit)
	n.events.hub, n.events.queue = opt.Hub, opt.Hooks
	n.replicas.watch(opt.Settings)
	n.makeLinks()
	n.role.init(n)
	opt.Store.Attach(&n.events)
	return n
}

func (n *Node) add(e *entry) {
	n.table[e.name] = e
	n.table[strings.ToUpper(e.name)] = e
}

// Attach tells the node who owns its connections, for INFO.
func (n *Node) Attach(s Server) { n.server = s }

// CommandNames lists the names that Observe can be called with, but "other".
func (n *Node) CommandNames() []string {
	var names []string
	for name, e := range n.table {
		if name == e.name {
			names = append(names, name)
		}
	}
	return names
}

// maxName is longer than the name of any command.
const maxName = 64

// lookup finds a command by its name as it was sent, or nil.
func (n *Node) lookup(name string) *entry {
	if e := n.table[name]; e != nil {
		return e
	}
	if len(name) > maxName {
		return nil // it costs nothing to say so
	}
	return n.table[strings.ToLower(name)]
}

// Run expires objects, watches the memory and follows the leader, if there is
// one, until ctx ends.
func (n *Node) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { n.opt.Store.Expire(ctx) })
	wg.Go(func() { n.role.run(ctx) })
	if n.links != nil {
		wg.Go(func() { n.links.Run(ctx) })
	}
	wg.Go(func() { n.collectGarbage(ctx) })
	wg.Go(func() { n.memory.watch(ctx) })
	wg.Wait()
}

// Open begins a connection's session.
func (n *Node) Open(c *proxy.Conn) proxy.Session {
	s := &session{node: n, conn: c}
	s.pause = s.checkOutput
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sessions[c.ID()] = s
	return s
}

func (n *Node) forget(s *session) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.sessions, s.conn.ID())
}
