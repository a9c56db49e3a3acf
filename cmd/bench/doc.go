// Command bench measures servers that speak the Tile38 protocol, side by side
// in one run:
//
//	bench --sidecar bin/sidecar --tile38 tile38-server
//	bench --sidecar bin/sidecar --points 20000 --json
//	bench --sidecar bin/sidecar --tile38 tile38-server --fences
//	bench --tile38 tile38-server --proxy
//
// It starts each server itself, on free ports of 127.0.0.1 with data in a
// temporary folder, and ends it by its process id. Every stage is done with one
// server after the other before the next stage begins, so that both see the
// same machine.
//
//	main.go      flags
//	bench.go     the stages, in order
//	process.go   a server: start, memory, end
//	wire.go      RESP, as little as is needed
//	data.go      objects and requests, the same for every server
//	closed.go    loading and throughput: the next request waits for a reply
//	open.go      latency: requests at their times, whatever the replies do
//	compaction.go  latencies and memory before, during and after a compaction
//	memory.go    the highest resident memory of a time; what is overwritten meanwhile
//	fences.go    --fences: SETs beside many hooks and channels, and what those cost
//	events.go    --fences: messages to subscribers, live fences and webhooks
//	proxy.go     --proxy: our proxy, with a shared connection and without, HAProxy and twemproxy before one server
//	proxyload.go --proxy: they take turns in short rounds
//	proxyidle.go --proxy: the memory of many clients that say nothing
//	report.go    numbers, ratios, table, JSON
//	progress.go  one line that says what goes on
package main
