package aoftool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"evenkeel/internal/fsx"
	"evenkeel/pkg/aof"
)

// at returns the batches of a sample by offset, in order.
func commandsOf(t *testing.T, s *sample, from, limit int64) (list []Command) {
	t.Helper()
	err := Commands(bg, options(memory(t, s.files)), from, limit, func(c Command) error {
		c.Args = append([]string(nil), c.Args...)
		list = append(list, c)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestCommands(t *testing.T) {
	s := samples(t)["backlog"]
	all := commandsOf(t, s, 0, 0)
	if len(all) != 22 || all[0].Offset != 0 || all[0].Time != began+1000 || strings.Join(all[0].Args, " ") != lines(0, 1)[0] {
		t.Fatalf("%d commands, the first %+v", len(all), all[0])
	}
	for i, c := range all[1:] {
		if _, ok := s.digests[c.Offset]; !ok || strings.Join(c.Args, " ") != lines(i+1, 1)[0] {
			t.Errorf("%+v", c)
		}
	}
	if got := commandsOf(t, s, all[5].Offset, 3); len(got) != 3 || fmt.Sprint(got) != fmt.Sprint(all[5:8]) {
		t.Errorf("from the sixth on: %v", got)
	}
	if got := commandsOf(t, s, -1, 1); len(got) != 1 || got[0].Args[0] != "set" || got[0].Offset != 739 {
		t.Errorf("the base begins with %v", got)
	}
	broken := memory(t, s.damaged(s.segments()[1], flip(50)))
	if err := Commands(bg, options(broken), 0, 0, func(Command) error { return nil }); !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged log: %v", err)
	}
}

// TestExport: any point in time, as a file that leads to the state of then.
func TestExport(t *testing.T) {
	s := samples(t)["backlog"]
	for _, c := range commandsOf(t, s, 0, 0) {
		offset := c.Offset
		for name, e := range map[string]ExportOptions{
			"offset": {UntilOffset: &offset}, "time": {Until: ref(c.Time - 1)},
		} {
			var out bytes.Buffer
			did, err := Export(bg, options(memory(t, s.files)), e, &out)
			if err != nil {
				t.Fatalf("%s %d: %v", name, offset, err)
			}
			if did.Offset != offset || did.Bytes != int64(out.Len()) {
				t.Fatalf("%s %d: %+v", name, offset, did)
			}
			if offset < 739 && did.Bytes != offset { // behind the base the base's commands are in the file
				t.Errorf("%s %d: %d bytes", name, offset, did.Bytes)
			}
		}
	}
	// A batch at the very time is in.
	var out bytes.Buffer
	did, err := Export(bg, options(memory(t, s.files)), ExportOptions{Until: ref(began + 3000)}, &out)
	if err != nil || out.String() != string(plainFile(lines(0, 3))) || did.Commands != 3 || did.Time != began+3000 {
		t.Errorf("%q %+v, %v", out.String(), did, err)
	}
}

func ref(v int64) *int64 { return &v }

func TestExportTooEarly(t *testing.T) {
	s := samples(t)["base"]
	_, err := Export(bg, options(memory(t, s.files)), ExportOptions{Until: ref(began + 2000)}, io.Discard)
	early, ok := errors.AsType[*TooEarlyError](err)
	if !ok || early.Offset != 1155 || early.Time != began+15_000 || !strings.Contains(err.Error(), "the earliest is offset 1155, time 2023-11-14T22:13:35.000Z") {
		t.Errorf("%v", err)
	}
	broken := memory(t, s.damaged(s.segments()[2], flip(50)))
	if _, err := Export(bg, options(broken), ExportOptions{}, io.Discard); !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged log: %v", err)
	}
	if _, err := Export(bg, options(broken), ExportOptions{UntilOffset: ref(1155)}, io.Discard); err != nil {
		t.Errorf("up to before the damage: %v", err)
	}
	if _, err := Export(bg, options(memory(t, nil)), ExportOptions{}, io.Discard); !errors.Is(err, ErrEmpty) {
		t.Errorf("an empty directory: %v", err)
	}
}

// TestCompactedExport: a time to live goes on, it does not begin anew.
func TestCompactedExport(t *testing.T) {
	s := samples(t)["backlog"]
	o := options(memory(t, s.files))
	o.Now = func() int64 { return began + 5_000 + 1_004_000 - 1_500 } // text4 has 1.5 s left
	var out bytes.Buffer
	did, err := Export(bg, o, ExportOptions{Compacted: true}, &out)
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	if err := aof.EachCommand(out.Bytes(), func(args []string) error {
		seen = append(seen, strings.Join(args, " "))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if did.Commands != int64(len(seen)) || did.Expired != 0 || !strings.Contains(strings.Join(seen, "\n"), "text4 ex 1.5 string #4") {
		t.Errorf("%+v\n%s", did, strings.Join(seen, "\n"))
	}
	o.Now = func() int64 { return began + 5_000 + 1_004_000 }
	if did, err = Export(bg, o, ExportOptions{Compacted: true}, io.Discard); err != nil || did.Expired != 1 {
		t.Errorf("%+v, %v", did, err)
	}
}

func TestExportFile(t *testing.T) {
	s := samples(t)["young"]
	mem := memory(t, s.files)
	path := filepath.Join(folder, "out")
	if _, err := ExportFile(bg, options(mem), ExportOptions{}, path); err != nil {
		t.Fatal(err)
	}
	if b, err := fsx.ReadFile(mem, path); err != nil || !bytes.Equal(b, plainFile(lines(0, 14))) {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := ExportFile(bg, options(mem), ExportOptions{}, path); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("over an existing file: %v", err)
	}
	broken := memory(t, s.damaged(s.segments()[0], flip(50)))
	if _, err := ExportFile(bg, options(broken), ExportOptions{}, path); !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged log: %v", err)
	}
	if left := contents(t, broken); left["out"] != nil || left["out.tmp"] != nil {
		t.Error("half an export was left")
	}
}

// TestImport: there and back again.
func TestImport(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "plain.aof")
	put := func(b []byte) {
		t.Helper()
		if err := fsx.WriteFileAtomic(fsx.OS{}, path, b); err != nil {
			t.Fatal(err)
		}
	}
	put(append(plainFile(lines(0, 12)), "*3\r\n$3\r\nDE"...))
	o := Options{Dir: filepath.Join(dir, "data"), Now: func() int64 { return began }}
	did, err := Import(bg, o, path)
	if err != nil || did.Torn != 10 || did.Data.Objects == 0 || !did.Data.Whole {
		t.Fatalf("%+v, %v", did, err)
	}
	r, err := Verify(bg, o)
	if err != nil || !r.Clean() || len(r.Files) != 1 || r.Files[0].Kind != aof.KindBase || r.Data.Digest != did.Data.Digest {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := Import(bg, o, path); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("into a directory that is in use: %v", err)
	}
	put([]byte("nonsense"))
	o.Dir = filepath.Join(dir, "other")
	if _, err := Import(bg, o, path); !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged file: %v", err)
	}
	if _, err := (fsx.OS{}).Stat(o.Dir); err == nil {
		t.Error("a directory was made for a damaged file")
	}
}

func TestCompact(t *testing.T) {
	s := samples(t)["young"]
	mem := memory(t, s.files)
	before, err := Verify(bg, options(mem))
	if err != nil {
		t.Fatal(err)
	}
	did, err := Compact(bg, options(mem), CompactOptions{BacklogBytes: -1})
	if err != nil || did.Data.Digest != before.Data.Digest || did.Offset != s.end || did.After >= did.Before {
		t.Fatalf("%+v, %v", did, err)
	}
	if names := (&sample{files: contents(t, mem)}).segments(); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
	broken := memory(t, s.damaged(s.segments()[0], flip(50)))
	if _, err := Compact(bg, options(broken), CompactOptions{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged log: %v", err)
	}
	if _, err := Compact(bg, options(memory(t, s.damaged("MANIFEST", flip(30)))), CompactOptions{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged manifest: %v", err)
	}
	if _, err := Compact(bg, options(memory(t, nil)), CompactOptions{}); !errors.Is(err, ErrEmpty) {
		t.Errorf("an empty directory: %v", err)
	}
}
