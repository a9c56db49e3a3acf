package fence

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"evenkeel/pkg/engine/collection"
)

// TestLive: connections hear of everything that is deleted, whatever they
// detect, and of nothing once they are removed.
func TestLive(t *testing.T) {
	w := newWorld(t, Options{})
	in := w.live("in", "NEARBY k FENCE DETECT inside POINT 1 1 1000")
	all := w.live("all", "NEARBY k FENCE MATCH a* POINT 1 1 1000")
	w.live("ids", "NEARBY k FENCE DETECT exit COMMANDS set IDS POINT 1 1 1000")
	w.line("SETCHAN ch NEARBY k FENCE DETECT enter POINT 1 1 1000")
	if hooks, lives := w.set.Len(); hooks != 1 || lives != 3 {
		t.Fatalf("%d hooks and %d connections", hooks, lives)
	}
	for _, c := range []struct{ line, want string }{
		{"SET k a POINT 5 5", "all set outside\n"},
		{"DEL k a", "in del\nall del\n"},
		{"SET k b POINT 1 1", "ch set enter\nin set inside\n"},
		{"SET k b POINT 2 2", "ids set exit\n"},
		{"SET k b STRING x", ""},
		{"DEL k b", ""},
		{"SET k a POINT 1 1", "ch set enter\nin set inside\nall set enter\nall set inside\n"},
		{"DROP k", "in drop\nall drop\n"},
		{"SET other a POINT 1 1", ""},
	} {
		if got := told(w.line(c.line)); got != c.want {
			t.Errorf("%s:\n%swant\n%s", c.line, got, c.want)
		}
	}
	w.set.RemoveLive(in)
	w.set.RemoveLive(all)
	w.set.RemoveLive(all)
	if got := told(w.line("SET k a POINT 1 1")); got != "ch set enter\n" {
		t.Errorf("after two connections are gone:\n%s", got)
	}
	if _, lives := w.set.Len(); lives != 1 {
		t.Errorf("%d connections", lives)
	}
}

// TestFlush: FLUSHDB takes hooks and channels, and what was remembered.
func TestFlush(t *testing.T) {
	w := newWorld(t, Options{})
	w.live("l", "WITHIN k FENCE DETECT inside BOUNDS 0 0 9 9")
	w.line("SETCHAN ch WITHIN k FENCE BOUNDS 0 0 9 9")
	w.line("SETHOOK hk http://h WITHIN other FENCE BOUNDS 0 0 9 9")
	before := w.line("SET k a POINT 1 1")
	w.line("FLUSHDB")
	after := w.line("SET k a POINT 1 1")
	if told(before) != "ch set enter\nch set inside\nl set inside\n" || told(after) != "l set inside\n" {
		t.Errorf("before\n%safter\n%s", told(before), told(after))
	}
	if before[2] == after[0] {
		t.Error("the group outlived the object")
	}
	if hooks, _ := w.set.Len(); hooks != 0 || len(w.set.watches) != 1 {
		t.Errorf("%d hooks, %d collections are watched", hooks, len(w.set.watches))
	}
}

