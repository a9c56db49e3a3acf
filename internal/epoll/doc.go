// Package epoll lets one goroutine serve many connections: it waits for all of
// them with one system call, and reads and writes them without ever waiting.
//
//	socket.go  a connection that was taken out of the runtime's poller
//	poller.go  waiting for many
//
// The runtime's own poller wakes a goroutine for each connection, which reads once
// more than there is something, to learn that there is no more. That costs more
// than the reading where each connection has one small request at a time.
//
// Invariants:
//
//   - A Socket belongs to one goroutine at a time, which alone closes it, or gives
//     it back to net: no descriptor is used once it has been closed.
//   - Nothing but Poller.Wait waits.
//
// The package touches the connections that it is handed. It is Linux's alone.
package epoll
