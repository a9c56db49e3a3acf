package aoftool

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"evenkeel/pkg/aof"
	"evenkeel/pkg/store"
)

// TestUndamaged: nothing is found where nothing is wrong, and nothing is changed.
func TestUndamaged(t *testing.T) {
	for name, s := range samples(t) {
		t.Run(name, func(t *testing.T) {
			mem := memory(t, s.files)
			r, err := Verify(bg, options(mem))
			if err != nil || !r.Clean() || r.Torn != "" {
				t.Fatalf("%+v, %v", r, err)
			}
			if r.Data.Offset != s.end || r.Data.Digest != s.digests[s.end] || !r.Data.Whole || r.Data.Objects == 0 {
				t.Errorf("%+v, want %d %s", r.Data, s.end, s.digests[s.end])
			}
			if want := name == "backlog"; r.BacklogChecked != want {
				t.Errorf("backlog checked: %v", r.BacklogChecked)
			}
			if i, err := Inspect(bg, options(mem)); err != nil || !i.Clean() || len(i.Files) != len(r.Files) {
				t.Errorf("inspect: %+v, %v", i, err)
			}
			did, err := Repair(bg, options(mem), refuse(t))
			if err != nil || did.Plan != nil {
				t.Errorf("repair: %+v, %v", did, err)
			}
			if got := contents(t, mem); !maps.EqualFunc(got, s.files, slices.Equal) {
				t.Error("something was changed")
			}
		})
	}
}

func refuse(t *testing.T) func(*Repaired) (bool, error) {
	return func(r *Repaired) (bool, error) {
		t.Errorf("a plan where nothing is wrong: %+v", r.Plan)
		return false, nil
	}
}

func yes(*Repaired) (bool, error) { return true, nil }

// TestFlips damages every byte of every file, one after the other: it is found,
// or it is harmless, and a repair leads to a log that is whole and holds a state
// that there was.
func TestFlips(t *testing.T) {
	for kind, s := range samples(t) {
		for _, name := range slices.Sorted(maps.Keys(s.files)) {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				repaired, hopeless := 0, 0
				for i := 0; i < len(s.files[name]); i += stride(kind, name) {
					files := s.damaged(name, func(b []byte) []byte {
						b[i] ^= 1 << (i % 8)
						return b
					})
					if !s.found(t, files, name, i) {
						continue
					}
					if s.repair(t, files, name, i) {
						repaired++
					} else {
						hopeless++
					}
				}
				// A base can be made again from offset 0 only, an adopted file not at all.
				possible := s.possible(kind, name)
				if possible != (hopeless == 0) || possible == (repaired == 0) {
					t.Errorf("%d repaired, %d not", repaired, hopeless)
				}
			})
		}
	}
}

// stride bounds the time that this takes: every byte of every kind of file is
// had once; the same kinds elsewhere are sampled.
func stride(kind, name string) int {
	if kind == "base" || kind == "adopted" && name != "MANIFEST" {
		return 1
	}
	return 11
}

// possible says whether a log can be repaired when a file is gone.
func (s *sample) possible(kind, name string) bool {
	switch {
	case name == "MANIFEST":
		return kind != "mortal"
	case name == aof.AdoptedName || strings.HasPrefix(name, "base-"):
		return kind == "backlog"
	}
	return true
}

// found verifies a damaged directory; false: the damage is proven harmless.
func (s *sample) found(t *testing.T, files map[string][]byte, name string, at int) bool {
	t.Helper()
	r, err := Verify(bg, options(memory(t, files)))
	if err != nil {
		t.Fatalf("%s, byte %d: %v", name, at, err)
	}
	if !r.Clean() || r.Torn != "" {
		return true
	}
	whole, err := Verify(bg, options(memory(t, s.files)))
	if err != nil {
		t.Fatal(err)
	}
	if *r.Data != *whole.Data || r.Epoch != whole.Epoch || !slices.Equal(r.Previous, whole.Previous) || len(r.Files) != len(whole.Files) {
		t.Errorf("%s, byte %d: nothing is found, and it is not harmless: %+v", name, at, r.Data)
	}
	return false
}

