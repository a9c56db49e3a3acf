package aoftool

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
	"evenkeel/pkg/aof"
)

// segments returns the names of a sample's segments, in order.
func (s *sample) segments() (names []string) {
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		if strings.HasPrefix(name, "seg-") {
			names = append(names, name)
		}
	}
	return names
}

// flip damages the byte at at, from the end when it is below 0.
func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		if at < 0 {
			at += len(b)
		}
		b[at] ^= 0x20
		return b
	}
}

// wounds are kinds of damage that can be repaired.
func wounds(t *testing.T) map[string]struct {
	s     *sample
	files map[string][]byte
} {
	t.Helper()
	type wound = struct {
		s     *sample
		files map[string][]byte
	}
	all := samples(t)
	base, backlog, adopted := all["base"], all["backlog"], all["adopted"]
	segs := base.segments()
	middle := segs[len(segs)-3]
	both := &sample{files: base.damaged(middle, flip(200)), digests: base.digests, end: base.end}
	return map[string]wound{
		"middle":            {base, base.damaged(middle, flip(200))},
		"manifest":          {base, base.damaged("MANIFEST", flip(30))},
		"no manifest":       {base, base.damaged("MANIFEST", func([]byte) []byte { return nil })},
		"manifest and more": {base, both.damaged("MANIFEST", flip(30))},
		"backlog":           {base, base.damaged(segs[0], flip(100))},
		"base":              {backlog, backlog.damaged("base-00000000000000000739.aof", flip(100))},
		"adopted":           {adopted, adopted.damaged("MANIFEST", flip(30))},
		"segment gone":      {base, base.damaged(middle, func([]byte) []byte { return nil })},
		"torn":              {base, base.damaged(segs[len(segs)-1], func(b []byte) []byte { return b[:len(b)-7] })},
		"torn at once":      {base, base.damaged(segs[len(segs)-1], func(b []byte) []byte { return b[:3] })},
	}
}

// TestRepairSurvivesPowerLoss: whatever moment the power fails at in a repair,
// the next one comes to the same log.
func TestRepairSurvivesPowerLoss(t *testing.T) {
	for name, w := range wounds(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(1, 2))
			want, err := Repair(bg, options(memory(t, w.files)), yes)
			if err != nil || !want.After.Clean() {
				t.Fatalf("%+v, %v", want, err)
			}
			if d := want.After.Data; w.s.digests[d.Offset] != d.Digest {
				t.Fatalf("%+v is no state that there was", d)
			}
			for n := 0; ; n++ {
				mem := memory(t, w.files)
				disk := fsxtest.New(mem)
				disk.DieAt(n)
				_, err := Repair(bg, options(disk), yes)
				for _, loss := range fsxtest.Losses() {
					left := mem.AfterPowerLoss(loss, random)
					got, err := Repair(bg, options(left), yes)
					at := fmt.Sprintf("power lost at %d, %s", n, loss.Name)
					if err != nil {
						t.Fatalf("%s: %v\n%v", at, err, disk.History())
					}
					report := got.Before
					if got.Done {
						report = got.After
					}
					if !report.Clean() || report.Torn != "" || *report.Data != *want.After.Data {
						t.Fatalf("%s: %v %+v, want %+v\n%v", at, report.Found, report.Data, want.After.Data, disk.History())
					}
				}
				if err == nil {
					if n < 3 {
						t.Errorf("the repair was %d operations", n)
					}
					return
				}
			}
		})
	}
}

