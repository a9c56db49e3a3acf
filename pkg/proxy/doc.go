// Package proxy serves the connections of clients: it accepts them, reads their
// commands, has a Backend carry them out and sends the replies. What a command
// means is the backend's business alone.
//
// One goroutine serves one connection. It reads what has arrived, gives all
// whole commands of it to the Session at once, and sends their replies with one
// write. While it writes it does not read: a client that does not take its
// replies is not served further, and its connection holds no more than one
// batch of replies (backpressure). One more goroutine for the whole server, the
// sweeper, watches how long connections have been idle or stuck; so a command
// costs no timer.
//
// A RawBackend (raw.go) is given the bytes of a connection instead of its
// commands. All else is the same: limits, sweeper, shutdown, statistics. It may have
// the socket of a connection (detach.go), and then waits for many at once.
//
// Invariants:
//
//   - Every goroutine has ended when Serve returns, unless a Session ignores
//     its context for longer than Serve waits after cutting connections; the
//     error then says so.
//   - A connection ends for exactly one CloseReason, and is counted under it.
//   - Replies leave in the order of the commands; a reply is sent whole or the
//     connection ends.
//   - Nothing that one client sends, and no panic of a Session, ends the process
//     or another connection.
//   - An idle connection holds no buffer beyond 512 bytes.
//
// The package touches the listeners it is given and the connections accepted
// from them.
package proxy
