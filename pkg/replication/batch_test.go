package replication

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"evenkeel/pkg/aof"
)

// command returns words as a RESP array.
func command(words ...string) []byte { return appendArray(nil, words...) }

// appendBatch appends payload and its annotation; offset is that of its end.
func appendBatch(dst []byte, payload []byte, m aof.Mark) []byte {
	text := fmt.Appendf(nil, "#%d %d %d %s ", m.Offset, len(payload), m.Time, m.Digest)
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(crc32.Checksum(payload, table), table, text)
	return fmt.Appendf(append(append(dst, payload...), text...), "%08x\r\n", sum)
}

// stream makes a stream of the payloads from offset on; an empty one becomes a heartbeat.
func stream(offset int64, payloads ...[]byte) (raw []byte, want []Frame) {
	for i, p := range payloads {
		m := aof.Mark{Offset: offset + int64(len(p)), Time: int64(1000 + i), Digest: aof.Digest{Lo: uint64(i)}}
		offset = m.Offset
		f := Frame{Batch: aof.Batch{Mark: m, Payload: p}, Heartbeat: len(p) == 0}
		if f.Heartbeat {
			raw = AppendHeartbeat(raw, m)
		} else {
			raw = appendBatch(raw, p, m)
		}
		want = append(want, f)
	}
	return raw, want
}

func sample() [][]byte {
	tricky := command("SET", "k", "\r\n#12 0 0 0 0\r\n*1\r\n$4\r\nPING\r\n")
	return [][]byte{
		command("SET", "fleet", "a", "POINT", "1", "2"),
		nil,
		append(command("DEL", "fleet", "a"), tricky...),
		command("SET", "", strings.Repeat("x", 1000)),
		nil, nil,
		command("FLUSHDB"),
	}
}

// check reads r to its end and compares.
func check(t *testing.T, r *BatchReader, want []Frame) {
	t.Helper()
	for i, w := range want {
		f, err := r.Next()
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		if f.Mark != w.Mark || f.Heartbeat != w.Heartbeat || !bytes.Equal(f.Payload, w.Payload) {
			t.Fatalf("frame %d: got %+v, want %+v", i, f, w)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Fatalf("after the last frame: %v, want io.EOF", err)
	}
}

func TestBatchReader(t *testing.T) {
	raw, want := stream(500, sample()...)
	check(t, NewBatchReader(bytes.NewReader(raw), 500, 0), want)
	check(t, NewBatchReader(iotest.OneByteReader(bytes.NewReader(raw)), 500, 0), want)
	check(t, NewBatchReader(iotest.DataErrReader(bytes.NewReader(raw)), 500, 0), want)
}

// Batches of many sizes, some far larger than the buffer, in reads that never
// fit them.
func TestBatchReaderManySizes(t *testing.T) {
	var payloads [][]byte
	for i := range 40 {
		payloads = append(payloads, command("SET", "k", strings.Repeat("v", i*i*i*50)), command("DEL", "k"))
	}
	raw, want := stream(0, payloads...)
	check(t, NewBatchReader(iotest.HalfReader(bytes.NewReader(raw)), 0, 0), want)
}

func TestBatchReaderGivesMemoryBack(t *testing.T) {
	raw, want := stream(0, command("SET", "k", strings.Repeat("v", 8<<20)), command("DEL", "k"))
	r := NewBatchReader(bytes.NewReader(raw), 0, 0)
	check(t, r, want)
	if len(r.buf) != readBuffer {
		t.Errorf("holds %d bytes after a large batch", len(r.buf))
	}
}

// A stream that ends anywhere yields the whole frames before and never a part.
func TestBatchReaderCutAnywhere(t *testing.T) {
	raw, want := stream(0, sample()...)
	for cut := range len(raw) {
		r := NewBatchReader(bytes.NewReader(raw[:cut]), 0, 0)
		got, size := 0, 0
		for {
			f, err := r.Next()
			if err == nil {
				if f.Mark != want[got].Mark {
					t.Fatalf("cut at %d: frame %d is %+v", cut, got, f.Mark)
				}
				got++
				size = cut - r.Buffered()
				continue
			}
			end := io.EOF
			if size < cut {
				end = io.ErrUnexpectedEOF
			}
			if !errors.Is(err, end) {
				t.Fatalf("cut at %d, %d bytes behind a frame: %v, want %v", cut, cut-size, err, end)
			}
			break
		}
	}
}

// No flipped bit passes: what comes out is a prefix of what was sent.
func TestBatchReaderFindsFlippedBits(t *testing.T) {
	raw, want := stream(0, sample()...)
	for i := range raw {
		for bit := range 8 {
			bad := bytes.Clone(raw)
			bad[i] ^= 1 << bit
			r := NewBatchReader(bytes.NewReader(bad), 0, 0)
			n := 0
			for {
				f, err := r.Next()
				if err != nil {
					if errors.Is(err, io.EOF) {
						t.Fatalf("byte %d bit %d: not noticed", i, bit)
					}
					break
				}
				if f.Mark != want[n].Mark || !bytes.Equal(f.Payload, want[n].Payload) {
					t.Fatalf("byte %d bit %d: frame %d came out as %+v", i, bit, n, f)
				}
				n++
			}
		}
	}
}

func TestBatchReaderRefuses(t *testing.T) {
	set := command("SET", "k", "v")
	at := func(m aof.Mark) []byte { return appendBatch(nil, set, m) }
	good := at(aof.Mark{Offset: int64(len(set))})
	for _, tt := range []struct {
		name string
		raw  []byte
		err  error
		text string
	}{
		{"gap", at(aof.Mark{Offset: 1000}), ErrCorrupt, "ends at offset 1000"},
		{"twice", append(bytes.Clone(good), good...), ErrCorrupt, "ends at offset"},
		{"plain text", []byte("SET k v\r\n"), ErrCorrupt, "want '*'"},
		{"zeros", make([]byte, 100), ErrCorrupt, "no line end within"},
		{"no line end", []byte("*" + strings.Repeat("1", 100)), ErrCorrupt, "no line end within"},
		{"long annotation", []byte("#" + strings.Repeat("1", 1000)), ErrCorrupt, "no line end within"},
		{"negative", []byte("*-1\r\n"), ErrCorrupt, "want '*'"},
		{"huge count", []byte("*9999999999\r\n"), ErrCorrupt, "want '*'"},
		{"huge bulk", []byte("*1\r\n$1999999999\r\nx"), ErrTooLarge, "1999999999"},
		{"not a bulk", []byte("*1\r\n:1\r\n"), ErrCorrupt, "want '$'"},
		{"annotation inside", []byte("*2\r\n#1\r\n"), ErrCorrupt, "want '$'"},
		{"no annotation", bytes.Repeat(set, 100), io.ErrUnexpectedEOF, "offset 0"},
		{"too long", bytes.Repeat(set, 1000), ErrTooLarge, "more than 10000"},
	} {
		r := NewBatchReader(bytes.NewReader(tt.raw), 0, 10000)
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if !errors.Is(err, tt.err) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v, want %v with %q", tt.name, err, tt.err, tt.text)
		}
	}
}

