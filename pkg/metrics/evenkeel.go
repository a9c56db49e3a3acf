package metrics

import (
	"runtime/metrics"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// evenkeel shows the metrics of our own. It is unchecked (it describes
// nothing), since which metrics there are depends on what a server is.
type evenkeel struct {
	opts     Options
	commands *commands

	duration, errors                             *prometheus.Desc
	resident, heap, usage, workingSet, limit     *prometheus.Desc
	ready                                        *prometheus.Desc
	logBytes, logFiles, offset, synced           *prometheus.Desc
	diskFree, writable                           *prometheus.Desc
	diskSize                                     *prometheus.Desc
	state, lagBytes, lagSeconds, digest          *prometheus.Desc
	condition, conditions                        *prometheus.Desc
	received, reconnects, resyncs, divergences   *prometheus.Desc
	followers, maxLag, sent                      *prometheus.Desc
	compacting, failures, cause                  *prometheus.Desc
	share, rate, written                         *prometheus.Desc
	logNow, threshold                            *prometheus.Desc
	connections, accepted, rejected, transports  *prometheus.Desc
	listeners, waiting, slow                     *prometheus.Desc
	published, delivered                         *prometheus.Desc
	queued, queuedBytes, oldest                  *prometheus.Desc
	queueLimit, ageLimit                         *prometheus.Desc
	hookDelivered, hookFailed, hookDropped       *prometheus.Desc
	objects, collections, hooks, expired, weight *prometheus.Desc
	info                                         *prometheus.Desc
}

func newEvenkeel(o Options, cs *commands) *evenkeel {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("evenkeel_"+name, help, labels, nil)
	}
	return &evenkeel{
		opts: o, commands: cs,
		duration:   d("command_duration_seconds", "Duration of commands, from the whole request to the whole reply.", "command"),
		errors:     d("command_errors_total", "Commands that were answered with an error.", "command"),
		resident:   d("memory_resident_bytes", "Resident memory of the process."),
		heap:       d("memory_heap_bytes", "Memory of live and not yet collected objects on the heap."),
		usage:      d("memory_cgroup_usage_bytes", "Memory that the cgroup accounts for, page cache included."),
		workingSet: d("memory_cgroup_working_set_bytes", "The cgroup's usage without inactive page cache: what evictions go by."),
		limit:      d("memory_cgroup_limit_bytes", "The smallest memory limit that applies to the cgroup; missing when there is none."),
		ready:      d("ready", "Whether the readiness probe passes."),

		logBytes: d("log_bytes", "Size of the log's files on disk, by kind.", "kind"),
		logFiles: d("log_files", "Number of the log's files, by kind.", "kind"),
		offset:   d("log_offset_bytes", "Logical offset of the end of the log; compactions do not change it."),
		synced:   d("log_synced_offset_bytes", "Logical offset up to which the log is synced to disk."),
		diskFree: d("log_disk_free_bytes", "Free space on the log's disk."),
		diskSize: d("log_disk_size_bytes", "Size of the log's disk: what is used or may be used."),
		writable: d("log_writable", "Whether the log takes writes."),

		state:       d("follower_state", "1 for the state that the follower is in.", "state"),
		lagBytes:    d("replication_lag_bytes", "Log that the leader has and this follower has not applied."),
		lagSeconds:  d("replication_lag_seconds", "Age of this follower's state."),
		digest:      d("replication_digest_equal", "Whether the follower's state is not known to differ from the leader's."),
		condition:   d("follower_condition", "1 for what a comparison with the leader said last about a follower that has no bridge.", "condition"),
		conditions:  d("replication_followers_condition", "Followers of the Tile38 of this pod by what comparing with them has said.", "condition"),
		received:    d("replication_received_bytes_total", "Bytes received from leaders."),
		reconnects:  d("replication_reconnects_total", "Connections to a leader after the first."),
		resyncs:     d("replication_resyncs_total", "Beginnings of a stream: going on at the follower's offset, or with a full snapshot.", "kind"),
		divergences: d("replication_divergences_total", "Times that the follower's digest differed from the leader's."),
		followers:   d("replication_followers", "Connected followers."),
		maxLag:      d("replication_followers_max_lag_bytes", "Log that the follower furthest behind has not acknowledged."),
		sent:        d("replication_sent_bytes_total", "Bytes sent to followers."),

		compacting: d("compaction_running", "Whether a compaction runs."),
		failures:   d("compaction_failures_in_a_row", "Compactions that have failed since the last that succeeded."),
		cause:      d("compaction_decision", "1 for the rule that decided at the last check; due: it compacts.", "cause"),
		logNow:     d("compaction_log_bytes", "Size of the log as the last check saw it."),
		threshold:  d("compaction_threshold_bytes", "Size of the log from which on it is compacted; missing when it never is of its own accord."),
		share:      d("compaction_share_ratio", "Share of one processor that a compaction has now, or would begin with."),
		rate:       d("compaction_rate_limit_bytes", "Bytes of base per second that compaction-rate allows; 0: adaptive."),
		written:    d("compaction_written_bytes_total", "Bytes of new bases that were written."),

		connections: d("connections", "Open client connections."),
		accepted:    d("connections_accepted_total", "Client connections accepted."),
		transports:  d("connections_transport_total", "Client connections by the transport of their first command.", "transport"),
		rejected:    d("connections_rejected_total", "Client connections turned away, by reason.", "reason"),

		listeners: d("listeners", "Connections that are told of things: subscribers, live fences and monitors."),
		waiting:   d("listeners_waiting_bytes", "Messages that wait to be sent to such connections."),
		slow:      d("listeners_slow_total", "Such connections that were ended because too much waited for them."),
		published: d("messages_published_total", "Messages published to channels."),
		delivered: d("messages_delivered_total", "Messages handed to subscribers."),

		queued:        d("hook_queue_messages", "Messages that wait to be delivered to webhooks."),
		queuedBytes:   d("hook_queue_bytes", "The same in bytes."),
		queueLimit:    d("hook_queue_limit_bytes", "Bytes that may wait; then messages are dropped."),
		ageLimit:      d("hook_queue_limit_seconds", "How long a message may wait; then it is dropped."),
		oldest:        d("hook_queue_oldest_seconds", "Age of the oldest of them."),
		hookDelivered: d("hook_messages_delivered_total", "Messages delivered to webhooks."),
		hookFailed:    d("hook_attempts_failed_total", "Attempts at a delivery that failed."),
		hookDropped:   d("hook_messages_dropped_total", "Messages that will not be delivered, by reason.", "reason"),

		objects:     d("objects", "Objects in all collections."),
		collections: d("collections", "Collections."),
		hooks:       d("hooks", "Hooks and channels."),
		expired:     d("expired_objects_total", "Objects deleted because their time to live ran out."),
		weight:      d("objects_weight_bytes", "Estimated memory of the objects of all collections."),
		info:        d("info", "Always 1; tells the server.", "id", "version"),
	}
}

