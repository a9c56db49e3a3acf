package main

import "fmt"

// states gives the state of a follower a number, which the words below name.
const states = `max by (namespace, pod) (evenkeel_follower_state{@, state="connecting"} or 2 * evenkeel_follower_state{@, state="full-resync"} or 3 * evenkeel_follower_state{@, state="range-resync"} or 4 * evenkeel_follower_state{@, state="catching-up"} or 5 * evenkeel_follower_state{@, state="streaming"})`

func compaction() board {
	return board{
		uid: "evenkeel-compaction", title: "Evenkeel / Compaction and resync",
		about: "When logs are compacted, what it costs, and how followers come through it.",
		rows: []row{
			{"Compaction", compactionPanels()},
			{"What requests notice", costPanels()},
			{"Resync of followers", resyncPanels()},
			{"Leaders", leaderPanels()},
		},
	}
}

func compactionPanels() []panel {
	return []panel{
		{title: "Log and threshold", unit: "bytes",
			about: "Size of the log as the compactor sees it, and from where on it is compacted: aofshrink-min-size, and aofshrink-growth over the last base. A log beyond its threshold for long is not being compacted.",
			queries: []query{
				{`evenkeel_compaction_log_bytes{@}`, pod},
				{`evenkeel_compaction_threshold_bytes{@}`, pod + " threshold"},
			}},
		{title: "Last compaction", unit: "bytes",
			about: "Size of the log before and after the last compaction that succeeded. Close together, it was hardly worth it: raise aofshrink-growth.",
			queries: []query{
				{`evenkeel_compaction_last_before_bytes{@} > 0`, pod + " before"},
				{`evenkeel_compaction_last_after_bytes{@} > 0`, pod + " after"},
			}, none: "none yet"},
		{kind: timeline, title: "Running", unit: "none",
			about:   "When a compaction runs. One pod of a release at a time, unless --compaction-turns=false.",
			queries: []query{{`max by (namespace, pod) (evenkeel_compaction_running{@})`, pod}}, words: []word{{"0", "no", grey}, {"1", "running", blue}}},
		{kind: timeline, title: "What the last check decided", unit: "none",
			about:   "The rule that decided: size and growth are too little, cooldown and backoff are rests, disk is a want of room, off is aofshrink-min-size 0.",
			queries: []query{{`evenkeel_compaction_decision{@}`, pod + " {{cause}}"}}, words: []word{{"1", "yes", blue}}},
		{title: "Duration, p50 and longest", unit: "s",
			about: "How long compactions took that ended within the last hour. The rate is bounded so that requests do not notice: long is right.",
			queries: []query{
				{`histogram_quantile(0.5, sum by (namespace, pod, le) (increase(evenkeel_compaction_duration_seconds_bucket{@, result="ok"}[1h])))`, pod + " p50"},
				{`histogram_quantile(1, sum by (namespace, pod, le) (increase(evenkeel_compaction_duration_seconds_bucket{@, result="ok"}[1h])))`, pod + " longest"},
			}, none: "none in the last hour"},
		{title: "Compactions in an hour, by result", unit: "none",
			about:   "Compactions that ended. After a failure the next try comes after 1, 2, 4, … 60 minutes.",
			queries: []query{{`increase(evenkeel_compactions_total{@}[1h]) > 0`, pod + " {{result}}"}}, none: "none in the last hour"},
		{title: "Failures in a row", unit: "none", steps: rising(1, 2),
			about:   "Compactions that have failed since the last that succeeded. The old log stays in force.",
			queries: []query{{`evenkeel_compaction_failures_in_a_row{@}`, pod}}},
		{title: "Written and freed", unit: "Bps",
			about: "Bytes of new bases that compactions write, and by which they make logs smaller.",
			queries: []query{
				{`rate(evenkeel_compaction_written_bytes_total{@}[$__rate_interval])`, pod + " written"},
				{`rate(evenkeel_compaction_removed_bytes_total{@}[$__rate_interval])`, pod + " freed"},
			}},
	}
}

func costPanels() []panel {
	return []panel{
		{title: "Latency, p99", unit: "s", steps: rising(0.010, 0.100),
			about:   "The slowest hundredth of the commands, with compactions marked.",
			queries: []query{{quantile(0.99, ""), pod}}},
		{title: "Memory", unit: "bytes",
			about: "Resident memory of each process, with compactions marked. What is overwritten while one runs is kept until its end.",
			queries: []query{
				{`evenkeel_memory_resident_bytes{@}`, pod + " sidecar"},
				{`evenkeel_engine_memory_bytes{@}`, pod + " Tile38"},
			}},
		{title: "Share of a processor", unit: "percentunit", none: "no compactor of its own",
			about:   "What a compaction may take now, at most --compaction-cpu. With compaction-rate adaptive it falls when p99 rises. Embedded engine.",
			queries: []query{{`evenkeel_compaction_share_ratio{@}`, pod}}},
		{title: "Free disk", unit: "bytes",
			about: "Free space on the disk of the log. A compaction needs as much as the new base takes, beside the old.",
			queries: []query{
				{`evenkeel_log_disk_free_bytes{@}`, pod},
				{`evenkeel_log_bytes{@, kind="temporary"}`, pod + " temporary"},
			}},
	}
}

