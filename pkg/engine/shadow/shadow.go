// Package shadow makes, beside what is served, the state that a foreign log of
// commands leads to: that of a Tile38 whose log has been read from its beginning.
//
// Invariants:
//
//   - A command that the engine does not take is passed over and counted, as in a
//     replay.
//   - An item that equals one of the state beside is that one: two equal states
//     cost little more than one.
//
// The package touches memory only.
package shadow

import (
	"errors"
	"fmt"
	"strings"

	"evenkeel/pkg/engine"
	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

// errNoWrite is why a command of a log is passed over.
var errNoWrite = errors.New("no command of a log")

// Shadow is the state that a log leads to. One goroutine at a time may use it.
type Shadow struct {
	eng *engine.Engine
	own *collection.State // whose equal items are shared; nil: there is none
	out reply.Reply

	Commands int    // that Exec was given
	Refused  int    // of them, passed over
	First    string // the first of these, and why
	Shared   int    // items that were there in the state beside when they were set
}

// New returns one without data. own is the state beside, a snapshot, or nil.
func New(opt engine.Options, own *collection.State) *Shadow {
	sh := &Shadow{eng: engine.New(opt), own: own}
	sh.eng.Defer()
	return sh
}

// State returns what the commands have led to.
func (sh *Shadow) State() *collection.State { return sh.eng.State() }

// Exec carries out a command of the log, at the time now, in Unix milliseconds:
// times to live count from then. The words are not kept.
func (sh *Shadow) Exec(args []string, now int64) {
	sh.Commands++
	name := lower(args[0])
	spec := sh.eng.LookupLogged(name)
	if spec == nil || spec.Write == nil {
		sh.refuse(args, errNoWrite)
		return
	}
	req := command.Request{Args: args, Name: name, Now: now}
	if spec.Early != nil {
		spec.Early(&req)
	}
	sh.out.Buf, sh.out.Later = sh.out.Buf[:0], nil
	ch, err := sh.eng.Prepare(spec, &req, &sh.out)
	switch {
	case err != nil:
		sh.refuse(args, err)
	case ch != nil:
		sh.share(ch)
		sh.eng.Apply(ch)
	}
}

// lower spares the most frequent names an allocation.
func lower(name string) string {
	switch name {
	case "SET", "set":
		return "set"
	case "DEL", "del":
		return "del"
	}
	return strings.ToLower(name)
}

func (sh *Shadow) refuse(args []string, err error) {
	sh.Refused++
	if sh.First == "" {
		sh.First = fmt.Sprintf("%.200q: %v", args, err)
	}
}

// share puts the own item in the place of a new one that equals it.
func (sh *Shadow) share(ch *collection.Change) {
	if sh.own == nil {
		return
	}
	ops := ch.Ops()
	for i := range ops {
		op := &ops[i]
		if op.Kind != collection.OpPut {
			continue
		}
		own, _ := sh.own.Get(op.Key, op.New.ID())
		if own != nil && own.Deadline() == op.New.Deadline() && own.Same(op.New) {
			op.New = own
			sh.Shared++
		}
	}
}
