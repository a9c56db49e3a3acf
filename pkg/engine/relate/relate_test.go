package relate

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidwall/geojson"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/field"
	"evenkeel/pkg/engine/reply"
)

// put adds an item to a state: an object as GeoJSON, or a text.
func put(tb testing.TB, st *collection.State, key, id, object string) {
	tb.Helper()
	obj, err := geojson.Parse(object, geojson.DefaultParseOptions)
	if err != nil {
		obj = collection.Text(object)
	}
	old, _ := st.Get(key, id)
	var ch collection.Change
	ch.Put(key, collection.NewItem(id, obj, field.List{}, 0), old)
	st.Apply(&ch)
}

// do answers a command as it goes over the wire, errors, too.
func do(l Limits, st *collection.State, asJSON bool, args ...string) string {
	req := &command.Request{Args: args, Name: strings.ToLower(args[0])}
	out := &reply.Reply{JSON: asJSON}
	if err := l.Commands()[0].Read(req, st, out); err != nil {
		out.Buf = out.Buf[:0]
		out.Fail(req.Name, err)
	}
	if asJSON {
		return string(out.Buf) + "}"
	}
	return string(out.Buf)
}

func ask(st *collection.State, asJSON bool, line string) string {
	return do(Limits{}, st, asJSON, strings.Split(line, " ")...)
}

const (
	square = `{"type":"Polygon","coordinates":[[[0,0],[10,0],[10,10],[0,10],[0,0]]]}`
	street = `{"type":"LineString","coordinates":[[-5,5],[15,5]]}`
)

func places(tb testing.TB) *collection.State {
	st := collection.NewState()
	put(tb, st, "k", "square", square)
	put(tb, st, "k", "text", `a "text"`)
	put(tb, st, "k", "high", `{"type":"Point","coordinates":[5,5,7]}`)
	put(tb, st, "k", "none", `{"type":"MultiPoint","coordinates":[]}`)
	return st
}

func TestAnswers(t *testing.T) {
	st := places(t)
	for _, c := range []struct{ line, want string }{
		{"TEST POINT 5 5 WITHIN BOUNDS 0 0 9 9", ":1"},
		{"test point 5 5 within bounds 6 6 9 9", ":0"},
		{"TEST BOUNDS 0 0 9 9 WITHIN POINT 5 5", ":0"},
		{"TEST BOUNDS 0 0 9 9 INTERSECTS POINT 5 5", ":1"},
		{"TEST GET k square INTERSECTS CIRCLE 5 5 1000", ":1"},
		{"TEST CIRCLE 5 5 1000 WITHIN CIRCLE 5 5 1001", ":1"},
		{"TEST POINT 1 1 INTERSECTS CIRCLE 1 1 0", ":1"},
		{"TEST POINT nan nan INTERSECTS POINT nan nan", ":0"},
		{"TEST GET k text WITHIN GET k text", ":0"},
		{"TEST POINT 1 1 WITHIN TILE -1 0 0", ":1"},
		{"TEST POINT 1 1 WITHIN TILE 0 -5 1", ":0"},
		{"TEST POINT 1 1 WITHIN TILE 0 0 24", ":0"},
		{"TEST POINT 1 1 WITHIN TILE 0 0 18446744073709551615", ":1"},
		{"TEST POINT 1 1 WITHIN TILE 0 0 18446744073709551616", "-ERR invalid argument '18446744073709551616'"},
		{"TEST POINT 1 1 WITHIN TILE 1 0 +1", "-ERR invalid argument '+1'"},
		{"TEST POINT 5 5 INTERSECTS QUADKEY " + strings.Repeat("0", 63) + "3", ":1"},
		{"TEST POINT 5 5 INTERSECTS QUADKEY " + strings.Repeat("3", 63), ":0"},
		{"TEST", "-ERR wrong number of arguments for 'test' command"},
		{"TEST FOO WITHIN POINT 1 1", "-ERR wrong number of arguments for 'test' command"},
		{"TEST POINT 1 1", "-ERR wrong number of arguments for 'test' command"},
		{"TEST POINT 1 1 FOO", "-ERR invalid argument 'FOO'"},
		{"TEST POINT 1 1  WITHIN POINT 1 1", "-ERR wrong number of arguments for 'test' command"},
		{"TEST POINT 1 1 WITHIN POINT 1 1 ", "-ERR wrong number of arguments for 'test' command"},
		{"TEST POINT 1 1 WITHIN MVT 0 0 0", "-ERR wrong number of arguments for 'test' command"},
		{"TEST POINT 1 1 WITHIN BOUNDS 0 0 2 2 CLIPBY BOUNDS 0 0 1 1", "-ERR wrong number of arguments for 'test' command"},
		{"TEST POINT 1 1 WITHIN GET k nothing", "-ERR id not found"},
		{"TEST POINT 1 1 WITHIN GET nothing x", "-ERR key not found"},
		{"TEST POINT 1 1 WITHIN SECTOR 1 1 5 nan 90", "-ERR invalid argument 'nan'"},
	} {
		if got := ask(st, false, c.line); got != c.want+"\r\n" {
			t.Errorf("%s\n got %q\nwant %q", c.line, got, c.want)
		}
	}
}

