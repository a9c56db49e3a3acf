package search

import (
	"slices"
	"strings"

	"evenkeel/pkg/engine/reply"
)

// fence is what the words FENCE, DETECT, COMMANDS and NODWELL say. A search
// without FENCE reads the others and does not heed them.
type fence struct {
	on       bool
	detect   []string
	commands []string
	noDwell  bool
}

// errNoFence is the answer to a search with FENCE: a connection that stays
// open and is told of changes is not a search's to give.
var errNoFence = reply.Plain("FENCE is not supported here")

// detects are what DETECT can ask for.
var detects = [...]string{"inside", "outside", "enter", "exit", "cross"}

// option reads a word that only fences understand; ok is false if it is none.
func (f *fence) option(w *words, name, word string) (ok bool, err error) {
	switch name {
	default:
		return false, nil
	case "fence":
		if f.on {
			return true, duplicate(word)
		}
		f.on = true
	case "nodwell":
		f.noDwell = true
	case "detect":
		if f.detect != nil {
			return true, duplicate(word)
		}
		f.detect, err = w.list(func(s string) bool { return slices.Contains(detects[:], s) })
	case "commands":
		if f.commands != nil {
			return true, duplicate(word)
		}
		f.commands, err = w.list(func(string) bool { return true })
	}
	return true, err
}

// list reads words between commas, in lower case, each at most once.
func (w *words) list(known func(string) bool) ([]string, error) {
	word, err := w.next()
	if err != nil {
		return nil, err
	}
	var list []string
	for _, part := range strings.Split(word, ",") {
		name := strings.ToLower(strings.TrimSpace(part))
		if slices.Contains(list, name) {
			return nil, duplicate(part)
		}
		if !known(name) {
			return nil, reply.InvalidArgument(part)
		}
		list = append(list, name)
	}
	return list, nil
}
