// Package forward sends commands to the leader and brings its replies back: what a
// follower does with the writes of its clients.
//
//	options.go    options and their defaults
//	command.go    FORWARD, which an Evenkeel alone knows
//	pool.go       connections to the leader, shared by all clients
//	link.go       one connection: how it begins, whether it can still be used
//	exchange.go   a pipeline out, its replies in
//
// A pipeline travels as a pipeline, on a connection that belongs to it until all of
// it is answered; then the next one gets the connection. Behind a pipeline the leader
// is asked where its log ends, so that a read can wait for what was written.
//
// Invariants:
//
//   - A reply comes back unchanged, and belongs to its command.
//   - Nothing is sent twice here: the Outcome says which commands were answered, which
//     may have been carried out, and which have not been; the caller decides.
//   - A command counts as not carried out only if its last byte was never handed to the
//     connection.
//   - There are no more than Options.MaxLinks connections. An idle one that the leader
//     has closed is found out before anything is sent on it.
//   - Memory is bounded by the replies, which are bounded by the caller.
//
// The package touches the connections that it dials.
package forward
