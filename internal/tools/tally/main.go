package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		os.Exit(1)
	}
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// run counts and writes the report; the error says why the run is bad.
func run(args []string, w io.Writer) error {
	var steps, goTests list
	fs := flag.NewFlagSet("tally", flag.ContinueOnError)
	wire := fs.String("conformance", "", "`file` with the output of check.py -v")
	later := fs.String("later", "", "`file` with the scenarios that cannot pass yet")
	fs.Var(&goTests, "go-test", "`file` with the output of go test -json; may be given several times")
	fs.Var(&steps, "step", "`name=ok` or name=failed; may be given several times")
	if err := fs.Parse(args); err != nil {
		return err
	}
	total := count{ran: make(map[string]bool)}
	for _, s := range steps {
		name, how, _ := strings.Cut(s, "=")
		if how == "ok" {
			total.passed++
			continue
		}
		total.fail(w, "step %s: %s", name, how)
	}
	for _, file := range goTests {
		if err := withFile(file, func(r io.Reader) error { return countGoTest(r, w, &total) }); err != nil {
			total.fail(w, "go test: %v", err)
		}
	}
	total.skips(w)
	if *wire != "" {
		if err := countWire(*wire, *later, w, &total); err != nil {
			total.fail(w, "conformance: %v", err)
		}
	}
	total.again(w)
	fmt.Fprintf(w, "%d passed, %d failed\n", total.passed, total.failed)
	switch {
	case total.failed > 0:
		return fmt.Errorf("%d failed", total.failed)
	case total.passed == 0:
		return fmt.Errorf("nothing ran")
	}
	return nil
}

func withFile(name string, use func(io.Reader) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return use(f)
}

// sum adds up results.
type sum struct{ passed, failed int }

// count is the sum of the whole run.
type count struct {
	sum
	failures []string // how each one begins

	// Go tests, by package and name: those that passed or failed, and those that were
	// skipped, which is said at the end of those that did not run elsewhere either.
	ran     map[string]bool
	skipped []string
}

func (c *count) fail(w io.Writer, format string, args ...any) {
	c.failed++
	why := fmt.Sprintf(format, args...)
	fmt.Fprintf(w, "FAIL %s\n", why)
	c.failures = append(c.failures, beginning(why))
}

// skips says which tests were skipped and did not run with other means either.
func (c *count) skips(w io.Writer) {
	n := 0
	for _, name := range c.skipped {
		if !c.ran[name] {
			n++
			c.ran[name] = true // is said once
			fmt.Fprintf(w, "SKIP %s\n", name)
		}
	}
	if n > 0 {
		fmt.Fprintf(w, "%d tests were skipped\n", n)
	}
}

// again says at the end how the failures began: who sees only the last lines of a
// log must be able to tell what went wrong.
func (c *count) again(w io.Writer) {
	for i, f := range c.failures {
		if i == maxAgain {
			fmt.Fprintf(w, "and %d more\n", len(c.failures)-i)
			return
		}
		fmt.Fprintf(w, "FAILED %s\n", f)
	}
}

// What is said again of a failure, and of how many.
const (
	againLines = 4
	againWidth = 300 // bytes of a line
	maxAgain   = 10
)

// beginning is the first lines of a failure, without those that only say that a
// test runs.
func beginning(why string) string {
	var lines []string
	for line := range strings.Lines(why) {
		line = strings.TrimRight(line, "\n")
		if line == "" || strings.HasPrefix(line, "=== ") {
			continue
		}
		lines = append(lines, line[:min(len(line), againWidth)])
		if len(lines) == againLines {
			break
		}
	}
	return strings.Join(lines, "\n")
}
