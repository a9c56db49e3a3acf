package main

func hooks() board {
	return board{
		uid: "evenkeel-hooks", title: "Evenkeel / Hooks and messages",
		about: "Messages of fences on their way: the queue of webhooks, and what waits for subscribers, live fences and monitors. Embedded engine: a Tile38 delivers by itself and tells nothing of it but the number of its hooks.",
		rows: []row{
			{"Queue of webhooks", queuePanels()},
			{"Delivery", deliveryPanels()},
			{"Subscribers, live fences and monitors", listenerPanels()},
		},
	}
}

func queuePanels() []panel {
	return []panel{
		{kind: number, width: 6, height: 4, title: "Waiting", unit: "none",
			about:   "Messages that wait to be delivered to webhooks.",
			queries: []query{{`sum(evenkeel_hook_queue_messages{@})`, "messages"}}, steps: rising(1000, 100000)},
		{kind: number, width: 6, height: 4, title: "Oldest", unit: "s",
			about:   "Age of the oldest message that waits. It is dropped at --hook-queue-age, a day by default.",
			queries: []query{{`max(evenkeel_hook_queue_oldest_seconds{@})`, "age"}}, steps: rising(60, 600)},
		{kind: number, width: 6, height: 4, title: "Fullest queue", unit: "percentunit",
			about:   "Share of --hook-queue-size that is used. At 1 the oldest messages of the hook that holds most are dropped.",
			queries: []query{{`max(evenkeel_hook_queue_bytes{@} / evenkeel_hook_queue_limit_bytes{@})`, "full"}}, steps: rising(0.5, 0.9)},
		{kind: number, width: 6, height: 4, title: "Hooks and channels", unit: "none",
			about:   "Of the leader; its followers have the same.",
			queries: []query{{`max(evenkeel_hooks{@})`, "hooks"}}},
		{title: "Waiting messages", unit: "none",
			about:   "A queue that grows has an endpoint that is down, or slower than messages arise. Only the leader delivers: a follower's is empty.",
			queries: []query{{`evenkeel_hook_queue_messages{@}`, pod}}},
		{title: "Waiting bytes", unit: "bytes",
			about: "Size of the queue on disk, and its limit.",
			queries: []query{
				{`evenkeel_hook_queue_bytes{@}`, pod},
				{`evenkeel_hook_queue_limit_bytes{@}`, pod + " limit"},
			}},
		{title: "Age of the oldest message", unit: "s", steps: rising(60, 600),
			about:   "How late an endpoint is told. Close to 0 unless one is down.",
			queries: []query{{`evenkeel_hook_queue_oldest_seconds{@}`, pod}}},
		{title: "Time until the queue is full", unit: "s", none: "no queue grows",
			about:   "At the pace of the last 15 minutes, for queues that grow.",
			queries: []query{{`(evenkeel_hook_queue_limit_bytes{@} - evenkeel_hook_queue_bytes{@}) / (deriv(evenkeel_hook_queue_bytes{@}[15m]) > 0)`, pod}}},
	}
}

func deliveryPanels() []panel {
	return []panel{
		{title: "Delivered", unit: "cps",
			about:   "Messages that endpoints took per second.",
			queries: []query{{`rate(evenkeel_hook_messages_delivered_total{@}[$__rate_interval])`, pod}}},
		{title: "Failed attempts", unit: "cps",
			about:   "Attempts at a delivery that failed per second. A message is tried again, in order, with growing pauses up to --hook-retry-max.",
			queries: []query{{`rate(evenkeel_hook_attempts_failed_total{@}[$__rate_interval])`, pod}}},
		{title: "Share of attempts that fail", unit: "percentunit", max: 1, steps: rising(0.05, 0.5), none: "nothing is delivered",
			about:   "Of all attempts. 1 means that no endpoint takes anything.",
			queries: []query{{`rate(evenkeel_hook_attempts_failed_total{@}[$__rate_interval]) / ((rate(evenkeel_hook_attempts_failed_total{@}[$__rate_interval]) + rate(evenkeel_hook_messages_delivered_total{@}[$__rate_interval])) > 0)`, pod}}},
		{title: "Lost in an hour, by reason", unit: "none",
			about:   "Messages that will not be delivered, all of them and by reason. age and room: the endpoint was away for too long; removed: their hook was deleted; damaged: the disk changed them.",
			queries: []query{{`sum by (namespace, pod, reason) (increase(evenkeel_hook_messages_dropped_total{@}[1h])) > 0 or sum by (namespace, pod) (increase(evenkeel_hook_messages_dropped_total{@}[1h]))`, pod + " {{reason}}"}}},
	}
}

func listenerPanels() []panel {
	return []panel{
		{title: "Listeners", unit: "none",
			about:   "Subscribers, live fences and monitors that are connected.",
			queries: []query{{`evenkeel_listeners{@}`, pod}}},
		{title: "Waiting for them", unit: "bytes",
			about:   "Messages that listeners have not taken yet; --max-backlog bounds it for each, --max-backlog-total for all.",
			queries: []query{{`evenkeel_listeners_waiting_bytes{@}`, pod}}},
		{title: "Published and delivered", unit: "cps",
			about: "Messages by PUBLISH and by channels, and what was handed to subscribers of them: one message for each subscriber.",
			queries: []query{
				{`rate(evenkeel_messages_published_total{@}[$__rate_interval])`, pod + " published"},
				{`rate(evenkeel_messages_delivered_total{@}[$__rate_interval])`, pod + " delivered"},
			}},
		{title: "Slow listeners disconnected in an hour", unit: "none", none: "none",
			about:   "Listeners that were disconnected because too much waited for them. They see a closed connection, and miss nothing silently.",
			queries: []query{{`increase(evenkeel_listeners_slow_total{@}[1h])`, pod}}},
		{title: "Connections by transport", unit: "cps",
			about:   "New connections per second by the form of their first command.",
			queries: []query{{`sum by (transport) (rate(evenkeel_connections_transport_total{@}[$__rate_interval]))`, "{{transport}}"}}},
		{title: "Objects that expired", unit: "cps",
			about:   "Objects deleted because their time to live ran out: each may leave a fence.",
			queries: []query{{`rate(evenkeel_expired_objects_total{@}[$__rate_interval])`, pod}}},
	}
}
