package main

import "fmt"

// pod names a pod in a legend: names repeat from namespace to namespace.
const pod = "{{namespace}}/{{pod}}"

// waits are commands that take as long as they are told to: their durations say
// nothing about the server. deploy/helm/rules/evenkeel.yaml leaves out the same.
const waits = `aof|aofshrink|follow|monitor|psubscribe|subscribe|sleep|wait`

// quantile is a quantile of the durations of commands, by pod and more labels.
func quantile(q float64, more string) string {
	return fmt.Sprintf(`histogram_quantile(%v, sum by (namespace, pod, le%s) (rate(evenkeel_command_duration_seconds_bucket{@, command!~%q}[$__rate_interval])))`, q, more, waits)
}

// leads is 1 for a pod that leads and 0 for one that does not. Where pods elect
// their leader it needs a valid lease, elsewhere the role is what counts.
const leads = `max by (namespace, pod) (evenkeel_leader{@}) or max by (namespace, pod) (tile38_replication_info{@, role="leader"}) or 0 * max by (namespace, pod) (tile38_replication_info{@})`

func overview() board {
	return board{
		uid: "evenkeel-overview", title: "Evenkeel / Overview",
		about: "Memory, latency and log of each pod, with compactions marked: does a compaction leave them level? And who leads, who is ready, who is behind.",
		rows: []row{
			{"Now", nowPanels()},
			{"Memory, latency and log: they stay level while a compaction runs", spikePanels()},
			{"Roles and replication", rolePanels()},
			{"Traffic", trafficPanels()},
			{"Process and disk", processPanels()},
		},
	}
}

func nowPanels() []panel {
	return []panel{
		{kind: number, width: 4, height: 4, title: "Leaders", unit: "none", none: "0",
			about:   "Pods that lead, per release. Exactly one is right; none means that no write is taken, two that a fence has failed.",
			queries: []query{{`sum by (namespace, job) (evenkeel_leader{@}) or count by (namespace, job) (tile38_replication_info{@, role="leader"})`, "{{namespace}}/{{job}}"}},
			steps:   exactlyOne()},
		{kind: number, width: 4, height: 4, title: "Pods ready", unit: "percentunit",
			about:   "Share of the pods whose readiness probe passes. A follower that is behind, or differs from its leader, is not ready.",
			queries: []query{{`avg by (namespace, job) (evenkeel_ready{@})`, "{{namespace}}/{{job}}"}}, steps: falling(0.5, 1)},
		{kind: number, width: 4, height: 4, title: "Furthest behind", unit: "s", none: "no follower",
			about:   "Age of the state of the follower that is furthest behind. Followers stop being ready at --max-lag, 5 s by default.",
			queries: []query{{`max(evenkeel_replication_lag_seconds{@})`, "lag"}}, steps: rising(5, 60)},
		{kind: number, width: 4, height: 4, title: "Commands", unit: "reqps",
			about:   "Commands that all chosen pods carry out per second.",
			queries: []query{{`sum(rate(evenkeel_command_duration_seconds_count{@}[$__rate_interval]))`, "commands"}}},
		{kind: number, width: 4, height: 4, title: "Errors", unit: "percentunit",
			about:   "Share of the commands that were answered with an error. Clients cause some themselves, such as by asking for a key that is not there.",
			queries: []query{{`sum(rate(evenkeel_command_errors_total{@}[$__rate_interval])) / sum(rate(evenkeel_command_duration_seconds_count{@}[$__rate_interval]))`, "errors"}}, steps: rising(0.01, 0.1)},
		{kind: number, width: 4, height: 4, title: "Least free disk", unit: "percentunit",
			about:   "Free share of the fullest of the disks that the logs are on. A compaction needs room for a second base.",
			queries: []query{{`min(evenkeel_log_disk_free_bytes{@} / evenkeel_log_disk_size_bytes{@})`, "free"}}, steps: falling(0.1, 0.3)},
	}
}

