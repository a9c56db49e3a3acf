// Package compactor decides when the log is compacted and sees to it that it
// happens, one compaction at a time.
//
//	policy.go    Decide: from sizes and history to yes or no, and why; pure
//	compactor.go the loop: checks on a clock, runs the target, keeps the score
//	size.go      sizes as people write them: 64mb
//
// What a compaction does is the Target's matter: the store takes a snapshot,
// writes the new base, verifies and installs it. The package declares the
// Target as small as it needs it.
//
// Invariants: at most one compaction runs; it runs inside Run and has ended
// when Run returns; Decide is a function of its arguments alone.
//
// The package may touch the clock that it is given, and nothing else: no disk,
// no network.
package compactor
