package aof

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The first segment behind an adopted file begins with the digest that the file
// turned out to lead to: whoever is there can follow.
func TestTailBehindAdopted(t *testing.T) {
	dir := t.TempDir()
	plain := command(set(1)...)
	if err := os.WriteFile(filepath.Join(dir, adoptedName), plain, 0o600); err != nil {
		t.Fatal(err)
	}
	l := openLog(t, dir)
	d := Digest{1, 2}
	if err := l.SetBaseDigest(d); err != nil {
		t.Fatal(err)
	}
	write(t, l, 1000, set(2))
	tail, err := l.Tail(Position{Epoch: l.Position().Epoch, Offset: int64(len(plain))}, d)
	if err != nil {
		t.Fatal(err)
	}
	if err := tail.Close(); err != nil {
		t.Fatal(err)
	}
}

// Inspect changes nothing and names everything.
func TestInspectNames(t *testing.T) {
	dir := t.TempDir()
	l, err := tryOpen(dir, func(o *Options) { o.SegmentBytes = 200; o.BacklogBytes = 100 })
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		write(t, l, int64(1000*i), set(i))
	}
	compact(t, l, 9000, set(1))
	write(t, l, 10_000, set(9))
	closeLog(t, l)
	for _, name := range []string{
		"seg-00000000000000000400.aof.cut-12", "seg-00000000000000000999.aof.tmp", "base-00000000000000000001.aof",
		"lost-0123456789012345678901234567890123456789.aof", "seg-00000000000000000001.aof", "config",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("123"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := dirFiles(t, dir)
	d, err := Inspect(nil, dir)
	if err != nil || len(d.All()) > 0 {
		t.Fatalf("%v, %v", d.All(), err)
	}
	var others []string
	for _, o := range d.Others {
		others = append(others, o.Name+": "+o.What)
	}
	want := []string{
		"base-00000000000000000001.aof: a base that the log does not rest on: the next start removes it",
		"lost-0123456789012345678901234567890123456789.aof: commands of a history that was given up",
		"seg-00000000000000000001.aof: no part of the log",
		"seg-00000000000000000400.aof.cut-12: cut off or set aside earlier",
		"seg-00000000000000000999.aof.tmp: unfinished: the next start removes it",
	}
	if !slices.Equal(others, want) {
		t.Errorf("others %q, want %q", others, want)
	}
	roles := map[string]int{}
	var offset int64
	for _, f := range d.Files {
		if err := d.Scan(bg, f, nil, nil); err != nil {
			t.Fatal(err)
		}
		roles[f.Role]++
		if f.Start < offset {
			t.Errorf("%s is not in order", f.Name)
		}
		offset = f.Start
	}
	d.Check()
	if len(d.All()) > 0 || roles[RoleBase] != 1 || roles[RoleBacklog] == 0 || roles[RoleLog] != 1 {
		t.Errorf("%v %v", roles, d.All())
	}
	if err := sameFiles(before, dirFiles(t, dir)); err != nil {
		t.Error(err)
	}
}

// Many damaged places of one file are all listed, with what can be read between.
func TestScanGoesOn(t *testing.T) {
	dir := t.TempDir()
	l, err := tryOpen(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		write(t, l, int64(1000*i), set(i))
	}
	closeLog(t, l)
	path := filepath.Join(dir, formatName(kindSegment, 0, 1))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	size := len(b) / 50
	for i := 5; i < 50; i += 10 {
		b[i*size+20] ^= 1
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Inspect(nil, dir)
	if err != nil {
		t.Fatal(err)
	}
	visited := 0
	f := d.Files[0]
	if err := d.Scan(bg, f, func(int64, Batch) error { visited++; return nil }, nil); err != nil {
		t.Fatal(err)
	}
	if len(f.Damage) != 5 || f.Batches != 45 || f.Whole() || visited == 0 || visited > 6 {
		t.Errorf("%d damaged places, %d batches, %d visited: %v", len(f.Damage), f.Batches, visited, f.Damage)
	}
	for i, x := range f.Damage {
		if x.Bytes <= 0 || x.At > int64(b2(i)*size+20) || x.At+x.Bytes <= int64(b2(i)*size) {
			t.Errorf("%v does not hold byte %d", x, b2(i)*size+20)
		}
	}
}

// b2 is the batch that the ith damage is in.
func b2(i int) int { return 5 + 10*i }
