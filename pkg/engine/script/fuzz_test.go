package script_test

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"evenkeel/pkg/engine/script"
)

// FuzzEval runs scripts: none may panic, hang, or leave an answer that is not
// one.
func FuzzEval(f *testing.F) {
	file, err := os.Open("testdata/answers.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var c struct{ Args []string }
		if json.Unmarshal(lines.Bytes(), &c) == nil && len(c.Args) == 3 && strings.EqualFold(c.Args[0], "eval") {
			f.Add(c.Args[1])
		}
	}
	s := newServer(script.Limits{Now: time.Now, MaxTime: 20 * time.Millisecond, MaxMemory: 2 << 20, MaxItemMemory: 1 << 20, MaxScripts: 10})
	s.do([]string{"SET", "k", "a", "FIELD", "n", "5", "POINT", "1", "2"}, false)
	f.Fuzz(func(t *testing.T, text string) {
		for _, cmd := range []string{"EVALRO", "SCRIPT"} {
			args := []string{cmd, text, "1", "k", "x"}
			if cmd == "SCRIPT" {
				args = []string{"SCAN", "k", "WHEREEVAL", text, "1", "x"}
			}
			got := s.do(args, false)
			if got == "" || !strings.HasSuffix(got, "\r\n") {
				t.Errorf("%q: %q", args, got)
			}
			if strings.Contains(got, "runtime error") && !strings.Contains(text, "runtime") {
				t.Errorf("%q: a fault: %q", args, got)
			}
		}
	})
}