func resyncPanels() []panel {
	words := []word{{"1", "connecting", red}, {"2", "full resync", orange}, {"3", "range resync", yellow}, {"4", "catching up", blue}, {"5", "streaming", green}}
	return []panel{
		{kind: timeline, title: "State of followers", unit: "none",
			about:   "What each follower does. A full resync takes the whole base, a range resync what differs, catching up what was written meanwhile.",
			queries: []query{{states, pod}}, words: words},
		{title: "Resyncs in an hour, by kind", unit: "none",
			about:   "How streams began: continue costs nothing, ranges sends what differs, full sends everything. After a compaction none but continue should show.",
			queries: []query{{`increase(evenkeel_replication_resyncs_total{@}[1h]) > 0`, pod + " {{kind}}"}}, none: "none in the last hour"},
		{title: "Behind the leader, seconds", unit: "s", steps: rising(5, 60),
			about:   "Age of each follower's state.",
			queries: []query{{`evenkeel_replication_lag_seconds{@}`, pod}}},
		{title: "Behind the leader, bytes", unit: "bytes",
			about:   "Log that the leader has and the follower has not applied.",
			queries: []query{{`evenkeel_replication_lag_bytes{@}`, pod}}},
		{title: "Received from leaders", unit: "Bps",
			about:   "What followers read. A follower that reads much more than is written takes a resync.",
			queries: []query{{`rate(evenkeel_replication_received_bytes_total{@}[$__rate_interval])`, pod}}},
		{title: "Reconnects and divergences in an hour", unit: "none",
			about: "Connections to a leader after the first, and times that a follower was found to differ. A divergence is a bug, or a disk that changed what was written: see the runbook.",
			queries: []query{
				{`increase(evenkeel_replication_reconnects_total{@}[1h])`, pod + " reconnects"},
				{`increase(evenkeel_replication_divergences_total{@}[1h])`, pod + " divergences"},
			}},
		{title: "Tile38: what it counts and what its file has", unit: "bytes", none: "no Tile38",
			about: "aof_size beside the size of the file. On a follower a difference means that it took its leader's log over its old state: doubled.",
			queries: []query{
				{`evenkeel_engine_log_bytes{@}`, pod + " counted"},
				{`evenkeel_engine_log_file_bytes{@}`, pod + " file"},
			}},
		{kind: timeline, title: "Tile38: followers without a bridge", unit: "none", none: "no such follower",
			about:   "What comparing them with their leader says. Doubled and diverged ones are healed by the leader's sidecar.",
			queries: []query{{`evenkeel_follower_condition{@} == 1`, pod + " {{condition}}"}}, words: []word{{"1", "yes", blue}}},
	}
}

func leaderPanels() []panel {
	return []panel{
		{title: "Connected followers", unit: "none",
			about:   "Followers that each pod serves.",
			queries: []query{{`evenkeel_replication_followers{@}`, pod}}},
		{title: "Followers by condition, as the leader's sidecar sees them", unit: "none", none: "no Tile38",
			about:   "Beside a Tile38 that leads: fine, catching-up, doubled, diverged, detached, unreachable, unknown.",
			queries: []query{{`sum by (namespace, condition) (evenkeel_replication_followers_condition{@}) > 0`, "{{namespace}} {{condition}}"}}},
		{title: "Log that the furthest follower has not acknowledged", unit: "bytes",
			about:   "The leader keeps it, up to --max-follower-log; then that follower is disconnected and comes back by a range resync.",
			queries: []query{{`evenkeel_replication_followers_max_lag_bytes{@}`, pod}}},
		{title: "Sent to followers", unit: "Bps",
			about:   "Bytes that leaders send. A compaction sends none.",
			queries: []query{{`rate(evenkeel_replication_sent_bytes_total{@}[$__rate_interval])`, pod}}},
		{title: "Latency by command during compactions, p99", unit: "s", width: 24, none: "no compaction in this time",
			about:   "Only of pods, and only of times, in which a compaction runs: what it costs.",
			queries: []query{{fmt.Sprintf(`max by (command) (histogram_quantile(0.99, sum by (namespace, pod, command, le) (rate(evenkeel_command_duration_seconds_bucket{@, command!~%q}[$__rate_interval]))) and on (namespace, pod) (evenkeel_compaction_running{@} == 1))`, waits), "{{command}}"}}},
	}
}
