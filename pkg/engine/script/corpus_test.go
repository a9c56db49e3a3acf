package script_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"evenkeel/pkg/engine"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/engine/script"
	"evenkeel/pkg/engine/search"
)

// server is an engine with scripts, and as much of a server around it as the
// recorded conversations need.
type server struct {
	eng      *engine.Engine
	specs    map[string]*command.Spec // of searches that know the scripts
	scripts  *script.Scripts
	readOnly bool
}

func newServer(l script.Limits) *server {
	s := &server{eng: engine.New(engine.Options{}), scripts: script.New(l), specs: map[string]*command.Spec{}}
	for _, spec := range (search.Limits{Scripts: s.scripts}).Commands() {
		s.specs[spec.Name] = &spec
	}
	return s
}

func (s *server) spec(name string) *command.Spec {
	if spec := s.specs[name]; spec != nil {
		return spec
	}
	return s.eng.Lookup(name)
}

var errUnknown = errors.New("the test knows no such command")

// run carries out a command of the engine.
func (s *server) run(args []string, out *reply.Reply) error {
	if strings.EqualFold(args[0], "timeout") {
		args = args[2:]
	}
	name := strings.ToLower(args[0])
	req := &command.Request{Args: args, Name: name, Now: time.Now().UnixMilli()}
	spec := s.spec(name)
	switch {
	case spec == nil && name == "server":
		out.Array(12)
		for range 12 {
			out.Bulk("x")
		}
		return nil
	case spec == nil && name == "test":
		out.Int(1)
		return nil
	case spec == nil:
		return errUnknown
	case spec.Read != nil:
		return spec.Read(req, s.eng.State(), out)
	case s.readOnly:
		return reply.Plain("read only")
	}
	ch, err := s.eng.Prepare(spec, req, out)
	if err == nil && ch != nil {
		s.eng.Apply(ch)
	}
	return err
}

// call is what scripts call.
func (s *server) call(args []string) ([]byte, error) {
	var out reply.Reply
	err := s.run(args, &out)
	return out.Buf, err
}

// do answers a client.
func (s *server) do(args []string, asJSON bool) string {
	out := reply.Reply{JSON: asJSON}
	name := strings.ToLower(args[0])
	req := &command.Request{Args: args, Name: name}
	var err error
	switch {
	case strings.HasPrefix(name, "eval"):
		if s.readOnly && (name == "eval" || name == "evalsha") {
			err = reply.Plain("read only")
			break
		}
		err = s.scripts.Eval(req, s.call, &out)
	case strings.HasPrefix(name, "script"):
		err = s.scripts.Script(req, &out)
	case name == "readonly":
		s.readOnly = args[1] == "yes"
		out.OK()
	default:
		err = s.run(args, &out)
	}
	if err != nil {
		out.Buf = out.Buf[:0]
		out.Fail(name, err)
	}
	if asJSON {
		return string(out.Buf) + "}"
	}
	return string(out.Buf)
}

// step is a line of a recorded conversation.
type step struct {
	Args      []string        `json:"args"`
	Batch     [][]string      `json:"batch"` // to fill the collections
	RESP      string          `json:"resp"`
	JSON      json.RawMessage `json:"json"`
	Mask      []string        `json:"mask"`
	Unordered bool            `json:"unordered"`
	Approx    bool            `json:"approx"`
	Volatile  bool            `json:"volatile"`
	Only      string          `json:"only"`
}

// TestRecorded replays conversations with Tile38.
func TestRecorded(t *testing.T) {
	corpus := os.Getenv("EVENKEEL_CONFORMANCE")
	if corpus == "" {
		t.Skip("SKIPPED: EVENKEEL_CONFORMANCE does not name the folder of recorded conversations")
	}
	files, err := filepath.Glob(filepath.Join(corpus, "scripting", "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no conversations: %v", err)
	}
	files = append(files, filepath.Join(corpus, "search", "wherein-whereeval.jsonl"))
	for _, file := range files {
		for _, asJSON := range []bool{false, true} {
			t.Run(filepath.Base(file), func(t *testing.T) { replay(t, file, asJSON) })
		}
	}
}

func replay(t *testing.T, file string, asJSON bool) {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := newServer(script.Limits{Now: time.Now})
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	steps := 0
	for lines.Scan() {
		var st step
		if err := json.Unmarshal(lines.Bytes(), &st); err != nil {
			t.Logf("not replayed: %.200s", lines.Text())
			continue
		}
		for _, args := range st.Batch {
			s.do(args, asJSON)
		}
		if len(st.Args) == 0 {
			continue
		}
		steps++
		want := st.RESP
		if asJSON {
			want = string(st.JSON)
			var text string
			if json.Unmarshal(st.JSON, &text) == nil {
				want = text
			}
		}
		got := s.do(st.Args, asJSON)
		for _, m := range st.Mask {
			re := regexp.MustCompile(strings.NewReplacer(`(?<=[0-9a-f]{8})`, `[0-9a-f]{8}`, `(?!create)`, ``).Replace(m))
			got, want = re.ReplaceAllString(got, "#"), re.ReplaceAllString(want, "#")
		}
		if got != want && !(st.Unordered && len(got) == len(want)) && !(st.Approx && alike(got, want)) && !st.Volatile {
			t.Errorf("%q\n got %q\nwant %q", st.Args, got, want)
		}
	}
	if err := lines.Err(); err != nil || steps < 5 {
		t.Errorf("%d steps, %v", steps, err)
	}
}

var digits = regexp.MustCompile(`\d{3}(\D|$)|\$\d+`)

// alike compares without the last digits of numbers.
func alike(a, b string) bool {
	return digits.ReplaceAllString(a, "#") == digits.ReplaceAllString(b, "#")
}
