package mvt

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// decoded is a feature as a reader of tiles sees it.
type decoded struct {
	kind uint64
	tags map[string]string
	// drawing has M x,y and L dx,dy and Z.
	drawing string
}

// entry is a field of a message: a number or bytes.
type entry struct {
	field uint64
	n     uint64
	b     []byte
}

func entries(tb testing.TB, b []byte) []entry {
	tb.Helper()
	var es []entry
	for len(b) > 0 {
		tag := uvarint(tb, &b)
		e := entry{field: tag >> 3}
		switch e.n = uvarint(tb, &b); tag & 7 {
		case 0:
		case 2:
			if e.n > uint64(len(b)) {
				tb.Fatalf("field %d has %d bytes, %d are left", e.field, e.n, len(b))
			}
			e.b, b = b[:e.n], b[e.n:]
		default:
			tb.Fatalf("field %d has wire type %d", e.field, tag&7)
		}
		es = append(es, e)
	}
	return es
}

func uvarint(tb testing.TB, b *[]byte) uint64 {
	tb.Helper()
	n, size := binary.Uvarint(*b)
	if size <= 0 {
		tb.Fatalf("no number at % x", *b)
	}
	*b = (*b)[size:]
	return n
}

func varint(tb testing.TB, b *[]byte) int64 {
	tb.Helper()
	n := uvarint(tb, b)
	return int64(n>>1) ^ -int64(n&1)
}

func commands(tb testing.TB, b []byte) string {
	tb.Helper()
	var s []string
	for len(b) > 0 {
		c := uvarint(tb, &b)
		for range c >> 3 {
			switch c & 7 {
			case moveTo:
				s = append(s, fmt.Sprintf("M%d,%d", varint(tb, &b), varint(tb, &b)))
			case lineTo:
				s = append(s, fmt.Sprintf("L%d,%d", varint(tb, &b), varint(tb, &b)))
			case closePath:
				s = append(s, "Z")
			default:
				tb.Fatalf("unknown command %d", c&7)
			}
		}
	}
	return strings.Join(s, " ")
}

// decode reads a tile and checks what all tiles have.
func decode(tb testing.TB, b []byte) []decoded {
	tb.Helper()
	layers := entries(tb, b)
	if len(layers) != 1 || layers[0].field != 3 {
		tb.Fatalf("%d layers", len(layers))
	}
	var keys, values []string
	var features [][]byte
	scalars := map[uint64]uint64{}
	for _, e := range entries(tb, layers[0].b) {
		switch e.field {
		case 1:
			if string(e.b) != "tile38" {
				tb.Fatalf("layer %q", e.b)
			}
		case 2:
			features = append(features, e.b)
		case 3:
			keys = append(keys, string(e.b))
		case 4:
			values = append(values, string(entries(tb, e.b)[0].b))
		default:
			scalars[e.field] = e.n
		}
	}
	if len(scalars) != 2 || scalars[5] != 4096 || scalars[15] != 2 {
		tb.Fatalf("extent and version are %v", scalars)
	}
	out := []decoded{}
	for _, f := range features {
		d := decoded{tags: map[string]string{}}
		for _, e := range entries(tb, f) {
			switch e.field {
			case 2:
				for len(e.b) > 0 {
					k, v := uvarint(tb, &e.b), uvarint(tb, &e.b)
					d.tags[keys[k]] = values[v]
				}
			case 3:
				d.kind = e.n
			case 4:
				d.drawing = commands(tb, e.b)
			}
		}
		out = append(out, d)
	}
	return out
}
