package dump

import (
	"bytes"
	"math"
	"strconv"

	"github.com/tidwall/geojson/geometry"

	"evenkeel/pkg/engine/collection"
	"evenkeel/pkg/engine/field"
	"evenkeel/pkg/engine/keys"
)

// Tally adds up the digest of the state that commands of Items lead to. It is
// how a file is verified that has been written from a snapshot.
//
// The common command, a point with numbers for fields, is understood here and
// makes nearly no garbage: garbage would make the collector run, which shows in
// the latency of requests. All others are prepared by the engine.
type Tally struct {
	now     int64
	prepare func(words [][]byte) (*collection.Change, error)
	sum     collection.Tally
	packed  []byte // fields of the item at hand
}

// NewTally returns an empty tally. The commands are taken at the time now, in
// Unix milliseconds; prepare is asked for the effect that a command has on an
// empty state.
func NewTally(now int64, prepare func(words [][]byte) (*collection.Change, error)) *Tally {
	return &Tally{now: now, prepare: prepare}
}

// Add counts what a command puts.
func (t *Tally) Add(words [][]byte) error {
	if t.point(words) {
		return nil
	}
	ch, err := t.prepare(words)
	if err == nil && ch != nil {
		t.sum.Add(ch)
	}
	return err
}

// Sum returns the digest of all.
func (t *Tally) Sum() collection.Digest { return t.sum.Sum() }

// point counts set key id [field name number …] [ex seconds] object point; it
// returns false, and counts nothing, when the words are not exactly that.
func (t *Tally) point(words [][]byte) bool {
	if len(words) < 5 || string(words[0]) != "set" {
		return false
	}
	p, ok := pointText(words[len(words)-1])
	if !ok || string(words[len(words)-2]) != "object" {
		return false
	}
	options := words[3 : len(words)-2]
	t.packed = t.packed[:0]
	var last []byte
	for len(options) >= 3 && string(options[0]) == "field" {
		name := options[1]
		if !plainName(name) || bytes.Compare(last, name) >= 0 {
			return false
		}
		v := field.ValueOf(string(options[2]))
		if v.Kind() != field.Number || v.IsZero() {
			return false
		}
		t.packed = field.AppendPacked(t.packed, string(name), v)
		last, options = name, options[3:]
	}
	deadline := int64(0)
	if len(options) == 2 && string(options[0]) == "ex" {
		secs, err := strconv.ParseFloat(string(options[1]), 64)
		if err != nil || math.IsNaN(secs) {
			return false
		}
		deadline, options = keys.Deadline(t.now, secs), nil
	}
	if len(options) != 0 {
		return false
	}
	t.sum.AddPoint(words[1], words[2], p, t.packed, deadline)
	return true
}

// plainName says whether a field's name is kept as it is sent.
func plainName(name []byte) bool {
	for _, c := range name {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(name) > 0 && !keys.Reserved(string(name))
}

// pointText reads {"type":"Point","coordinates":[x,y]} with plain decimal
// numbers.
func pointText(text []byte) (p geometry.Point, ok bool) {
	rest, ok := bytes.CutPrefix(text, []byte(`{"type":"Point","coordinates":[`))
	if !ok {
		return p, false
	}
	if rest, ok = bytes.CutSuffix(rest, []byte("]}")); !ok {
		return p, false
	}
	x, y, ok := bytes.Cut(rest, []byte(","))
	if !ok {
		return p, false
	}
	var okX, okY bool
	p.X, okX = decimal(x)
	p.Y, okY = decimal(y)
	return p, okX && okY
}

func decimal(b []byte) (float64, bool) {
	for _, c := range b {
		if (c < '0' || c > '9') && c != '.' && c != '-' {
			return 0, false
		}
	}
	f, err := strconv.ParseFloat(string(b), 64)
	return f, err == nil
}
