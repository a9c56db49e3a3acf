package engine

import (
	"strings"
	"testing"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/keys"
	"evenkeel/pkg/engine/reply"
)

// prepare runs one write command up to Prepare.
func prepare(t *testing.T, e *Engine, spec *command.Spec, args ...string) (*collection.Change, string, error) {
	t.Helper()
	var out reply.Reply
	req := &command.Request{Args: args, Name: strings.ToLower(args[0]), Now: 1000}
	ch, err := e.Prepare(spec, req, &out)
	return ch, string(out.Buf), err
}

func TestPrepareThenApply(t *testing.T) {
	e := New(Options{})
	ch, answer, err := prepare(t, e, e.Lookup("set"), "SET", "k", "a", "POINT", "1", "2")
	if err != nil || ch == nil || answer != "+OK\r\n" {
		t.Fatalf("got %v, %q, %v", ch, answer, err)
	}
	if e.State().Len() != 0 {
		t.Error("Prepare changed the state")
	}
	e.Apply(ch)
	if it, _ := e.State().Get("k", "a"); it == nil {
		t.Error("Apply did not change the state")
	}
	if ch, answer, err = prepare(t, e, e.Lookup("del"), "DEL", "k", "none"); ch != nil || err != nil || answer != ":0\r\n" {
		t.Errorf("a command without effect: %v, %q, %v", ch, answer, err)
	}
	if ch, _, err = prepare(t, e, e.Lookup("set"), "SET", "k", "a", "POINT", "x"); ch != nil || err == nil {
		t.Errorf("a command that fails: %v, %v", ch, err)
	}
	if err := e.State().Check(); err != nil {
		t.Error(err)
	}
	e.Reset(New(Options{}))
	if e.State().Len() != 0 {
		t.Error("Reset kept data")
	}
}

// Whatever its own limits are, an engine takes what a log holds.
func TestLogIsNotLimited(t *testing.T) {
	e := New(Options{Limits: keys.Limits{MaxJSONDepth: 2, MaxPoints: 1}})
	args := []string{"SET", "k", "a", "OBJECT", `{"type":"LineString","coordinates":[[1,2],[3,4]]}`}
	if _, _, err := prepare(t, e, e.Lookup("set"), args...); err == nil {
		t.Error("a client may send it")
	}
	ch, _, err := prepare(t, e, e.LookupLogged("set"), args...)
	if err != nil || ch == nil {
		t.Errorf("the log may not hold it: %v", err)
	}
}

// The limit on nested JSON holds for the areas of searches, too.
func TestSearchesAreLimited(t *testing.T) {
	e := New(Options{Limits: keys.Limits{MaxJSONDepth: 3}})
	search := func(object string) error {
		req := command.Request{Args: []string{"WITHIN", "k", "OBJECT", object}, Name: "within"}
		return e.Lookup("within").Read(&req, e.State(), &reply.Reply{})
	}
	if err := search(`{"type":"LineString","coordinates":[[1,2],[3,4]]}`); err != nil {
		t.Errorf("3 levels: %v", err)
	}
	if err := search(`{"type":"Polygon","coordinates":[[[1,2],[3,4],[5,6],[1,2]]]}`); err == nil {
		t.Error("4 levels: no error")
	}
}

func TestLookup(t *testing.T) {
	e := New(Options{})
	if e.Lookup("nonsense") != nil || e.LookupLogged("nonsense") != nil {
		t.Error("found a command that is none")
	}
	for _, spec := range e.Commands() {
		if (spec.Read == nil) == (spec.Write == nil) {
			t.Errorf("%s must have one of Read and Write", spec.Name)
		}
		if got := e.LookupLogged(spec.Name); got == nil || got.Name != spec.Name {
			t.Errorf("%s is not found for the log", spec.Name)
		}
	}
}

func TestOptions(t *testing.T) {
	var o Options
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	o.Limits = keys.Limits{MaxJSONDepth: -3, MaxPoints: -4}
	err := o.Validate()
	if err == nil || !strings.Contains(err.Error(), "-3") || !strings.Contains(err.Error(), "-4") {
		t.Errorf("got %v, want both faults", err)
	}
}
