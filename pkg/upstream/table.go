package upstream

import (
	"maps"
	"slices"

	"evenkeel/pkg/engine"
)

// Class says which engine a command is for.
type Class uint8

// The classes.
const (
	ClassLocal Class = iota // the engine beside us, whatever the role
	ClassRead               // reads data
	ClassWrite              // changes data, or has to be where that is done
)

// Classes returns the commands that are not ClassLocal, by their names in lower case.
func Classes() map[string]Class {
	classes := map[string]Class{}
	for name, k := range newTable().names {
		if name == k.name && k.class != ClassLocal {
			classes[name] = k.class
		}
	}
	return classes
}

// slot is a piece of a connection's state that is said again on a new link.
type slot int8

const (
	slotAuth slot = iota
	slotOutput
	slotName // CLIENT SETNAME
	numSlots
)

// known is what is known of a command.
type known struct {
	name   string // lower case, what is reported
	class  Class
	state  slot // with keeps
	keeps  bool // it may change state
	fence  bool // may be a live fence
	turns  bool // its reply is followed by what nobody has asked for
	wraps  bool // TIMEOUT: two words on, the command begins
	ends   bool // QUIT
	small  bool // may be for a shared connection
	search bool // may be for a shared connection of searches
	full   bool // AOF: a follower may take nothing for long
}

// maxName is longer than any name that is known.
const maxName = 24

// table finds commands by their names. It does not change.
type table struct {
	names map[string]*known // in lower and in upper case
	other known
	tile  known // the path of a vector tile, over HTTP
}

// newTable takes the commands that are about data from the engine's table.
//
// Scripts that are loaded live in one engine's memory: whatever is about them
// goes to the leader, or EVALSHA would not find there what SCRIPT LOAD has left
// here. A message of PUBLISH travels in the leader's log.
func newTable() *table {
	t := &table{names: map[string]*known{}, other: known{name: "other"}, tile: known{name: "other", class: ClassRead}}
	for _, spec := range engine.New(engine.Options{}).Commands() {
		k := known{name: spec.Name, class: ClassRead}
		if spec.Write != nil {
			k.class = ClassWrite
		}
		k.fence = k.name == "nearby" || k.name == "within" || k.name == "intersects"
		t.add(k)
	}
	for _, name := range []string{"eval", "evalsha", "evalna", "evalnasha", "evalrosha", "script", "publish"} {
		t.add(known{name: name, class: ClassWrite})
	}
	t.add(known{name: "evalro", class: ClassRead})
	for _, name := range []string{"subscribe", "psubscribe", "monitor"} {
		t.add(known{name: name, turns: true})
	}
	t.add(known{name: "aof", turns: true, full: true})
	t.add(known{name: "replicate", turns: true, full: true}) // of an Evenkeel
	t.add(known{name: "timeout", wraps: true})
	t.add(known{name: "quit", ends: true})
	t.add(known{name: "auth", keeps: true, state: slotAuth})
	t.add(known{name: "output", keeps: true, state: slotOutput})
	t.add(known{name: "client", keeps: true, state: slotName})
	for _, name := range []string{
		"ping", "echo", "hello", "command", "server", "info", "role", "healthz", "config",
		"follow", "slaveof", "replicaof", "readonly", "aofshrink", "aofmd5", "replconf", "gc", "shutdown", "wait",
		"unsubscribe", "punsubscribe",
	} {
		t.add(known{name: name})
	}
	for _, name := range smallCommands {
		t.names[name].small = true
	}
	for _, name := range searches {
		t.names[name].search = true
	}
	return t
}

// add leaves a name that is there alone: the engine's table comes first.
func (t *table) add(k known) {
	if t.names[k.name] != nil {
		return
	}
	t.names[k.name], t.names[upper(k.name)] = &k, &k
}

// find returns what is known of a command, or other.
func (t *table) find(name []byte) *known {
	if k := t.names[string(name)]; k != nil {
		return k
	}
	if len(name) > maxName {
		return &t.other
	}
	var small [maxName]byte
	if k := t.names[string(lower(small[:0], name))]; k != nil {
		return k
	}
	return &t.other
}

// list returns the names, "other" too, sorted.
func (t *table) list() []string {
	names := map[string]bool{t.other.name: true}
	for _, k := range t.names {
		names[k.name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

func lower(to, text []byte) []byte {
	for _, c := range text {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		to = append(to, c)
	}
	return to
}

func upper(name string) string {
	to := []byte(name)
	for i, c := range to {
		if 'a' <= c && c <= 'z' {
			to[i] = c - 'a' + 'A'
		}
	}
	return string(to)
}
