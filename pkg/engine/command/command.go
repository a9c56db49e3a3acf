// Package command says what a command of the engine is: its name, whether it
// changes data, and the function that carries it out. The families of commands
// (keys, search, later fences and scripts) each export a list of Specs; the
// engine merges them into its table.
//
// A write never changes the state itself: its handler reads the state, checks
// everything that can go wrong, and records what has to be done in a Change.
// Nothing can fail after that, so the log may be written between the two.
//
// Handlers are deterministic: given the same state, arguments and time they
// record the same Change, on the leader, on a follower and when the log is
// replayed.
package command

import (
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/reply"
)

// Request is one command on its way through the engine.
type Request struct {
	// Args are the words of the command, Args[0] its name as it was sent. They
	// may share memory with a larger buffer: what is kept must be cloned.
	Args []string
	// Name is Args[0] in lower case.
	Name string
	// Via is the command that wraps this one (TIMEOUT), in lower case: errors
	// name it. "" when there is none.
	Via string
	// Now is the time of the batch that the command belongs to, in Unix
	// milliseconds. Handlers have no other clock.
	Now int64
	// Pause, if set, is asked from time to time by long searches; an error
	// ends the search and becomes its result. It is how the caller bounds the
	// time of a search or the time for which a lock is held.
	Pause func() error
}

// Read answers a command that changes nothing.
type Read func(req *Request, st *collection.State, out *reply.Reply) error

// Write answers a command and records its effect in ch. If it returns an error
// or leaves ch empty, nothing is logged and nothing changes.
type Write func(req *Request, st *collection.State, ch *collection.Change, out *reply.Reply) error

// Spec is an entry of the command table: exactly one of Read and Write is set.
type Spec struct {
	Name  string // lower case
	Read  Read
	Write Write
}
