package keys

import (
	"strings"
	"testing"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/reply"
)

// TestReadAhead: a command answers and does the same whether it was read ahead
// or not, whatever is wrong with it.
func TestReadAhead(t *testing.T) {
	long := strings.Repeat("x", 1500)
	line := `{"type":"LineString","coordinates":[[1,2]` + strings.Repeat(",[3,4]", 300) + `]}`
	json := `{"a":[` + strings.Repeat("1, ", 500) + `1]}`
	deep := strings.Repeat("[", 800) + strings.Repeat("]", 800)
	for _, tc := range [][]string{
		{"SET", "k", "new", "OBJECT", line},
		{"SET", "k", "old", "OBJECT", line},
		{"SET", "k", "old", "NX", "OBJECT", line},
		{"SET", "k", "old", "NX", "OBJECT", line[1:]},
		{"SET", "k", "new", "XX", "OBJECT", line},
		{"SET", "k", "new", "XX", "OBJECT", line + "}"},
		{"SET", "k", "old", "EX", "10", "OBJECT", line},
		{"SET", "k", "old", "EX", "ten", "OBJECT", line},
		{"SET", "k", "old", "FIELD", "f", json, "FIELD", "g", "0", "FIELD", "h", "7", "FIELD", "h", "8", "POINT", "1", "2"},
		{"SET", "k", "old", "FIELD", "z", json, "POINT", "1", "2"},
		{"SET", "k", "old", "FIELD", "f", deep, "POINT", "1", "2"},
		{"SET", "k", "old", "RETURN", "WITHFIELDS", "OBJECT", "FIELD", "f", json, "STRING", long},
		{"SET", "k", "old", "OBJECT", line, "POINT", "1"},
		{"SET", "k", "old", "OBJECT", deep},
		{"SET", "k", "old", "FIELD", "f", json},
		{"SET", "k", long},
		{"FSET", "k", "old", "f", json, "g", "0", "h", "1", "i", "2"},
		{"FSET", "k", "old", "f", json, "RETURN", "WITHFIELDS"},
		{"FSET", "k", "new", "f", json},
		{"FSET", "k", "new", "f", json, "XX"},
		{"FSET", "k", "new", "f", json, "XX", "RETURN", "POINT"},
		{"FSET", "none", "old", "f", deep},
		{"FSET", "k", "new", "lat", json},
		{"FSET", "k", "old", "f", json, "g"},
		{"FSET", "k", "old", long},
	} {
		for _, asJSON := range []bool{false, true} {
			plain, plainDigest := readAhead(t, tc, asJSON, false)
			ahead, aheadDigest := readAhead(t, tc, asJSON, true)
			if ahead != plain || aheadDigest != plainDigest {
				t.Errorf("%.60q, JSON %v:\nread ahead %.200s\notherwise  %.200s\nsame state: %v",
					tc, asJSON, ahead, plain, aheadDigest == plainDigest)
			}
		}
	}
}

// readAhead carries out one write on a small state.
func readAhead(t *testing.T, args []string, asJSON, ahead bool) (string, collection.Digest) {
	t.Helper()
	s := newSession(t, Limits{})
	s.want("SET k old FIELD f 1 FIELD g 5 FIELD h 7 POINT 5 6", "+OK")
	spec := s.cmds[strings.ToLower(args[0])]
	req := command.Request{Args: args, Name: spec.Name, Now: s.now}
	if ahead {
		spec.ReadAhead(&req)
		if enough := len(args) > 4 || args[0] == "SET" && len(args) == 4; enough != (req.Early != nil) {
			t.Errorf("%.60q: read ahead %v, want %v", args, req.Early != nil, enough)
		}
	}
	out := reply.Reply{JSON: asJSON}
	var ch collection.Change
	if err := spec.Write(&req, s.st, &ch, &out); err != nil {
		out.Buf = out.Buf[:0]
		out.Fail(req.Name, err)
	} else {
		s.st.Apply(&ch)
	}
	return string(out.Buf), s.st.Digest()
}

// TestSmallIsNotReadAhead: what takes no time to read makes no garbage.
func TestSmallIsNotReadAhead(t *testing.T) {
	s := newSession(t, Limits{})
	spec := s.cmds["set"]
	req := command.Request{Name: "set", Args: []string{"SET", "k", "a", "FIELD", "f", "1", "POINT", "1", "2"}}
	if n := testing.AllocsPerRun(100, func() { spec.ReadAhead(&req) }); n != 0 || req.Early != nil {
		t.Errorf("%v allocations, read ahead: %v", n, req.Early != nil)
	}
}
