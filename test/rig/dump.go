package rig

import (
	"fmt"
	"strings"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/dump"
	"evenkeel/pkg/engine/reply"
)

// Dump is everything that a client can see, and the digest, which is last.
func (p *Pod) Dump() string {
	d, _ := p.Store.Digest()
	snap := p.Store.Snapshot()
	var cmds [][]string
	ask := func(line string) { cmds = append(cmds, strings.Fields(line)) }
	ask("KEYS *")
	ask("HOOKS *")
	ask("CHANS *")
	snap.Scan("", func(c *collection.Collection) bool {
		ask("SCAN " + c.Name() + " LIMIT 1000")
		ask("SEARCH " + c.Name() + " LIMIT 1000")
		ask("NEARBY " + c.Name() + " LIMIT 1000 DISTANCE POINT -1.2345 -2.789")
		ask("WITHIN " + c.Name() + " LIMIT 1000 BOUNDS -90 -180 90 180")
		ask("INTERSECTS " + c.Name() + " LIMIT 1000 BOUNDS 0 0 9 9")
		ask("BOUNDS " + c.Name())
		return true
	})
	var b strings.Builder
	for _, c := range cmds {
		var out reply.Reply
		p.Run([][]string{c}, &out)
		fmt.Fprintf(&b, "%s\n%s", strings.Join(c, " "), out.Buf)
	}
	fmt.Fprintf(&b, "%sdigest %s\n", items(snap), d)
	return b.String()
}

// State is the state whatever the time is: deadlines are absolute.
func (p *Pod) State() string { return items(p.Store.Snapshot()) }

// items has times to live to the millisecond, and what no command shows.
func items(snap *collection.State) string {
	var b strings.Builder
	_ = dump.Items(snap, 0, func(args []string) error { // the visitor has no error
		fmt.Fprintf(&b, "%q\n", args)
		return nil
	})
	return b.String()
}

// Check holds the state against itself.
func (p *Pod) Check() error { return p.Store.Snapshot().Check() }

// FirstDifference shows where two texts of lines part.
func FirstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		a, b := "(nothing)", "(nothing)"
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			return fmt.Sprintf("line %d: %.600s\n   want: %.600s", i+1, b, a)
		}
	}
	return "none"
}