// TestRebuild: what a load leaves; a definition that cannot be compiled is
// reported and stays without effect until it is defined again.
func TestRebuild(t *testing.T) {
	w := newWorld(t, Options{})
	w.live("l", "NEARBY k FENCE DETECT enter POINT 1 1 1000")
	w.line("SET area home BOUNDS 0 0 9 9")
	w.line("SETCHAN get WITHIN k FENCE DETECT enter GET area home")
	w.line("SETCHAN near NEARBY k FENCE DETECT enter POINT 1 1 1000")
	w.line("SETHOOK hk http://h,local://x META m 1 NEARBY k FENCE DETECT enter POINT 1 1 1000")
	w.line("DEL area home")
	if got := told(w.line("SET k a POINT 1 1")); got != "get set enter\nnear set enter\nhk set enter\nl set enter\n" {
		t.Errorf("before the load:\n%s", got)
	}
	errs := w.set.Rebuild(w.st)
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), `hook "get": key not found`) {
		t.Errorf("Rebuild: %v", errs)
	}
	w.line("DEL k a")
	if got := told(w.line("SET k a POINT 1 1")); got != "near set enter\nhk set enter\nl set enter\n" {
		t.Errorf("after the load:\n%s", got)
	}
	hk := w.set.hooks["hk"]
	if hk.Name() != "hk" || hk.IsChannel() || hk.Key() != "k" || fmt.Sprint(hk.Endpoints()) != "[http://h local://x]" {
		t.Errorf("%s %v %s %v", hk.Name(), hk.IsChannel(), hk.Key(), hk.Endpoints())
	}
	w.line("SETCHAN get WITHIN k FENCE BOUNDS 0 0 9 9")
	if len(w.set.Inert()) != 0 {
		t.Errorf("defined again: %v", w.set.Inert())
	}
	w.line("DELCHAN get")
	w.line("PDELCHAN *")
	w.line("DELHOOK hk")
	if hooks, _ := w.set.Len(); hooks != 0 {
		t.Errorf("%d hooks are left", hooks)
	}
}

// TestMessage: the bytes, the time zone and META.
func TestMessage(t *testing.T) {
	w := newWorld(t, Options{Seed: 7})
	w.raw = true
	w.line(`SETCHAN <c> META b "2" META a 1 NEARBY k" FENCE IDS POINT 1 1 1000`)
	if got := w.line(`SET k" é POINT 1 1`); len(got) != 2 || len(got[0].text) < 100 {
		t.Fatalf("got %v", got)
	}
	var ch collection.Change
	it, _ := w.st.Get(`k"`, "é")
	ch.Put(`k"`, it, it)
	at := time.Date(2024, 5, 6, 7, 8, 9, 120_000_000, time.FixedZone("", 3600))
	var got []string
	w.set.Match(w.st, "jset", at, &ch, func(_ *Fence, msg []byte) { got = append(got, string(msg)) })
	head, tail, _ := strings.Cut(got[0], `"group":"`)
	const rest = `","detect":"inside","hook":"\u003cc\u003e","meta":{"a":"1","b":"\"2\""},"key":"k\"","time":"2024-05-06T07:08:09.12+01:00","id":"é"}`
	if head != `{"command":"set",` || tail[24:] != rest || strings.Trim(tail[:24], "0123456789abcdef") != "" {
		t.Errorf("got %s", got[0])
	}
	w.set.Match(w.st, "jdel", at, &ch, func(_ *Fence, msg []byte) { t.Errorf("JDEL: %s", msg) })
}

// TestNeighbourLimits: a crowd is cut to the nearest.
func TestNeighbourLimits(t *testing.T) {
	w := newWorld(t, Options{MaxNeighbours: 3, MaxScan: 2})
	w.line("SETCHAN r NEARBY k FENCE ROAM crowd * 100000 SCAN *")
	for i := range 20 {
		w.line(fmt.Sprintf("SET crowd c%02d POINT 1 1.%02d", i, i))
		w.line(fmt.Sprintf("SET crowd c%02d:x STRING x", i))
		w.line(fmt.Sprintf("SET crowd c%02d:y STRING x", i))
		w.line(fmt.Sprintf("SET crowd c%02d:z STRING x", i))
	}
	got := w.line("SET k a POINT 1 1.07")
	if len(got) != 3 {
		t.Fatalf("%d neighbours", len(got))
	}
	for i, id := range []string{"c07", "c06", "c08"} {
		if !strings.Contains(got[i].text, `"nearby":{"key":"crowd","id":"`+id) || strings.Count(got[i].text, `{"id"`) != 3 {
			t.Errorf("neighbour %d: %s", i, got[i].text)
		}
	}
}

func TestOptions(t *testing.T) {
	var o Options
	o.EnsureDefaults()
	if err := o.Validate(); err != nil || o.MaxNeighbours != 10_000 || o.MaxScan != 1_000 {
		t.Errorf("defaults %+v, %v", o, err)
	}
	o.MaxNeighbours, o.MaxScan = -1, -2
	err := o.Validate()
	if err == nil || !strings.Contains(err.Error(), "-1") || !strings.Contains(err.Error(), "-2") {
		t.Errorf("got %v, want both faults", err)
	}
}

