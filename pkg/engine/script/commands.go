package script

import (
	"errors"
	"strings"

	"evenkeel/pkg/engine/reply"
)

// access says what a script may do with a command.
type access uint8

const (
	refused access = iota
	reads
	writes
	unknown // Tile38 lets scripts call it and does not know it then
)

// accessOf returns what a script may do with the command of this lower-case
// name. As in Tile38, JDEL and STATS are not for scripts.
func accessOf(name string) access {
	switch name {
	case "get", "fget", "fexists", "exists", "keys", "scan", "search", "nearby", "within", "intersects", "ttl", "bounds",
		"jget", "type", "test", "server":
		return reads
	case "set", "fset", "del", "pdel", "drop", "rename", "renamenx", "expire", "persist", "jset":
		return writes
	case "flushdb", "hooks", "info":
		return unknown
	}
	return refused
}

// Errors of commands in scripts.
var (
	errRefused  = errors.New("command not supported in scripts")
	errReadOnly = errors.New("read only")
)

// check says why a script may not carry out a command.
func check(args []string, readOnly bool) error {
	name := strings.ToLower(args[0])
	inner := args
	if name == "timeout" {
		if len(args) < 3 {
			return reply.ErrNumArgs
		}
		inner = args[2:]
	}
	cmd := strings.ToLower(inner[0])
	a := accessOf(cmd)
	switch {
	case a == refused:
		return errRefused
	case readOnly && (a == writes || cmd == "flushdb"):
		return errReadOnly
	case a == unknown:
		return reply.Plain("unknown command '" + inner[0] + "'")
	case a == writes && name == "timeout":
		return reply.Plain("timeout not supported for '" + cmd + "'")
	}
	return nil
}
