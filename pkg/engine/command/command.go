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
//
// A handler runs under the lock of whoever owns the state. What takes long and
// needs no state, reading a large geometry above all, can be done ahead by the
// command's Early step, outside the lock.
package command

import (
	"errors"

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
	// Deadline is when TIMEOUT ends the command, in Unix seconds, for scripts to
	// see; 0: no such end.
	Deadline float64
	// Locked says that a lock is held while a Read runs, and that its caller knows
	// what to do about ErrLong. What takes long and cannot be paused, because it
	// is about one large item, is to be answered with it then.
	Locked bool
	// Early is what the Early step of the command has made of Args, for its
	// handler; nil when it has not run. It depends on Args alone, errors
	// included, so that a handler does the same with and without it.
	Early any
	// Ahead is what the Ahead step of the command has made of Args and the state
	// as it was, for its handler, which checks whether it still holds and, if
	// not, does the work itself; nil when it has not run.
	Ahead any
}

// ErrLong says that a Read would take long under a lock. It is never an answer.
var ErrLong = errors.New("takes too long to hold a lock")

// Size returns the bytes of the arguments.
func (r *Request) Size() int {
	n := 0
	for _, a := range r.Args {
		n += len(a)
	}
	return n
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
	// Early, if set, reads the arguments ahead and keeps what it has read in
	// req.Early. It needs no lock.
	Early func(req *Request)
	// Ahead, if set, does ahead the work of a write on what is there at the moment,
	// and keeps it in req.Ahead. It needs no lock. When the work is little it does
	// nothing.
	Ahead func(req *Request, now View)
	// Parts, if set, says what a Write stands for that may be about very many items:
	// the commands that come next from the item from ("" is the first), a few of
	// them, and where to go on, "" at the end. Args[1] is the collection. The
	// answer is the number of commands.
	Parts func(req *Request, st *collection.State, from string) (cmds [][]string, next string, err error)
}

// View is a look at the state from outside its lock.
type View interface {
	// Item returns an item as it is at the moment, nil when there is none.
	Item(key, id string) *collection.Item
	// Snapshot returns the state as it is at the moment. It makes the next writes
	// copy a little.
	Snapshot() *collection.State
}

// earlySize is the size from which on a command is read ahead, in bytes. Reading
// less takes a few microseconds, which is not worth an allocation.
const earlySize = 1024

// ReadAhead runs the Early step of a command that is large enough for it.
func (s *Spec) ReadAhead(req *Request) {
	if s.Early != nil && req.Size() >= earlySize {
		s.Early(req)
	}
}
