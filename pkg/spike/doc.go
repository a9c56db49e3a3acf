// Package spike measures what a compaction of a leader's log does to the leader
// and to a follower, from outside, through the protocol alone: any two
// Tile38-compatible servers will do. It writes points into a collection of its
// own, sends requests at a fixed rate, open loop, has the leader compact in the
// middle, and watches memory, log and latency until the follower is level again.
//
//	options.go  what is measured
//	run.go      the phases
//	watch.go    what the servers say of themselves meanwhile
//	result.go   what came out, as values
//	text.go     … as a table
//	page.go     … as a page with pictures
//
// Invariants:
//
//   - No collection but its own is written; that one must not exist before, and is
//     dropped at the end, also after an error.
//   - Latency is counted from when a request was meant to be sent.
//
// The package touches the network, as a client.
package spike
