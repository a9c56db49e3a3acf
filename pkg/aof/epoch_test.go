package aof

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const epochA, epochB = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

// TestBeginEpoch: a new history goes on at the same offset, also after a
// restart, and positions of the old one up to the fork are its own.
func TestBeginEpoch(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir)
	old := l.Position().Epoch
	first := write(t, l, 1, set(1))
	fork := write(t, l, 10, set(2))
	if err := l.BeginEpoch(bg, epochA); err != nil {
		t.Fatal(err)
	}
	end := write(t, l, 20, set(3))
	closeLog(t, l)
	l = openLog(t, dir)
	if got, want := l.Position(), (Position{epochA, end}); got != want {
		t.Errorf("position %v, want %v", got, want)
	}
	for _, tt := range []struct {
		pos  Position
		want error
	}{
		{Position{epochA, end}, nil},
		{Position{epochA, first}, nil}, // it is the same
		{Position{old, first}, nil},
		{Position{old, fork}, nil},
		{Position{old, end}, ErrEpoch}, // beyond the fork
		{Position{epochB, first}, ErrEpoch},
	} {
		tail, err := l.Tail(tt.pos, digestAt(tt.pos.Offset))
		if !errors.Is(err, tt.want) {
			t.Errorf("tail from %v: %v, want %v", tt.pos, err, tt.want)
		}
		if err == nil {
			if got := tail.Lag(); got != end-tt.pos.Offset {
				t.Errorf("tail from %v: %d bytes to come, want %d", tt.pos, got, end-tt.pos.Offset)
			}
			if err := tail.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if at, ok := l.ForkOf(old); at != fork || !ok {
		t.Errorf("fork of the old epoch at %d, %v; want %d", at, ok, fork)
	}
	if at, ok := l.ForkOf(epochA); at != end || !ok {
		t.Errorf("own epoch at %d, %v; want %d", at, ok, end)
	}
	if _, ok := l.ForkOf(epochB); ok {
		t.Error("knows an epoch that it has never seen")
	}
}

// TestJoinEpoch: a log that is behind the fork of another one goes on in its
// epoch; one that went on beyond it does not.
func TestJoinEpoch(t *testing.T) {
	l := openLog(t, t.TempDir())
	own := l.Position().Epoch
	at := write(t, l, 1, set(1))
	forks := []Fork{{own, at + 10}, {epochA, at + 20}}
	if err := l.JoinEpoch(bg, epochB, forks); err != nil {
		t.Fatal(err)
	}
	if got := l.Forks(); len(got) != 2 || got[0] != forks[0] || got[1] != forks[1] || l.Position().Epoch != epochB {
		t.Errorf("epoch %s after %v", l.Position().Epoch, got)
	}
	for name, forks := range map[string][]Fork{
		"none":           nil,
		"of another log": {{own, at + 10}},
		"before the end": {{epochB, at - 1}},
		"falling":        {{epochB, at + 5}, {epochA, at + 4}},
	} {
		if err := l.JoinEpoch(bg, epochA, forks); err == nil {
			t.Errorf("%s: joined with forks %v", name, forks)
		}
	}
	if got := l.Position().Epoch; got != epochB {
		t.Errorf("epoch %s after refusals", got)
	}
}

// TestPartedFrom: where two histories part, whoever of the two knows it.
func TestPartedFrom(t *testing.T) {
	l := openLog(t, t.TempDir())
	own := l.Position().Epoch
	fork := write(t, l, 1, set(1))
	if err := l.BeginEpoch(bg, epochA); err != nil {
		t.Fatal(err)
	}
	end := write(t, l, 10, set(2))
	for _, tt := range []struct {
		name   string
		at     Position
		forks  []Fork
		offset int64
		parted bool
	}{
		{"it is behind", Position{epochA, end + 10}, nil, end, false},
		{"level", Position{epochA, end}, nil, end, false},
		{"the leader lost the end", Position{epochA, fork}, nil, fork, true},
		{"the leader began an epoch before the end", Position{epochB, end}, []Fork{{own, fork}, {epochA, fork + 1}}, fork + 1, true},
		{"the leader began one behind the end", Position{epochB, end + 10}, []Fork{{epochA, end}}, end, false},
		{"both began one, the leader first", Position{epochB, end}, []Fork{{own, fork - 1}}, fork - 1, true},
		{"both began one, the log first", Position{epochB, end}, []Fork{{own, fork + 1}}, fork, true},
		{"nothing in common", Position{epochB, fork}, nil, 0, false},
	} {
		if offset, parted := l.PartedFrom(tt.at, tt.forks); offset != tt.offset || parted != tt.parted {
			t.Errorf("%s: %d, %v; want %d, %v", tt.name, offset, parted, tt.offset, tt.parted)
		}
	}
}

// TestEpochEndsTails: who reads the log learns that it goes on as another one,
// before anything of that.
func TestEpochEndsTails(t *testing.T) {
	l := openLog(t, t.TempDir())
	at := write(t, l, 1, set(1))
	behind, err := l.Tail(l.Position(), digestAt(at))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := l.PayloadReader(0)
	if err != nil {
		t.Fatal(err)
	}
	waits := make(chan error, 1)
	go func() {
		_, _, err := behind.Next(bg)
		waits <- err
	}()
	ahead, err := l.Tail(Position{Epoch: l.Position().Epoch}, Digest{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.BeginEpoch(bg, epochA); err != nil {
		t.Fatal(err)
	}
	write(t, l, 10, set(2))
	if err := <-waits; !errors.Is(err, ErrEpoch) {
		t.Errorf("who waits: %v", err)
	}
	if _, _, err := ahead.Next(bg); !errors.Is(err, ErrEpoch) {
		t.Errorf("who reads: %v", err)
	}
	all, err := io.ReadAll(payload) // a plain file has no epochs
	if n := strings.Count(string(all), "SET"); err != nil || n != 2 {
		t.Errorf("plain file: %q, %v; want 2 commands", all, err)
	}
	if err := errors.Join(behind.Close(), ahead.Close(), payload.Close()); err != nil {
		t.Error(err)
	}
}

// TestEpochsBehindTheFork: a log that leaves an epoch before it got to where that
// began agrees with the older ones no further than it got.
func TestEpochsBehindTheFork(t *testing.T) {
	for _, joins := range []bool{false, true} {
		dir := t.TempDir()
		l := openLog(t, dir)
		own := l.Position().Epoch
		at := write(t, l, 1, set(1))
		if err := l.JoinEpoch(bg, epochA, []Fork{{own, at + 10}}); err != nil {
			t.Fatal(err)
		}
		var err error
		if joins {
			err = l.JoinEpoch(bg, epochB, []Fork{{epochA, at}})
		} else {
			err = l.BeginEpoch(bg, epochB)
		}
		if err != nil {
			t.Fatal(err)
		}
		closeLog(t, l)
		l = openLog(t, dir)
		if got, want := l.Forks(), []Fork{{own, at}, {epochA, at}}; !slices.Equal(got, want) || l.Position().Epoch != epochB {
			t.Errorf("epoch %s with the forks %v, want %v", l.Position().Epoch, got, want)
		}
		closeLog(t, l)
	}
}

// TestManyEpochs: the memory of old epochs is bounded.
func TestManyEpochs(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir)
	for i := range maxForks + 10 {
		write(t, l, int64(i), set(i))
		id, err := NewEpochID()
		if err != nil {
			t.Fatal(err)
		}
		if err := l.BeginEpoch(bg, id); err != nil {
			t.Fatal(err)
		}
	}
	last := l.Forks()[maxForks-1]
	closeLog(t, l)
	l = openLog(t, dir)
	if got := l.Forks(); len(got) != maxForks || got[maxForks-1] != last || last.Offset != l.Last().Offset {
		t.Errorf("%d forks, the last is %v; want %d and %v", len(got), got[len(got)-1], maxForks, last)
	}
}

// TestCreateHistory: a state that was not in the log takes its place, under
// another epoch and offset, whatever was in the log; a failed attempt changes
// nothing.
func TestCreateHistory(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir)
	write(t, l, 1, set(1))
	compact(t, l, 5, set(2))
	write(t, l, 10, set(3))
	before := l.Position()
	if err := l.Sync(bg); err != nil || l.Synced() != before.Offset {
		t.Fatalf("synced up to %d of %d, %v", l.Synced(), before.Offset, err)
	}
	m := Mark{Offset: 7, Time: 99, Digest: digestAt(7)} // before the log's own offsets
	bad, err := l.CreateHistory(History{Epoch: epochA}, m)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(bad.Add(set(9)), bad.Abort()); err != nil {
		t.Fatal(err)
	}
	if got := l.Position(); got != before {
		t.Errorf("at %v after an attempt, was %v", got, before)
	}
	b, err := l.CreateHistory(History{Epoch: epochA}, m)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][]string{set(7), set(8)} {
		if err := b.Add(c); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Install(bg); err != nil {
		t.Fatal(err)
	}
	end := write(t, l, 100, set(4))
	if l.Synced() != m.Offset { // what was synced of the old history says nothing
		t.Errorf("synced up to %d, want %d", l.Synced(), m.Offset)
	}
	for range 2 {
		if got := l.Position(); got != (Position{epochA, end}) || end != 7+int64(len(command(set(4)...))) || len(l.Forks()) != 0 {
			t.Errorf("at %v, want %s:%d; forks %v", got, epochA, end, l.Forks())
		}
		c, err := replayAll(l)
		if err != nil {
			t.Fatal(err)
		}
		if want := string(command(set(7)...)) + string(command(set(8)...)); string(c.base) != want || !bytes.Equal(c.log, command(set(4)...)) {
			t.Errorf("base %q, log %q", c.base, c.log)
		}
		closeLog(t, l)
		l = openLog(t, dir)
	}
	if _, err := l.CreateHistory(History{Epoch: "x"}, m); err == nil {
		t.Error("a history without a proper name")
	}
}

// TestKeepLost: what is behind an offset is in a file of its own, whole, once.
func TestKeepLost(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir, func(o *Options) { o.SegmentBytes = 100 })
	fork := write(t, l, 1, set(1))
	for i := range 5 {
		write(t, l, int64(10*i+10), set(100+i), set(200+i))
	}
	want := ""
	for i := range 5 {
		want += string(command(set(100+i)...)) + string(command(set(200+i)...))
	}
	for range 2 { // the second time it is there already
		lost, err := l.KeepLost(bg, fork)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(lost.Path)
		if err != nil {
			t.Fatal(err)
		}
		if string(b) != want || lost.Commands != 10 || lost.From != fork || lost.To != l.Last().Offset {
			t.Errorf("%+v: %q", lost, b)
		}
	}
	if _, err := l.KeepLost(bg, -1); !errors.Is(err, ErrGone) {
		t.Errorf("from before the beginning: %v", err)
	}
	names, err := filepath.Glob(filepath.Join(dir, lostName+"*"))
	if err != nil || len(names) != 2 {
		t.Errorf("files %q, %v", names, err)
	}
	left := filepath.Join(dir, lostName+epochA+".aof.tmp")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	l = openLog(t, dir)
	if removed := strings.Join(l.Recovery().Removed, " "); !strings.Contains(removed, left) {
		t.Errorf("removed %q, want %s in it", removed, left)
	}
}

// TestClean: a log knows whether it was closed in good order, and one that was
// not may miss its end.
func TestClean(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, dir)
	if l.Recovery().Clean {
		t.Error("a new log was closed before")
	}
	write(t, l, 1, set(1))
	closeLog(t, l)
	l = openLog(t, dir)
	if !l.Recovery().Clean {
		t.Error("it was closed in good order, and does not know")
	}
	died := t.TempDir() // as if the process died now: nothing was appended since
	if err := os.CopyFS(died, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if openLog(t, died).Recovery().Clean {
		t.Error("it died, and believes to have been closed in good order")
	}
}
