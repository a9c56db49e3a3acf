package dump

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"evenkeel/pkg/engine/collection"
)

// TestDifference: the commands for each way in which two states can differ, and
// no others.
func TestDifference(t *testing.T) {
	const now = 1_000_000
	hook := func(st *collection.State, name, word string, channel bool, deadline int64) {
		var ch collection.Change
		hk := &collection.Hook{Name: name, Key: "k", Channel: channel, Command: []string{word}, Deadline: deadline}
		if !channel {
			hk.Endpoints = []string{"http://x"}
		}
		ch.SetHook(hk)
		st.Apply(&ch)
	}
	for _, tt := range []struct {
		name       string
		have, want []string
		at         int64 // when want was made
		merge      bool
		diff       []string
	}{
		{name: "equal", have: []string{"SET k a POINT 1 2", "SET k b FIELD f 1 STRING x"}, want: []string{"SET k b FIELD f 1 STRING x", "SET k a POINT 1 2"}},
		{name: "missing", want: []string{"SET k a POINT 1 2"}, diff: []string{`set k a object {"type":"Point","coordinates":[2,1]}`}},
		{name: "ghosts", have: []string{"SET k a POINT 1 2", "SET k b POINT 1 2", "SET l x POINT 1 1"}, want: []string{"SET k a POINT 1 2"}, diff: []string{"drop l", "del k b"}},
		{name: "ghosts stay", merge: true, have: []string{"SET k a POINT 1 2", "SET l x POINT 1 1"}, want: []string{"SET k b STRING x"}, diff: []string{"set k b string x"}},
		{name: "another object", have: []string{"SET k a POINT 1 2"}, want: []string{"SET k a STRING x"}, diff: []string{"set k a string x"}},
		{name: "another field", have: []string{"SET k a FIELD f 1 STRING x"}, want: []string{"SET k a FIELD f 2 STRING x"}, diff: []string{"set k a field f 2 string x"}},
		{name: "no field", have: []string{"SET k a FIELD f 1 STRING x"}, want: []string{"SET k a STRING x"}, diff: []string{"set k a field f 0 string x"}},
		{name: "other fields", have: []string{"SET k a FIELD point 1 FIELD g 1 STRING x"}, want: []string{"SET k a FIELD h 2 STRING x"}, diff: []string{"set k a field g 0 field point 0 field h 2 string x"}},
		{name: "a little later", have: []string{"SET k a EX 10 STRING x"}, want: []string{"SET k a EX 11 STRING x"}},
		{name: "a little earlier", have: []string{"SET k a EX 11 STRING x"}, want: []string{"SET k a EX 10 STRING x"}},
		{name: "seconds since when?", at: 500_000, have: []string{"SET k a EX 1000 STRING x"}, want: []string{"SET k a EX 1000 STRING x"}},
		{name: "much earlier", have: []string{"SET k a EX 100 STRING x"}, want: []string{"SET k a EX 10 STRING x"}, diff: []string{"set k a ex 10 string x"}},
		{name: "over here, not there", at: 500_000, have: []string{"SET k a EX -1 STRING x"}, want: []string{"SET k a EX 10 STRING x"}, diff: []string{"set k a ex 510 string x"}},
		{name: "for ever here", have: []string{"SET k a STRING x"}, want: []string{"SET k a EX 10 STRING x"}, diff: []string{"set k a ex 10 string x"}},
		{name: "for ever there", have: []string{"SET k a EX 10 STRING x"}, want: []string{"SET k a STRING x"}, diff: []string{"set k a string x"}},
		{name: "hooks", have: []string{"HOOK h a", "CHAN c a", "CHAN gone a", "HOOK gonetoo a", "CHAN other a"}, want: []string{"HOOK h a", "CHAN c b", "HOOK other a"},
			diff: []string{"delchan gone", "delhook gonetoo", "delchan other", "setchan c b", "sethook other http://x a"}},
		{name: "hooks stay", merge: true, have: []string{"HOOK h a"}, want: []string{"CHAN c b"}, diff: []string{"setchan c b"}},
	} {
		made := func(lines []string, at int64) *collection.State {
			e := newEngine()
			for _, line := range lines {
				args := strings.Fields(line)
				switch args[0] {
				case "HOOK", "CHAN":
					hook(e.st, args[1], args[2], args[0] == "CHAN", 0)
				default:
					if err := e.do(at, args...); err != nil {
						t.Fatalf("%s: %v", line, err)
					}
				}
			}
			return e.st
		}
		have, want := made(tt.have, now), made(tt.want, now+tt.at)
		d := Diff{Now: func() int64 { return now }, Tolerance: 1500, Merge: tt.merge}
		var got []string
		visit := func(args []string) error { got = append(got, strings.Join(args, " ")); return nil }
		if err := Difference(have, want, d, visit); err != nil || !slices.Equal(got, tt.diff) {
			t.Errorf("%s: %v, %q, want %q", tt.name, err, got, tt.diff)
		}
		for n := range tt.diff { // it ends where visit says so
			full, left := errors.New("full"), n
			err := Difference(have, want, d, func([]string) error {
				if left--; left < 0 {
					return full
				}
				return nil
			})
			if !errors.Is(err, full) || left != -1 {
				t.Errorf("%s: stopped after %d: %v, %d more", tt.name, n, err, -1-left)
			}
		}
	}
}
