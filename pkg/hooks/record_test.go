package hooks

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// writeRecords returns n records as they stand in the segment seq, and where
// each ends.
func writeRecords(n int, seq uint64) (data []byte, ends []int) {
	for i := range n {
		r := record{kind: kindMessage, id: uint64(i + 1), at: int64(1000 + i), hook: []byte("hook"), msg: []byte(strings.Repeat("m", i*7))}
		if i%3 == 2 {
			r = record{kind: kindMark, id: uint64(i), hook: []byte("hook")}
		}
		data = appendRecord(data, seq, int64(len(data)), &r)
		ends = append(ends, len(data))
	}
	return data, ends
}

func ids(data []byte, seq uint64) (got []uint64, end, stretches, skipped int) {
	end, stretches, skipped = walk(data, seq, func(r record, _, _ int) { got = append(got, r.id) })
	return got, end, stretches, skipped
}

func TestRecordRoundTrip(t *testing.T) {
	for _, r := range []record{
		{kind: kindMessage, id: 1, at: 5, hook: []byte("h"), msg: []byte("text")},
		{kind: kindMessage, id: 1 << 60, at: 1 << 50, hook: []byte{}, msg: []byte{}},
		{kind: kindMark, id: 7, hook: []byte("name"), msg: []byte{}},
	} {
		b := appendRecord(nil, 3, 40, &r)
		if len(b) != headerSize+r.bodySize() {
			t.Errorf("%d bytes, announced %d", len(b), headerSize+r.bodySize())
		}
		got, n, ok := parseRecord(b, 3, 40)
		if !ok || n != len(b) || fmt.Sprint(got) != fmt.Sprint(r) {
			t.Errorf("%v: got %v, %d of %d, %v", r, got, n, len(b), ok)
		}
		if _, n, ok := parseRecord(b, 3, 41); ok || n != 0 {
			t.Error("it is valid in another place")
		}
		if _, n, ok := parseRecord(b, 4, 40); ok || n != 0 {
			t.Error("it is valid in another segment")
		}
	}
}

// A file that ends anywhere is cut behind the last whole record.
func TestWalkTorn(t *testing.T) {
	data, ends := writeRecords(10, 9)
	for cut := range len(data) + 1 {
		whole := 0
		for whole < len(ends) && ends[whole] <= cut {
			whole++
		}
		want := 0
		if whole > 0 {
			want = ends[whole-1]
		}
		got, end, stretches, _ := ids(data[:cut], 9)
		if len(got) != whole || end != want || stretches != 0 {
			t.Fatalf("cut at %d: %d records, end %d, %d stretches", cut, len(got), end, stretches)
		}
		zeros, end, stretches, _ := ids(append(slices.Clone(data[:cut]), make([]byte, 100)...), 9)
		if len(zeros) != whole || end != want || stretches != 0 {
			t.Fatalf("zeros from %d: %d records, end %d, %d stretches", cut, len(zeros), end, stretches)
		}
	}
}

// One damaged byte costs one record.
func TestWalkDamage(t *testing.T) {
	data, ends := writeRecords(10, 9)
	for at := range ends[8] {
		bad := slices.Clone(data)
		bad[at] ^= 0x41
		hit := 0
		for ends[hit] <= at {
			hit++
		}
		got, end, stretches, skipped := ids(bad, 9)
		size := ends[hit]
		if hit > 0 {
			size -= ends[hit-1]
		}
		if len(got) != 9 || end != len(data) || stretches != 1 || skipped != size {
			t.Fatalf("byte %d: %d records, end %d, %d stretches, %d skipped of %d", at, len(got), end, stretches, skipped, size)
		}
	}
}

// A message that looks like a record is none, even behind damage.
func TestWalkForged(t *testing.T) {
	inner := appendRecord(nil, 9, 0, &record{kind: kindMark, id: 99, hook: []byte("hook")})
	data := appendRecord(nil, 9, 0, &record{kind: kindMessage, id: 1, hook: []byte("h"), msg: inner})
	data = appendRecord(data, 9, int64(len(data)), &record{kind: kindMark, id: 2, hook: []byte("h")})
	data[5] ^= 1 // its length
	got, _, _, _ := ids(data, 9)
	if fmt.Sprint(got) != "[2]" {
		t.Errorf("found %v", got)
	}
}

func FuzzWalk(f *testing.F) {
	data, _ := writeRecords(6, 1)
	f.Add(data, uint64(1))
	f.Add(data[:len(data)-3], uint64(2))
	f.Add(append(slices.Clone(magic), 1, 2, 3), uint64(0))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		check := func(b []byte) {
			last := 0
			end, _, skipped := walk(b, 1, func(r record, pos, size int) {
				again := appendRecord(nil, 1, int64(pos), &r)
				if pos < last || (len(again) == size && !bytes.Equal(again, b[pos:pos+size])) {
					t.Fatalf("record at %d of %d bytes", pos, size)
				}
				last = pos + size
			})
			if end != last || end > len(b) || skipped > end {
				t.Fatalf("end %d, last %d, skipped %d of %d", end, last, skipped, len(b))
			}
		}
		check(data)
		// Damage to whole records.
		rng := rand.New(rand.NewPCG(seed, 1))
		good, _ := writeRecords(8, 1)
		at := rng.IntN(len(good))
		check(append(append(slices.Clone(good[:at]), data...), good[at:]...))
	})
}
