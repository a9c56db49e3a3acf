package metrics

import (
	"slices"
	"sync/atomic"
	"time"
)

// Other is the label of what has no label of its own.
const Other = "other"

// Command counts one command. It is safe for concurrent use, takes no lock and
// makes no garbage.
type Command struct {
	name   string
	scale  *scale
	counts []atomic.Uint64 // by fine bucket
	nanos  atomic.Uint64   // sum of the durations
	failed atomic.Uint64
}

// Observe counts one execution.
func (c *Command) Observe(d time.Duration, failed bool) {
	c.counts[c.scale.bucket(d)].Add(1)
	c.nanos.Add(uint64(max(d, 0)))
	if failed {
		c.failed.Add(1)
	}
}

// read copies the counts. Durations that are observed meanwhile may be in or
// out; the sum can be ahead of the counts by those.
func (c *Command) read() (counts []uint64, total uint64) {
	counts = make([]uint64, len(c.counts))
	for i := range c.counts {
		counts[i] = c.counts[i].Load()
		total += counts[i]
	}
	return counts, total
}

// commands finds the counter of a name. It is never changed once made.
type commands struct {
	scale  *scale
	byName map[string]*Command
	other  *Command
	sorted []*Command // other included
}

func newCommands(names []string) *commands {
	cs := &commands{scale: newScale(), byName: make(map[string]*Command, len(names))}
	names = slices.Compact(slices.Sorted(slices.Values(append([]string{Other}, names...))))
	for _, name := range names {
		c := &Command{name: name, scale: cs.scale, counts: make([]atomic.Uint64, cs.scale.buckets())}
		cs.byName[name] = c
		cs.sorted = append(cs.sorted, c)
	}
	cs.other = cs.byName[Other]
	return cs
}

// find is the counter of name, or the one of the rest.
func (cs *commands) find(name string) *Command {
	if c, known := cs.byName[name]; known {
		return c
	}
	return cs.other
}
