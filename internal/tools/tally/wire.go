package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// postponed is a scenario that cannot pass yet.
type postponed struct {
	steps int // how many fail
	why   string
}

var (
	scenarioLine = regexp.MustCompile(`^(?:ok|FAILED) +(\S+/\S+): (\d+) passed, (\d+) failed$`)
	lastLine     = regexp.MustCompile(`^(\d+) passed, (\d+) failed$`)
)

// countWire counts the steps of the conformance run. Its own last line must be
// there and agree.
func countWire(outputFile, laterFile string, w io.Writer, total *count) error {
	later := make(map[string]postponed)
	if laterFile != "" {
		err := withFile(laterFile, func(r io.Reader) (err error) {
			later, err = readLater(r)
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", laterFile, err)
		}
	}
	return withFile(outputFile, func(r io.Reader) error { return countScenarios(r, later, w, total) })
}

// readLater reads lines of a name, a number of steps and a reason. Empty lines
// and those that begin with # are remarks.
func readLater(r io.Reader) (map[string]postponed, error) {
	out := make(map[string]postponed)
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Fields(line)
		if len(f) < 3 {
			return nil, fmt.Errorf("line %d: want a scenario, the number of steps that fail, and why", n)
		}
		steps, err := strconv.Atoi(f[1])
		if err != nil || steps < 1 {
			return nil, fmt.Errorf("line %d: %q is not a number of steps", n, f[1])
		}
		if _, twice := out[f[0]]; twice {
			return nil, fmt.Errorf("line %d: %s is listed twice", n, f[0])
		}
		out[f[0]] = postponed{steps, strings.Join(f[2:], " ")}
	}
	return out, lines.Err()
}

func countScenarios(r io.Reader, later map[string]postponed, w io.Writer, total *count) error {
	var all, left, claimed sum
	ended := false
	seen := make(map[string]bool)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		line := lines.Text()
		if m := lastLine.FindStringSubmatch(line); m != nil {
			ended, claimed = true, counts(m[1], m[2])
			continue
		}
		m := scenarioLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		name, got := m[1], counts(m[2], m[3])
		all.passed, all.failed = all.passed+got.passed, all.failed+got.failed
		seen[name] = true
		total.passed += got.passed
		known, isLater := later[name]
		switch {
		case !isLater && got.failed > 0:
			total.fail(w, "conformance %s: %d steps", name, got.failed)
			total.failed += got.failed - 1
		case isLater && got.failed == 0:
			total.fail(w, "conformance %s passes: remove it from the list of those for later", name)
		case isLater && got.failed > known.steps:
			total.fail(w, "conformance %s: %d steps fail, %d are known to (%s)", name, got.failed, known.steps, known.why)
		case isLater:
			left.passed, left.failed = left.passed+1, left.failed+got.failed
			fmt.Fprintf(w, "LATER %s: %d of %d steps: %s\n", name, got.failed, got.passed+got.failed, known.why)
			if got.failed < known.steps {
				fmt.Fprintf(w, "      the list says %d steps; lower that number\n", known.steps)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	switch {
	case !ended:
		return errors.New("the checker did not come to its end")
	case claimed != all:
		return fmt.Errorf("the checker counts %d passed, %d failed; its scenarios add up to %d and %d", claimed.passed, claimed.failed, all.passed, all.failed)
	case all.passed+all.failed == 0:
		return errors.New("no step ran")
	}
	for _, name := range slices.Sorted(maps.Keys(later)) {
		if !seen[name] {
			total.fail(w, "conformance %s is listed for later and did not run", name)
		}
	}
	fmt.Fprintf(w, "conformance: %d steps passed, %d failed; %d failed steps of %d scenarios are left for later\n",
		all.passed, all.failed-left.failed, left.failed, left.passed)
	return nil
}

// counts makes a sum of two numbers that a pattern has checked for digits.
func counts(passed, failed string) sum {
	p, _ := strconv.Atoi(passed)
	f, _ := strconv.Atoi(failed)
	return sum{p, f}
}
