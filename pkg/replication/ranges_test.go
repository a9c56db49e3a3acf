package replication

import (
	"errors"
	"slices"
	"testing"

	"evenkeel/pkg/aof"
)

// TestRangeRoundTrip: a series of ranges comes out as it went in.
func TestRangeRoundTrip(t *testing.T) {
	d := aof.Digest{Hi: 1, Lo: 2}
	all := []Range{
		{Key: "a", First: true, Last: "m", Count: 3, Digest: d},
		{Key: "a", After: "m", Last: "m\x00\r\n", Count: 1, Digest: d},
		{Key: "a", After: "m\x00\r\n", End: true, Count: MaxRangeObjects},
		{Key: "b", First: true, End: true, Count: 9},
		{Hooks: true, First: true, Last: "h", Count: 2},
		{Hooks: true, After: "h", End: true},
	}
	var before *Range
	for i, r := range all {
		got, err := ParseRange(words(t, r.Append(nil)), before)
		if err != nil || got != r {
			t.Errorf("%d: got %+v, %v; want %+v", i, got, err, r)
		}
		before = &got
	}
}

// TestRangeOrder: what does not come behind the range before it is refused: the
// follower would take away what it must keep.
func TestRangeOrder(t *testing.T) {
	zero := zeroDigest
	middle := &Range{Key: "k", First: true, Last: "m"}
	ended := &Range{Key: "k", First: true, End: true}
	hooks := &Range{Hooks: true, First: true, Last: "m"}
	for _, tt := range []struct {
		name   string
		before *Range
		args   []string
		ok     bool
	}{
		{"goes on", middle, []string{MsgRange, "k", "n", "0", "1", zero}, true},
		{"goes on to the end", middle, []string{MsgRange, "k", "", "1", "1", zero}, true},
		{"the same again", middle, []string{MsgRange, "k", "m", "0", "1", zero}, false},
		{"backwards", middle, []string{MsgRange, "k", "l", "0", "1", zero}, false},
		{"leaves one open", middle, []string{MsgRange, "l", "", "1", "1", zero}, false},
		{"next collection", ended, []string{MsgRange, "l", "", "1", "1", zero}, true},
		{"behind its end", ended, []string{MsgRange, "k", "z", "0", "1", zero}, false},
		{"collection before", ended, []string{MsgRange, "j", "", "1", "1", zero}, false},
		{"hooks", ended, []string{MsgHooks, "", "1", "0", zero}, true},
		{"hooks too early", middle, []string{MsgHooks, "", "1", "0", zero}, false},
		{"collection after hooks", hooks, []string{MsgRange, "z", "", "1", "1", zero}, false},
		{"no words", nil, []string{MsgRange}, false},
		{"too many objects", nil, []string{MsgRange, "k", "", "1", "1025", zero}, false},
		{"negative", nil, []string{MsgRange, "k", "", "1", "-1", zero}, false},
		{"no digest", nil, []string{MsgRange, "k", "", "1", "1", "x"}, false},
	} {
		_, err := ParseRange(tt.args, tt.before)
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestHashesAndBits(t *testing.T) {
	hashes := []uint64{1, 1 << 63, 0xffff}
	args := words(t, AppendHashes(nil, 7, hashes))
	got, err := ParseHashes(args[2], 3)
	if err != nil || !slices.Equal(got, hashes) || args[1] != "7" {
		t.Errorf("%q: %v, %v", args, got, err)
	}
	if _, err := ParseHashes(args[2], 2); !errors.Is(err, ErrProtocol) {
		t.Errorf("hashes of another count: %v", err)
	}
	b := NewBits(9)
	b.Set(0)
	b.Set(8)
	args = words(t, b.Append(nil, 3))
	again, err := ParseBits(args[2], 9)
	if err != nil || !again.Has(0) || !again.Has(8) || again.Has(7) || args[1] != "3" {
		t.Errorf("%q: %v, %v", args, again, err)
	}
	for _, bad := range []string{"", "ff", "ffffff", "zzzz"} {
		if _, err := ParseBits(bad, 9); !errors.Is(err, ErrProtocol) {
			t.Errorf("bits %q: %v", bad, err)
		}
	}
	for _, bad := range []string{"9", "-1", "x", ""} {
		if _, err := ParseIndex(bad, 9); !errors.Is(err, ErrProtocol) {
			t.Errorf("index %q: %v", bad, err)
		}
	}
}

func FuzzRange(f *testing.F) {
	f.Add("k", "m", "k", "n", "0", "3", zeroDigest)
	f.Fuzz(func(t *testing.T, key, last, key2, last2, end, count, digest string) {
		before := &Range{Key: key, First: true, Last: last}
		r, err := ParseRange([]string{MsgRange, key2, last2, end, count, digest}, before)
		if err != nil {
			return
		}
		if r.Key != key || r.First || r.Has(last) || !r.End && !r.Has(r.Last) || r.Count > MaxRangeObjects {
			t.Fatalf("%+v after %+v", r, before)
		}
		again, err := ParseRange(words(t, r.Append(nil)), before)
		if err != nil || again != r {
			t.Fatalf("%+v became %+v, %v", r, again, err)
		}
	})
}
