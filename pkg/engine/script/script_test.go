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

// bytesOf makes bytes of a text in which each letter stands for one.
func bytesOf(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteByte(byte(r))
	}
	return b.String()
}

// TestAnswers compares with what Tile38 1.37 has answered to the same commands,
// byte for byte, stack traces included.
func TestAnswers(t *testing.T) {
	f, err := os.Open("testdata/answers.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := newServer(script.Limits{Now: time.Now})
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	n := 0
	for lines.Scan() {
		var c struct {
			Args       []string
			RESP, JSON string
		}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		n++
		if got, want := s.do(c.Args, false), bytesOf(c.RESP); got != want {
			t.Errorf("%q\n got %q\nwant %q", c.Args, got, want)
		}
		if got, want := s.do(c.Args, true), bytesOf(c.JSON); got != want {
			t.Errorf("%q\n got %q\nwant %q", c.Args, got, want)
		}
	}
	if err := lines.Err(); err != nil || n < 200 {
		t.Errorf("%d commands, %v", n, err)
	}
}