// TestMemory: what is remembered is bounded by the objects and fences that live,
// whatever came and went.
func TestMemory(t *testing.T) {
	w := newWorld(t, Options{})
	watched := func() *watch { return w.set.watches["k"] }
	w.line("SETCHAN keep WITHIN k FENCE BOUNDS 0 0 9 9")
	for i := range 3000 {
		w.line(fmt.Sprintf("SET k id%d POINT 1 1", i))
		if i%3 > 0 {
			w.line(fmt.Sprintf("DEL k id%d", i))
		}
	}
	if n := len(watched().memory); n != 1000 {
		t.Errorf("%d objects are remembered, 1000 live", n)
	}
	for i := range 50 {
		w.line(fmt.Sprintf("SETCHAN c%d WITHIN k FENCE BOUNDS 0 0 9 %d", i%3, i+1))
		w.line("SET k id0 POINT 2 2")
	}
	if n := len(watched().memory["id0"].marks); n > 4 {
		t.Errorf("%d marks of an object, 4 fences live", n)
	}
	w.line("DROP k")
	if n := len(watched().memory); n != 0 {
		t.Errorf("%d objects are remembered after DROP", n)
	}
	w.line("PDELCHAN *")
	if len(w.set.watches) != 0 {
		t.Errorf("%d collections are watched by nobody", len(w.set.watches))
	}
	// RENAME takes objects away without a word; only connections allow it.
	w.live("l", "WITHIN k FENCE BOUNDS 0 0 9 9")
	for i := range 4000 {
		w.line(fmt.Sprintf("SET k r%d POINT 1 1", i))
		w.line("RENAME k away")
	}
	if n := len(watched().memory); n > sweepSlack+2 {
		t.Errorf("%d objects are remembered after RENAME", n)
	}
}

// TestRename: as in Tile38, a visit goes on in the object that comes in the
// place of the one that went.
func TestRename(t *testing.T) {
	w := newWorld(t, Options{})
	w.live("l", "WITHIN k FENCE DETECT inside BOUNDS 0 0 9 9")
	before := w.line("SET k a POINT 1 1")
	w.line("RENAME k away")
	after := w.line("SET k a POINT 1 1")
	if len(before) != 1 || len(after) != 1 || before[0] != after[0] {
		t.Errorf("%v, %v", before, after)
	}
}

// TestReach: a connection sees over the antimeridian, where the rectangle of a
// hook ends.
func TestReach(t *testing.T) {
	w := newWorld(t, Options{})
	w.live("l", "WITHIN k FENCE DETECT enter CIRCLE 0 179.9 100000")
	w.line("SETCHAN all WITHIN k FENCE CIRCLE 0 179.9 100000")
	w.line("SETCHAN near WITHIN k FENCE DETECT enter CIRCLE 0 179.9 100000")
	if got := told(w.line("SET k a POINT 0 -179.9")); got != "all set enter\nall set inside\nl set enter\n" {
		t.Errorf("got\n%s", got)
	}
}

// Fences whose rectangle is none have nothing to say, and can be removed.
func TestNoPlace(t *testing.T) {
	w := newWorld(t, Options{})
	for _, line := range []string{
		"NEARBY k FENCE DETECT enter POINT nan 1 1000",
		"WITHIN k FENCE DETECT enter BOUNDS nan nan nan nan",
		"NEARBY k FENCE DETECT enter ROAM k * nan",
		"WITHIN k FENCE DETECT enter,cross BOUNDS -inf -inf inf inf",
	} {
		f := w.live("l", line)
		w.line("SET k a POINT 1 1")
		w.line("SET k a POINT 1e300 -1e300")
		w.line("SET k a POINT nan 5")
		w.line("DEL k a")
		w.set.RemoveLive(f)
		if len(w.set.watches) != 0 {
			t.Errorf("%s: the fence is still there", line)
		}
	}
}