// Describe describes nothing: see the type.
func (e *evenkeel) Describe(chan<- *prometheus.Desc) {}

// sink sends values of one scrape.
type sink chan<- prometheus.Metric

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sink) counter(d *prometheus.Desc, v uint64, labels ...string) {
	s <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

// known sends a gauge unless the value is below 0, which means unknown.
func (s sink) known(d *prometheus.Desc, v int64) {
	if v >= 0 {
		s.gauge(d, float64(v))
	}
}

func (s sink) flag(d *prometheus.Desc, on bool, labels ...string) {
	v := 0.0
	if on {
		v = 1
	}
	s.gauge(d, v, labels...)
}

// text makes a label value that Prometheus takes.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Collect asks the sources that there are.
func (e *evenkeel) Collect(ch chan<- prometheus.Metric) {
	out, from := sink(ch), e.opts.Sources
	e.collectCommands(out)
	e.collectMemory(out)
	if from.Ready != nil {
		out.flag(e.ready, from.Ready())
	}
	if from.Log != nil {
		e.collectLog(out, from.Log())
	}
	if from.Disk != nil {
		d := from.Disk()
		out.known(e.diskFree, d.FreeBytes)
		out.known(e.diskSize, d.SizeBytes)
	}
	if from.Replication != nil {
		e.collectReplication(out, from.Replication())
	}
	if from.Compaction != nil {
		e.collectCompaction(out, from.Compaction())
	}
	if from.Connections != nil {
		c := from.Connections()
		out.gauge(e.connections, float64(c.Open))
		out.counter(e.accepted, c.Accepted)
		for _, t := range c.Transports {
			out.counter(e.transports, t.Count, text(t.Name))
		}
		for _, r := range c.Rejected {
			out.counter(e.rejected, r.Count, text(r.Reason))
		}
	}
	e.collectMessages(out)
	if from.Data != nil {
		d := from.Data()
		out.gauge(e.objects, float64(d.Objects))
		out.gauge(e.weight, float64(d.WeightBytes))
		out.gauge(e.collections, float64(d.Collections))
		out.gauge(e.hooks, float64(d.Hooks))
		out.counter(e.expired, d.Expired)
	}
	if from.Server != nil {
		s := from.Server()
		out.gauge(e.info, 1, text(s.ID), text(s.Build))
	}
}

func (e *evenkeel) collectCompaction(out sink, c Compaction) {
	out.flag(e.compacting, c.Running)
	out.gauge(e.failures, float64(c.Failures))
	out.gauge(e.share, c.SharePercent/100)
	out.gauge(e.rate, float64(c.RateBytes))
	out.counter(e.written, c.Written)
	if c.Cause == "" {
		return // nobody has looked yet
	}
	out.gauge(e.cause, 1, text(c.Cause))
	out.gauge(e.logNow, float64(c.LogBytes))
	if c.ThresholdBytes > 0 {
		out.gauge(e.threshold, float64(c.ThresholdBytes))
	}
}

func (e *evenkeel) collectMessages(out sink) {
	if e.opts.Sources.Messages != nil {
		m := e.opts.Sources.Messages()
		out.gauge(e.listeners, float64(m.Listeners))
		out.gauge(e.waiting, float64(m.Waiting))
		out.counter(e.slow, m.Slow)
		out.counter(e.published, m.Published)
		out.counter(e.delivered, m.Delivered)
	}
	if e.opts.Sources.Hooks != nil {
		h := e.opts.Sources.Hooks()
		out.gauge(e.queued, float64(h.Queued))
		out.gauge(e.queuedBytes, float64(h.QueuedBytes))
		out.gauge(e.oldest, h.Oldest.Seconds())
		out.gauge(e.queueLimit, float64(h.MaxBytes))
		out.gauge(e.ageLimit, h.MaxAge.Seconds())
		out.counter(e.hookDelivered, h.Delivered)
		out.counter(e.hookFailed, h.Failed)
		for _, d := range h.Dropped {
			out.counter(e.hookDropped, d.Count, text(d.Reason))
		}
	}
}

func (e *evenkeel) collectCommands(out sink) {
	for _, c := range e.commands.sorted {
		counts, total := c.read()
		if total == 0 {
			continue // a series for each command that was never sent would be noise
		}
		out <- prometheus.MustNewConstHistogram(e.duration, total, float64(c.nanos.Load())/1e9, c.scale.cumulative(counts), c.name)
		out.counter(e.errors, c.failed.Load(), c.name)
	}
}

func (e *evenkeel) collectMemory(out sink) {
	m := ReadMemory(e.opts.Root)
	out.known(e.resident, m.Resident)
	out.known(e.usage, m.CgroupUsage)
	out.known(e.workingSet, m.WorkingSet)
	out.known(e.limit, m.CgroupLimit)
	heap, _ := heapBytes()
	out.gauge(e.heap, float64(heap))
}

// heapBytes reads the heap's objects and what the runtime gave back to the
// system, without stopping the world.
func heapBytes() (objects, released uint64) {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64(), s[1].Value.Uint64()
}

func (e *evenkeel) collectLog(out sink, l Log) {
	for _, f := range l.Files {
		out.gauge(e.logBytes, float64(f.Bytes), text(f.Kind))
		out.gauge(e.logFiles, float64(f.Files), text(f.Kind))
	}
	out.gauge(e.offset, float64(l.Offset))
	out.gauge(e.synced, float64(l.SyncedOffset))
	out.flag(e.writable, l.Writable)
}

func (e *evenkeel) collectReplication(out sink, r Replication) {
	out.gauge(e.followers, float64(r.Leading.Followers))
	out.gauge(e.maxLag, float64(r.Leading.MaxLagBytes))
	out.counter(e.sent, r.Leading.Sent)
	if r.Leading.Conditions != nil {
		for _, name := range e.opts.Conditions {
			out.gauge(e.conditions, float64(r.Leading.Conditions[name]), name)
		}
	}
	if !r.Follower {
		return
	}
	for _, state := range e.opts.FollowerStates {
		out.flag(e.state, state == r.State, state)
	}
	if !slices.Contains(e.opts.FollowerStates, r.State) {
		out.gauge(e.state, 1, Other)
	}
	if r.Condition != "" {
		for _, name := range e.opts.Conditions {
			out.flag(e.condition, name == r.Condition, name)
		}
	}
	out.known(e.lagBytes, r.LagBytes)
	if r.Lag >= 0 {
		out.gauge(e.lagSeconds, r.Lag.Seconds())
	}
	out.flag(e.digest, r.DigestEqual)
	out.counter(e.received, r.Received)
	out.counter(e.reconnects, r.Reconnects)
	out.counter(e.resyncs, r.Continued, "continue")
	out.counter(e.resyncs, r.RangeResyncs, "ranges")
	out.counter(e.resyncs, r.FullResyncs, "full")
	out.counter(e.divergences, r.Divergences)
}
