package fence

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRecorded replays what Tile38 was told and compares what its channels said:
// testdata has a line "> [words]" for a command, and behind it a line for each
// message, with the channel and a tab before it.
func TestRecorded(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { replay(t, file) })
	}
}

func replay(t *testing.T, file string) {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := newWorld(t, Options{})
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	var command string
	var want, got []message
	compare := func() {
		for i := range max(len(want), len(got)) {
			a, b := message{}, message{}
			if i < len(want) {
				a = want[i]
			}
			if i < len(got) {
				b = got[i]
			}
			if a != b {
				t.Fatalf("%s\nmessage %d is %v\nwant         %v", command, i+1, b, a)
			}
		}
		want = nil
	}
	for in.Scan() {
		switch line := in.Text(); {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "> "):
			compare()
			command = line
			var args []string
			if err := json.Unmarshal([]byte(line[2:]), &args); err != nil {
				t.Fatal(err)
			}
			_, got = w.do(args...)
		default:
			who, text, _ := strings.Cut(line, "\t")
			want = append(want, message{who, text})
		}
	}
	compare()
	if in.Err() != nil || command == "" {
		t.Fatalf("%s: %v", file, in.Err())
	}
}
