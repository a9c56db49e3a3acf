package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// event is a line of go test -json.
type event struct {
	Action, Package, ImportPath, Test, Output string
}

// maxLine bounds a line of output, in bytes.
const maxLine = 16 << 20

// pack is what is known of one package.
type pack struct {
	ended, failed bool
	failedTests   int
}

// countGoTest counts tests and subtests, and packages that failed without a
// test that did (they do not build, panic, leak or time out). Skipped tests are
// counted and said, but neither passed nor failed.
func countGoTest(r io.Reader, w io.Writer, total *count) error {
	packages := make(map[string]*pack)
	var order []string
	output := make(map[string][]string) // by package and test
	skipped := 0
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("line %.80q is not JSON: %w", lines.Text(), err)
		}
		if e.Package == "" { // the output of a build
			if e.Action == "build-output" {
				fmt.Fprint(w, e.Output)
			}
			continue
		}
		p := packages[e.Package]
		if p == nil {
			p = &pack{}
			packages[e.Package] = p
			order = append(order, e.Package)
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "output":
			output[key] = append(output[key], e.Output)
		case "pass", "fail", "skip":
			skipped += p.end(e, total, w, output[key])
			if e.Test != "" {
				delete(output, key)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if len(order) == 0 {
		return errors.New("no package was tested")
	}
	for _, name := range order {
		switch p := packages[name]; {
		case !p.ended:
			total.fail(w, "%s: no result", name)
		case p.failed && p.failedTests == 0:
			total.fail(w, "%s: failed outside of its tests:\n%s", name, strings.Join(output[name+" "], ""))
		}
	}
	if skipped > 0 {
		fmt.Fprintf(w, "%d tests were skipped\n", skipped)
	}
	return nil
}

// end takes the result of a test or of the package, and tells how many tests
// were skipped.
func (p *pack) end(e event, total *count, w io.Writer, output []string) (skipped int) {
	if e.Test == "" {
		p.ended, p.failed = true, e.Action == "fail"
		return 0
	}
	switch e.Action {
	case "pass":
		total.passed++
	case "fail":
		p.failedTests++
		total.fail(w, "%s %s\n%s", e.Package, e.Test, strings.Join(output, ""))
	case "skip":
		fmt.Fprintf(w, "SKIP %s %s\n", e.Package, e.Test)
		return 1
	}
	return 0
}
