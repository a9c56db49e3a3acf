package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Engine is an engine in another process of the pod.
type Engine struct {
	Up          bool
	MemoryBytes int64 // taken from the system and not given back; below 0: unknown
	HeapBytes   int64 // below 0: unknown
	LogBytes    int64 // as it counts them, which may be more than its file has; below 0: unknown
	FileBytes   int64 // of its append-only file; below 0: unknown
	MemoryLimit int64 // of its container; 0: unknown
}

// Comparisons are those of followers with their leader, object by object.
type Comparisons struct {
	Compared  uint64 // came to an end
	Failed    uint64 // came to nothing
	Differing int64  // followers that differ, as of the last comparison of each
	Objects   int64  // that differ in those
}

// Upstream is the way to engines in other processes, here and at the leader.
type Upstream struct {
	Connections    int64 // now
	Dialled        uint64
	DialFailures   uint64
	Refused        uint64 // commands that no engine could be reached for
	Lost           uint64 // connections that an engine ended
	LostCommands   uint64 // commands that were under way on those
	Forwarded      uint64 // writes sent to the leader
	LeaderReads    uint64 // reads sent to the leader
	OwnWriteWaits  uint64 // reads that waited for a write of their connection
	SharedClients  int64  // on shared connections now
	SlowClients    uint64 // of those that were disconnected because they did not take their replies
	MovedSearches  uint64 // taken off shared connections, behind one that takes long
	OwnWriteMisses uint64 // those of them that waited in vain
	// Of the embedded engine alone.
	Retried uint64 // attempts more for commands that were known not to have run
	Waiting int64  // clients whose commands wait for a leader, now
	Here    uint64 // commands carried out here instead: this had become the leader
}

// external shows the metrics of an engine in another process. It is unchecked,
// like evenkeel.
type external struct {
	from Sources

	up, memory, heap, log             *prometheus.Desc
	file, limit                       *prometheus.Desc
	connections, dials, shared, slow  *prometheus.Desc
	moved                             *prometheus.Desc
	refused, lost, lostCommands       *prometheus.Desc
	forwarded, leaderReads, ownWrites *prometheus.Desc
	comparisons, differing, different *prometheus.Desc
	retried, waiting, here            *prometheus.Desc
}

func newExternal(o Options) *external {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("evenkeel_"+name, help, labels, nil)
	}
	return &external{
		from:   o.Sources,
		up:     d("engine_up", "Whether the engine of this pod answers."),
		memory: d("engine_memory_bytes", "Memory that the engine has taken from the system and not given back."),
		heap:   d("engine_heap_bytes", "The engine's heap."),
		log:    d("engine_log_bytes", "Size of the engine's append-only file, as it reports it."),
		file:   d("engine_log_file_bytes", "Size of the engine's append-only file on disk."),
		limit:  d("engine_memory_limit_bytes", "Memory limit of the engine's container; missing when --engine-memory-limit does not tell it."),

		connections:  d("upstream_connections", "Connections to engines, here and at the leader."),
		dials:        d("upstream_dials_total", "Attempts to connect to an engine, by how they ended.", "result"),
		shared:       d("upstream_shared_clients", "Clients whose commands go over a connection that they share."),
		slow:         d("upstream_slow_clients_total", "Clients on a shared connection that were disconnected because they did not take their replies."),
		moved:        d("upstream_moved_searches_total", "Searches that were sent again on a connection of their own, as one before them on the shared one took long."),
		refused:      d("upstream_commands_refused_total", "Commands answered with an error because no engine could be reached."),
		lost:         d("upstream_connections_lost_total", "Connections that an engine ended or the network broke."),
		lostCommands: d("upstream_commands_lost_total", "Commands that were under way on such connections: they may have been carried out or not."),
		forwarded:    d("upstream_forwarded_writes_total", "Writes sent to the leader."),
		leaderReads:  d("upstream_leader_reads_total", "Reads sent to the leader."),
		ownWrites:    d("upstream_own_write_waits_total", "Reads that waited for a write of their connection, by how that ended.", "result"),
		retried:      d("upstream_commands_retried_total", "Attempts more to have commands carried out that were known not to have run."),
		waiting:      d("upstream_clients_waiting", "Connections whose commands wait for a leader that can be reached."),
		here:         d("upstream_commands_here_total", "Commands for the leader that were carried out here, as this pod had become the leader."),

		comparisons: d("follower_comparisons_total", "Comparisons of a follower with its leader object by object, by how they ended.", "result"),
		differing:   d("followers_differing", "Followers whose objects are not their leader's, as of the last comparison of each."),
		different:   d("follower_different_objects", "Objects, hooks and channels that are not the leader's, of all followers."),
	}
}

// Describe describes nothing: see evenkeel.
func (x *external) Describe(chan<- *prometheus.Desc) {}

// Collect asks the sources that there are.
func (x *external) Collect(ch chan<- prometheus.Metric) {
	out := sink(ch)
	if x.from.Engine != nil {
		e := x.from.Engine()
		out.flag(x.up, e.Up)
		out.known(x.memory, e.MemoryBytes)
		out.known(x.heap, e.HeapBytes)
		out.known(x.log, e.LogBytes)
		out.known(x.file, e.FileBytes)
		if e.MemoryLimit > 0 {
			out.gauge(x.limit, float64(e.MemoryLimit))
		}
	}
	if x.from.Comparisons != nil {
		c := x.from.Comparisons()
		out.counter(x.comparisons, c.Compared, "ok")
		out.counter(x.comparisons, c.Failed, "failed")
		out.gauge(x.differing, float64(c.Differing))
		out.gauge(x.different, float64(c.Objects))
	}
	if x.from.Upstream != nil {
		x.upstream(out, x.from.Upstream())
	}
}

func (x *external) upstream(out sink, u Upstream) {
	out.gauge(x.connections, float64(u.Connections))
	out.counter(x.dials, u.Dialled, "ok")
	out.counter(x.dials, u.DialFailures, "failed")
	out.gauge(x.shared, float64(u.SharedClients))
	out.counter(x.slow, u.SlowClients)
	out.counter(x.moved, u.MovedSearches)
	out.counter(x.refused, u.Refused)
	out.counter(x.lost, u.Lost)
	out.counter(x.lostCommands, u.LostCommands)
	out.counter(x.forwarded, u.Forwarded)
	out.counter(x.leaderReads, u.LeaderReads)
	out.counter(x.ownWrites, u.OwnWriteWaits-min(u.OwnWriteWaits, u.OwnWriteMisses), "ok")
	out.counter(x.ownWrites, u.OwnWriteMisses, "timeout")
	if x.from.Engine != nil {
		return // the proxy before another engine does not know the rest
	}
	out.counter(x.retried, u.Retried)
	out.gauge(x.waiting, float64(u.Waiting))
	out.counter(x.here, u.Here)
}
