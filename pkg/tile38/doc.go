// Package tile38 is the client side of the protocol by which a Tile38 server
// follows another: ask the leader who it is, compare pieces of its append-only
// file, and read that file as a stream that never ends.
//
//	conn.go    one connection: AUTH, SERVER, AOFMD5, REPLCONF, AOF
//	scan.go    where commands begin and end
//	stream.go  commands as they come, and where in the file they stand
//	tail.go    the last bytes that were taken, to go on behind them
//	heartbeat.go  commands that say where in a log they are, and when they were written
//	find.go    the place behind those bytes in a file that AOFSHRINK has rewritten
//
// Invariants:
//
//   - A position is a byte of the leader's file, as AOF and AOFMD5 count.
//   - A tail is found again only where nothing else can be meant; see find.go.
//   - Memory is bounded by one command, the tail and the window of a search.
//
// The package touches the connections that it dials, and memory.
package tile38
