package mvt_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidwall/geojson"
	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/command"
	"evenkeel/pkg/engine/field"
	"evenkeel/pkg/engine/mvt"
	"evenkeel/pkg/engine/reply"
	"evenkeel/pkg/engine/search"
)

// serve answers a path as JSON, without the time that it took.
func serve(t *testing.T, st *collection.State, path string) (tile []byte, answer string, ok bool) {
	t.Helper()
	args, ok := mvt.Search(path)
	if !ok {
		return nil, "", false
	}
	out := &reply.Reply{JSON: true}
	for _, spec := range search.Commands() {
		if !strings.EqualFold(spec.Name, args[0]) {
			continue
		}
		if err := spec.Read(&command.Request{Args: args, Name: spec.Name}, st, out); err != nil {
			out.Buf = out.Buf[:0]
			out.Fail(spec.Name, err)
		}
	}
	answer = string(out.Buf) + "}"
	tile, _ = mvt.FromAnswer([]byte(answer))
	return tile, answer, true
}

// text is a reply of a recorded conversation: a string, or {"b64": …}.
type text []byte

func (b *text) UnmarshalJSON(data []byte) error {
	var s string
	if json.Unmarshal(data, &s) == nil {
		*b = text(s)
		return nil
	}
	var coded struct {
		B64 []byte `json:"b64"`
	}
	err := json.Unmarshal(data, &coded)
	*b = coded.B64
	return err
}

// TestServed answers the recorded conversations about tiles over HTTP.
func TestServed(t *testing.T) {
	corpus := os.Getenv("EVENKEEL_CONFORMANCE")
	if corpus == "" {
		t.Skip("SKIPPED: EVENKEEL_CONFORMANCE does not name the folder of recorded conversations")
	}
	f, err := os.Open(filepath.Join(corpus, "transports", "http-tiles.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st := collection.NewState()
	var ch collection.Change
	// What the conversation has written when it asks for the first tile.
	ch.Put("city", collection.NewPoint("m", geometry.Point{X: -3.7, Y: 40.41}, field.List{}, 0), nil)
	st.Apply(&ch)
	tiles, refused := 0, 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var s struct {
			Send string
			Resp text
		}
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		if s.Send == "" {
			continue
		}
		path, err := url.QueryUnescape(strings.TrimPrefix(strings.Fields(s.Send)[1], "/"))
		if err != nil {
			t.Fatal(err)
		}
		head, body, _ := bytes.Cut(bytes.TrimSuffix(s.Resp, []byte("\r\n")), []byte("\r\n\r\n"))
		tile, answer, ok := serve(t, st, path)
		switch isTile := bytes.Contains(head, []byte("vector-tile")); {
		case !ok:
			if isTile || !bytes.Contains(body, []byte("unknown command")) {
				t.Errorf("%s is no tile, want %q", path, body)
			}
		case isTile:
			tiles++
			if !bytes.Equal(tile, body) {
				t.Errorf("%s\n got % x\nwant % x", path, tile, body)
			}
		default:
			refused++
			if answer != string(body) {
				t.Errorf("%s: %s, want %s", path, answer, body)
			}
		}
	}
	if tiles == 0 || refused == 0 {
		t.Errorf("%d tiles, %d refusals", tiles, refused)
	}
}

// TestThroughSearch asks for a tile by its path and finds the object in it, cut
// off at its edge; base64 of the tile is what a search in JSON answers.
func TestThroughSearch(t *testing.T) {
	st := collection.NewState()
	var ch collection.Change
	obj, err := geojson.Parse(`{"type":"LineString","coordinates":[[-5,5],[150,5]]}`, geojson.DefaultParseOptions)
	if err != nil {
		t.Fatal(err)
	}
	ch.Put("k", collection.NewItem("road", obj, field.List{}, 0), nil)
	st.Apply(&ch)
	tile, answer, ok := serve(t, st, "k/3/4/3.pbf?limit=1")
	want := mvt.New(4, 3, 3)
	want.Add("road", geojson.NewLineString(geometry.NewLine([]geometry.Point{{X: -2.8125, Y: 5}, {X: 47.98828125, Y: 5}}, nil)))
	if !ok || !bytes.Equal(tile, want.AppendTo(nil)) {
		t.Errorf("got % x in %s", tile, answer)
	}
	if !strings.Contains(answer, `"mvt":"`+base64.RawStdEncoding.EncodeToString(tile)+`"`) {
		t.Errorf("answer %s", answer)
	}
	if _, answer, _ := serve(t, st, "k/3/4/3.mvt?sparse=17&limit=1"); answer != `{"ok":false,"err":"invalid argument '17'"}` {
		t.Errorf("sparse 17: %s", answer)
	}
	if tile, _, ok := serve(t, st, "none/3/4/3.mvt"); !ok || !bytes.Equal(tile, mvt.New(0, 0, 0).AppendTo(nil)) {
		t.Errorf("no key: % x, %v", tile, ok)
	}
}