// An announced length costs nothing.
func TestBatchReaderMemoryIsWhatArrived(t *testing.T) {
	r := NewBatchReader(strings.NewReader("*1\r\n$1000000000\r\nabc"), 0, 0)
	if _, err := r.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	if len(r.buf) != readBuffer {
		t.Errorf("holds %d bytes", len(r.buf))
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestBatchReaderStuckSource(t *testing.T) {
	if _, err := NewBatchReader(stuck{}, 0, 0).Next(); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v", err)
	}
}

// However the bytes are cut into reads, the same comes out, and every frame that
// comes out is one that the log's own parser accepts.
func FuzzBatchReader(f *testing.F) {
	raw, _ := stream(0, sample()...)
	f.Add(raw)
	f.Add(raw[:len(raw)/2])
	f.Add([]byte("*1\r\n$1\r\nx\r\n#"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		a := NewBatchReader(bytes.NewReader(raw), 0, 1<<20)
		b := NewBatchReader(iotest.OneByteReader(bytes.NewReader(raw)), 0, 1<<20)
		for {
			fa, ea := a.Next()
			fb, eb := b.Next()
			if fmt.Sprint(ea) != fmt.Sprint(eb) || fa.Mark != fb.Mark || !bytes.Equal(fa.Payload, fb.Payload) {
				t.Fatalf("whole %+v, %v; byte by byte %+v, %v", fa, ea, fb, eb)
			}
			if ea != nil {
				return
			}
			if !fa.Heartbeat {
				if err := aof.EachCommand(fa.Payload, func([]string) error { return nil }); err != nil {
					t.Fatalf("accepted %q: %v", fa.Payload, err)
				}
			}
		}
	})
}

func BenchmarkBatchReader(b *testing.B) {
	var payloads [][]byte
	for i := range 10000 {
		payloads = append(payloads, command("SET", "fleet", fmt.Sprint("truck", i), "POINT", "33.5123", "-115.2345"))
	}
	raw, want := stream(0, payloads...)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		r := NewBatchReader(bytes.NewReader(raw), 0, 0)
		for range want {
			if _, err := r.Next(); err != nil {
				b.Fatal(err)
			}
		}
		n += len(want)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "batches/s")
}