func TestClip(t *testing.T) {
	st := places(t)
	for _, c := range []struct{ line, want string }{
		{"OBJECT " + street + " INTERSECTS CLIP BOUNDS 0 0 10 10", `true,"object":{"type":"LineString","coordinates":[[0,5],[10,5]]}`},
		{"OBJECT " + street + " INTERSECTS CLIP BOUNDS 0 0 6 6 NOT BOUNDS 0 0 2 2", `true,"object":{"type":"LineString","coordinates":[[0,5],[6,5]]}`},
		{"NOT NOT OBJECT " + street + " POINT 1 1 INTERSECTS clip NOT NOT BOUNDS 0 0 6 6", `true,"object":{"type":"LineString","coordinates":[[0,5],[6,5]]}`},
		{"OBJECT " + street + " INTERSECTS CLIP NOT BOUNDS 8 8 9 9", `true,"object":{"type":"MultiLineString","coordinates":[]}`},
		{"POINT 50 5 INTERSECTS CLIP BOUNDS 0 0 10 10", "false"},
		{"NOT POINT 50 5 INTERSECTS CLIP BOUNDS 0 0 10 10", `true,"object":{"type":"MultiPoint","coordinates":[]}`},
		{"GET k high INTERSECTS CLIP BOUNDS 0 0 10 10", `true,"object":{"type":"Point","coordinates":[5,5,7]}`},
		{"NOT GET k text INTERSECTS CLIP BOUNDS 0 0 10 10", `true,"object":"a \"text\""`},
		{"NOT GET k none INTERSECTS CLIP BOUNDS 0 0 10 10", `true,"object":{"type":"FeatureCollection","features":[]}`},
	} {
		want := `{"ok":true,"result":` + c.want + `}`
		if got := ask(st, true, "TEST "+c.line); got != want {
			t.Errorf("%s\n got %s\nwant %s", c.line, got, want)
		}
	}
	for _, c := range []struct{ line, want string }{
		{"NOT GET k text INTERSECTS CLIP BOUNDS 0 0 10 10", "*2|:1|$12|\"a \\\"text\\\"\"|"},
		{"POINT 1 1 INTERSECTS CLIP circle", "-ERR invalid clip type 'circle'|"},
		{"( POINT 1 1 ) INTERSECTS CLIP GET k square", "-ERR invalid clip type 'GET'|"},
		{"( POINT 1 1 ) INTERSECTS CLIP FOO", "-ERR wrong number of arguments for 'test' command|"},
		{"( POINT 1 1 ) INTERSECTS CLIP BOUNDS 0 0 2 2 FOO", "-ERR invalid argument 'clip'|"},
		{"POINT 1 1 INTERSECTS Clip POINT 1 1 OR POINT 1 1", "-ERR invalid argument 'clip'|"},
		{"POINT 1 1 INTERSECTS CLIP BOUNDS 0 0 2 2 FOO", "-ERR wrong number of arguments for 'test' command|"},
		{"POINT 1 1 WITHIN Clip BOUNDS 0 0 2 2", "-ERR invalid argument 'Clip'|"},
		{"POINT 1 1 INTERSECTS CLIP MVT 0 0 0", "-ERR wrong number of arguments for 'test' command|"},
	} {
		if got := strings.ReplaceAll(ask(st, false, "TEST "+c.line), "\r\n", "|"); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.line, got, c.want)
		}
	}
}

