// Package stock follows a Tile38 server: it reads the leader's append-only file
// as a Tile38 follower does, but keeps its own log, goes on where it was after the
// leader's AOFSHRINK, and where that cannot be, brings in the difference only.
// DESIGN.md says how and why.
//
//	options.go   what it is told, and what it needs: Store
//	follower.go  the loop around connections, Status, Ready
//	session.go   one connection: where to begin, what to take
//	resync.go    the leader's whole log, and the difference
//	poll.go      how far the leader is, and whether the counts agree
//
// Invariants:
//
//   - What a client reads was never made of half a resync: the difference comes
//     from a log that was read up to where it ended.
//   - Caught up means: everything that the leader had logged when the connection
//     was made is in the own log.
//   - A stream is gone on with only where its last bytes say that it is the same
//     one; the counts of both sides are compared then.
//   - Everything that Run starts has ended when it returns.
//
// The package may touch the connections that Options.Dial makes and the store.
package stock
