package kube

import (
	"strings"
	"testing"

	"evenkeel/pkg/aof"
)

// epochOf makes a name for a history out of a letter.
func epochOf(letter string) string { return strings.Repeat(letter, 40) }

func fork(letter string, at int64) aof.Fork { return aof.Fork{Epoch: epochOf(letter), Offset: at} }

func at(letter string, offset int64, forks ...aof.Fork) *Position {
	return &Position{Epoch: epochOf(letter), Offset: offset, Forks: forks}
}

func TestCompare(t *testing.T) {
	unfit := at("a", 900)
	unfit.Unfit = "resync"
	for _, c := range []struct {
		name  string
		a, b  *Position
		epoch string
		want  int
	}{
		{"the same", at("a", 5), at("a", 5), "a", 0},
		{"longer", at("a", 6), at("a", 5), "a", 1},
		{"a resync has less than nothing", unfit, at("a", 0), "a", -1},
		{"goes on from the other's history", at("b", 5, fork("a", 5)), at("a", 5), "a", 1},
		{"… even where the other went on alone", at("b", 5, fork("a", 5)), at("a", 9), "b", 1},
		{"… and when the Lease does not name the new one yet", at("b", 5, fork("a", 5)), at("a", 9), "a", 1},
		{"two that went on from one history", at("b", 7, fork("a", 5)), at("c", 9, fork("a", 4)), "a", 1},
		{"the one that the Lease names", at("b", 5, fork("a", 4)), at("c", 50, fork("a", 9)), "b", 1},
		{"a new volume", at("f", 0), at("a", 1), "a", -1},
		{"a new volume, and no Lease", at("f", 0), at("a", 1), "", -1},
		{"a long stranger", at("f", 100), at("a", 1), "a", -1},
		{"two strangers, and no Lease", at("f", 100), at("a", 1), "", 1},
		{"two new volumes", at("f", 0), at("a", 0), "", 0},
	} {
		epoch := ""
		if c.epoch != "" {
			epoch = epochOf(c.epoch)
		}
		if got := Compare(c.a, c.b, epoch); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
		if got := Compare(c.b, c.a, epoch); got != -c.want {
			t.Errorf("%s, the other way round: got %d, want %d", c.name, got, -c.want)
		}
	}
}
