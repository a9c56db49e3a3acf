package relate

import (
	"bufio"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"evenkeel/pkg/engine/collection"
)

// step is what these tests know of a line of a recorded conversation.
type step struct {
	Args   []string
	Resp   string
	JSON   string
	Approx bool
}

// TestRecorded answers the recorded conversations about TEST.
func TestRecorded(t *testing.T) {
	corpus := os.Getenv("EVENKEEL_CONFORMANCE")
	if corpus == "" {
		t.Skip("SKIPPED: EVENKEEL_CONFORMANCE does not name the folder of recorded conversations")
	}
	files, err := filepath.Glob(filepath.Join(corpus, "server", "test-*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no conversations about TEST in %s: %v", corpus, err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) { replay(t, name) })
	}
}

func replay(t *testing.T, name string) {
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st := collection.NewState()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	answered := 0
	for lines.Scan() {
		var s step
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		switch {
		case len(s.Args) == 0: // the head
		case strings.EqualFold(s.Args[0], "test"):
			answered++
			check(t, s, s.Resp, do(Limits{}, st, false, s.Args...))
			check(t, s, s.JSON, do(Limits{}, st, true, s.Args...))
		default:
			prepare(t, st, s.Args)
		}
	}
	if err := lines.Err(); err != nil || answered == 0 {
		t.Fatalf("%d steps answered, %v", answered, err)
	}
	t.Logf("%d steps", answered)
}

// prepare understands SET key id POINT lat lon and SET key id OBJECT json.
func prepare(t *testing.T, st *collection.State, args []string) {
	t.Helper()
	switch {
	case len(args) == 6 && args[0] == "SET" && args[3] == "POINT":
		put(t, st, args[1], args[2], `{"type":"Point","coordinates":[`+args[5]+","+args[4]+`]}`)
	case len(args) == 5 && args[0] == "SET" && args[3] == "OBJECT":
		put(t, st, args[1], args[2], args[4])
	default:
		t.Fatalf("unknown step %q", args)
	}
}

var number = regexp.MustCompile(`-?\d+(\.\d+)?`)

// check compares an answer; with Approx, numbers may differ by 1e-9.
func check(t *testing.T, s step, want, got string) {
	t.Helper()
	if got == want {
		return
	}
	if s.Approx && number.ReplaceAllString(want, "#") == number.ReplaceAllString(got, "#") {
		ws, gs := number.FindAllString(want, -1), number.FindAllString(got, -1)
		near := true
		for i := range ws {
			w, _ := strconv.ParseFloat(ws[i], 64)
			g, _ := strconv.ParseFloat(gs[i], 64)
			near = near && math.Abs(w-g) <= 1e-9*max(1, math.Abs(w))
		}
		if near {
			return
		}
	}
	t.Errorf("%q\n got %q\nwant %q", s.Args, got, want)
}