// repair repairs a damaged directory; false: that is said to be impossible.
func (s *sample) repair(t *testing.T, files map[string][]byte, name string, at int) bool {
	t.Helper()
	mem := memory(t, files)
	did, err := Repair(bg, options(mem), yes)
	if errors.Is(err, aof.ErrNoRepair) {
		if got := contents(t, mem); !maps.EqualFunc(got, files, slices.Equal) {
			t.Fatalf("%s, byte %d: the refusal has changed something", name, at)
		}
		return false
	}
	if err != nil || !did.Done || !did.After.Clean() || did.After.Torn != "" {
		t.Fatalf("%s, byte %d: %v, %+v", name, at, err, did.After)
	}
	data := did.After.Data
	if data.Digest != s.digests[data.Offset] || !data.Whole || data.Offset != did.Plan.Offset {
		t.Fatalf("%s, byte %d: after the repair %+v, planned %d, want the digest %s", name, at, data, did.Plan.Offset, s.digests[data.Offset])
	}
	// It starts, and can be written.
	l, err := aof.Open(aof.Options{FS: mem, Dir: folder, Fsync: aof.FsyncNo})
	if err != nil {
		t.Fatalf("%s, byte %d: %v", name, at, err)
	}
	defer func() {
		if err := l.Close(bg); err != nil {
			t.Error(err)
		}
	}()
	st, err := store.Open(bg, store.Options{Log: l})
	if err != nil {
		t.Fatalf("%s, byte %d: %v", name, at, err)
	}
	if digest, mark := st.Digest(); digest.String() != data.Digest || mark.Offset != data.Offset {
		t.Fatalf("%s, byte %d: it starts at %v with %v", name, at, mark, digest)
	}
	return true
}

// TestTruncation cuts every file at every byte.
func TestTruncation(t *testing.T) {
	for kind, s := range samples(t) {
		for _, name := range slices.Sorted(maps.Keys(s.files)) {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				silent := 0
				step := 11
				if kind == "base" {
					step = 1
				}
				for n := 0; n < len(s.files[name]); n += step {
					files := s.damaged(name, func(b []byte) []byte { return b[:n] })
					r, err := Verify(bg, options(memory(t, files)))
					if err != nil {
						t.Fatalf("%d bytes: %v", n, err)
					}
					if r.Clean() && r.Torn == "" {
						if name == "MANIFEST" { // the line feed at its end
							s.found(t, files, name, n)
							continue
						}
						// The last segment may have ended there: nothing tells.
						if s.digests[r.Data.Offset] != r.Data.Digest || r.Data.Offset >= s.end {
							t.Fatalf("%d bytes: %+v", n, r.Data)
						}
						silent++
						continue
					}
					s.repair(t, files, name, n)
				}
				last := strings.HasPrefix(name, "seg-") && name == slices.Max(slices.Collect(maps.Keys(s.files)))
				if silent > 0 && !last || last && silent > 10 {
					t.Errorf("%d truncations were not found", silent)
				}
			})
		}
	}
}

// TestMissing takes every file away.
func TestMissing(t *testing.T) {
	for kind, s := range samples(t) {
		for _, name := range slices.Sorted(maps.Keys(s.files)) {
			t.Run(kind+"/"+name, func(t *testing.T) {
				files := s.damaged(name, func([]byte) []byte { return nil })
				r, err := Verify(bg, options(memory(t, files)))
				if err != nil || r.Clean() {
					t.Fatalf("%+v, %v", r, err)
				}
				if done := s.repair(t, files, name, 0); done != s.possible(kind, name) {
					t.Errorf("repaired: %v", done)
				}
			})
		}
	}
}

// FuzzVerify: whatever lies in a directory, looking at it and planning its repair
// end with an answer.
func FuzzVerify(f *testing.F) {
	f.Add([]byte("{}"), []byte("*1\r\n$1\r\na\r\n#11 11 1 00000000000000000000000000000000 00000000\r\n"), []byte("#0 0 1 "))
	f.Fuzz(func(t *testing.T, manifest, segment, base []byte) {
		for _, files := range []map[string][]byte{
			{"MANIFEST": manifest, "seg-00000000000000000000.aof": segment, "base-00000000000000000011.aof": base},
			{"seg-00000000000000000000.aof": segment, "base-00000000000000000011.aof": base},
			{aof.AdoptedName: segment},
		} {
			mem := memory(t, files)
			if _, err := Verify(bg, options(mem)); err != nil {
				t.Fatal(err)
			}
			did, err := Repair(bg, options(mem), yes)
			if err != nil && !errors.Is(err, aof.ErrNoRepair) {
				t.Fatal(err)
			}
			// What the commands mean is not a repair's matter.
			if err == nil && did.Done && len(did.After.All()) > 0 {
				t.Fatalf("after the repair: %v", did.After.Found)
			}
		}
	})
}
