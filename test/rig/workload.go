package rig

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Gap is the time from one step to the next.
const Gap = time.Second

// Step is a pipeline of commands.
type Step struct {
	Cmds [][]string
	JSON bool // the output that the client has chosen
}

// String is what a person reads: a command a line.
func (s Step) String() string {
	var b strings.Builder
	for i, c := range s.Cmds {
		if i > 0 {
			b.WriteString("; ")
		}
		for j, word := range c {
			if j > 0 {
				b.WriteByte(' ')
			}
			if strings.ContainsAny(word, " \r\n\"") || word == "" {
				word = fmt.Sprintf("%q", word)
			}
			b.WriteString(word)
		}
	}
	if s.JSON {
		b.WriteString("   (json)")
	}
	return b.String()
}

// Workload returns n random steps: all commands that change data, and those that
// show them.
func Workload(r *rand.Rand, n int) []Step {
	w := words{r}
	steps := make([]Step, n)
	for i := range steps {
		s := Step{JSON: w.IntN(8) == 0}
		for range 1 + max(0, w.IntN(6)-3) {
			if w.IntN(3) == 0 {
				s.Cmds = append(s.Cmds, w.read())
			} else {
				s.Cmds = append(s.Cmds, w.write())
			}
		}
		s.JSON = s.JSON && !s.unordered()
		steps[i] = s
	}
	return steps
}

// unordered says that an answer has items in no particular order, which Do
// sorts in RESP.
func (s Step) unordered() bool {
	return slices.ContainsFunc(s.Cmds, func(c []string) bool { return c[0] == "WITHIN" || c[0] == "INTERSECTS" })
}

// Writes returns n random commands that change data.
func Writes(r *rand.Rand, n int) [][]string {
	w := words{r}
	cmds := make([][]string, n)
	for i := range cmds {
		cmds[i] = w.write()
	}
	return cmds
}

// Shrink leaves out as much of n things as it can while fails says that what is
// left, keep, still fails. It asks at most tries times.
func Shrink(n, tries int, fails func(keep []bool) bool) (keep []bool) {
	keep = slices.Repeat([]bool{true}, n)
	for size := (n + 1) / 2; size > 0; size /= 2 {
		for from := 0; from < n; from += size {
			less := slices.Clone(keep)
			clear(less[from:min(from+size, n)])
			if slices.Equal(less, keep) {
				continue
			}
			if tries--; tries < 0 {
				return keep
			}
			if fails(less) {
				keep = less
			}
		}
	}
	return keep
}