// TestRepairMakesDurable: what a repaired log relies on is on the disk, though
// whoever wrote it may not have got so far.
func TestRepairMakesDurable(t *testing.T) {
	for name, w := range wounds(t) {
		if name == "torn" || name == "torn at once" {
			continue // MANIFEST stays, and with it what it promises
		}
		mem := fsxtest.NewMemory(folder)
		for file, b := range w.files {
			f, err := mem.OpenFile(filepath.Join(folder, file), os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt(b, 0); err != nil {
				t.Fatal(err)
			}
		}
		did, err := Repair(bg, options(mem), yes)
		if err != nil {
			t.Fatal(err)
		}
		left := mem.AfterPowerLoss(fsxtest.Loss{}, rand.New(rand.NewPCG(1, 2)))
		r, err := Verify(bg, options(left))
		if err != nil || !r.Clean() || *r.Data != *did.After.Data || len(r.Files) != len(did.After.Files) {
			t.Errorf("%s: %v, %v", name, r.Found, err)
		}
	}
}

// TestForgottenManifest: a plain file with a damaged MANIFEST and nothing behind it
// is adopted anew.
func TestForgottenManifest(t *testing.T) {
	m := newMaker(t, memory(t, map[string][]byte{aof.AdoptedName: plainFile(lines(0, 6))}), 300)
	s := m.finish()
	mem := memory(t, s.damaged("MANIFEST", flip(30)))
	did, err := Repair(bg, options(mem), yes)
	if err != nil || !did.Plan.Forget || did.Plan.Base == nil || !did.After.Plain || !did.After.Clean() || did.After.Data.Objects != 4 {
		t.Fatalf("%+v, %v", did, err)
	}
	if b := contents(t, mem)["MANIFEST.cut-0"]; !bytes.Equal(b, s.damaged("MANIFEST", flip(30))["MANIFEST"]) {
		t.Errorf("the old manifest is kept as %q", b)
	}
}

// TestTwoWounds: a base that is damaged cannot be made again when the backlog is
// damaged, too. An older state is no repair.
func TestTwoWounds(t *testing.T) {
	s := samples(t)["backlog"]
	for _, seg := range s.segments()[:2] {
		w := &sample{files: s.damaged("base-00000000000000000739.aof", flip(100))}
		did, err := Repair(bg, options(memory(t, w.damaged(seg, flip(100)))), yes)
		if !errors.Is(err, aof.ErrNoRepair) || !strings.Contains(err.Error(), "do not lead from offset 0 to base-00000000000000000739.aof") {
			t.Errorf("%s: %+v, %v", seg, did.Plan, err)
		}
	}
}

// TestPlan says what is lost, before anything is done.
func TestPlan(t *testing.T) {
	w := wounds(t)["middle"]
	mem := memory(t, w.files)
	did, err := Repair(bg, options(mem), func(*Repaired) (bool, error) { return false, nil })
	if err != nil || did.Done || did.After != nil {
		t.Fatalf("%+v, %v", did, err)
	}
	if got := contents(t, mem); !maps.EqualFunc(got, w.files, bytes.Equal) {
		t.Fatal("something was changed without consent")
	}
	segs := w.s.segments()
	p := did.Plan
	if len(p.Losses) != 3 || p.Losses[0].File != segs[len(segs)-3] || p.Losses[2].File != segs[len(segs)-1] {
		t.Fatalf("%+v", p.Losses)
	}
	cut, behind := p.Losses[0], p.Losses[1]
	size := int64(len(w.files[cut.File]))
	if cut.At == 0 || cut.At > 200 || cut.Bytes != size-cut.At || cut.Offset != p.Offset || cut.Harmless || cut.Batches == 0 || cut.FirstTime == 0 || cut.Why == "" {
		t.Errorf("%+v", cut)
	}
	if behind.At != 0 || behind.Bytes != int64(len(w.files[behind.File])) || behind.Commands == 0 || behind.Why == "" {
		t.Errorf("%+v", behind)
	}
	// What is taken out is kept, byte for byte, and the history has another name.
	did, err = Repair(bg, options(mem), yes)
	if err != nil {
		t.Fatal(err)
	}
	var kept []byte
	for _, path := range did.Kept {
		b, err := fsx.ReadFile(mem, path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(path, cut.File) {
			kept = b
		}
	}
	if !bytes.Equal(kept, w.files[cut.File][cut.At:]) || len(did.Kept) != 3 {
		t.Errorf("kept: %v", did.Kept)
	}
	if did.After.Epoch == did.Before.Epoch || did.After.Epoch != p.NewEpoch && did.After.Epoch != did.Plan.NewEpoch {
		t.Errorf("epoch %s after %s", did.After.Epoch, did.Before.Epoch)
	}
	if want := []aof.Fork{{Epoch: did.Before.Epoch, Offset: p.Offset}}; !slices.Equal(did.After.Previous, want) {
		t.Errorf("it goes on from %v, want %v", did.After.Previous, want)
	}
}

// TestHarmlessRepair: what takes no commands away keeps the history's name.
func TestHarmlessRepair(t *testing.T) {
	for _, name := range []string{"backlog", "base", "torn"} {
		w := wounds(t)[name]
		did, err := Repair(bg, options(memory(t, w.files)), yes)
		if err != nil {
			t.Fatal(err)
		}
		if did.Plan.NewEpoch != "" || did.After.Epoch != did.Before.Epoch {
			t.Errorf("%s: epoch %s after %s", name, did.After.Epoch, did.Before.Epoch)
		}
		if name != "torn" && (did.After.Data.Offset != w.s.end || slices.ContainsFunc(did.Plan.Losses, func(x aof.Loss) bool { return !x.Harmless })) {
			t.Errorf("%s: %+v", name, did.Plan)
		}
	}
}

// TestStrangers: without a manifest files of two histories are not mixed.
func TestStrangers(t *testing.T) {
	all := samples(t)
	files := maps.Clone(all["base"].files)
	delete(files, "MANIFEST")
	// The same offsets, another history.
	m := newMaker(t, fsxtest.NewMemory(folder), 300)
	for _, line := range lines(0, 14) {
		m.do(strings.Replace(line, "#", "@", 1))
	}
	m.compact()
	other := m.finish()
	for name, b := range other.files {
		if strings.HasPrefix(name, "base-") {
			files[name] = b
		}
	}
	mem := memory(t, files)
	did, err := Repair(bg, options(mem), yes)
	if !errors.Is(err, aof.ErrNoRepair) || !strings.Contains(err.Error(), "do not belong together") {
		t.Fatalf("%+v, %v", did.Plan, err)
	}
	// Two files that could go on.
	files = maps.Clone(all["young"].files)
	delete(files, "MANIFEST")
	seg := all["young"].segments()[1]
	files[strings.TrimSuffix(seg, ".aof")+"-2.aof"] = files[seg]
	if _, err := Repair(bg, options(memory(t, files)), yes); !errors.Is(err, aof.ErrNoRepair) || !strings.Contains(err.Error(), "same offset") {
		t.Fatal(err)
	}
}

// TestPlainFile: an append-only file of Tile38 is looked at and cut, too.
func TestPlainFile(t *testing.T) {
	zeros := make([]byte, 100)
	first, second := plainFile(lines(0, 5)), plainFile(lines(5, 5))
	whole := slices.Concat(first, zeros, second)
	for _, c := range []struct {
		name     string
		file     []byte
		torn     int64
		found    string
		commands int64
	}{
		{"whole", whole, 0, "", 10},
		{"torn", whole[:len(whole)-3], int64(len(plainFile(lines(9, 1)))) - 3, "", 9},
		{"zeros at the end", slices.Concat(whole, zeros), 0, "", 10},
		{"damaged", slices.Concat(first, []byte("nonsense\r\n"), second), 0, "not a command", 5},
		{"damaged at the end", slices.Concat(first, []byte("nonsense")), 0, "not a command", 5},
		{"unknown command", slices.Concat(first, plainFile([]string{"NONSENSE x"})), 0, "unknown command", 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			mem := memory(t, map[string][]byte{aof.AdoptedName: c.file})
			r, err := Verify(bg, options(mem))
			if err != nil {
				t.Fatal(err)
			}
			if !r.Plain || r.Data.Commands < c.commands || r.Files[0].TornBytes != c.torn || r.Clean() != (c.found == "") {
				t.Fatalf("%+v %+v %v", r.Data, r.Files[0], r.Found)
			}
			if c.found != "" && !strings.Contains(r.Found[0].String(), c.found) {
				t.Errorf("%v", r.Found)
			}
			if c.name == "unknown command" {
				return // there is no byte to cut at
			}
			if c.torn == 0 && r.Clean() && r.Files[0].ZeroBytes%100 != 0 {
				t.Errorf("%d zeros", r.Files[0].ZeroBytes)
			}
			if _, err := Repair(bg, options(mem), yes); err != nil {
				t.Fatal(err)
			}
			after, err := Verify(bg, options(mem))
			if err != nil || !after.Clean() || after.Torn != "" || after.Data.Commands != c.commands {
				t.Fatalf("%+v, %v", after.Data, err)
			}
		})
	}
}
