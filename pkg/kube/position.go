package kube

import (
	"cmp"

	"evenkeel/pkg/aof"
)

// Position is how far a pod's log is, and in which history.
type Position struct {
	Epoch  string     `json:"epoch"`           // 40 hexadecimal digits
	Offset int64      `json:"offset"`          // bytes of commands since the history began
	Digest string     `json:"digest"`          // of the state there, hexadecimal
	Forks  []aof.Fork `json:"forks,omitempty"` // histories before it, oldest first
	// Unfit says why the pod must not lead now, such as that it is being
	// resynced; "" when it may.
	Unfit string `json:"unfit,omitempty"`
}

// in returns how far p has got within a history.
func (p *Position) in(epoch string) (offset int64, ok bool) {
	if p.Epoch == epoch {
		return p.Offset, true
	}
	for i := len(p.Forks) - 1; i >= 0; i-- {
		if p.Forks[i].Epoch == epoch {
			return p.Forks[i].Offset, true
		}
	}
	return 0, false
}

// of says whether p belongs to a history, or goes on from it.
func (p *Position) of(epoch string) bool {
	_, ok := p.in(epoch)
	return epoch == "" || ok
}

// Compare says which of two pods has more of the history epoch: +1 when a has, -1 when
// b has. epoch is that of the last leader, "" if there was none. A pod that is not
// fit has less than any that is; one whose history epoch is not part of has less than
// one that has it, however long its own is.
func Compare(a, b *Position, epoch string) int {
	if c := cmp.Compare(truth(a.Unfit == ""), truth(b.Unfit == "")); c != 0 {
		return c
	}
	if c := cmp.Compare(truth(a.of(epoch)), truth(b.of(epoch))); c != 0 {
		return c
	}
	if a.Epoch == b.Epoch {
		return cmp.Compare(a.Offset, b.Offset)
	}
	if _, ok := a.in(b.Epoch); ok {
		return 1 // it goes on from b's history; what b has beyond the fork was given up
	}
	if _, ok := b.in(a.Epoch); ok {
		return -1
	}
	for i := len(a.Forks) - 1; i >= 0; i-- { // the last history that they share
		if at, ok := b.in(a.Forks[i].Epoch); ok {
			return cmp.Compare(a.Forks[i].Offset, at)
		}
	}
	// Strangers. One that has nothing has less; else the longer log is as good a
	// guess as any, and the other one is kept by the follower that gives it up.
	return cmp.Compare(a.Offset, b.Offset)
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}
