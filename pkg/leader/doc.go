// Package leader serves the log to followers. A session that has read and
// authenticated REPLICATE hands its connection over to Serve, which answers,
// sends a base if one is needed, and then the log, until the follower goes.
//
//	leader.go  the followers, what is known of them, limits, the end
//	plan.go    continue, or what differs, or the base?
//	ranges.go  what differs from a snapshot
//	stream.go  one follower: send, heartbeats, acknowledgements
//
// Invariants:
//
//   - What is sent is read from the log's files. Nothing is queued for a
//     follower, so memory does not grow with followers or with their lag: one
//     costs two goroutines and the buffers of its reader.
//   - A follower that takes nothing for Options.WriteTimeout, or says nothing for
//     Options.AckTimeout, is cut, and counted with the reason.
//   - A compaction of the log is not noticed here: offsets stay, and the log's tail
//     follows the files.
//   - Every goroutine ends before the Serve that started it returns.
//
// The package may touch the connections that it is given and the log. It opens
// no file and no socket.
package leader
