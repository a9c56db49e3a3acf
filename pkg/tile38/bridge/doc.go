// Package bridge plays the leader for the pod's own, unmodified Tile38 follower,
// so that it never resyncs from zero. DESIGN.md says how, and what Tile38 does.
//
//	options.go  what it is told
//	bridge.go   Run, Delivered, WaitFor
//	engine.go   the side of the follower: its questions, and what it is fed
//	file.go     the follower's own append-only file, on the volume that both share
//	place.go    where in its history the follower stands, by the end of that file
//	ring.go     this history, as far as it may be needed, and what comes next
//	marks.go    how far the follower is, by messages that it hands on
//	leader.go   the side of the leader: who it is, and where to go on
//	follow.go   the leader's stream, and whether both sides have the same
//	resync.go   the difference, and the last resort
//	state.go    what outlives the sidecar
//	status.go   Status, Ready, events
//
// Invariants:
//
//   - The follower is told nothing that makes it give up its file or its memory.
//   - A stream is gone on with only where the follower's file and the leader's prove
//     that it is the same one; else the follower gets the difference.
//   - Whether the follower has what the leader's file leads to is on the disk before
//     that changes.
//   - Ready means: level, and found equal since the follower's last connection. With
//     each stream of the leader that is looked at again.
//   - Memory is bounded by Keep, Ahead and one command; but for a difference, which
//     takes that of the leader's data, and gives it back.
//   - Everything that Run starts has ended when it returns.
//
// The package touches the connections that it dials and that its Listener accepts,
// the follower's file (reading) and the state file.
package bridge
