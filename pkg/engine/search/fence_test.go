package search

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/field"
	"evenkeel/pkg/engine/reply"
)

// failure is the answer in RESP to a command that fails with err, "" for none.
func failure(name string, err error) string {
	if err == nil {
		return ""
	}
	out := &reply.Reply{}
	out.Fail(name, err)
	return strings.TrimSpace(string(out.Buf))
}

// TestParseFence: what Tile38 says to a live fence and, where it differs, to the
// same words in a definition.
func TestParseFence(t *testing.T) {
	const (
		args = "-ERR wrong number of arguments for 'x' command"
		same = "same"
	)
	for _, c := range []struct{ line, live, defined string }{
		{"NEARBY k FENCE", args, same},
		{"NEARBY k FENCE POINT 1", args, same},
		{"NEARBY k FENCE POINT 1 1", "", same},
		{"NEARBY k FENCE POINT 1 1 0", "", same},
		{"NEARBY k FENCE POINT 1 1 -5", "-ERR invalid argument '-5'", same},
		{"NEARBY k FENCE POINT 1 1 1 5", args, same},
		{"NEARBY k FENCE FENCE POINT 1 1 1", "-ERR duplicate argument 'FENCE'", ""},
		{"NEARBY k POINT 1 1 1", "-ERR FENCE is not specified", ""},
		{"NEARBY k DETECT enter POINT 1 1 1", "-DETECT is not allowed when FENCE is not specified", ""},
		{"NEARBY k FENCE DETECT", args, same},
		{"NEARBY k FENCE DETECT _ POINT 1 1 1", args, same},
		{"NEARBY k FENCE DETECT Enter POINT 1 1 1", "", same},
		{"NEARBY k FENCE DETECT foo POINT 1 1 1", "-ERR invalid argument 'foo'", same},
		{"NEARBY k FENCE DETECT enter,foo POINT 1 1 1", "-ERR invalid argument 'enter,foo'", same},
		{"NEARBY k FENCE DETECT ,enter POINT 1 1 1", "-ERR invalid argument ',enter'", same},
		{"NEARBY k FENCE DETECT enter,enter POINT 1 1 1", "-ERR duplicate argument 'enter'", same},
		{"NEARBY k FENCE DETECT roam POINT 1 1 1", "-ERR invalid argument 'roam'", same},
		{"NEARBY k FENCE DETECT enter DETECT exit POINT 1 1 1", "-ERR duplicate argument 'DETECT'", same},
		{"NEARBY k FENCE COMMANDS", args, same},
		{"NEARBY k FENCE COMMANDS SET,set POINT 1 1 1", "-ERR duplicate argument 'set'", same},
		{"NEARBY k FENCE COMMANDS ,,set POINT 1 1 1", "-ERR duplicate argument ''", same},
		{"NEARBY k FENCE COMMANDS set COMMANDS del POINT 1 1 1", "-ERR duplicate argument 'COMMANDS'", same},
		{"NEARBY k FENCE NODWELL NODWELL POINT 1 1", "", same},
		{"NEARBY k FENCE CURSOR 1 POINT 1 1 1", "-CURSOR is not allowed when FENCE is specified", same},
		{"NEARBY k FENCE ASC POINT 1 1 1", "-ASC is not allowed for NEARBY", same},
		{"NEARBY k FENCE LIMIT 5 POINT 1 1 1", "", same},
		{"NEARBY k FENCE BUFFER 5 POINT 1 1 100", "", same},
		{"NEARBY k FENCE ROAM", args, same},
		{"NEARBY k FENCE ROAM k *", args, same},
		{"NEARBY k FENCE ROAM _ * 5", args, same},
		{"NEARBY k FENCE ROAM k * x", "-ERR invalid argument 'x'", same},
		{"NEARBY k FENCE ROAM k * 5", "", same},
		{"NEARBY k FENCE ROAM k * nan", "", same},
		{"NEARBY k FENCE ROAM k * inf", "", same},
		{"NEARBY k FENCE ROAM k * 5 FOO x", "-ERR invalid argument 'FOO'", same},
		{"NEARBY k FENCE ROAM k * 5 SCAN", args, same},
		{"NEARBY k FENCE ROAM k * 5 SCAN x y", args, same},
		{"NEARBY k FENCE BUFFER 5 ROAM k * 5", "-ERR cannot buffer nil object", same},
		{"NEARBY k ROAM k * 5", "-ERR invalid argument 'ROAM'", ""},
		{"WITHIN k FENCE ROAM k * 5", "-ERR invalid argument 'ROAM'", same},
		{"WITHIN k FENCE GET no such", "-ERR key not found", same},
		{"WITHIN k FENCE OBJECT {}", "-ERR missing type", same},
		{"WITHIN k FENCE CLIP CIRCLE 1 1 1", "-ERR invalid argument 'cannot clip with circle'", same},
		{"WITHIN k FENCE CIRCLE 1 1 1 5", args, same},
		{"INTERSECTS k FENCE MVT 1 1 1", "", same},
		{"SCAN k FENCE", "-ERR invalid argument 'SCAN'", same},
	} {
		words := strings.Fields(strings.ReplaceAll(c.line, "_", "\x00"))
		for i := range words {
			words[i] = strings.Trim(words[i], "\x00")
		}
		if c.defined == same {
			c.defined = c.live
		}
		for implied, want := range map[bool]string{false: c.live, true: c.defined} {
			_, err := Limits{}.ParseFence(words[0], words[1:], collection.NewState(), implied)
			if got := failure("x", err); got != want {
				t.Errorf("%s (implied %v): %q, want %q", c.line, implied, got, want)
			}
		}
	}
}

