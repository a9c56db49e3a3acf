// Package replication is what a leader and a follower have in common: the
// words of the protocol between two Evenkeel pods and the machine that turns
// what a follower has heard into what it may say about itself.
//
//	Hello, Answer       the handshake, both directions
//	Range, Bits         what a range resync is about
//	Report, controls    what both sides say while the log streams
//	BatchReader         cuts a byte stream into verified batches and heartbeats
//	Heartbeat           what a leader sends while nothing is written
//	LeaderClock         the leader's clock, seen from here
//	Progress, Status    how far a follower is, and whether it may be asked
//
// DESIGN.md draws the bytes and tells why they are as they are.
//
// Invariants:
//
//   - A batch comes out of BatchReader whole, with a valid checksum, beginning
//     at the offset at which the one before it ended, or not at all.
//   - Memory grows with bytes that have arrived, never with a length that was
//     only announced.
//   - Words that a reader does not know in a Hello or an Answer are skipped in
//     pairs, so both can grow without a new version.
//
// The package touches nothing: no socket, file, clock or goroutine. Time is
// passed in; BatchReader reads from the io.Reader that it is given.
package replication
