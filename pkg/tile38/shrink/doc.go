// Package shrink makes AOFSHRINK of a stock Tile38 a compaction that can be relied
// on: it finds out whether it happened, and brings its followers through it.
//
//	options.go    what there is to say
//	link.go       a kept connection; what a server says of itself
//	target.go     the engine as a compactor.Target: sizes, and AOFSHRINK to its true end
//	state.go      what is remembered of the last rewrite over a restart
//	judge.go      from what leader and follower say to what is the matter; pure
//	look.go       asks both, as often as it takes to judge
//	proof.go      objects have the last word on who looks fine by its counts
//	plan.go       from judgements to the next step; pure
//	coordinate.go carries the steps out: rewrite again, reset, wait, give up
//	report.go     what came of it, for each follower
//	turn.go       a lease on the leader: who may compact now
//	ready.go      whether a pod without a bridge is fit
//
// AOFSHRINK answers OK before it begins, and tells nobody how it ends. What is
// sure is that the file's swap closes every connection that reads the file, and
// that aof_rewrite_in_progress is false afterwards. So a connection that reads the
// file is opened before; that it is closed while the server lives proves the swap,
// and that it is open when nothing is in progress proves a failure.
//
// Invariants:
//
//   - A compaction is reported done only when the swap was seen.
//   - A follower is called fine only when its size and all its counts lie between
//     what the leader said before and after; what differs is looked at several
//     times, as both are at work.
//   - A follower that was healed is fine only once its objects were compared, too.
//   - The number of rewrites that a follower is worth is bounded.
//   - Judge and Plan are functions of their arguments alone.
//
// The package touches the connections that it dials, one state file and free space
// through fsx, and, where Options.Reset allows it, followers' data.
package shrink
