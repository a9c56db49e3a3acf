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
// noted: they may run elsewhere.
func countGoTest(r io.Reader, w io.Writer, total *count) error {
	packages := make(map[string]*pack)
	var order []string
	output := make(map[string][]string) // by package and test
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
			p.end(e, total, w, output[key])
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
	return nil
}

// end takes the result of a test or of the package.
func (p *pack) end(e event, total *count, w io.Writer, output []string) {
	if e.Test == "" {
		p.ended, p.failed = true, e.Action == "fail"
		return
	}
	name := e.Package + " " + e.Test
	switch e.Action {
	case "pass":
		total.passed++
		total.ran[name] = true
	case "fail":
		p.failedTests++
		total.ran[name] = true
		total.fail(w, "%s\n%s", name, strings.Join(output, ""))
	case "skip":
		total.skipped = append(total.skipped, name)
	}
}
