// Package compactor decides when the log is compacted and sees to it that it
// happens, one compaction at a time.
//
//	policy.go    Decide: from sizes and history to yes or no, and why; pure
//	compactor.go the loop: checks on a clock, runs the target, keeps the score
//	governor.go  how fast: a share of a processor that goes with the latency of requests
//	latency.go   the histogram that it looks at
//	size.go      sizes as people write them: 64mb
//
// What a compaction does is the Target's matter: the store takes a snapshot,
// writes the new base, verifies and installs it. The package declares the
// Target as small as it needs it.
//
// Invariants: at most one compaction runs; it runs inside Run and has ended
// when Run returns; Decide is a function of its arguments alone; the governor
// knows no time but the one that it is told.
//
// The package may touch the clock that it is given, and nothing else: no disk,
// no network.
package compactor