// A search with FENCE where an answer is wanted is refused when all its words
// are right.
func TestGoingLive(t *testing.T) {
	for line, want := range map[string]string{
		"NEARBY k FENCE POINT 1 1 1":   "-ERR going live",
		"NEARBY k FENCE ROAM k * 5":    "-ERR going live",
		"NEARBY k FENCE ROAM k * x":    "-ERR invalid argument 'x'",
		"WITHIN k FENCE BOUNDS 1 1 2":  "-ERR wrong number of arguments for 'within' command",
		"INTERSECTS k FENCE HASH 9q":   "-ERR going live",
		"SCAN k FENCE":                 "-FENCE is not allowed for SCAN",
		"SEARCH k DETECT enter":        "-DETECT is not allowed when FENCE is not specified",
		"SCAN k NODWELL COMMANDS x, y": "-ERR invalid argument 'y'",
	} {
		args := strings.Fields(line)
		req := &command.Request{Args: args, Name: strings.ToLower(args[0])}
		for _, spec := range Commands() {
			if spec.Name != req.Name {
				continue
			}
			err := spec.Read(req, collection.NewState(), &reply.Reply{})
			if got := failure(req.Name, err); got != want || errors.Is(err, ErrGoingLive) != strings.Contains(want, "live") {
				t.Errorf("%s: %q, want %q", line, got, want)
			}
		}
	}
}

// TestFenceKeepsNothing: a fence outlives the slice that its words are in.
func TestFenceKeepsNothing(t *testing.T) {
	buf := []byte("key a* name roamkey b* :x ")
	word := func(i int) string { return strings.Fields(string(buf))[i] }
	args := []string{word(0), "FENCE", "MATCH", word(1), "WHERE", word(2), "1", "2", "ROAM", word(3), word(4), "5", "SCAN", word(5)}
	f, err := Limits{}.ParseFence("NEARBY", args, collection.NewState(), false)
	if err != nil {
		t.Fatal(err)
	}
	for i := range args {
		args[i] = "gone"
	}
	roam := f.Roam()
	if f.Key() != "key" || !f.Named("ab") || f.Named("b") || *roam != (Roam{Key: "roamkey", Pattern: "b*", Meters: 5, Scan: ":x"}) {
		t.Errorf("key %q, roam %+v", f.Key(), roam)
	}
	if _, ok := f.Rect(); ok {
		t.Error("a fence that roams has a rectangle")
	}
	if _, ok := f.Reach(); ok {
		t.Error("a fence that roams has a reach")
	}
}

// FuzzParseFence: no words make the parser or the fence that it returns panic.
func FuzzParseFence(f *testing.F) {
	for _, s := range []string{
		"NEARBY k FENCE DETECT enter,exit COMMANDS set,del NODWELL POINT 33 -112 1000",
		"NEARBY k FENCE ROAM k * 5 SCAN x", "WITHIN k FENCE BUFFER 5 CLIP BOUNDS 0 0 1 1",
		`INTERSECTS k FENCE WHERE a 1 2 HASHES 5 OBJECT {"type":"Point","coordinates":[1,1]}`,
		"WITHIN k DISTANCE IDS SECTOR 1 1 1 0 90", "INTERSECTS k FENCE MVT 1 1 1", "NEARBY k BUFFER inf POINT nan inf 1e400",
		"INTERSECTS k FENCE CIRCLE 90 180 1e9 CLIPBY TILE 1 1 1",
	} {
		f.Add(s, true)
		f.Add(s, false)
	}
	items := []*collection.Item{
		collection.NewPoint("a", geometry.Point{X: 1, Y: 1}, field.List{}, 0),
		collection.NewItem("b", collection.Text("x"), field.List{}, 0),
		collection.NewItem("c", geojson.NewRect(geometry.Rect{Max: geometry.Point{X: 5, Y: 5}}), field.List{}, 0),
	}
	f.Fuzz(func(t *testing.T, line string, implied bool) {
		words := strings.Split(line, " ")
		fence, err := Limits{}.ParseFence(words[0], words[1:], collection.NewState(), implied)
		if (err == nil) == (fence == nil) {
			t.Fatalf("%v, %v", fence, err)
		}
		if err != nil {
			return
		}
		for _, it := range items {
			_ = fence.Passes(it)
			if got := string(fence.AppendItem(nil, it)); !fence.Silent() && !strings.HasPrefix(got, `,"id":`) {
				t.Fatalf("item %s", got)
			}
			if _, ok := fence.Rect(); ok && fence.Holds(it.Object()) && it.IsText() {
				t.Fatal("a text is in the area")
			}
		}
		_, _ = fence.Reach()
		_ = fmt.Sprint(fence.Detects(), fence.Shape())
	})
}
