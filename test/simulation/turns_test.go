package simulation

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"evenkeel/test/rig"
)

// turns watches who has the turn to compact.
type turns struct {
	mu     sync.Mutex
	who    map[*rig.Pod]turn
	faults []error
	taken  int64

	checks sync.WaitGroup
}

// turn is one, as it was given.
type turn struct {
	name string // of who gave it
	life int64  // of the pod that has it
	lost int64  // connections of the pod that had been lost then
}

func newTurns() *turns { return &turns{who: map[*rig.Pod]turn{}} }

// of returns what is told when p has the turn, and when it gives it back.
func (t *turns) of(p *rig.Pod) func(has bool) {
	mine := turn{name: p.Options.Follow}
	if mine.name == "" {
		mine.name = p.Name
	}
	return func(has bool) {
		t.mu.Lock()
		defer t.mu.Unlock()
		if !has {
			delete(t.who, p)
			return
		}
		t.taken++
		mine.lost, mine.life = p.Lost.Load(), p.Lives.Load()
		for other, theirs := range t.who {
			if theirs.name == mine.name {
				t.suspect(p, other, theirs)
			}
		}
		t.who[p] = mine
	}
}

// suspect takes note that two pods have the turn. It may be that the connection
// of the one has just ended, and the turn with it: it learns of it soon.
func (t *turns) suspect(p, other *rig.Pod, theirs turn) {
	t.checks.Go(func() {
		time.Sleep(time.Second)
		t.mu.Lock()
		defer t.mu.Unlock()
		if other.Lost.Load() == theirs.lost && other.Lives.Load() == theirs.life {
			t.faults = append(t.faults, fmt.Errorf("%s and %s had the turn of %s at once", p.Name, other.Name, theirs.name))
		}
	})
}

// check says what was wrong. Nobody should wait or compact any more.
func (t *turns) check() error {
	t.checks.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.who); n > 0 {
		return fmt.Errorf("%d pods still have the turn", n)
	}
	return errors.Join(t.faults...)
}
