package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write makes a file and returns its name.
func write(t *testing.T, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const (
	good = `{"Action":"run","Package":"m/a","Test":"TestX"}
{"Action":"pass","Package":"m/a","Test":"TestX"}
{"Action":"skip","Package":"m/a","Test":"TestY"}
{"Action":"pass","Package":"m/a"}
{"Action":"skip","Package":"m/empty"}
`
	bad = `{"Action":"output","Package":"m/a","Test":"TestX","Output":"x_test.go:1: wrong\n"}
{"Action":"fail","Package":"m/a","Test":"TestX"}
{"Action":"fail","Package":"m/a"}
`
	unbuilt = `{"ImportPath":"m/a","Action":"build-output","Output":"a.go:1: nonsense\n"}
{"ImportPath":"m/a","Action":"build-fail"}
{"Action":"fail","Package":"m/a","FailedBuild":"m/a"}
`
	wire = `FAIL keys/hook [resp] step 3: {}
   expected: 5 passed, 1 failed
ok     keys/get: 10 passed, 0 failed
FAILED keys/hook: 4 passed, 2 failed

keys           1 of   2 scenarios,    14 of    16 steps
14 passed, 2 failed
`
)

func TestTally(t *testing.T) {
	tests := []struct {
		name                string
		goTest, wire, later string
		steps               []string
		last                string
		says                string // somewhere in the report
		err                 bool
	}{
		{"all good", good, wire, "# remark\n\nkeys/hook 2 hooks come later\n", []string{"build=ok"}, "16 passed, 0 failed", "LATER keys/hook: 2 of 6 steps: hooks come later", false},
		{"skipped tests are said", good, "", "", nil, "1 passed, 0 failed", "1 tests were skipped", false},
		{"a failed test", bad, "", "", nil, "0 passed, 1 failed", "x_test.go:1: wrong", true},
		{"a failed build", unbuilt, "", "", nil, "0 passed, 1 failed", "a.go:1: nonsense", true},
		{"a test binary that died", `{"Action":"run","Package":"m/a","Test":"TestX"}`, "", "", nil, "0 passed, 1 failed", "m/a: no result", true},
		{"a leak after the tests", `{"Action":"output","Package":"m/a","Output":"goleak: found 1\n"}` + "\n" + `{"Action":"fail","Package":"m/a"}`, "", "", nil, "0 passed, 1 failed", "m/a: failed outside of its tests:\ngoleak: found 1", true},
		{"no test at all", " ", "", "", nil, "0 passed, 1 failed", "", true},
		{"not JSON", "panic: no", "", "", nil, "0 passed, 1 failed", "is not JSON", true},
		{"a failed step", good, "", "", []string{"lint=failed"}, "1 passed, 1 failed", "step lint: failed", true},
		{"nothing ran", "", "", "", nil, "0 passed, 0 failed", "", true},
		{"wire failures", "", wire, "", nil, "14 passed, 2 failed", "FAIL conformance keys/hook: 2 steps", true},
		{"more than known", "", wire, "keys/hook 1 hooks", nil, "14 passed, 1 failed", "2 steps fail, 1 are known to", true},
		{"fewer than known", "", wire, "keys/hook 3 hooks", nil, "14 passed, 0 failed", "lower that number", false},
		{"passes though listed", "", wire, "keys/hook 2 hooks\nkeys/get 1 why", nil, "14 passed, 1 failed", "keys/get passes: remove it", true},
		{"listed but gone", "", wire, "keys/hook 2 hooks\nkeys/gone 1 why", nil, "14 passed, 1 failed", "keys/gone is listed for later and did not run", true},
		{"a checker that died", "", strings.TrimSuffix(wire, "14 passed, 2 failed\n"), "keys/hook 2 hooks", nil, "14 passed, 1 failed", "did not come to its end", true},
		{"sums that differ", "", strings.Replace(wire, "14 passed", "15 passed", 1), "keys/hook 2 hooks", nil, "14 passed, 1 failed", "add up to 14 and 2", true},
		{"no steps", "", "0 passed, 0 failed\n", "", nil, "0 passed, 1 failed", "no step ran", true},
		{"a list without reason", "", wire, "keys/hook 2", nil, "0 passed, 1 failed", "line 1: want a scenario", true},
		{"a list without number", "", wire, "keys/hook hooks come later", nil, "0 passed, 1 failed", "not a number of steps", true},
		{"a list that repeats itself", "", wire, "keys/hook 2 a\nkeys/hook 2 b", nil, "0 passed, 1 failed", "listed twice", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var args []string
			for flag, content := range map[string]string{"-go-test": tt.goTest, "-conformance": tt.wire, "-later": tt.later} {
				if content != "" {
					args = append(args, flag, write(t, "input", strings.TrimPrefix(content, " ")))
				}
			}
			for _, s := range tt.steps {
				args = append(args, "-step", s)
			}
			var out strings.Builder
			err := run(args, &out)
			if (err != nil) != tt.err {
				t.Errorf("error %v", err)
			}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if last := lines[len(lines)-1]; last != tt.last || !strings.Contains(out.String(), tt.says) {
				t.Errorf("want %q at the end and %q somewhere:\n%s", tt.last, tt.says, &out)
			}
		})
	}
}

// TestAgain: a failure with much output is said once more, cut, before the last line.
func TestAgain(t *testing.T) {
	event := func(action, output string) string {
		line, err := json.Marshal(map[string]string{"Action": action, "Package": "m/a", "Test": "TestX", "Output": output})
		if err != nil {
			t.Fatal(err)
		}
		return string(line) + "\n"
	}
	in := event("output", "=== RUN   TestX\n") + event("output", "x_test.go:1: wrong"+strings.Repeat("!", 1000)+"\n")
	for i := range 100 {
		in += event("output", fmt.Sprintf("step %d\n", i))
	}
	in += event("fail", "") + `{"Action":"fail","Package":"m/a"}`
	var out strings.Builder
	if err := run([]string{"-go-test", write(t, "input", in)}, &out); err == nil {
		t.Error("no error")
	}
	_, end, _ := strings.Cut(out.String(), "FAILED m/a TestX\n")
	want := "x_test.go:1: wrong" + strings.Repeat("!", againWidth-18) + "\nstep 0\nstep 1\n0 passed, 1 failed\n"
	if end != want {
		t.Errorf("at the end %q, want %q", end, want)
	}
}

// TestElsewhere: a test that one run skips and another one runs was not skipped.
func TestElsewhere(t *testing.T) {
	ran := `{"Action":"pass","Package":"m/a","Test":"TestY"}` + "\n" + `{"Action":"skip","Package":"m/a","Test":"TestZ"}` + "\n" + `{"Action":"pass","Package":"m/a"}`
	var out strings.Builder
	if err := run([]string{"-go-test", write(t, "again", ran), "-go-test", write(t, "first", good), "-go-test", write(t, "second", ran)}, &out); err != nil {
		t.Error(err)
	}
	if want := "SKIP m/a TestZ\n1 tests were skipped\n3 passed, 0 failed\n"; out.String() != want {
		t.Errorf("%q, want %q", &out, want)
	}
}

func TestMissingFile(t *testing.T) {
	var out strings.Builder
	gone := filepath.Join(t.TempDir(), "gone")
	if err := run([]string{"-go-test", gone, "-conformance", gone, "-step", "build=ok"}, &out); err == nil || !strings.HasSuffix(out.String(), "1 passed, 2 failed\n") {
		t.Errorf("%v:\n%s", err, &out)
	}
}
