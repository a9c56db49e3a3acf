package crash

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"

	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
	"evenkeel/pkg/aof"
	"evenkeel/test/rig"
)

// flipping is a disk that changes a bit of each base.
type flipping struct{ fsx.FS }

// OpenFile implements fsx.FS.
func (d flipping) OpenFile(path string, flag int, perm fs.FileMode) (fsx.File, error) {
	f, err := d.FS.OpenFile(path, flag, perm)
	if ok, _ := filepath.Match("base-*", filepath.Base(path)); err != nil || !ok {
		return f, err
	}
	return flippingFile{f}, nil
}

type flippingFile struct{ fsx.File }

// WriteAt writes something else.
func (f flippingFile) WriteAt(b []byte, off int64) (int, error) {
	b = slices.Clone(b)
	b[len(b)/2] ^= 1
	return f.File.WriteAt(b, off)
}

// TestResyncOnBadDisk: a base that does not read back takes nothing's place.
func TestResyncOnBadDisk(t *testing.T) {
	var leader *snapshot
	inBubble(t, func() (err error) { leader, err = newSnapshot(); return err })
	inBubble(t, func() error {
		disk := fsxtest.NewFolders()
		p := rig.NewPodOn(flipping{disk}, "data", "pod", nil, rig.Options{NoExpiry: true})
		if err := p.Start(); err != nil {
			return err
		}
		if _, err := p.Do([][]string{{"SET", "old", "x", "POINT", "1", "2"}}, false); err != nil {
			return err
		}
		want := p.State()
		r, err := p.Store.BeginResync(bg, aof.History{Epoch: leader.epoch}, leader.mark, -1)
		if err != nil {
			return err
		}
		for _, s := range leader.ranges {
			if err := take(r, s); err != nil {
				return err
			}
		}
		if r.Finish(bg) == nil {
			err = errors.New("a base that does not read back was put in place")
		}
		r.Close()
		p.Kill()
		if err != nil {
			return err
		}
		if err := p.Start(); err != nil {
			return err
		}
		if got := p.State(); got != want {
			t.Error(rig.FirstDifference(want, got))
		}
		return p.Stop()
	})
}