// spikePanels are the three pictures of whoever looks for what a compaction, or the
// resync after it, does to memory and latency.
func spikePanels() []panel {
	slow := rising(0.010, 0.100)
	return []panel{
		{title: "Memory", unit: "bytes", height: 9,
			about: "Resident memory of each process, and the limit of its container. It must not jump when a compaction is marked, nor on a follower after one: that jump is a second copy of the data set.",
			queries: []query{
				{`evenkeel_memory_resident_bytes{@}`, pod + " sidecar"},
				{`evenkeel_engine_memory_bytes{@}`, pod + " Tile38"},
				{`evenkeel_memory_cgroup_limit_bytes{@}`, pod + " limit"},
				{`evenkeel_engine_memory_limit_bytes{@}`, pod + " Tile38, limit"},
			}},
		{title: "Size of the log", unit: "bytes", height: 9,
			about: "What a restart would read. It grows up to the threshold and falls with a compaction. Beside a Tile38, what it counts (aof_size) is drawn with what its file has: counting more than the file has is a follower that took its leader's log twice, whose caught_up says nothing.",
			queries: []query{
				{`sum by (namespace, pod) (evenkeel_log_bytes{@, kind=~"base|segments"})`, pod},
				{`evenkeel_engine_log_file_bytes{@}`, pod + " file of Tile38"},
				{`evenkeel_engine_log_bytes{@}`, pod + " counted by Tile38"},
				{`evenkeel_compaction_threshold_bytes{@}`, pod + " threshold"},
			}},
		{title: "Latency, p50", unit: "s", width: 8, steps: slow,
			about:   "Half of the commands are answered within this time. Without commands that wait by their nature, such as WAIT and SUBSCRIBE. Measured in the sidecar, from the whole request to the whole reply.",
			queries: []query{{quantile(0.5, ""), pod}}},
		{title: "Latency, p99", unit: "s", width: 8, steps: slow,
			about:   "One command in a hundred takes longer. This is the line that a compaction must leave level.",
			queries: []query{{quantile(0.99, ""), pod}}},
		{title: "Latency, p999", unit: "s", width: 8, steps: slow,
			about:   "One command in a thousand takes longer: single pauses show here first. With few commands it is the slowest of them.",
			queries: []query{{quantile(0.999, ""), pod}}},
	}
}

func rolePanels() []panel {
	yes := []word{{"0", "no", red}, {"1", "yes", green}}
	return []panel{
		{kind: timeline, title: "Role", unit: "none",
			about:   "Who leads. Where pods elect their leader, a leader is a pod with a valid lease.",
			queries: []query{{leads, pod}}, words: []word{{"0", "follower", blue}, {"1", "leader", green}}},
		{kind: timeline, title: "Ready", unit: "none",
			about:   "Whether the readiness probe passes. /status on the admin port names the reasons when it does not.",
			queries: []query{{`max by (namespace, pod) (evenkeel_ready{@})`, pod}}, words: yes},
		{title: "Behind the leader", unit: "s", steps: rising(5, 60),
			about:   "Age of each follower's state. A follower with a gap in its line does not know how far behind it is: it is not connected.",
			queries: []query{{`evenkeel_replication_lag_seconds{@}`, pod}}},
		{kind: timeline, title: "State equal to the leader's", unit: "none",
			about:   "Whether a follower is not known to differ from its leader: by the digest of each batch, or beside a Tile38 by comparison. A follower that differs takes no reads and mends itself.",
			queries: []query{{`min by (namespace, pod) (evenkeel_replication_digest_equal{@})`, pod}}, words: yes},
		{title: "Lease", unit: "s", none: "no election",
			about: "Time that the leader's fence is still valid. At 0 it takes no more writes, whatever it believes. Only where pods elect their leader.",
			queries: []query{
				{`evenkeel_fence_remaining_seconds{@}`, pod + " fence"},
				{`histogram_quantile(0.99, sum by (namespace, pod, le) (rate(evenkeel_lease_renew_seconds_bucket{@}[$__rate_interval])))`, pod + " renewal, p99"},
			}},
		{title: "Elections", unit: "none", none: "no election",
			about: "Changes of leader, and pods that lead because all their peers confirm it while the API server is away. Only where pods elect their leader.",
			queries: []query{
				{`increase(evenkeel_election_transitions_total{@}[$__rate_interval])`, pod + " transitions"},
				{`evenkeel_lease_failsafe{@}`, pod + " without the API server"},
			}},
	}
}

