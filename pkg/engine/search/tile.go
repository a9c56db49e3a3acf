package search

import (
	"encoding/base64"

	"github.com/tidwall/redcon"

	"evenkeel/pkg/engine/mvt"
	"evenkeel/pkg/engine/reply"
)

// maxTile is how large a vector tile may become, in bytes.
const maxTile = 128 << 20

var errTile = reply.Plain("tile is too large: use LIMIT, SPARSE, or a smaller tile")

// writeTile answers a vector tile.
func (r *run) writeTile(out *reply.Reply) error {
	if r.output == count && !out.JSON {
		out.Int(int(r.picked))
		return nil
	}
	at := r.area.Tile
	t := mvt.New(at.X, at.Y, at.Z)
	for i, it := range r.found {
		if err := r.breath(i, out); err != nil {
			return err
		}
		if r.tooLong(it) {
			return r.err
		}
		t.Add(it.ID(), r.object(it))
		if t.Len() > maxTile {
			return errTile
		}
	}
	pb := t.AppendTo(nil)
	if !out.JSON {
		out.Array(2)
		out.Buf = redcon.AppendUint(out.Buf, r.next())
		out.Buf = redcon.AppendBulk(out.Buf, pb)
		return nil
	}
	out.OK()
	out.Member("mvt")
	out.Buf = append(out.Buf, '"')
	out.Buf = base64.RawStdEncoding.AppendEncode(out.Buf, pb)
	out.Buf = append(out.Buf, '"')
	r.tail(out)
	return nil
}
