package lint

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// TestModule is the check itself.
func TestModule(t *testing.T) {
	const root = "../.."
	if _, err := os.Stat(root + "/go.mod"); err != nil {
		t.Fatalf("the root of the module is not where it is looked for: %v", err)
	}
	faults, err := Check(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		t.Error(f)
	}
}

func TestFaultsAreFound(t *testing.T) {
	long := strings.Repeat("\n", maxFunctionLines)
	tests := []struct{ name, file, src, want string }{
		{"a higher floor", "pkg/aof/a.go", `package aof; import _ "evenkeel/pkg/store"`, "a.go:1: pkg/aof (floor 1) imports pkg/store (floor 2)"},
		{"the same floor", "pkg/leader/a.go", `package leader; import _ "evenkeel/pkg/follower"`, "imports pkg/follower (floor 3)"},
		{"an unknown package", "pkg/new/a.go", `package new`, "pkg/new/a.go:1: package pkg/new has no floor"},
		{"an unknown import", "pkg/store/a.go", `package store; import _ "evenkeel/pkg/new"`, "imports pkg/new, which has no floor"},
		{"disk in the engine", "pkg/engine/keys/a.go", "package keys\n\nimport \"os\"\n\nvar _ = os.Args", "pkg/engine/keys/a.go:3: imports os (the engine touches memory only"},
		{"network in the engine", "pkg/engine/a.go", `package engine; import _ "net/http"`, "imports net/http"},
		{"the clock in the engine", "pkg/engine/a.go", "package engine\nimport t \"time\"\nvar x = t.Now()", "a.go:3: time.Now (the engine has no clock"},
		{"a goroutine in the engine", "pkg/engine/a.go", "package engine\nfunc f() {\n\tgo f()\n}", "a.go:3: go statement"},
		{"the log in the engine", "pkg/engine/a.go", `package engine; import _ "evenkeel/pkg/aof"`, "the engine knows of no log"},
		{"the disk past fsx", "pkg/aof/a.go", "package aof\nimport \"os\"\nvar f, _ = os.Open(\"x\")", "a.go:3: os.Open (the disk is reached through internal/fsx alone"},
		{"prometheus below", "pkg/store/a.go", `package store; import _ "github.com/prometheus/client_golang/prometheus"`, "metrics adapt from outside"},
		{"exit in a library", "pkg/node/a.go", "package node\nimport \"os\"\nfunc f() { os.Exit(1) }", "a.go:3: os.Exit (only programs exit"},
		{"init", "pkg/resp/a.go", "package resp\nfunc init() {}", "a.go:2: func init"},
		{"init in a test", "pkg/resp/a_test.go", "package resp\nfunc init() {}", "a_test.go:2: func init"},
		{"a long function", "pkg/resp/a.go", "package resp\nfunc f() {" + long + "}", "func f has 101 lines"},
		{"a long file", "pkg/resp/a.go", "package resp" + strings.Repeat("\n", 500), "the file has 500 lines"},
	}
	for _, tt := range tests {
		faults, err := Check(fstest.MapFS{tt.file: {Data: []byte(tt.src)}})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if all := strings.Join(faults, "\n"); !strings.Contains(all, tt.want) {
			t.Errorf("%s: faults %q, want %q among them", tt.name, all, tt.want)
		}
	}
}

func TestGoodCodePasses(t *testing.T) {
	tree := fstest.MapFS{}
	for file, src := range map[string]string{
		"pkg/engine/a.go":         "package engine\nimport (\"time\"; _ \"evenkeel/pkg/engine/keys\")\nvar d time.Duration",
		"pkg/aof/a.go":            "package aof\nimport (\"os\"; \"syscall\")\nvar a, b = os.O_EXCL, syscall.ENOSPC",
		"pkg/store/a.go":          `package store; import _ "evenkeel/pkg/aof"`,
		"pkg/store/a_test.go":     `package store; import (_ "os"; _ "evenkeel/cmd/sidecar")`,
		"cmd/sidecar/main.go":     "package main\nimport \"os\"\nfunc main() { os.Exit(1) }",
		"pkg/metrics/m.go":        `package metrics; import _ "github.com/prometheus/client_golang/prometheus"`,
		"pkg/resp/resp.go":        "package resp\nfunc f() {" + strings.Repeat("\n", maxFunctionLines-1) + "}\ntype t struct{}\nfunc (t) init() {}",
		"pkg/x/testdata/input.go": "not go",
		".hidden/a.go":            "not go",
	} {
		tree[file] = &fstest.MapFile{Data: []byte(src)}
	}
	faults, err := Check(tree)
	if err != nil || len(faults) > 0 {
		t.Errorf("faults %q, %v", faults, err)
	}
}

func TestWhatIsNoGoIsReported(t *testing.T) {
	_, err := Check(fstest.MapFS{"pkg/resp/a.go": {Data: []byte("package")}})
	if err == nil || !strings.Contains(err.Error(), "pkg/resp/a.go") {
		t.Errorf("error %v", err)
	}
}

func TestTableIsInOrder(t *testing.T) {
	if len(Packages()) == 0 {
		t.Fatal("no packages")
	}
	for _, b := range bans() {
		if b.why == "" || len(b.in) == 0 || len(b.imports)+len(b.calls) == 0 && !b.goStmt {
			t.Errorf("ban %+v lacks a part", b)
		}
	}
}
