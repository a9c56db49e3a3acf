package aoftool

import (
	"errors"
	"strings"
	"testing"

	"evenkeel/internal/fsx/fsxtest"
	"evenkeel/pkg/aof"
)

// TestOtherState: files that are whole and lead to another state than they say.
// The first batch that differs is named; there is nothing to cut, and a compaction
// settles it.
func TestOtherState(t *testing.T) {
	mem := fsxtest.NewMemory(folder)
	m := newMaker(t, mem, 300)
	m.do(lines(0, 3)...)
	before := m.out.end
	if _, err := m.log.Begin(m.now); err != nil {
		t.Fatal(err)
	}
	m.log.Add(strings.Fields(lines(5, 1)[0]))
	if err := m.log.Commit(bg, m.log.End(aof.Digest{Hi: 1, Lo: 2})); err != nil {
		t.Fatal(err)
	}
	m.do(lines(6, 2)...)
	m.finish()
	r, err := Verify(bg, options(mem))
	if err != nil || len(r.Found) != 1 || r.Found[0].File != "seg-00000000000000000000.aof" || r.Found[0].At <= before {
		t.Fatalf("%+v, %v", r, err)
	}
	if !strings.Contains(r.Found[0].Reason, "leads to the digest") || !r.Data.Whole {
		t.Errorf("%+v", r)
	}
	if _, err := Repair(bg, options(mem), yes); !errors.Is(err, aof.ErrNoRepair) || !errors.Is(err, ErrState) {
		t.Errorf("repair: %v", err)
	}
	if _, err := Compact(bg, options(mem), CompactOptions{BacklogBytes: -1}); err != nil {
		t.Fatal(err)
	}
	if r, err := Verify(bg, options(mem)); err != nil || !r.Clean() {
		t.Errorf("after a compaction: %+v, %v", r, err)
	}
}

func TestEmptyDirectory(t *testing.T) {
	mem := memory(t, nil)
	if _, err := Verify(bg, options(mem)); !errors.Is(err, ErrEmpty) {
		t.Errorf("verify: %v", err)
	}
	if _, err := Repair(bg, options(mem), yes); !errors.Is(err, ErrEmpty) {
		t.Errorf("repair: %v", err)
	}
	// A log without commands is one.
	m := newMaker(t, mem, 300)
	m.finish()
	if r, err := Verify(bg, options(mem)); err != nil || !r.Clean() || r.Data.Offset != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	lost := memory(t, map[string][]byte{"MANIFEST": []byte("{")})
	if r, err := Repair(bg, options(lost), yes); err != nil || !r.Done || r.After.Data.Offset != 0 {
		t.Errorf("a lost manifest of nothing: %+v, %v", r, err)
	}
}
