package main

import "sync"

// gate is the readiness of the process: closed, with a reason, while it loads
// and while it shuts down; open in between, when the node decides.
type gate struct {
	mu     sync.Mutex
	reason string // "" is open
	ready  func() (bool, []string)
}

func (g *gate) close(reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reason = reason
}

func (g *gate) open() { g.close("") }

// ask sets whom to ask once the gate is open.
func (g *gate) ask(ready func() (bool, []string)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ready = ready
}

// Ready is what /readyz answers.
func (g *gate) Ready() (bool, []string) {
	g.mu.Lock()
	reason, ready := g.reason, g.ready
	g.mu.Unlock()
	switch {
	case reason != "":
		return false, []string{reason}
	case ready == nil:
		return false, []string{"starting"}
	}
	return ready()
}

// assembled says whether all parts are there to be asked.
func (g *gate) assembled() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ready != nil
}
