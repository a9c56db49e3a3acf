// Package metrics shows the server's numbers to Prometheus.
//
// It adapts from outside: the packages below report by plain snapshot structs
// (sources.go), which the wiring fills in, and none of them knows Prometheus.
//
//	metrics.go   the private registry, its HTTP handler, events with a duration
//	commands.go  durations of commands: the hot path, free of locks and garbage
//	buckets.go   the bounds that durations are sorted into
//	window.go    quantiles of the last minutes, for Tile38's summary
//	evenkeel.go  metrics of our own, evenkeel_*
//	tile38.go    Tile38's names, types and labels, so that its dashboards work
//	external.go  an engine in another process, and the way to it
//	election.go  who leads
//	certificate.go, webhook.go  what listeners show; the injector
//	memory.go    resident memory and the cgroup's account of it
//
// Labels are bounded. Commands that are not in Options.Commands count as
// "other". Tile38's tile38_collection_* metrics carry the name of the
// collection, which clients choose: only Options.MaxCollectionLabels
// collections (default 100) have a series of their own, those admitted first,
// the largest first when there is a choice; the others, and those whose names
// are not UTF-8, longer than 128 bytes or "__other__", are summed under
// col="__other__".
//
// Invariants: no package-level metric, no global registry; a source that is
// not given leaves its metrics out; a scrape never stops the world.
//
// The package may read /proc and /sys/fs/cgroup, and otherwise only what its
// sources report.
package metrics
