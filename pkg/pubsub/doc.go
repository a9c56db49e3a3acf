// Package pubsub knows who listens to which channel, and keeps what waits to be
// sent to each listener: messages of channels and patterns, and messages that
// are meant for one listener alone (live fences, MONITOR).
//
// It touches memory only: no clock, socket, file or goroutine.
//
// # Invariants
//
//   - Publish and Push never block: they take short locks and no I/O happens
//     under them. They may be called under the store's write lock.
//   - A listener gets its messages in the order of Publish and Push. All listeners
//     see two calls of Publish in the same order.
//   - The payload is shared by all listeners, not copied; nobody changes it.
//   - What waits for a listener is bounded in messages and bytes, and what waits
//     for all of them in bytes. A listener that exceeds its bounds, or holds most
//     when all together exceed theirs, is slow: its backlog is dropped and its
//     owner learns of it, from Next and from Gone, and ends the connection. So
//     nobody gets a stream with a hole in it.
//   - What Next has handed out counts until the next call of Next, because its
//     owner still holds it. A listener whose client does not read is found even
//     while its owner is blocked in a write.
//   - The names that listeners subscribe to are bounded in bytes.
//
// # Cost
//
// Publish costs a map lookup for the channel and one pass over all distinct
// patterns, most of which fail at their literal beginning. A channel that nobody
// listens to costs no allocation. The work that malicious patterns can cause in
// one Publish is bounded (Options.MaxMatchSteps).
//
// # Locks
//
// Hub.mu guards the tables of subscriptions, Listener.mu a backlog. A holder of
// Hub.mu may take a Listener.mu, never the other way round.
package pubsub
