package aof

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestEachCommand(t *testing.T) {
	all := []string{}
	collect := func(args []string) error { all = append(all, strings.Join(args, "|")); return nil }
	payload := z + a + z + z + "*0\r\n" + b + z
	want := []string{"SET|z|a|POINT|1|2", "SET|z|b|STRING|*1\r\n"}
	if err := EachCommand(payload, collect); err != nil || !reflect.DeepEqual(all, want) {
		t.Errorf("%q, %v", all, err)
	}
	all = all[:0]
	if err := EachCommand([]byte(payload), collect); err != nil || !reflect.DeepEqual(all, want) {
		t.Errorf("%q, %v", all, err)
	}
	stop := errors.New("stop")
	if err := EachCommand(payload, func([]string) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
	for _, c := range []struct{ payload, text string }{
		{a + "x", fmt.Sprint("byte ", len(a))},
		{"*1\r\n", "byte 4"},
		{"*1\r\n$5\r\nPING\r\n", "byte 13"},
		{"*1\r\n$4\r\nPINGxx", "byte 12"},
		{"*99999999999\r\n", "byte 10"},
		{"*\r\n", "byte 1"},
		{"*1", "byte 2"},
		{"*1\rx", "byte 2"},
	} {
		err := EachCommand(c.payload, func([]string) error { return nil })
		if err == nil || !strings.Contains(err.Error(), c.text+":") {
			t.Errorf("%q: %v, want %s", c.payload, err, c.text)
		}
	}
}

func TestParseBatches(t *testing.T) {
	m := Mark{Offset: 100, Time: 5, Digest: Digest{1, 2}}
	raw := appendAnnotation([]byte(a), m, int64(len(a)), checksum(0, []byte(a)))
	raw = append(raw, raw...)
	n := 0
	if err := ParseBatches(raw, func(x Batch) error {
		if x.Mark != m || string(x.Payload) != a || x.Unchecked {
			t.Errorf("batch %+v", x)
		}
		n++
		return nil
	}); err != nil || n != 2 {
		t.Errorf("%d batches, %v", n, err)
	}
	for size := len(raw)/2 + 1; size < len(raw); size++ {
		if err := ParseBatches(raw[:size], func(Batch) error { return nil }); err == nil {
			t.Fatalf("%d bytes: no error", size)
		}
	}
}

func TestDigestText(t *testing.T) {
	d := Digest{0x0123456789abcdef, 0xfedcba9876543210}
	if s := d.String(); s != "0123456789abcdeffedcba9876543210" {
		t.Error(s)
	}
	if got, err := ParseDigest(d.String()); got != d || err != nil {
		t.Error(got, err)
	}
	for _, s := range []string{"", "0", strings.Repeat("g", 32), strings.Repeat("A", 32), strings.Repeat("0", 33)} {
		if _, err := ParseDigest(s); err == nil {
			t.Errorf("%q: no error", s)
		}
	}
}

func TestFsyncPolicyText(t *testing.T) {
	for _, p := range []FsyncPolicy{FsyncAlways, FsyncEverySecond, FsyncNo} {
		if got, err := ParseFsyncPolicy(p.String()); got != p || err != nil {
			t.Error(p, got, err)
		}
	}
	if _, err := ParseFsyncPolicy("sometimes"); err == nil {
		t.Error("no error")
	}
}

// Both walkers over RESP agree on what a command is.
func FuzzEachCommand(f *testing.F) {
	for _, s := range []string{a + b, a + z + b, "*0\r\n", "*1\r\n$0\r\n\r\n", a[:9], "*2\r\n$1\r\nx\r\n#"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var again []byte
		err := EachCommand(payload, func(args []string) error {
			again = append(again, command(args...)...)
			return nil
		})
		var raw []byte
		rawErr := EachRaw(payload, func(words [][]byte) error {
			args := make([]string, len(words))
			for i, w := range words {
				args[i] = string(w)
			}
			raw = append(raw, command(args...)...)
			return nil
		})
		if (err == nil) != (rawErr == nil) || !bytes.Equal(raw, again) {
			t.Fatalf("EachCommand gives %q, %v; EachRaw %q, %v", again, err, raw, rawErr)
		}
		whole := checkCommands(bytes.Clone(payload)) == nil
		if whole && err != nil {
			t.Fatalf("whole commands, but %v", err)
		}
		if err == nil && !bytes.Contains(payload, []byte{0}) && !whole {
			t.Fatal("not whole commands, but no error")
		}
		if whole {
			if err := EachCommand(again, func([]string) error { return nil }); err != nil {
				t.Fatalf("written again: %v", err)
			}
		}
	})
}

// A line that is accepted is exactly the one that would be written.
func FuzzAnnotation(f *testing.F) {
	f.Add(appendAnnotation(nil, Mark{1, 2, Digest{3, 4}}, 5, 6))
	f.Add([]byte("#0 0 0 00000000000000000000000000000000 00000000\r\n"))
	f.Add([]byte("#01 0 0 "))
	f.Fuzz(func(t *testing.T, line []byte) {
		got, s := parseAnnotation(line)
		if s != found {
			return
		}
		again := appendAnnotation(nil, got.mark, got.payload, 0)
		if !bytes.Equal(again[:got.text], line[:got.text]) || got.size != len(again) || got.size > maxAnnotation {
			t.Fatalf("%q is written %q", line, again)
		}
		for size := range got.size {
			if _, s := parseAnnotation(line[:size]); s != short {
				t.Fatalf("%q: status %d", line[:size], s)
			}
		}
	})
}

// Whatever a segment holds, reading it ends, and only valid batches come out.
func FuzzDecodeFrame(f *testing.F) {
	m := Mark{Offset: 100, Time: 5, Digest: Digest{1, 2}}
	f.Add(appendAnnotation([]byte(a), m, int64(len(a)), checksum(0, []byte(a))))
	f.Add([]byte(a + "#1 2 3"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, need, s := decodeFrame(raw)
		switch s {
		case found:
			want := appendAnnotation(bytes.Clone(raw[:got.payload]), got.mark, int64(got.payload), checksum(0, raw[:got.payload]))
			if !bytes.Equal(want, raw[:got.size]) {
				t.Fatalf("accepted %q, would write %q", raw[:got.size], want)
			}
		case short:
			if need <= len(raw) {
				t.Fatalf("needs %d bytes of %d", need, len(raw))
			}
		case bad:
			if need > len(raw) {
				t.Fatalf("bad at %d of %d", need, len(raw))
			}
		}
	})
}