// TestTiles holds the rectangles of tiles that are none to those of Tile38.
func TestTiles(t *testing.T) {
	st := collection.NewState()
	for _, c := range []struct{ tile, want string }{
		{"-1 0 1", "[[-180,85.05112878],[-180,0],[-180,0],[-180,85.05112878],[-180,85.05112878],[-180,0],[-180,85.05112878]]"},
		{"1 1 40", "[[-179.99999999967258,85.05112877977834],[-179.99999999967258,85.0511287797501],[-179.99999999934516,85.0511287797501]," +
			"[-179.99999999934516,85.05112877977834],[-179.99999999967258,85.05112877977834],[-179.99999999967258,85.0511287797501],[-179.99999999967258,85.05112877977834]]"},
		{"1 1 64", "[[-180,-85.05112878],[180,-85.05112878],[180,90],[-180,90],[-180,-85.05112878]]"},
		{"1 1 99", "[[-180,-85.05112878],[180,-85.05112878],[180,90],[-180,90],[-180,-85.05112878]]"},
		{"9223372036854775807 0 1", "[[-180,85.05112878],[-180,0],[180,0],[180,85.05112878],[-180,85.05112878],[-180,0],[-180,85.05112878]]"},
	} {
		want := `{"ok":true,"result":true,"object":{"type":"Polygon","coordinates":[` + c.want + `]}}`
		if got := ask(st, true, "TEST BOUNDS -90 -180 90 180 INTERSECTS CLIP TILE "+c.tile); got != want {
			t.Errorf("%s\n got %s\nwant %s", c.tile, got, want)
		}
	}
}

func TestLimits(t *testing.T) {
	st := collection.NewState()
	const tooMany = "-ERR too many areas and groups, the limit is 4\r\n"
	for _, c := range []struct{ line, want string }{
		{"POINT 1 1 WITHIN ( POINT 1 1 POINT 2 2", "-ERR wrong number of arguments for 'test' command\r\n"},
		{"POINT 1 1 WITHIN ( POINT 1 1 POINT 2 2 )", ":0\r\n"},
		{"POINT 1 1 WITHIN ( POINT 1 1 POINT 2 2 POINT 1 1", tooMany},
		{"( ( ( ( (", tooMany},
		{"POINT 1 1 AND POINT 1 1 AND POINT 1 1 WITHIN POINT 1 1", tooMany},
		{"POINT 1 1 POINT 1 1 POINT 1 1 POINT 1 1 OR", tooMany},
	} {
		args := strings.Fields("TEST " + c.line)
		if got := do(Limits{MaxNodes: 4}, st, false, args...); got != c.want {
			t.Errorf("%s: %q, want %q", c.line, got, c.want)
		}
	}
	deep := "TEST POINT 1 1 WITHIN OBJECT " + strings.Repeat("[", 100)
	if got := ask(st, false, deep); !strings.Contains(got, "nested too deep: 100 levels, the limit is 64") {
		t.Errorf("deep JSON: %q", got)
	}
}

// TestPause counts the questions and breaks off at the second.
func TestPause(t *testing.T) {
	st := collection.NewState()
	for _, c := range []struct {
		line  string
		asked int
		err   error
	}{
		{"POINT 1 1 WITHIN POINT 1 1", 0, nil},
		{"POINT 1 1 WITHIN POINT 1 1 AND POINT 1 1", 1, nil},
		{"POINT 1 1 WITHIN POINT 1 1 AND POINT 1 1 AND POINT 1 1 AND NOT POINT 1 1", 2, errEnough},
	} {
		asked := 0
		req := &command.Request{Args: strings.Fields("TEST " + c.line), Name: "test", Pause: func() error {
			if asked++; asked == 2 {
				return errEnough
			}
			return nil
		}}
		out := &reply.Reply{}
		err := Limits{}.Commands()[0].Read(req, st, out)
		if asked != c.asked || !errors.Is(err, c.err) || err != nil && len(out.Buf) > 0 {
			t.Errorf("%s: asked %d times, %v, %q; want %d, %v", c.line, asked, err, out.Buf, c.asked, c.err)
		}
	}
}

var errEnough = errors.New("enough")
