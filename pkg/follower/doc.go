// Package follower follows a leader's log: it connects, asks to continue where
// the own log ends, takes a base when that cannot be, applies what comes, says
// how far it is, and begins again when the connection is lost.
//
//	options.go   what it is told, and what it needs: Store
//	attempts.go  what followers of every protocol do alike: try again, tell
//	follower.go  the loop around connections, Status, Ready
//	connect.go   dial, AUTH, REPLICATE, the answer
//	stream.go    base, batches, heartbeats, acknowledgements
//	ranges.go    what differs from the leader's state
//	event.go     what is told as it happens
//
// Invariants:
//
//   - The store gets whole, verified batches, in order, without a gap, as the
//     leader's log has them.
//   - A digest that differs from the leader's is reported, makes the follower
//     not ready, and leads to a resync; nothing else takes it back.
//   - A full resync that fails leaves the old state in force; a range resync that
//     fails leaves it between the two, without a position, and is gone on with.
//   - Everything that Run starts has ended when it returns.
//
// The package may touch the connections that Options.Dial makes and the store.
package follower
