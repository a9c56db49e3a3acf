package mvt

import (
	"encoding/base64"
	"net/url"
	"strings"

	"github.com/tidwall/gjson"
)

// noLimit is how many objects a tile may show when its path does not say.
const noLimit = "18446744073709551615"

// Search returns the search for the tile that a path means:
//
//	key/z/x/y.mvt?limit=n    INTERSECTS key LIMIT n MVT x y z
//	key/z/x/y.pbf?sparse=n   INTERSECTS key SPARSE n MVT x y z
//
// The path comes without the slash at its beginning and with its escapes
// undone, the query's, too, as the only word of a command. sparse goes before
// limit; of a name that comes twice, the first counts; others are not heeded.
// ok is false when the path is not one of a tile. The numbers are the search's to
// judge.
func Search(path string) (args []string, ok bool) {
	path, query, _ := strings.Cut(path, "?")
	at, ok := strings.CutSuffix(path, ".mvt")
	if !ok {
		if at, ok = strings.CutSuffix(path, ".pbf"); !ok {
			return nil, false
		}
	}
	if strings.Count(at, "/") != 3 {
		return nil, false
	}
	parts := strings.Split(at, "/")
	key, z, x, y := parts[0], parts[1], parts[2], parts[3]
	option, n := "LIMIT", noLimit
	// Pairs that are malformed are left out, and so is their error.
	values, _ := url.ParseQuery(query)
	if v := values.Get("sparse"); v != "" {
		option, n = "SPARSE", v
	} else if v := values.Get("limit"); v != "" {
		n = v
	}
	return []string{"INTERSECTS", key, option, n, "MVT", x, y, z}, true
}

// FromAnswer returns the tile in the answer of such a search in JSON, which is an
// object as it is sent, without its length before it. ok is false when the
// answer is an error.
func FromAnswer(json []byte) (tile []byte, ok bool) {
	r := gjson.GetBytes(json, "mvt")
	if r.Type != gjson.String {
		return nil, false
	}
	tile, err := base64.RawStdEncoding.DecodeString(r.Str)
	return tile, err == nil
}
