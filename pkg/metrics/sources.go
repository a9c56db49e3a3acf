package metrics

import (
	"iter"
	"time"
)

// Sources report the numbers; each is called once or twice a scrape from the
// goroutine of that scrape, and may be nil.
// Counts are since the process began, sizes are bytes, unless said otherwise.
type Sources struct {
	Ready       func() bool // would the readiness probe pass?
	Log         func() Log
	Disk        func() Disk
	Replication func() Replication
	Compaction  func() Compaction
	Connections func() Connections
	Messages    func() Messages
	Hooks       func() Hooks
	Data        func() Data
	Collections iter.Seq[Collection] // all collections, in any order
	Server      func() Server
	Leads       func() bool        // does this pod lead, and may it answer as a leader?
	Election    func() Election    // nil: the role is not elected
	Engine      func() Engine      // of an engine in another process
	Upstream    func() Upstream    // to such engines
	Certificate func() Certificate // shown to clients
	Comparisons func() Comparisons
}

// Log is the append-only log.
type Log struct {
	Files        []LogFiles // by kind: base, segment, active, …; each kind once
	Bytes        int64      // base and segments: what a replay would read
	CommandBytes int64      // of it, what Tile38 would have in its file: the commands alone
	Offset       int64      // logical, of the last command
	SyncedOffset int64      // logical, up to which the log is on disk
	Writable     bool
}

// Disk is the filesystem that the log is on, also that of an engine in another
// process.
type Disk struct {
	FreeBytes int64 // below 0: unknown
	SizeBytes int64 // below 0: unknown
}

// LogFiles are the files of one kind.
type LogFiles struct {
	Kind  string // one of a few fixed words
	Files int
	Bytes int64
}

// Replication is the state of a follower, or of a leader's followers.
type Replication struct {
	Follower bool // false: this is a leader, and the fields up to Leading are ignored

	State        string        // one of Options.FollowerStates
	Following    string        // the leader's address
	CaughtUp     bool          // the leader's log was reached on this connection
	CaughtUpOnce bool          // it was reached since the process began
	LagBytes     int64         // of log; below 0: unknown
	Lag          time.Duration // below 0: unknown
	DigestEqual  bool
	Received     uint64 // bytes from leaders
	Reconnects   uint64
	Continued    uint64 // resyncs that went on at our offset
	RangeResyncs uint64 // resyncs that sent what differed
	FullResyncs  uint64 // resyncs that sent a snapshot
	Divergences  uint64 // digests that differed
	// Condition is what a comparison with the leader said last about a follower that
	// nothing here carries: one of Options.Conditions; "" for others.
	Condition string

	Leading Leading // a follower may have followers too
}

// Leading is what a server does for its followers.
type Leading struct {
	Followers   int
	MaxLagBytes int64  // of the one furthest behind; 0 without followers
	Sent        uint64 // bytes to followers
	// Conditions counts followers by what comparing with them has said, one of
	// Options.Conditions each; nil: nobody compares.
	Conditions map[string]int
}

// Compaction is the compactor now; what a compaction took is told by
// Metrics.ObserveCompaction.
type Compaction struct {
	Running  bool
	Failures int    // in a row
	Cause    string // the rule that decided at the last check: one of a few fixed words; "" before it

	LogBytes       int64 // of the log, as that check saw it
	ThresholdBytes int64 // of the log, from which on it is compacted; 0: never

	SharePercent float64 // of one processor, that it has now
	RateBytes    int64   // compaction-rate in bytes per second; 0: adaptive
	Written      uint64  // bytes of new bases
}

// Connections are the clients.
type Connections struct {
	Open     int
	Accepted uint64
	Rejected []Rejected // each reason once
	// Transports counts connections by the form of their first command.
	Transports []Transport // each name once
}

// Transport counts connections of one transport.
type Transport struct {
	Name  string
	Count uint64
}

// Rejected counts connections that were turned away for one reason.
type Rejected struct {
	Reason string // one of a few fixed words
	Count  uint64
}

// Messages are what fences and publishers send to connections.
type Messages struct {
	Listeners int    // subscribers, live fences and monitors
	Waiting   int64  // bytes that wait to be sent to them
	Published uint64 // by PUBLISH and by channels
	Delivered uint64 // to subscribers
	Slow      uint64 // listeners that were disconnected because too much waited for them
}

// Hooks is the queue of messages for webhooks.
type Hooks struct {
	Queued      int64 // messages
	QueuedBytes int64
	MaxBytes    int64         // what may be queued; then messages are dropped
	MaxAge      time.Duration // how long a message may be; then it is dropped
	Oldest      time.Duration // age of the oldest; 0 when none waits
	Delivered   uint64
	Failed      uint64     // attempts
	Dropped     []Rejected // messages, each reason once
}

// Data is what the engine holds.
type Data struct {
	Objects     int64
	Points      int64
	Strings     int64
	WeightBytes int64 // of all collections
	Collections int
	Hooks       int
	Expired     uint64 // objects whose time to live ran out
	Messages    uint64 // sent to subscribers, fences and hooks
}

// Collection is one collection, as STATS tells of it.
type Collection struct {
	Name        string
	Objects     int64
	Points      int64
	Strings     int64
	WeightBytes int64
}

// Server is what does not change, or rarely.
type Server struct {
	ID           string
	Version      string // of Tile38, that is matched
	Build        string // of this program
	Started      time.Time
	MaxHeapBytes int64 // maxmemory; 0: no limit
}
