// Package upstream lets pkg/proxy stand before another server, a Tile38: bytes
// pass unchanged in both directions, and are looked at as they pass.
//
//	backend.go   what pkg/proxy is given
//	options.go   options and their defaults
//	table.go     what is known of commands by their names
//	requests.go  where commands begin and end in what a client sends
//	http.go      the one command of an HTTP request or a WebSocket handshake
//	forms.go     RESP or JSON, once commands come in several forms
//	replies.go   where replies begin and end in what an engine sends
//	pending.go   commands that have been sent and not yet answered
//	session.go   one client: reads it, sends to an engine
//	link.go      one connection to an engine: reads it, sends to the client
//	lost.go      what happens when an engine cannot be reached or is lost
//	sharing.go   how a client comes to a shared connection, and back
//	shared.go    the goroutine of clients that share connections
//	lane.go      one shared connection: of small commands, or of searches
//	guest.go     a client on them
//	small.go     what may go over them
//	route.go     which engine gets a command; reads that wait for own writes
//	state.go     AUTH, OUTPUT and names, said again on each new link
//	source.go    reading without holding a buffer while waiting
//	target.go    dialling, with pauses
//	control.go   how far leader and engine are, when nobody else says it
//	stats.go     counters
//
// One goroutine reads the client and writes to the engine; a second one, made
// with the connection to the engine, at the first byte, reads the engine and
// writes to the client. So replies of any size pass through, a client may send
// for as long as it likes before it reads, and who is slow holds up the other
// through the sockets alone. A goroutine that waits holds no buffer.
//
// Small commands (small.go) need none of that: with Options.SharedConnections their
// clients share connections to the engine. One goroutine (shared.go) then has the
// sockets of all of them and of the engine, waits for all at once, and sends what it
// has read of many clients with one system call; so the engine reads and writes once
// for many. A session waits meanwhile. It gets its client back, with what is not small,
// as soon as nothing is owed to it, and a connection of its own if it has none; after
// some small commands in a row there it goes to the shared connection again. Whatever
// is not plain, such as an engine that is lost or a shutdown, is done by the session.
//
// Searches have shared connections of their own, one search of a client at a time. Nobody
// knows how long a search takes: when the oldest one takes long, those behind it, which
// may be sent again, go to their clients' own connections, and so do all for a while
// when searches take long on the average.
//
// Counting commands and replies says which command a reply belongs to. It is
// never needed to pass bytes on: at the first thing that it does not understand
// (malformed bytes, a live fence, a reply to nothing) a session becomes opaque and
// its bytes just pass. So it does with an HTTP request, which is the only one on
// its connection, once it is known which engine it is for.
//
// Invariants:
//
//   - What a client sends arrives unchanged and in order; so does what an engine
//     sends. Bytes of our own are put only between replies, and only when an
//     engine cannot be reached, or was lost with commands under way.
//   - A session writes to one engine at a time. It turns to the other one when
//     all has been answered, so that replies keep the order of the commands.
//   - A client is in one place at a time, and changes it when nothing is owed to it:
//     replies keep their order. What is about a connection (AUTH, OUTPUT, names) stays
//     on the client's own, and so does a client that has said it.
//   - Over a shared connection goes only what an engine answers with one reply, and what
//     it cannot take for malformed; nobody waits for another's client to read, nor for
//     another's search longer than longSearch.
//     What a client does not take is kept, up to Options.MaxUnsent.
//   - A write is sent once. Nothing that may have been carried out is sent again, but a
//     search behind a long one.
//   - An incomplete command of up to 512 bytes is held back until it is whole or
//     longer, and an HTTP request until its head, of at most Options.MaxHead, and so
//     much of its body have come; what else a session holds is one buffer while it
//     is being sent.
//
// The package touches the connections that it is handed and those that it dials.
package upstream
