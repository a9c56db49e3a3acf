package compactor

import (
	"errors"
	"testing"
)

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "100": 100, "007": 7, "5b": 5, "10kb": 10 << 10, "64mb": 64 << 20, "1gb": 1 << 30, "2GB": 2 << 30, "0mb": 0,
		"9223372036854775807": 1<<63 - 1, "8589934591gb": 8589934591 << 30,
	} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "mb", "b", "-1", "+1", "1.5gb", "1 mb", " 1", "1mb ", "10x", "1mbb", "1tb", "0x10", "1e3", "1_000", "١",
		"9223372036854775808", "8589934592gb", "99999999999999999999999mb",
	} {
		if got, err := ParseSize(in); !errors.Is(err, ErrSize) {
			t.Errorf("ParseSize(%q) = %d, %v; want ErrSize", in, got, err)
		}
	}
}

func TestFormatSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 1: "1", 1023: "1023", 1024: "1kb", 1500: "1500", 1536 << 10: "1536kb", 64 << 20: "64mb", 1 << 30: "1gb", 1 << 40: "1024gb",
	} {
		if got := FormatSize(n); got != want {
			t.Errorf("FormatSize(%d) = %q, want %q", n, got, want)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"64mb", "0", "1.5gb", "9223372036854775807", "kb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseSize(s)
		if err != nil {
			return
		}
		if n < 0 {
			t.Fatalf("ParseSize(%q) = %d", s, n)
		}
		if back, err := ParseSize(FormatSize(n)); err != nil || back != n {
			t.Fatalf("%q is %d, written %q, read back %d, %v", s, n, FormatSize(n), back, err)
		}
	})
}
