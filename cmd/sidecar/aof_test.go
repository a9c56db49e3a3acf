package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"evenkeel/internal/fsx"
	"evenkeel/pkg/aof"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/store"
)

// makeLog writes a log whose base lies at offset 1,030, a second per command, and
// beside it, in dir.crash, what a crash would leave of it.
func makeLog(t *testing.T, dir string) {
	t.Helper()
	now := int64(1_700_000_000_000)
	clock := func() int64 { return now }
	l, err := aof.Open(aof.Options{Dir: dir, SegmentBytes: 600, BacklogBytes: 300, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), store.Options{Log: l, Now: clock})
	if err != nil {
		t.Fatal(errors.Join(err, l.Close(t.Context())))
	}
	for i := range 23 {
		now += 1000
		args := []string{"SET", "fleet", fmt.Sprint("truck", i), "FIELD", "speed", "90", "POINT", "33.5", "-112.2"}
		if i%6 == 5 {
			args = []string{"SET", "notes", fmt.Sprint(i), "EX", "3600", "STRING", "two words\nand \"more\" " + strings.Repeat("x", i*10)}
		}
		var out reply.Reply
		ws := []store.Write{{Spec: s.Lookup("set"), Request: command.Request{Args: args, Name: "set"}}}
		if err := l.Commit(t.Context(), s.Write(ws, &out)); err != nil {
			t.Fatal(err)
		}
		if i == 9 {
			if _, err := s.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.CopyFS(dir+".crash", os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// session runs commands and writes down what a person would see.
type session struct {
	t   *testing.T
	dir string // stands for $D
	out bytes.Buffer
}

var random40 = regexp.MustCompile(`[0-9a-f]{40}`)

// run runs `sidecar aof line`.
func (s *session) run(line string) (code int, out string) {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := root()
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	cmd.SetIn(strings.NewReader("y\n")) // no terminal: it does not count
	cmd.SetArgs(append([]string{"aof"}, strings.Fields(strings.ReplaceAll(line, "$D", s.dir))...))
	code = conclude(cmd.ExecuteContext(s.t.Context()), &stderr)
	text := strings.ReplaceAll(stdout.String()+stderr.String(), s.dir, "$D")
	fmt.Fprintf(&s.out, "$ sidecar aof %s\n%s[%d]\n\n", line, random40.ReplaceAllString(text, "<epoch>"), code)
	return code, stdout.String()
}

// edit changes a byte of a file, or cuts it when at is below 0.
func (s *session) edit(name string, at int) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	if at < 0 {
		b = b[:len(b)+at]
		fmt.Fprintf(&s.out, "# the last %d bytes of %s are lost\n\n", -at, name)
	} else {
		b[at] ^= 0x20
		fmt.Fprintf(&s.out, "# byte %d of %s is damaged\n\n", at, name)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// TestAOFCommands: what a person reads, and the exit status.
func TestAOFCommands(t *testing.T) {
	s := &session{t: t, dir: filepath.Join(t.TempDir(), "d")}
	makeLog(t, s.dir)
	empty := s.dir + ".empty"
	if err := os.Mkdir(empty, 0o750); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"verify $D", "inspect $D", "inspect $D --commands --limit 3", "inspect $D --commands --from 900 --limit 9",
		"export $D --until 2023-11-14T22:13:32Z -o $D/out", "export $D --until 1700000005000 -o $D/out", "export $D -o $D/out --until nonsense",
	} {
		s.run(line)
	}

	s.edit("../d.crash/seg-00000000000000002292.aof", -5)
	s.run("verify $D.crash")
	s.run("repair --yes $D.crash")
	s.edit("seg-00000000000000002292.aof", -5)
	s.edit("seg-00000000000000001431.aof", 300)
	for _, line := range []string{"verify $D", "export $D -o $D/out2", "compact $D", "repair $D", "repair --yes $D", "verify $D", "compact $D --backlog-size 0", "repair $D"} {
		s.run(line)
	}
	s.edit("../d.crash/base-00000000000000001030.aof", 9)
	for _, line := range []string{"repair --yes $D.crash", "import $D/out -o $D", "import --written 1700000012000 $D/out -o $D/new", "verify $D/new", "verify $D/nothing", "verify $D.empty"} {
		s.run(line)
	}
	golden := filepath.Join("testdata", "aof.txt")
	got := s.out.Bytes()
	if *update {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("what `sidecar aof` says has changed; if it is right: go test ./cmd/sidecar -run TestAOFCommands -update\n%s", got)
	}
}

// TestAOFLocked: not beside a live sidecar, and what to do is said.
func TestAOFLocked(t *testing.T) {
	s := &session{t: t, dir: filepath.Join(t.TempDir(), "d")}
	makeLog(t, s.dir)
	lock, err := fsx.OS{}.Lock(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for _, line := range []string{"verify $D", "inspect $D", "inspect $D --commands", "repair --yes $D", "export $D -o $D/x", "compact $D"} {
		s.out.Reset()
		if code, _ := s.run(line); code != 1 || !strings.Contains(s.out.String(), fmt.Sprintf("in use by process %d: stop that sidecar first", os.Getpid())) {
			t.Errorf("%s", s.out.String())
		}
	}
}

// TestInterrupted: an interrupt is no success.
func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	makeLog(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cmd := root()
	cmd.SetArgs([]string{"aof", "verify", dir})
	var said bytes.Buffer
	if code := conclude(cmd.ExecuteContext(ctx), &said); code != 1 || said.String() != "sidecar: interrupted\n" {
		t.Errorf("%d, %q", code, said.String())
	}
}

func TestTexts(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 64 << 20: "64 MiB", 1<<40 + 1<<39: "1.5 TiB", 200 << 10: "200 KiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d bytes: %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := countText(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	for want, done := range map[string]int64{
		"verify [>                           ]   0 % of 10 MiB, 0 B/s":     0,
		"verify [==============>             ]  50 % of 10 MiB, 2.5 MiB/s": 5 << 20,
		"verify [============================] 100 % of 10 MiB, 5 MiB/s":   10 << 20,
	} {
		if got := (&bar{label: "verify"}).draw(done, 10<<20, 2*time.Second); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	long := commandText([]string{"SET", "", "žluť", strings.Repeat("y", 1000)}, 40)
	if want := `SET "" "žluť" yyyyyyyyyyyyyyyyyyyyyyyyy…`; long != want {
		t.Errorf("%q, want %q", long, want)
	}
}
