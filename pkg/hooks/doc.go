// Package hooks delivers the messages of webhooks: a durable queue of messages
// for each hook, and senders that bring them to endpoints, in order.
//
// It touches the network, the disk through internal/fsx, and the time through
// internal/clock. DESIGN.md says why it is built as it is.
//
// # The way of a message
//
//	Append   under the store's lock: into memory, with a number (id)
//	Commit   written to the log, and synced as the fsync policy asks; only now
//	         may it be sent
//	a sender posts it; at the first endpoint that takes it, it is done with
//	a mark   "hook h is done up to id n", is written to the log a little later
//	         the file is removed once nothing in it, or in an older one, waits
//
// # Invariants
//
//   - The messages of a hook are sent one after another, in the order of Append.
//   - A message that was committed is sent until an endpoint takes it, also after
//     a crash, unless a bound of Options is exceeded or the hook is removed; that
//     is counted, and logged.
//   - Nothing is sent twice but what was taken shortly before a crash, or when an
//     attempt was cut off or not answered.
//   - Nothing is sent that is not committed.
//   - Append takes memory and a short lock, nothing else.
//   - Memory is bounded: messages in memory by MaxMemory, unwritten ones by
//     MaxPending, and the index, 32 bytes a message, by MaxBytes/512 messages.
//   - Disk is bounded: MaxBytes for what waits, a quarter of what waits and four
//     segments for what does not any more.
//   - Idle hooks cost no goroutine. There are at most MaxSenders senders and one
//     worker; Stop joins them.
//
// # Locks
//
// Queue.turn is held by whoever writes or removes files. Queue.mu guards
// everything in memory and is held for short times without I/O. Whoever has the
// turn may take mu, never the other way round.
package hooks
