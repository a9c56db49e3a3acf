package rig

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"

	"evenkeel/internal/fsx"
	"evenkeel/internal/fsx/fsxtest"
	"evenkeel/pkg/aof"
)

// GivenUp returns what is in the pod's files of commands that it gave up.
func (p *Pod) GivenUp() (string, error) {
	entries, err := p.disk.ReadDir(p.Dir)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "lost-") || strings.HasSuffix(e.Name(), fsx.TempSuffix) {
			continue
		}
		data, err := fsx.ReadFile(p.disk, filepath.Join(p.Dir, e.Name()))
		if err != nil {
			return "", err
		}
		b.Write(data)
	}
	return b.String(), nil
}

// OnDisk returns where the log would end if power failed now, and nothing were
// left that was not synced.
func (p *Pod) OnDisk() (aof.Position, error) {
	folders, ok := p.disk.(*fsxtest.Folders)
	if !ok {
		return aof.Position{}, fmt.Errorf("the disk of %s is not in memory", p.Name)
	}
	left := folders.AfterPowerLoss(fsxtest.Losses()[0], rand.New(rand.NewPCG(1, 1)))
	l, err := aof.Open(aof.Options{FS: left, Dir: p.Dir})
	if err != nil {
		return aof.Position{}, err
	}
	return l.Position(), errors.Join(l.Close(context.Background()))
}
