// Package verify compares what two Tile38 servers hold, object by object, while
// both are at work, names what differs and makes the commands that mend it.
//
//	verify.go    objects, hooks, and a Source of them
//	live.go      a Source that is a running server; pool.go has its connections
//	pager.go     pages of a collection that changes meanwhile
//	page.go      what a page says
//	look.go      single objects, times to live, hooks of a running server
//	state.go     a Source that is a state of the embedded engine
//	compare.go   the comparison; suspects.go looks again at what differs
//	level.go     waits until a follower has what its leader had, by the sizes of their logs
//	equal.go     when two objects are equal
//	commands.go  what mends a difference
//	repair.go    how it gets to a follower, which takes no writes
//
// Invariants:
//
//   - Nothing is reported that was seen once: a difference is looked at again, on
//     both sides, and counts when it and what differs stay as they are.
//   - A page is right whatever is written meanwhile: it begins at or before the
//     last id that was seen, or it is asked for again.
//   - Memory is bounded by some pages, the suspects, names of collections, and hooks.
//   - Only what is in repair.go writes.
//
// The package touches the connections that it dials, and memory.
package verify
