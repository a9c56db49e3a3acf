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
	var steps list
	fs := flag.NewFlagSet("tally", flag.ContinueOnError)
	goTest := fs.String("go-test", "", "`file` with the output of go test -json")
	wire := fs.String("conformance", "", "`file` with the output of check.py -v")
	later := fs.String("later", "", "`file` with the scenarios that cannot pass yet")
	fs.Var(&steps, "step", "`name=ok` or name=failed; may be given several times")
	if err := fs.Parse(args); err != nil {
		return err
	}
	var total count
	for _, s := range steps {
		name, how, _ := strings.Cut(s, "=")
		if how == "ok" {
			total.passed++
			continue
		}
		total.fail(w, "step %s: %s", name, how)
	}
	if *goTest != "" {
		if err := withFile(*goTest, func(r io.Reader) error { return countGoTest(r, w, &total) }); err != nil {
			total.fail(w, "go test: %v", err)
		}
	}
	if *wire != "" {
		if err := countWire(*wire, *later, w, &total); err != nil {
			total.fail(w, "conformance: %v", err)
		}
	}
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

// count adds up results.
type count struct{ passed, failed int }

func (c *count) fail(w io.Writer, format string, args ...any) {
	c.failed++
	fmt.Fprintf(w, "FAIL "+format+"\n", args...)
}