func trafficPanels() []panel {
	return []panel{
		{title: "Commands by name", unit: "reqps",
			about:   "Commands per second, all chosen pods together. Names that the server does not know count as other.",
			queries: []query{{`sum by (command) (rate(evenkeel_command_duration_seconds_count{@}[$__rate_interval]))`, "{{command}}"}}},
		{title: "Latency by command, p99", unit: "s", steps: rising(0.010, 0.100),
			about:   "Which command is slow, over all chosen pods.",
			queries: []query{{fmt.Sprintf(`histogram_quantile(0.99, sum by (command, le) (rate(evenkeel_command_duration_seconds_bucket{@, command!~%q}[$__rate_interval])))`, waits), "{{command}}"}}},
		{title: "Errors by command", unit: "reqps",
			about:   "Commands per second that were answered with an error.",
			queries: []query{{`sum by (command) (rate(evenkeel_command_errors_total{@}[$__rate_interval])) > 0`, "{{command}}"}}, none: "no errors"},
		{title: "Connections", unit: "none",
			about: "Open connections of clients, and those that --max-connections turns away per second.",
			queries: []query{
				{`evenkeel_connections{@}`, pod},
				{`sum by (namespace, pod, reason) (rate(evenkeel_connections_rejected_total{@}[$__rate_interval]))`, pod + " turned away: {{reason}}"},
			}},
		{title: "Commands sent to the leader", unit: "reqps", none: "no proxy to another engine",
			about: "Writes, and reads that the pod is not fit for, which its sidecar sends on. Beside a Tile38.",
			queries: []query{
				{`rate(evenkeel_upstream_forwarded_writes_total{@}[$__rate_interval])`, pod + " writes"},
				{`rate(evenkeel_upstream_leader_reads_total{@}[$__rate_interval])`, pod + " reads"},
			}},
		{title: "Trouble on the way to engines", unit: "reqps", none: "no proxy to another engine",
			about: "Connections to engines that could not be made or were lost, and commands that were refused or lost with them. Beside a Tile38.",
			queries: []query{
				{`rate(evenkeel_upstream_dials_total{@, result="failed"}[$__rate_interval])`, pod + " not connected"},
				{`rate(evenkeel_upstream_connections_lost_total{@}[$__rate_interval])`, pod + " connections lost"},
				{`rate(evenkeel_upstream_commands_refused_total{@}[$__rate_interval])`, pod + " commands refused"},
				{`rate(evenkeel_upstream_commands_lost_total{@}[$__rate_interval])`, pod + " commands lost"},
			}},
	}
}

func processPanels() []panel {
	return []panel{
		{title: "Processor", unit: "none",
			about:   "Processors that each sidecar keeps busy: the engine too when it is embedded.",
			queries: []query{{`rate(process_cpu_seconds_total{@}[$__rate_interval])`, pod}}},
		{title: "Memory of the container", unit: "percentunit", max: 1, steps: rising(0.8, 0.9), none: "no limit",
			about: "Share of the memory limit that is used: at 1 the kernel kills the process. Only where there is a limit.",
			queries: []query{
				{`evenkeel_memory_cgroup_working_set_bytes{@} / evenkeel_memory_cgroup_limit_bytes{@}`, pod + " sidecar"},
				{`evenkeel_engine_memory_bytes{@} / evenkeel_engine_memory_limit_bytes{@}`, pod + " Tile38"},
			}},
		{title: "Garbage collection", unit: "percentunit",
			about:   "Share of a processor that collecting garbage takes.",
			queries: []query{{`rate(go_cpu_classes_gc_total_cpu_seconds_total{@}[$__rate_interval])`, pod}}},
		{title: "Syncs of the log, p99", unit: "s", none: "no log of its own",
			about:   "How long the disk takes to sync the log. With appendfsync always every write waits for it. Embedded engine.",
			queries: []query{{`histogram_quantile(0.99, sum by (namespace, pod, le) (rate(evenkeel_log_fsync_duration_seconds_bucket{@}[$__rate_interval])))`, pod}}},
		{title: "Free disk", unit: "bytes",
			about:   "Free space on the disk of the log.",
			queries: []query{{`evenkeel_log_disk_free_bytes{@}`, pod}}},
		{title: "Objects", unit: "none",
			about:   "Objects in all collections. Leader and followers have the same number, but for what is under way.",
			queries: []query{{`evenkeel_objects{@}`, pod}}},
	}
}
