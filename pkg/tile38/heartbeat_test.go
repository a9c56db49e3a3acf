package tile38

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestHeartbeat: each is another one, and says what it was made of.
func TestHeartbeat(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_123)
	h, beats := NewHeartbeat("", "pod-0"), NewBeats("")
	one, two := h.Command(at), h.Command(at)
	b, ok := ParseHeartbeat("", one)
	if !ok || b.Pod != "pod-0" || b.N != 1 || !b.Time.Equal(at) || one[4] == two[4] {
		t.Errorf("%+v, %v of %q and %q", b, ok, one, two)
	}
	if other := NewHeartbeat("", "pod-0").Command(at); other[4] == one[4] {
		t.Errorf("two runs write the same: %q", one)
	}
	if got, ok := beats.Parse(cmd(one...)); !ok || got != b {
		t.Errorf("%+v, %v; want %+v", got, ok, b)
	}
	for _, no := range [][]string{
		{"set", one[1], one[2], one[3], one[4]}, {"SET", "other", one[2], one[3], one[4]},
		{"SET", one[1], one[2], "STRING", "x"}, {"SET", one[1], one[2], "STRING", "x:y:1"},
		{"SET", one[1], one[2], "STRING", "x:1:y"}, one[:4],
	} {
		if beats.Is(cmd(no...)) {
			t.Errorf("%q is one", no)
		}
	}
	data := bytes.Join([][]byte{cmd(one...)[5:], cmd("SET", "k", "a"), cmd(two...), cmd("DEL", "k", "a")}, nil)
	start, end := beats.Last(data)
	if start < 0 || !bytes.Equal(data[start:end], cmd(two...)) {
		t.Errorf("the last one is at %d to %d", start, end)
	}
	if start, _ := beats.Last(data[:start]); start >= 0 {
		t.Errorf("a part of one is found at %d", start)
	}
}

// TestFindBeat: one heartbeat is anchor enough, wherever the dump ends; without it
// so little is not.
func TestFindBeat(t *testing.T) {
	h := NewHeartbeat("", "pod")
	beat := func() []byte { return cmd(h.Command(time.Now())...) }
	dump := bytes.Repeat(cmd("set", "k", "a", "object", "{}"), 3000)
	first, second, write := beat(), beat(), cmd("SET", "k", "a", "POINT", "1", "1")
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, tt := range []struct {
		name      string
		had, file []byte
		at        int
	}{
		{"alone", join(write, first), join(dump, first), len(dump) + len(first)},
		{"and what follows", join(write, first, write, write), join(dump, first, write, write, second, write), len(dump) + len(first) + 2*len(write)},
		{"two of them", join(first, write, second), join(dump, first, write, second, write), len(dump) + len(first) + len(write) + len(second)},
		{"the second alone", join(first, write, second), join(dump, second, write), len(dump) + len(second)},
		{"before the dump", join(first, write), join(dump, second), -1},
		{"other commands behind it", join(first, write), join(dump, first, second, write), -1},
		{"copied into a value", join(write, first), join(dump, first, write, cmd("SET", "k", "b", "STRING", string(first))), -1},
		{"none", join(write, write), join(dump, write, write), -1},
	} {
		tail := NewTail("id", 0, 0)
		tail.Beats = NewBeats("")
		tail.Add(tt.had, int64(len(tt.had)))
		dial := play(t, func(c string) string {
			var from int
			_, _ = fmt.Sscanf(c, "aof %d", &from)
			return "+OK\r\n" + string(tt.file[from:])
		})
		found, _, err := tail.Find(int64(len(tt.file)), 0, dial)
		switch {
		case tt.at < 0 && !errors.Is(err, ErrNotFound):
			t.Errorf("%s: %+v, %v", tt.name, found, err)
		case tt.at >= 0 && (err != nil || found.Pos() != int64(tt.at) || found.beat() < 0):
			t.Errorf("%s: %v, want %d", tt.name, err, tt.at)
		}
	}
}

// TestCommands: the end of a file, cut anywhere, gives its last whole commands.
func TestCommands(t *testing.T) {
	var all [][]byte
	for i := range 20 {
		all = append(all, cmd("SET", "k", fmt.Sprint(i), "STRING", "a\r\n*1\r\nb"))
	}
	data := bytes.Join(all, nil)
	for cut := range len(data) - 100 {
		got := Commands(data[cut:], cut == 0)
		for i, c := range got {
			if want := all[len(all)-len(got)+i]; !bytes.Equal(c, want) {
				t.Fatalf("cut at %d: command %d is %q, want %q", cut, i, c, want)
			}
		}
		if len(got) == 0 {
			t.Fatalf("cut at %d: nothing", cut)
		}
	}
	torn := append(bytes.Clone(data), "\x00\x00*2\r\n$3\r\nDE"...)
	if got := Commands(torn, true); len(got) != 20 {
		t.Errorf("%d commands before what is cut off", len(got))
	}
	if args, err := Args(all[3]); err != nil || len(args) != 5 || args[2] != "3" {
		t.Errorf("%q, %v", args, err)
	}
	if _, err := Args(all[3][:20]); err == nil {
		t.Error("words of a part of a command")
	}
}
